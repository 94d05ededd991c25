"""`GET /docs`: the OpenAPI document for people, as a page without scripts or outside addresses.

What the document says is escaped wherever it is put, and the policy of the page lets the browser
load and run nothing: its style is named by its hash.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from litestar import Litestar, Request, Response, get

from adapter.protocols.web.description import METHODS, described
from adapter.protocols.web.roles import OPEN

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8885; border-radius: .4rem; }
details { border: 1px solid #8885; border-radius: .4rem; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary:focus-visible { outline: 2px solid; outline-offset: 2px; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; font-weight: 600; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
tr + tr { border-top: 1px solid #8885; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
DEPTH_MAX = 6
"""Of a schema that is shown; those that contain themselves go on for ever."""
Schema = Mapping[str, Any]


class _Page:
    """The document as HTML."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._schemas: Mapping[str, Schema] = document["components"]["schemas"]

    def html(self) -> str:
        """Return the page."""
        info = self._document["info"]
        title = escape(f"{info['title']} {info['version']}: REST")
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{STYLE}</style></head><body><main>"
            f'<h1>{title}</h1><p>OpenAPI document: <a href="/api/openapi.json">'
            "/api/openapi.json</a>. Live events: WebSocket <code>/api/events</code>.</p>"
            f"{''.join(self._sections())}</main></body></html>"
        )

    def _sections(self) -> Iterator[str]:
        section = ""
        for path, operations in sorted(self._document["paths"].items()):
            first = "/".join(path.split("/")[: 4 if path.startswith("/api/config") else 3])
            if first != section:
                section = first
                yield f"<h2>{escape(section)}</h2>"
            for method in METHODS:
                if operation := operations.get(method):
                    yield self._operation(method, path, operation)

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> str:
        return (
            f'<details id="{escape(operation["operationId"])}"><summary>'
            f'<span class="method">{method.upper()}</span> <code>{escape(path)}</code> '
            f"{escape(operation.get('summary', ''))}</summary>"
            f"{_paragraphs(operation.get('description', ''))}"
            f"{self._parameters(operation.get('parameters', ()))}{self._body(operation)}"
            f"{''.join(self._responses(operation['responses']))}</details>"
        )

    def _parameters(self, parameters: Any) -> str:
        if not parameters:
            return ""
        rows = "".join(
            f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
            f"<td>{escape(self._kind(one.get('schema', {})))}</td>"
            f"<td>{'required. ' if one.get('required') else ''}"
            f"{escape(one.get('description', ''))}</td></tr>"
            for one in parameters
        )
        return f"<table><caption>Parameters</caption><tbody>{rows}</tbody></table>"

    def _kind(self, schema: Schema) -> str:
        if values := schema.get("enum"):
            return " | ".join(str(value) for value in values if value is not None)
        parts = [self._kind(one) for key in ("oneOf", "anyOf") for one in schema.get(key, ())]
        if parts:
            return " | ".join(part for part in parts if part != "null")
        kind = schema.get("type", "")
        bounds = [
            f"{words} {schema[key]:g}" if key != "pattern" else f"{words} {schema[key]}"
            for key, words in (("minimum", "from"), ("maximum", "to"), ("pattern", "like"))
            if key in schema
        ]
        return ", ".join([str(schema.get("format", kind)), *bounds])

    def _body(self, operation: Mapping[str, Any]) -> str:
        body = operation.get("requestBody")
        if body is None:
            return ""
        ((media_type, content),) = body["content"].items()
        schema = content["schema"]
        return (
            f"<p><strong>Body</strong> {escape(media_type)}. "
            f"{escape(schema.get('description', ''))}</p>{self._schema(schema)}"
        )

    def _responses(self, responses: Mapping[str, Any]) -> Iterator[str]:
        for status, response in sorted(responses.items()):
            words = escape(response.get("description", ""))
            yield f"<p><strong>{escape(status)}</strong> {words}</p>"
            if status.startswith("2"):
                for content in response.get("content", {}).values():
                    yield self._schema(content["schema"])

    def _schema(self, schema: Schema) -> str:
        text = "\n".join(self._lines(schema, 0))
        return f"<pre>{escape(text)}</pre>" if text.strip() else ""

    def _lines(self, schema: Schema, depth: int) -> Iterator[str]:
        """Yield the fields of a schema, those of an inner one below them."""
        found = self._found(schema)
        for key in ("oneOf", "anyOf"):
            for one in found.get(key, ()):
                yield from self._lines(one, depth)
        if found.get("type") == "array":
            yield from self._lines(found.get("items", {}), depth)
        if depth == DEPTH_MAX:
            return
        for name, inner in found.get("properties", {}).items():
            about = inner.get("description", "")
            yield f"{'  ' * depth}{name}: {self._word(inner)}" + (f"   {about}" if about else "")
            yield from self._lines(inner, depth + 1)

    def _found(self, schema: Schema) -> Schema:
        name = schema.get("$ref", "").rpartition("/")[2]
        return self._schemas.get(name, {}) if name else schema

    def _word(self, schema: Schema) -> str:
        """Return what a field is, in a word or two."""
        found = self._found(schema)
        if found.get("type") == "array":
            return f"list of {self._word(found.get('items', {}))}"
        kind = found.get("type", "")
        words = " or ".join(kind) if isinstance(kind, list) else self._kind(found)
        return words or "any"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part)


def page_of(app: Litestar) -> str:
    """Return the page about an application."""
    return _Page(described(app)).html()


@get("/docs", opt=OPEN, include_in_schema=False, sync_to_thread=False)
def docs(request: Request[Any, Any, Any]) -> Response[str]:
    """Return the page."""
    return Response(page_of(request.app), media_type="text/html", headers=HEADERS)


DOCS = [docs]
