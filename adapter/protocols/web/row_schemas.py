"""JSON Schemas of rows of the ledger as `views.camel` shows them, made from their structs."""

from typing import Any

import msgspec
from msgspec import Struct

from adapter.domain.effective_values import EffectiveValue
from adapter.domain.records import Commitment, Export, Job, JobChange, Outcome, Transaction
from adapter.domain.tasks import Task
from adapter.protocols.web.views import TIMES, camel_name

COMPONENTS = "#/components/schemas/"
_MOMENT = {"type": ["string", "null"], "description": "RFC 3339; null: none."}


def row_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by their names among the components."""
    change, outcome, transaction = (
        {"type": "array", "items": {"$ref": COMPONENTS + name}}
        for name in ("JobChange", "Outcome", "Transaction")
    )
    job, export, task = _row(Job), _row(Export), _row(Task)
    del job["properties"]["history"]
    task["properties"]["taskId"] = task["properties"].pop("id")
    texts = {"type": "array", "items": {"type": "string"}}
    return {
        "Job": _closed(job),
        "JobDetail": _closed(_with(job, history=change, studies=texts)),
        "JobChange": _closed(_row(JobChange)),
        "Export": _closed(export),
        "ExportDetail": _closed(_with(export, outcomes=outcome, transactions=transaction)),
        "Outcome": _closed(_row(Outcome)),
        "Transaction": _closed(_row(Transaction)),
        "Commitment": _closed(_row(Commitment)),
        "EffectiveValue": _closed(_row(EffectiveValue)),
        "Task": _closed(task),
        "TaskDetail": _closed(
            _with(task, payloadId={"type": "string"}, parameters={"type": "string"}, uris=texts)
        ),
    }


ANSWERS: dict[tuple[str, str], str | list[str]] = {
    ("get", "/api/jobs"): ["Job"],
    ("get", "/api/jobs/{job_id}"): "JobDetail",
    ("post", "/api/jobs/{job_id}/retry"): "JobDetail",
    ("post", "/api/jobs/{job_id}/cancel"): "JobDetail",
    ("get", "/api/exports"): ["Export"],
    ("get", "/api/exports/{export_id}"): "ExportDetail",
    ("post", "/api/exports/{export_id}/retry"): "Export",
    ("get", "/api/commitments"): ["Commitment"],
    ("get", "/api/configuration"): ["EffectiveValue"],
    ("get", "/api/tasks"): ["Task"],
    ("get", "/api/tasks/{task_id}"): "TaskDetail",
    ("post", "/api/tasks"): "TaskDetail",
    ("post", "/api/tasks/{task_id}/retry"): "TaskDetail",
    ("get", "/api/tasks/{agent}/pending"): ["TaskDetail"],
    ("put", "/api/tasks/success/{task_id}"): "TaskDetail",
    ("put", "/api/tasks/failure/{task_id}"): "TaskDetail",
}
"""What is answered with success, by method and path; in brackets: a list of it."""


def schema_of(answer: str | list[str]) -> dict[str, Any]:
    """Return the schema of an answer."""
    if isinstance(answer, list):
        return {"type": "array", "items": {"$ref": COMPONENTS + answer[0]}}
    return {"$ref": COMPONENTS + answer}


def _row(struct: type[Struct]) -> dict[str, Any]:
    properties = {}
    for field in msgspec.structs.fields(struct):
        if field.name in TIMES:
            properties[camel_name(field.name)] = dict(_MOMENT)
        else:
            (schema,), inner = msgspec.json.schema_components([field.type])
            properties[camel_name(field.name)] = _inlined(schema, inner)
    return {"type": "object", "properties": properties}


def _inlined(schema: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without references: the types in rows are small."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return {key: value for key, value in inner[name].items() if key != "title"} if name else schema


def _with(row: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**row, "properties": {**row["properties"], **more}}


def _closed(row: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a row that has all of its fields and no others."""
    return {**row, "required": sorted(row["properties"]), "additionalProperties": False}
