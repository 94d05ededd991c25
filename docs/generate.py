"""Writes what is generated: `make docs`. tests/test_docs.py fails when it is stale."""

import json
from pathlib import Path

from adapter.configuration import json_schema
from adapter.domain.tables import EXPORT_TRANSITIONS, JOB_TRANSITIONS, State, StepEvent
from adapter.protocols.web.app import openapi_document

DOCS = Path(__file__).parent


def diagram(title: str, table: dict[tuple[State, StepEvent], State]) -> str:
    """Return a state table as a Mermaid diagram."""
    rows = [f"    {old} --> {new}: {event}" for (old, event), new in table.items()]
    return "\n".join([f"## {title}", "", "```mermaid", "stateDiagram-v2", *rows, "```", ""])


def documents() -> dict[Path, str]:
    """Return the generated documents by path."""
    states = "\n".join(
        [
            "# States",
            "",
            "Made from `adapter/domain/tables.py` by `make docs`.",
            "",
            diagram("Job", JOB_TRANSITIONS),
            diagram("Export", EXPORT_TRANSITIONS),
        ]
    )
    return {
        DOCS / "states.md": states,
        DOCS / "configuration.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        DOCS / "openapi.json": json.dumps(openapi_document(), indent=2, sort_keys=True) + "\n",
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
