"""docs/platform-api.yaml against the server of `examples/http_platform`: same routes, and every
answer is one that the document lists, of the form that it gives.
"""

import base64
import hashlib
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import REPOSITORY, eventually
from platform_server import SERVER, PlatformServer

DOCUMENT = yaml.safe_load((REPOSITORY / "docs" / "platform-api.yaml").read_text())
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}
TYPES = {"string": str, "integer": int, "array": list, "object": dict}
REQUEST = {
    "name": "main-copy-20260101000000", "pipelineId": "copy", "priority": "normal",
    "source": "MAIN (x)", "instances": 1, "bytes": 5,
}  # fmt: skip


def resolved(node: Any) -> Any:
    """Return what a node refers to."""
    if "$ref" in node:
        found = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found
    return node


def check(schema: Any, value: Any) -> None:
    """Hold a value to what the document uses of JSON Schema."""
    schema = resolved(schema)
    if "enum" in schema:
        assert value in schema["enum"]
    if "type" in schema:
        assert isinstance(value, TYPES[schema["type"]]), (schema, value)
    if "pattern" in schema:
        assert re.search(schema["pattern"], value)
    assert set(schema.get("required", ())) <= set(value if isinstance(value, dict) else ())
    for name, inner in schema.get("properties", {}).items():
        if name in value:
            check(inner, value[name])
    for entry in value if "items" in schema else ():
        check(schema["items"], entry)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PlatformServer]:
    pipelines = {"copy": ["/bin/cp", "-r", "input/dcm", "output/"], "sleep": ["/bin/sleep", "60"]}
    with PlatformServer(tmp_path / "platform", pipelines) as running:
        yield running.start()
        assert running.trouble() == ""


def ask(
    server: PlatformServer, name: str, body: Any = None, job: str = "job-1", path: str = "",
    **headers: str,
) -> tuple[int, Any]:  # fmt: skip
    """Make a request of the document; its answer is one of the document."""
    method, route, operation = OPERATIONS[name]
    if "requestBody" in operation and not isinstance(body, bytes):
        check(operation["requestBody"]["content"]["application/json"]["schema"], body)
        body = json.dumps(body).encode()
    status, kind, content = server.ask(
        method, route.format(job=job, path=path), body,
        {name.replace("_", "-"): value for name, value in headers.items()},
    )  # fmt: skip
    documented = resolved(operation["responses"][str(status)]).get("content", {})
    if not documented:
        assert content == b""
        return status, None
    assert kind in documented
    schema = documented[kind].get("schema")
    if schema is None:
        return status, content
    value = json.loads(content)
    check(schema, value)
    return status, value


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def test_server_has_the_routes_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SERVER.parent))
    routes = importlib.import_module("server").ROUTES
    for name in ("server", "jobs"):
        sys.modules.pop(name)
    assert routes == {(method, path): name for name, (method, path, _) in OPERATIONS.items()}


def test_job_from_its_announcement_to_its_results(server: PlatformServer) -> None:
    for _ in range(2):  # every request may be repeated
        assert ask(server, "create", REQUEST) == (
            200,
            {"id": "job-1", "state": "created", "reason": ""},
        )
        assert ask(server, "metadata", {"00080060": "CT"})[0] == 204
        put = {"Content_Type": "application/octet-stream", "Content_Digest": digest(b"bytes")}
        assert ask(server, "upload", b"bytes", path="dcm/a%20b/%E2%82%AC.dcm", **put)[0] == 204
        there = {"files": [{"path": "dcm/a b/€.dcm", "bytes": 5}]}
        assert ask(server, "inputs") == (200, there)
    for _ in range(2):
        assert ask(server, "start")[1]["state"] in ("waiting", "running", "succeeded")
    eventually(lambda: ask(server, "status")[1]["state"] == "succeeded")
    assert ask(server, "start")[1]["state"] == "succeeded"
    assert ask(server, "cancel")[1]["state"] == "succeeded"
    (result,) = ask(server, "results")[1]["files"]
    assert (result["path"], result["sha256"]) == (
        "dcm/a b/€.dcm", hashlib.sha256(b"bytes").hexdigest(),
    )  # fmt: skip
    assert ask(server, "download", path="dcm/a%20b/%E2%82%AC.dcm") == (200, b"bytes")
    assert ask(server, "create", REQUEST)[1]["state"] == "created"  # anew


def test_cancelled_job_stays_so_until_it_is_started_again(server: PlatformServer) -> None:
    ask(server, "create", {**REQUEST, "pipelineId": "sleep"})
    ask(server, "start")
    eventually(lambda: ask(server, "status")[1]["state"] == "running")
    for _ in range(2):
        assert ask(server, "cancel")[1]["state"] == "cancelled"
    assert ask(server, "results")[0] == 409
    ask(server, "start")
    eventually(lambda: ask(server, "status")[1]["state"] == "running")
    status, _ = ask(server, "upload", b"x", path="x", Content_Digest=digest(b"x"))
    assert status == 409


def test_refusals_are_those_of_the_document(server: PlatformServer) -> None:
    assert ask(server, "create", {**REQUEST, "pipelineId": "nowhere"})[0] == 422
    for name in ("status", "inputs", "start", "cancel", "results"):
        assert ask(server, name, job="unknown")[0] == 404
    assert ask(server, "metadata", {}, job="unknown")[0] == 404
    assert ask(server, "download", job="unknown", path="x")[0] == 404
    ask(server, "create", REQUEST)
    assert ask(server, "results")[0] == 409
    assert ask(server, "download", path="x")[0] == 404


@pytest.mark.parametrize(
    "path", ["..%2F..%2Fx", "../../x", "%2e%2e/x", "/x", "a//x", "a%00b", "a%5Cb", "."]
)
def test_upload_lands_below_the_input_of_its_job_or_nowhere(
    server: PlatformServer, path: str
) -> None:
    ask(server, "create", REQUEST)
    before = sorted(server.root.parent.rglob("*"))
    status, _ = ask(server, "upload", b"x", path=path, Content_Digest=digest(b"x"))
    assert status == 400
    assert sorted(server.root.parent.rglob("*")) == before


def test_torn_upload_does_not_count(server: PlatformServer) -> None:
    ask(server, "create", REQUEST)
    for wrong in (digest(b"other"), ""):
        status, _ = ask(server, "upload", b"bytes", path="x", Content_Digest=wrong)
        assert status == 400
    assert ask(server, "inputs")[1] == {"files": []}


def test_wrong_key_is_told_so(server: PlatformServer) -> None:
    for key in ("Bearer wrong", "", "Basic eDp5"):
        status, kind, _ = server.ask("GET", "/jobs/job-1", headers={"Authorization": key})
        assert (status, kind) == (401, "application/problem+json")
