"""Writes what is generated: `make docs`. tests/test_docs.py fails when it is stale."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pictures
import reference
from asyncapi import asyncapi_document
from resource_definitions import definitions_text

from adapter.configuration import json_schema
from adapter.protocols.web.app import openapi_document
from adapter.store.payloads import JobMeta

DOCS = Path(__file__).parent
CHART = DOCS.parent / "deploy" / "helm" / "dicom-adapter"


def state_table(title: str, name: str) -> str:
    """Return a state table as a picture and in words."""
    words = reference.table(("from", "to", "when"), sorted(pictures.edges()[name]))
    return f"## {title}\n\n![{title}](pictures/{name}.svg)\n\n{words}"


def job_meta_schema() -> dict[str, Any]:
    """Return the JSON Schema of job.meta."""
    schema = msgspec.json.schema(JobMeta)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def conformance_statement() -> str:
    """Return the conformance statement with the promise of 0x0000 as docs/durability.md has it."""
    promise = (DOCS / "durability.md").read_text().partition("\n## What 0x0000 promises\n")[2]
    rows = re.search(r"^\|.*?(?=\n\n)", promise, re.DOTALL | re.MULTILINE)
    assert rows
    head, _, rest = re.split(
        r"(?<=<!-- from durability.md, by `make docs` -->\n)(.*?)(?=<!-- end -->)",
        (DOCS / "conformance.md").read_text(),
        flags=re.DOTALL,
    )
    return f"{head}\n{rows[0]}\n\n{rest}"


def documents() -> dict[Path, str]:
    """Return the generated documents by path."""
    states = "\n".join(
        [
            "# States\n\nMade from `adapter/domain/tables.py` by `make docs`.\n",
            state_table("Job", "job"),
            state_table("Export", "export"),
            state_table("Task", "task"),
        ]
    )
    return {
        DOCS / "states.md": states,
        DOCS / "conformance.md": conformance_statement(),
        DOCS / "configuration.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        DOCS / "job.meta.schema.json": json.dumps(job_meta_schema(), indent=2) + "\n",
        DOCS / "asyncapi.json": json.dumps(asyncapi_document(), indent=2, sort_keys=True) + "\n",
        CHART / "files" / "custom-resource-definitions.yaml": definitions_text(),
        DOCS / "openapi.json": json.dumps(openapi_document(), indent=2, sort_keys=True) + "\n",
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
