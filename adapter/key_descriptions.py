"""What each configuration key is for, in the words of config/adapter.toml: the only place that says
it. Editors show it by the JSON Schema.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct

_HERE = Path(__file__).parent
_FILES = (_HERE / "adapter.toml", _HERE.parent / "config" / "adapter.toml")
"""Where an installed package has it, and where the repository does."""
_TABLE = re.compile(r"^(?:# )?\[\[?([\w.]+)\]\]?(?:\s+#\s(.*))?$")
_KEY = re.compile(r"^(?:# ?)?(\w+) = .*?(?:\s#\s(.*))?$")
_MORE = re.compile(r"^#?\s{8,}#\s(.*)$")


def key_descriptions(text: str) -> dict[str, str]:
    """Return descriptions by key path, from the comments of a configuration file.

    A comment stands behind its key and goes on below it, further in; entries of lists that are
    commented out count as well.
    """
    found: dict[str, str] = {}
    table = key = ""
    for line in text.splitlines():
        if header := _TABLE.match(line):
            table, key = header[1], ""
            if header[2]:
                found.setdefault(table, header[2])
        elif entry := _KEY.match(line):
            here = f"{table}.{entry[1]}"
            key = "" if here in found else here
            if key and entry[2]:
                found[key] = entry[2]
        elif key and (more := _MORE.match(line)):
            found[key] = f"{found[key]} {more[1]}" if key in found else more[1]
        elif not line.strip():
            key = ""
    return found


def describe(schema: dict[str, Any], settings: type[Struct]) -> dict[str, Any]:
    """Return the JSON Schema of settings with a description for each key."""
    file = next(file for file in _FILES if file.exists())
    descriptions = key_descriptions(file.read_text("utf-8"))
    for kind, name, path in _keys(settings, ""):
        properties = schema["$defs"][kind.__name__]["properties"]
        words = _words(descriptions, path)
        if words and "description" not in properties[name]:
            properties[name]["description"] = words
    return schema


def _words(descriptions: dict[str, str], path: str) -> str:
    """Return what is said of a key; one of a table in a table may be as it is outside."""
    parents, _, name = path.rpartition(".")
    outside = f"{parents.rpartition('.')[0]}.{name}"
    return descriptions.get(path) or descriptions.get(outside, "")


def _keys(kind: type[Struct], path: str) -> Iterator[tuple[type[Struct], str, str]]:
    for field in msgspec.structs.fields(kind):
        here = f"{path}.{field.name}" if path else field.name
        yield kind, field.name, here
        for inner in _structs(field.type):
            yield from _keys(inner, here)


def _structs(kind: Any) -> Iterator[type[Struct]]:
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield kind
    for part in get_args(kind):
        yield from _structs(part)
