"""The forms a configuration of Clara DICOM Adapter has had, read into tables that know what was
taken from them.

`appsettings.json` of 0.7 and 0.8: values are found by names whose case does not count, `:` in a key
is a level, comments and trailing commas are allowed. `app.yaml` before 0.7: kebab-case.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from adapter.errors import ConfigurationError

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMA = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)
_SYNONYMS = {
    "maximumnumberofassociations": "maxassociations",
    "maximumretries": "maxretries",
    "exportsettings": "export",
    "watermarkpercent": "watermark",
    "platformendpoint": "endpoint",
}
DEPTH_MAX = 32
"""Of tables in tables; Clara's have six."""


class Found(NamedTuple):
    """A value and where it stands."""

    path: str
    value: Any


def spelled_alike(name: str) -> str:
    """Return what all spellings of a key have in common."""
    name = name.replace("-", "").replace("_", "").casefold()
    return _SYNONYMS.get(name, name)


class Table:
    """A table of a file; what nobody takes is what is left."""

    def __init__(self, value: Any, path: str = "") -> None:
        """Anything but a table has no keys."""
        self.path = path
        self._entries: dict[str, Found] = {}
        self._spelled_again: list[Found] = []
        self._tables: dict[str, Table] = {}
        for key, entry in value.items() if isinstance(value, dict) else ():
            found = Found(f"{path}.{key}" if path else str(key), entry)
            if self._entries.setdefault(spelled_alike(str(key)), found) is not found:
                self._spelled_again.append(found)

    def take(self, path: str) -> Found | None:
        """Return the value at a path of our spelling, such as `dicom.scp.port`; None: no value."""
        first, _, rest = path.partition(".")
        if rest:
            return self.table(first).take(rest)
        found = self._entries.pop(spelled_alike(first), None)
        return None if found is None or found.value is None else found

    def table(self, name: str) -> "Table":
        """Return a table in this one; empty if there is none."""
        key = spelled_alike(name)
        if key not in self._tables:
            found = self._entries.get(key)
            if found is None or not isinstance(found.value, dict):
                return Table({}, f"{self.path}.{name}" if self.path else name)
            del self._entries[key]
            self._tables[key] = Table(found.value, found.path)
        return self._tables[key]

    def take_tables(self, path: str) -> "list[Table]":
        """Return the tables of a list; what is none of them is left as an empty one."""
        found = self.take(path)
        if found is None:
            return []
        values = found.value if isinstance(found.value, list) else [found.value]
        return [Table(value, f"{found.path}[{index}]") for index, value in enumerate(values)]

    def left(self) -> Iterator[str]:
        """Yield the paths of what nobody took."""
        for found in (*self._entries.values(), *self._spelled_again):
            yield from _leaves(found.path, found.value)
        for table in self._tables.values():
            yield from table.left()


def _leaves(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _leaves(f"{path}.{key}", entry)
    else:
        yield path


class Form(NamedTuple):
    """A file, and which form it has."""

    is_yaml: bool
    root: Table
    adapter: Table
    """The section of the adapter: of appsettings.json only a part."""


def read(file: Path) -> Form:
    """Return the file.

    Raises:
        ConfigurationError: It cannot be read, or is no configuration of Clara's.
    """
    is_yaml = file.suffix in (".yaml", ".yml")
    try:
        text = file.read_text("utf-8-sig")
        tree = yaml.safe_load(text) if is_yaml else _json(text)
        if not is_yaml:
            tree = _levelled(tree, DEPTH_MAX)
    except OSError as error:
        raise ConfigurationError([f"{file}: {error.strerror}"]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError([f"{file}: {' '.join(str(error).split())}"]) from error
    root = Table(tree)
    names = {spelled_alike(str(key)) for key in tree} if isinstance(tree, dict) else set()
    if not is_yaml and "dicomadapter" in names:
        return Form(is_yaml, root, root.table("DicomAdapter"))
    if "dicom" in names:
        return Form(is_yaml, root, root)
    raise ConfigurationError(
        [f"{file}: is no configuration of Clara's: it has neither DicomAdapter nor dicom"]
    )


def _json(text: str) -> Any:
    text = _TOKEN.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)
    text = _COMMA.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)
    tree = json.loads(text, object_pairs_hook=_table_without_doubles)
    json.dumps(tree, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return tree


def _table_without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = set()
    for key, _ in pairs:
        if key.casefold() in seen:
            raise ValueError(f"the key {key!r} is there twice")
        seen.add(key.casefold())
    return dict(pairs)


def _levelled(value: Any, depth: int) -> Any:
    """Return the value with `a:b` made a table in a table."""
    if depth == 0:
        raise ValueError(f"tables are nested deeper than {DEPTH_MAX}")
    if isinstance(value, list):
        return [_levelled(entry, depth - 1) for entry in value]
    if not isinstance(value, dict):
        return value
    levelled: dict[str, Any] = {}
    for key, entry in value.items():
        *parents, last = key.split(":")
        node = levelled
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ValueError(f"the key {key!r} leads through a value")
        entry = _levelled(entry, depth - 1)
        if isinstance(node.get(last), dict) and isinstance(entry, dict):
            node[last] = {**node[last], **entry}
        else:
            node[last] = entry
    return levelled
