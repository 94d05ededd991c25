"""The event stream as an AsyncAPI 3.0 document: schemas of messages from their classes, which have
nothing to say about the hub's number and time; words from the table of docs/events.md.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from adapter import __version__
from adapter.domain.event_types import EVENTS, TOPICS

TABLE = Path(__file__).parent / "events.md"
TYPE = re.compile(r"`([a-z]+\.[a-z]+)`")
NUMBERED = {
    "description": "What the hub adds to every event.",
    "type": "object",
    "properties": {
        "seq": {
            "type": "integer",
            "minimum": 1,
            "description": "One more with each event of an epoch.",
        },
        "time": {"type": "string", "format": "date-time"},
    },
    "required": ["seq", "time"],
}


def asyncapi_document() -> dict[str, Any]:
    """Return the document."""
    told = dict(_told())
    of_classes, schemas = msgspec.json.schema_components(
        EVENTS.values(), ref_template="#/components/schemas/{name}"
    )
    messages = {
        kind: _message(kind, *told[kind], reference)
        for kind, reference in sorted(zip(EVENTS, of_classes, strict=True))
    }
    references = {name: {"$ref": f"#/components/messages/{name}"} for name in (*messages, *_OTHERS)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "DICOM Adapter: live events",
            "version": __version__,
            "description": "Frames, and bodies of webhooks, are JSON arrays of these messages.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "events": {
                "address": "/api/events",
                "description": "WebSocket; the same as Server-Sent Events at /api/events/stream.",
                "messages": references,
                "bindings": {"ws": {"query": _query()}},
            },
        },
        "operations": {
            "hear": {"action": "send", "channel": {"$ref": "#/channels/events"}},
        },
        "components": {
            "messages": {**messages, **_OTHERS},
            "schemas": {**schemas, "Numbered": NUMBERED},
        },
    }


def _told() -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each type with the other two cells of its row."""
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3:
            yield from ((kind, (cells[1], cells[2])) for kind in TYPE.findall(cells[0]))


def _message(kind: str, when: str, told: str, schema: dict[str, Any]) -> dict[str, Any]:
    payload = {"allOf": [schema, {"$ref": "#/components/schemas/Numbered"}]}
    return {"name": kind, "summary": when, "description": told,
            "tags": [{"name": kind.split(".")[0]}], "payload": payload}  # fmt: skip


def _query() -> dict[str, Any]:
    texts = {
        "since": "The number after which to go on.",
        "epoch": "Of `since`.",
        "topics": f"Some of {', '.join(TOPICS)}, with commas between.",
    }
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", "description": text} for name, text in texts.items()
        },
    }


def _fixed(kind: str, summary: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": kind,
        "summary": summary,
        "payload": {
            "type": "object",
            "properties": {"type": {"const": kind}, **properties},
            "required": ["type", *(name for name in properties if name != "snapshot")],
        },
    }


_NUMBER = {"type": "integer", "minimum": 0}
_OTHERS = {
    "hello": _fixed(
        "hello", "The first message; without a snapshot if `since` could be honoured.",
        epoch={"type": "string"}, seq=_NUMBER, snapshot={"type": "object"},
    ),
    "gap": _fixed(
        "gap", "The subscriber did not keep up, and has missed these numbers.",
        **{"from": _NUMBER, "to": _NUMBER},
    ),
}  # fmt: skip
