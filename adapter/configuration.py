"""Reads the configuration: defaults, file, environment and flags become one frozen struct, or a
list of all that is wrong with them.

Rules: unknown keys, wrong types and values out of range are refused at start, every one of them, as
file, key path, value and what is allowed. Nothing reads the environment or a file after that.
"""

import copy
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from adapter.domain.conversion import HIDDEN, Reader, SpelledValue, is_secret
from adapter.domain.effective_values import EffectiveValue
from adapter.errors import ConfigurationError
from adapter.key_descriptions import describe
from adapter.relations import relations
from adapter.settings import Settings

DEPTH_MAX = 32
"""Of tables and lists in one another."""
ENVIRONMENT_PREFIX = "DICOM_ADAPTER__"


class Layered(Struct, frozen=True, kw_only=True):
    """Settings and, for each key that is not a default, where its value comes from."""

    settings: Settings
    origins: dict[str, str]


def load(file: Path | None, environment: Mapping[str, str], flags: Sequence[str] = ()) -> Layered:
    """Return the effective settings: flags over environment over file over defaults.

    Args:
        file: TOML, YAML or JSON by extension; None: no file.
        environment: Variables such as DICOM_ADAPTER__DICOM__SCP__PORT=104.
        flags: KEY=VALUE, such as dicom.scp.port=104.

    Raises:
        ConfigurationError: With every problem found.
    """
    return load_document(read_file(file) if file else {}, file, environment, flags)


def load_document(
    document: Mapping[str, Any],
    file: Path | None,
    environment: Mapping[str, str],
    flags: Sequence[str] = (),
) -> Layered:
    """Return the effective settings as `load` does, if the file said this.

    Raises:
        ConfigurationError: With every problem found.
    """
    if not _is_shallow(document):
        raise ConfigurationError([f"{file or 'document'}: is nested too deeply"])
    tree: dict[str, Any] = copy.deepcopy(dict(document))
    origins = {path: str(file or "document") for path in _leaves(tree)}
    problems: list[str] = []
    for path, text, origin in _overrides(environment, flags, problems):
        _put(tree, path, text, origin, problems)
        origins[".".join(path)] = origin

    def origin_of(path: str) -> str:
        return next((origins[p] for p in _prefixes(path) if p in origins), str(file or "defaults"))

    reader = Reader(where=lambda path: f"{origin_of(path)}: {path}")
    settings = reader.read(tree, Settings)
    problems += reader.problems
    if not problems:
        problems += [_with_origin(line, origin_of, file) for line in relations(settings)]
    if problems:
        raise ConfigurationError(problems)
    return Layered(settings=settings, origins=origins)


_KEY = re.compile(r"[a-z_]+([.\[][\w\]]+)+|application_entities|destinations|sources")


def _with_origin(problem: str, origin_of: Callable[[str], str], file: Path | None) -> str:
    """Return what is wrong between keys with where the first of them comes from."""
    key = _KEY.match(problem)
    return f"{origin_of(key[0]) if key else file}: {problem}" if file else problem


