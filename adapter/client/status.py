"""`status`: what an adapter is doing, on one screen."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from adapter.client.api import Access, ApiError, call
from adapter.client.figures import duration, size
from adapter.client.rows import FILE_WIDTH

ROWS_MAX = 8
"""Of each table; the commands of their own show the rest."""
Document = dict[str, Any]
GOOD, BAD, DULL = "green", "bold red", "dim"


def show_status(access: Access, *, as_json: bool) -> int:
    """Print it; return 0 if the adapter would take new work, else 1."""
    try:
        document = status_document(access)
    except ApiError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if as_json:
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH, highlight=False)
        for part in screen(access.url, document):
            console.print(part)
    return 1 if document["health"]["unreadyBecause"] else 0


def status_document(access: Access) -> Document:
    """Ask for all that the screen shows.

    Raises:
        ApiError: It cannot be had.
    """
    return {
        "health": call(access, "GET", "/health/status"),
        "storage": call(access, "GET", "/api/storage"),
        "associations": call(access, "GET", "/api/associations?state=open"),
        "rejected": call(access, "GET", "/api/associations?state=rejected"),
        "groups": call(access, "GET", "/api/groups"),
        "destinations": call(access, "GET", "/api/destinations"),
    }


def screen(url: str, document: Document) -> Iterator[RenderableType]:
    """Yield the parts of the screen."""
    health, storage = document["health"], document["storage"]
    reasons = health["unreadyBecause"]
    state = Text("ready", GOOD) if not reasons else Text(f"not ready: {'; '.join(reasons)}", BAD)
    yield Text.assemble(("adapter  ", "bold"), f"{url}  ", state)
    services = Counter(health["services"].values())
    running = ", ".join(f"{count} {name.lower()}" for name, count in sorted(services.items()))
    yield Text.assemble(("actors   ", "bold"), running)
    yield Text.assemble(
        ("space    ", "bold"), (storage["state"], BAD if storage["state"] == "low" else GOOD),
        f"  {size(storage['availableBytes'])} until it is low;"
        f" {size(storage['freeBytes'])} free of {size(storage['totalBytes'])}",
    )  # fmt: skip
    jobs = ", ".join(f"{one['jobs']} {one['state']}" for one in storage["heldBy"]) or "none"
    yield Text.assemble(("jobs     ", "bold"), jobs)
    yield from _table(
        "associations", document["associations"],
        ("from", "address", "to", "instances", "data", "rate", "age"),
        lambda row: (
            row["callingAeTitle"], row["peer"], row["aeTitle"], str(row["stored"]),
            size(row["bytes"]), f"{size(row['bytesPerS'])}/s", duration(row["ageS"]),
        ),
    )  # fmt: skip
    yield from _table(
        "groups", document["groups"], ("id", "AE Title", "instances", "data", "closes in"),
        lambda row: (
            row["id"], row["aeTitle"], str(row["instances"]), size(row["bytes"]),
            "held" if row.get("held") else duration(row["leftS"]),
        ),
    )  # fmt: skip
    yield from _table(
        "destinations", document["destinations"], ("name", "state", "exports", "why"),
        lambda row: (
            row["name"], row["state"],
            ", ".join(f"{n} {state}" for state, n in row["exports"].items()), row["why"],
        ),
    )  # fmt: skip
    rejected = sorted(document["rejected"], key=lambda row: row["changedAt"], reverse=True)
    yield from _table(
        "refused lately", rejected, ("id", "from", "address", "times", "why"),
        lambda row: (
            row["id"], row["callingAeTitle"], row["peer"], str(row["count"]), row["why"]["words"],
        ),
    )  # fmt: skip


def _table(
    title: str, rows: Iterable[Any], columns: tuple[str, ...], cells: Any
) -> Iterator[RenderableType]:
    rows = list(rows)
    yield Text.assemble((f"{title}", "bold"), (f"  {len(rows) or 'none'}", DULL))
    if not rows:
        return
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for row in rows[:ROWS_MAX]:
        table.add_row(*(Text(cell) for cell in cells(row)))
    yield table
    if len(rows) > ROWS_MAX:
        yield Text(f"... and {len(rows) - ROWS_MAX} more", DULL)
