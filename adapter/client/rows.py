"""Rows of a running adapter, of any kind, for people and programs; and orders about them."""

import csv
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from adapter.client.api import Access, ApiError, call
from adapter.client.figures import duration, size
from adapter.client.kinds import Kind

PAGE = 1000
FILE_WIDTH = 240
"""Where nobody looks at the table, but `grep` does: nothing is broken into lines."""
Form = Literal["table", "json", "csv"]
Row = dict[str, Any]


def list_rows(access: Access, kind: Kind, filters: Mapping[str, str], form: Form) -> int:
    """Print the rows these filters let through, oldest first; return the exit code."""
    return told(lambda: list(rows_of(access, kind, filters)), printer(kind, form))


def printer(kind: Kind, form: Form) -> Callable[[list[Row]], None]:
    """Return what prints rows."""
    return _FORMS[form](kind)


def show_row(access: Access, kind: Kind, row_id: str, form: Form) -> int:
    """Print one row with its parts; return the exit code."""
    print_it = print_json if form == "json" else lambda row: _print_row(kind, row)
    return told(lambda: call(access, "GET", kind.path(row_id)), print_it)


def order_row(
    access: Access, kind: Kind, order: tuple[str, str], form: Form, document: Any = None
) -> int:
    """Give an order (id, action) about a row, print what it is then; return the exit code."""
    row_id, action = order
    return send_row(access, kind, ("POST", f"{kind.path(row_id)}/{action}"), form, document)


def send_row(
    access: Access, kind: Kind, request: tuple[str, str], form: Form, document: Any = None
) -> int:
    """Make a request (method, path) about a row, print what it is then; return the exit code."""
    method, path = request
    print_it = print_json if form == "json" else lambda row: _print_state(kind, row)
    return told(lambda: call(access, method, path, document), print_it)


def told(ask: Callable[[], Any], show: Callable[[Any], object]) -> int:
    """Ask and show the answer, or say in one line why there is none; return the exit code."""
    try:
        answer = ask()
    except ApiError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    show(answer)
    return 0


def rows_of(access: Access, kind: Kind, filters: Mapping[str, str]) -> Iterable[Row]:
    """Yield the rows these filters let through, oldest first.

    Raises:
        ApiError: They cannot be had.
    """
    wanted = {key: value for key, value in filters.items() if value}
    if not kind.paged:
        yield from call(access, "GET", kind.route)
        return
    offset = 0
    while True:
        query = urlencode({"limit": PAGE, "offset": offset} | wanted)
        page = call(access, "GET", f"{kind.route}?{query}")
        yield from page
        offset += PAGE
        if len(page) < PAGE:
            return


def print_json(answer: Any) -> None:
    """Print an answer as it is."""
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")


def _print_csv(rows: list[Row]) -> None:
    """Print what programs for tables read (RFC 4180): every key there is, lists as JSON."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(sys.stdout)
    writer.writerow(keys)
    for row in rows:
        writer.writerow(_cell(key, row.get(key)) for key in keys)


def _cell(key: str, value: Any) -> str:
    if key == "status":
        return _shown(key, value)  # as people compare it with the log of the destination
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return text(value)


def _print_table(rows: Iterable[Row], columns: Mapping[str, str]) -> None:
    table = Table(*(Column(name, overflow="fold") for name in columns), box=None)
    for row in rows:
        table.add_row(*(Text(_shown(key, _value(row, key))) for key in columns.values()))
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    with console.capture() as captured:
        console.print(table)
    # Nothing behind the last column, where `grep -E '...$'` would stumble over it.
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _print_row(kind: Kind, row: Row) -> None:
    parts = {name: row.pop(name, []) for name in kind.parts}
    lines = [f"{key}: {text(value)}" for key, value in _flat(row)]
    sys.stdout.write("\n".join(lines) + "\n")
    for name, rows in parts.items():
        if rows:
            sys.stdout.write(f"{name}:\n")
            _print_table(rows, kind.parts[name])


def _flat(row: Row) -> Iterable[tuple[str, Any]]:
    """Yield keys and values, those of a part as `key.key`; what is empty in a part is left out."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", one) for inner, one in value.items()
                        if one not in (None, ""))  # fmt: skip
        else:
            yield key, value


def _print_state(kind: Kind, row: Row) -> None:
    sys.stdout.write(f"{row[kind.key]}: {row['state']}\n")
    sys.stderr.writelines(f"warning: {problem}\n" for problem in row.get("problems", []))


def _value(row: Row, path: str) -> Any:
    """Return what is at `key`, or at `key.key`; of a list of rows, what is there in each."""
    key, _, rest = path.partition(".")
    value = row.get(key)
    if not rest:
        return value
    if isinstance(value, list):
        return [_value(one, rest) for one in value]
    return _value(value, rest) if isinstance(value, dict) else None


def _shown(key: str, value: Any) -> str:
    if value is None:
        return ""
    match key:
        case "status":  # as the Standard writes it
            return f"0x{value:04X}"
        case "bytes" | "bytesPerS":
            return size(value) + ("/s" if key == "bytesPerS" else "")
        case "ageS" | "leftS":
            return duration(value)
        case _:
            return text(value)


def text(value: Any) -> str:
    """Return a value for people."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    return ", ".join(map(text, value)) if isinstance(value, list) else str(value)


_FORMS: dict[Form, Callable[[Kind], Callable[[list[Row]], None]]] = {
    "table": lambda kind: lambda rows: _print_table(rows, kind.columns),
    "json": lambda _: print_json,
    "csv": lambda _: _print_csv,
}
