"""The timeline of a study, as the demo tells it at its end."""

from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

PARTIES = ("aeTitle", "destination")
FACTS_MAX = 4


def story(timeline: dict[str, Any]) -> Table:
    """Return what `GET /api/timeline/{studyInstanceUid}` has answered as a table."""
    table = Table(title=f"study {timeline['studyInstanceUid']}", title_justify="left")
    for column in ("after", "what", "of", "facts"):
        table.add_column(column, overflow="fold")
    entries = timeline["entries"]
    began = datetime.fromisoformat(entries[0]["at"])
    for entry in entries:
        after = (datetime.fromisoformat(entry["at"]) - began).total_seconds()
        of = next((entry[key] for key in PARTIES if entry.get(key)), "")
        table.add_row(f"{after:.3f} s", entry["what"], Text(of), Text(_facts(entry)))
    return table


def _facts(entry: dict[str, Any]) -> str:
    found = [
        f"{key} {value}"
        for key, value in entry.get("data", {}).items()
        if isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    ]
    return ", ".join(found[:FACTS_MAX])