def read_file(file: Path) -> dict[str, Any]:
    """Return what a file says, whether it is right or not.

    Raises:
        ConfigurationError: It cannot be read, or is of no form that is known.
    """
    try:
        text = file.read_text("utf-8")
        match file.suffix:
            case ".yaml" | ".yml":
                tree = yaml.safe_load(text) or {}
            case ".json":
                tree = json.loads(text)
                json.dumps(tree, ensure_ascii=False).encode()  # half a surrogate pair is no text
            case _:
                tree = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError([f"{file}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError([f"{file}: {' '.join(str(error).split())}"]) from error
    if not isinstance(tree, dict):
        raise ConfigurationError([f"{file}: not a table of keys and values"])
    return tree


def _overrides(
    environment: Mapping[str, str], flags: Sequence[str], problems: list[str]
) -> Iterator[tuple[list[str], str, str]]:
    """Yield (path, text, origin), lowest precedence first."""
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX):
            yield name[len(ENVIRONMENT_PREFIX) :].lower().split("__"), environment[name], name
    for flag in flags:
        path, equals, text = flag.partition("=")
        if equals:
            yield path.split("."), text, f"--set {path}"
        else:
            problems.append(f"--set {flag}: is not KEY=VALUE")


def _put(
    tree: dict[str, Any], path: list[str], text: str, origin: str, problems: list[str]
) -> None:
    node: Any = tree
    for part in path[:-1]:
        if isinstance(node, list):
            if not part.isdecimal() or int(part) >= len(node):
                problems.append(f"{origin}: there is no entry {part}")
                return
            node = node[int(part)]
        elif isinstance(node, dict):
            node = node.setdefault(part, {})
    if not isinstance(node, dict):
        problems.append(f"{origin}: does not lead to a key")
        return
    node[path[-1]] = _spelled(text)


@dataclass(frozen=True, slots=True)
class _Spelled(SpelledValue):
    """Text of a variable or a flag, and the TOML value it spells; the key's type decides."""

    text: str
    value: Any

    def as_kind(self, kind: Any) -> Any:
        is_text = kind is str and not isinstance(self.value, str)
        return self.text if is_text else self.value  # AE Title 123 is a title, port 104 a number


def _spelled(text: str) -> _Spelled:
    try:
        return _Spelled(text, tomllib.loads(f"value = {text}")["value"])
    except tomllib.TOMLDecodeError:
        return _Spelled(text, text)


def _is_shallow(document: Any) -> bool:
    level = [document]
    for _ in range(DEPTH_MAX):
        tables = [node.values() for node in level if isinstance(node, dict)]
        lists = [node for node in level if isinstance(node, list)]
        level = [inner for nodes in (*tables, *lists) for inner in nodes]
    return not level


def _leaves(tree: Any, path: str = "") -> Iterator[str]:
    if isinstance(tree, dict) and (tree or not path):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path


def _prefixes(path: str) -> Iterator[str]:
    """Yield the key path and its parents, longest first; list[0].key is list.0.key here."""
    path = path.replace("[", ".").replace("]", "")
    while path:
        yield path
        path = path.rpartition(".")[0]


def effective_values(layered: Layered) -> Iterator[tuple[str, str, str]]:
    """Yield (key path, value as JSON, origin) of every setting, in the order of the structs."""
    for one in settings_in_force(layered):
        yield one.key, json.dumps(one.value), one.origin


def settings_in_force(layered: Layered) -> Iterator[EffectiveValue]:
    """Yield every setting with its origin, in the order of the structs; secrets are hidden."""
    tree = msgspec.to_builtins(layered.settings)
    secrets = frozenset(secret_paths(Settings))
    for path in secrets:
        _hide(tree, path.split("."))
    for path in _paths(tree):
        inside = (p for p in layered.origins if p.startswith(f"{path}."))
        known = (p for p in (*_prefixes(path), *inside) if p in layered.origins)
        origin = next((layered.origins[p] for p in known), "") or "default"
        yield EffectiveValue(key=path, value=_at(tree, path), origin=origin, secret=path in secrets)


def secret_paths(kind: type[Struct], prefix: str = "") -> Iterator[str]:
    """Yield the paths of what is never shown; lists hold nothing of the kind."""
    for field in msgspec.structs.fields(kind):
        if is_secret(field.type):
            yield f"{prefix}{field.name}"
        elif isinstance(field.type, type) and issubclass(field.type, Struct):
            yield from secret_paths(field.type, f"{prefix}{field.name}.")


def _hide(tree: dict[str, Any], path: list[str]) -> None:
    node = _at(tree, ".".join(path[:-1]))
    node[path[-1]] = HIDDEN if node[path[-1]] else node[path[-1]]


def _paths(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _paths(value, f"{path}.")
        else:
            yield path


def _at(tree: dict[str, Any], path: str) -> Any:
    node: Any = tree
    for part in path.split("."):
        node = node[part]
    return node


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, with what each key is for."""
    return describe(msgspec.json.schema(Settings), Settings)
