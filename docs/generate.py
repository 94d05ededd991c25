"""Writes what is generated: `make docs`. tests/test_docs.py fails when it is stale."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapter.configuration import json_schema
from adapter.domain.tables import (
    EXPORT_TRANSITIONS,
    JOB_STEPS,
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    JobState,
    State,
    StepEvent,
    next_job_state,
)
from adapter.protocols.web.app import openapi_document
from adapter.store.payloads import JobMeta

DOCS = Path(__file__).parent


def diagram(
    title: str, table: dict[tuple[State, StepEvent], State], also: Sequence[str] = ()
) -> str:
    """Return a state table as a Mermaid diagram."""
    rows = [f"    {old} --> {new}: {event}" for (old, event), new in table.items()]
    return "\n".join([f"## {title}", "", "```mermaid", "stateDiagram-v2", *rows, *also, "```", ""])


def resumptions() -> list[str]:
    """Return where a job that had faulted goes on: at the step that was given up."""
    event = StepEvent.RESUBMIT
    later = (next_job_state(JobState.FAULTED, event, waiting) for waiting, _, _ in JOB_STEPS[1:])
    return [f"    {JobState.FAULTED} --> {state}: {event}" for state in later]


def job_meta_schema() -> dict[str, Any]:
    """Return the JSON Schema of job.meta."""
    schema = msgspec.json.schema(JobMeta)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def documents() -> dict[Path, str]:
    """Return the generated documents by path."""
    states = "\n".join(
        [
            "# States",
            "",
            "Made from `adapter/domain/tables.py` by `make docs`.",
            "",
            diagram("Job", JOB_TRANSITIONS, resumptions()),
            diagram("Export", EXPORT_TRANSITIONS),
            diagram("Task", TASK_TRANSITIONS),
        ]
    )
    return {
        DOCS / "states.md": states,
        DOCS / "configuration.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        DOCS / "job.meta.schema.json": json.dumps(job_meta_schema(), indent=2) + "\n",
        DOCS / "openapi.json": json.dumps(openapi_document(), indent=2, sort_keys=True) + "\n",
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
