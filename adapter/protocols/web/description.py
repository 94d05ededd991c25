"""The OpenAPI 3.1 document: what the routes say of themselves, and what holds for all of them."""

from typing import Any

import msgspec
from litestar import Litestar

from adapter.domain.access import NewKey
from adapter.protocols.web.destinations import Reason
from adapter.protocols.web.export_orders import Retry
from adapter.protocols.web.group_orders import Extension
from adapter.protocols.web.idempotency import KEY_LENGTH_MAX, KEY_PATTERN
from adapter.protocols.web.log_levels import Levels
from adapter.protocols.web.row_schemas import ANSWERS, COMPONENTS, row_schemas, schema_of
from adapter.protocols.web.tasks import Registration

PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For a person, in one line."},
        "instance": {
            "type": "string",
            "description": "Of a 500: what its line in the log has as `instance`.",
        },
        "problems": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Everything that is wrong, where that is more than one thing.",
        },
    },
}
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same request with the same key is answered as the first, for 24 hours.",
    "schema": {
        "type": "string", "minLength": 1, "maxLength": KEY_LENGTH_MAX, "pattern": KEY_PATTERN,
    },
}  # fmt: skip
ENTITY_TAGS = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
"""RFC 9110 13.1.1."""
BODIES = (Extension, Levels, NewKey, Reason, Registration, Retry)
"""What requests say: exactly as it is read."""
METHODS = ("get", "post", "put", "delete", "patch")


def described(app: Litestar) -> dict[str, Any]:
    """Return the document."""
    document = app.openapi_schema.to_schema()
    document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    schemas = document["components"]["schemas"]
    _, bodies = msgspec.json.schema_components(BODIES, ref_template=f"{COMPONENTS}{{name}}")
    schemas.update({**bodies, **row_schemas()})
    for path, operations in document["paths"].items():
        for method in METHODS:
            if operation := operations.get(method):
                _complete(operation, method)
                if answer := ANSWERS.get((method, path)):
                    _answer(operation, schema_of(answer))
    return document


def _complete(operation: dict[str, Any], method: str) -> None:
    responses = operation["responses"]
    for status in [status for status in responses if status.startswith(("4", "5"))]:
        if status != "503" or "text/plain" not in responses[status].get("content", {}):
            del responses[status]
    responses["default"] = {
        "description": "It was not done.",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    if body := operation.get("requestBody"):
        kinds = [content["schema"].get("oneOf", ()) for content in body["content"].values()]
        body["required"] = not any({"type": "null"} in kind for kind in kinds)
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "If-Match":
            parameter["schema"] = {"type": "string", "maxLength": 1024, "pattern": ENTITY_TAGS}
    if method == "post":
        parameters = operation.setdefault("parameters", [])
        parameters[:] = [one for one in parameters if one["name"] != KEY_PARAMETER["name"]]
        parameters.append(KEY_PARAMETER)


def _answer(operation: dict[str, Any], schema: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response["content"] = {"application/json": {"schema": schema}}
    if operation["operationId"] == "ApiTasksRegister":
        responses = operation["responses"]
        responses["200"] = {**responses["201"], "description": "It was registered before."}
