"""Orders about rows that are not answered by the row: abort, allow, close, hold, extend."""

import sys

from adapter.client.api import Access, call
from adapter.client.kinds import Kind
from adapter.client.rows import Form, Row, print_json, text, told


def delete_row(access: Access, kind: Kind, row_id: str, done: str) -> int:
    """Delete a row, and say that it is done; return the exit code."""
    say = f"{row_id}: {done}\n"
    return told(lambda: call(access, "DELETE", kind.path(row_id)), lambda _: _write(say))


def tell_row(
    access: Access, kind: Kind, order: tuple[str, str], done: str, document: object = None
) -> int:
    """Give an order (id, action) that is answered by nothing; return the exit code."""
    row_id, action = order
    path, say = f"{kind.path(row_id)}/{action}", f"{row_id}: {done}\n"
    return told(lambda: call(access, "POST", path, document), lambda _: _write(say))


def allow_row(access: Access, kind: Kind, row_id: str, form: Form) -> int:
    """Have a refused caller let in; print the source that does it."""

    def show(source: Row) -> None:
        _write(f"{source['aeTitle']} from {text(source['host'])}: source {source['name']}\n")

    print_it = print_json if form == "json" else show
    return told(lambda: call(access, "POST", f"{kind.path(row_id)}/allow"), print_it)


def _write(line: str) -> None:
    sys.stdout.write(line)
