"""The reference page of configuration keys, from their JSON Schema."""

import json
from collections.abc import Iterator
from typing import Any

from reference import kind, table

from adapter.configuration import json_schema
from adapter.live_settings import is_reloadable

HEAD = """\
# Configuration keys

Every key by its table, made from the [JSON Schema](../configuration.schema.json). Those that are
*required* have to be given where their table is; without a default a key is absent, or as the last
column says. Another value of those under *reload* counts once the
[file is read again](../configuration.md#changes-while-the-adapter-runs), of the others after a
restart; what is made, changed or removed over REST needs neither. The same as a file with comments:
[config/adapter.toml](configuration.md).
"""
COLUMNS = ("key", "type and range", "default", "counts after a", "is")


def keys_page() -> str:
    """Return each table of the configuration with its keys."""
    schema = json_schema()
    tables = _tables(schema["$defs"], "Settings", "", "{}")
    parts = (f"## {title}\n\n{table(COLUMNS, rows)}" for title, rows in tables if rows)
    return "\n".join([HEAD, *parts])


def _tables(
    kinds: dict[str, Any], name: str, path: str, brackets: str
) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield a table of keys and the tables in it, each with its title as in TOML."""
    below, rows = [], []
    required = kinds[name]["required"]
    for key, schema in kinds[name]["properties"].items():
        here = f"{path}.{key}" if path else key
        if inner := _table_of(schema):
            below.append((inner, here, "[[]]" if "items" in schema else "[]"))
        else:
            default = "*required*" if key in required else _default(schema)
            counts = "reload" if is_reloadable(here) else "restart"
            rows.append((f"`{key}`", kind(schema), default, counts, schema.get("description", "")))
    yield brackets.replace("[]", f"[{path}]"), rows
    for inner, here, around in below:
        yield from _tables(kinds, inner, here, around)


def _table_of(schema: dict[str, Any]) -> str:
    """Return the name of the table a key holds, or a list of them; empty: a value."""
    choices = [schema, schema.get("items", {}), *schema.get("anyOf", ())]
    reference = next((one["$ref"] for one in choices if "$ref" in one), "")
    return str(reference).rpartition("/")[2]


def _default(schema: dict[str, Any]) -> str:
    return "" if schema.get("default") is None else f"`{json.dumps(schema['default'])}`"
