"""A bug in a handler, seen by whoever called it and in the log (adapter/protocols/web/app.py)."""

import json

import pytest
from structlog.testing import capture_logs

from adapter.protocols.web.app import make_app

SECRET = "DOE^JANE in /var/lib/dicom-adapter"
"""What the message of an exception may quote."""


class Broken:
    """Views of which every part raises."""

    def __getattr__(self, name):
        raise RuntimeError(SECRET)


async def answer_to(app, method, path):
    """Return status, headers and body, by ASGI 3.0."""
    said = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        said.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    start, *rest = said
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, b"".join(part.get("body", b"") for part in rest)


@pytest.mark.parametrize("path", ["/api/jobs", "/api/groups", "/health/ready", "/health/status"])
async def test_bug_in_a_handler_is_a_problem_with_an_id_and_tells_nothing(path):
    """F111."""
    app = make_app(Broken())
    with capture_logs() as lines:
        status, headers, body = await answer_to(app, "GET", path)
        alive, _, _ = await answer_to(app, "GET", "/health/live")
    problem = json.loads(body)
    assert (status, alive) == (500, 200)
    assert headers["content-type"].startswith("application/problem+json")
    assert problem.keys() == {"type", "title", "status", "detail", "instance"}
    assert problem["instance"].startswith("urn:uuid:")
    for word in (SECRET, "Traceback", "RuntimeError", ".py"):
        assert word not in body.decode()
    (line,) = [line for line in lines if line["event"] == "web.handler_failed"]
    assert line["instance"] == problem["instance"]
    assert str(line["exc_info"]) == SECRET
