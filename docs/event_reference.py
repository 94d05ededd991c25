"""The reference page of live events, from the schemas of docs/asyncapi.json."""

from collections.abc import Iterator
from typing import Any

from asyncapi import asyncapi_document
from reference import kind, table

from adapter.domain.event_types import TOPICS

HEAD = """\
# Event types

Every type of event by its topic, with the fields of its `data`; made from the program's classes.
Every event has `type`, `seq`, `time` and `data` as well, and, where they apply, `aeTitle`,
`association`, `group`, `job`, `export` and `destination`: strings. How events are heard, and
webhooks: [Live events](../events.md). For programs: [asyncapi.json](../asyncapi.json).
"""


def events_page() -> str:
    """Return each topic with its types, each with a table of its fields."""
    parts = asyncapi_document()["components"]
    schemas = parts["schemas"]
    texts = [HEAD]
    for topic in sorted(TOPICS):
        texts.append(f"## {topic}\n")
        for name, message in parts["messages"].items():
            if name.partition(".")[0] == topic:
                texts += _event(message, schemas)
    return "\n".join(texts)


def _event(message: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    event = _resolved(message["payload"]["allOf"][0], schemas)
    yield f"### {message['name']}\n"
    yield f"{event['description']}\n"
    data = _resolved(event["properties"]["data"], schemas)
    required = data.get("required", ())
    rows = [
        (f"`{name}`", kind(_inlined(schema, schemas)), "yes" if name in required else "no")
        for name, schema in data["properties"].items()
    ]
    yield table(("field of `data`", "type", "always there"), rows) if rows else "No `data`.\n"


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference refers to."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema


def _inlined(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without references, in its parts either."""
    schema = dict(_resolved(schema, schemas))
    if "items" in schema:
        schema["items"] = _inlined(schema["items"], schemas)
    if "anyOf" in schema:
        schema["anyOf"] = [_inlined(choice, schemas) for choice in schema["anyOf"]]
    return schema
