"""What is wrong with a value, in the words of whoever writes configurations."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
_KINDS = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")
_WHERE = re.compile(r" - at `(key in )?\$([^`]*)`$")


def value_problem(error: msgspec.ValidationError, kind: Any) -> tuple[str, str]:
    """Return where inside the value something is wrong, as `[1].name`, and what and what may be."""
    text, where = str(error), ""
    if found := _WHERE.search(text):
        text, where = text[: found.start()], found[2].replace("[...]", "")
    if "matching regex" in text and (form := _form(kind)):
        return where, f"must be {form}"
    text = _KINDS.sub(_in_words, text).replace("Expected", "expected", 1)
    if text.startswith("Invalid enum value"):
        text = "is none of what it may be"
    allowed = ", ".join(_allowed(kind))
    return where, f"{text} (allowed: {allowed})" if allowed else text


def _in_words(found: re.Match[str]) -> str:
    kinds = [kind for kind in found[1].split(" | ") if kind != "null"]
    return " or ".join(_WORDS.get(kind, f"`{kind}`") for kind in kinds) or "nothing"


def _form(kind: Any) -> str:
    """Return what its text has to look like; the title of its type says it."""
    for part in _parts(kind):
        for meta in get_args(part)[1:] if get_origin(part) is Annotated else ():
            if isinstance(meta, Meta) and meta.title:
                return meta.title
    return ""


def _allowed(kind: Any) -> Iterator[str]:
    for part in _parts(kind):
        if get_origin(part) is Literal:
            yield from (repr(choice) for choice in get_args(part))
        elif part is bool:
            yield "true, false"
        elif get_origin(part) is Annotated:
            yield from _range(get_args(part)[1:])


def _range(metas: tuple[Any, ...]) -> Iterator[str]:
    for meta in metas:
        if not isinstance(meta, Meta):
            continue
        if meta.le is None:
            continue
        if meta.ge is not None:
            yield f"{meta.ge} to {meta.le}"
        elif meta.gt is not None:
            yield f"above {meta.gt}, up to {meta.le}"


def _parts(kind: Any) -> Iterator[Any]:
    """Yield a type, or those of a union."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(kind) in (Annotated, Literal) and not _is_union(base):
        yield kind
    elif _is_union(base):
        for part in get_args(base):
            yield from _parts(part)
    else:
        yield kind


def _is_union(kind: Any) -> bool:
    return get_origin(kind) is not None and get_origin(kind) not in (Annotated, Literal, list, dict)


def inner_value(value: Any, where: str) -> Any:
    """Return the value at `[1].name` in a value."""
    for index, key in re.findall(r"\[(\d+)\]|\.(\w+)", where):
        value = value[int(index)] if index else value[key]
    return value
