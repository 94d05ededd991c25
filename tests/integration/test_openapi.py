"""The OpenAPI document promises nothing that the running adapter does not keep."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import Adapter, environment, eventually
from health import MakeAdapter, missing, unharmed
from wire import Wire, associate_rq, data_set

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
RULES = Path(__file__).parent / "schemathesis.toml"
EXAMPLES = 5
"""For each operation; the whole takes some 15 seconds."""


@pytest.fixture(scope="module")
def adapter(make_shared_adapter: MakeAdapter) -> Adapter:
    """An adapter with a row of everything."""
    adapter = make_shared_adapter({
        "destinations": [{"name": "away", "ae_title": "AWAY", "host": "127.0.0.1", "port": 9}],
        "sources": [{"ae_title": "TEST", "host": "127.0.0.1"}],
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"},
             "destinations": ["away"]},
            {"name": "slow", "ae_title": "SLOW", "timeout_s": 600, "pipelines": {"a": "b"}},
        ],
    })  # fmt: skip
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=b"NOBODY"))
        assert wire.answer()[0] == "reject"
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.5.1", data_set("1.2.5.1", study="1.2.5")) == ("response", 0)
        wire.release()
    (job,) = eventually(lambda: adapter.get("/api/jobs?state=Starting"))
    (folder,) = adapter.payload_folders()
    (instance,) = (folder / "input").rglob("*.dcm")
    (folder / "output").mkdir(exist_ok=True)
    (folder / "output" / "result.dcm").write_bytes(instance.read_bytes())
    (folder / "output" / "job.done").touch()
    eventually(lambda: adapter.get("/api/exports"), 20)
    task = {"jobId": job["id"], "agent": "other", "uris": ["result.dcm"]}
    status, _, _ = adapter.request(
        "POST", "/api/tasks", {"Content-Type": "application/json"}, json.dumps(task).encode()
    )
    assert status == 201
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"SLOW")
        assert wire.store("1.2.9.1", data_set("1.2.9.1", study="1.2.9")) == ("response", 0)
        (group,) = adapter.get("/api/groups")
        assert adapter.request("POST", f"/api/groups/{group['id']}/hold")[0] == 204
        wire.release()
    return adapter


def test_every_operation_keeps_what_the_document_says(adapter: Adapter, tmp_path: Path) -> None:
    if not SCHEMATHESIS.exists():
        missing("schemathesis is not installed")
    document = f"{adapter.url}/api/openapi.json"
    with unharmed(adapter):
        done = subprocess.run(
            [str(SCHEMATHESIS), "--config-file", str(RULES), "run", document,
             "--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing", "--seed", "1"],
            env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False,
            timeout=240,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


ROWS = {
    "/api/jobs/{job_id}": ("/api/jobs", "id"),
    "/api/exports/{export_id}": ("/api/exports", "id"),
    "/api/tasks/{task_id}": ("/api/tasks", "taskId"),
    "/api/associations/{association_id}": ("/api/associations", "id"),
    "/api/config/claraaetitle/{name}": ("/api/config/claraaetitle", "name"),
    "/api/config/sourceaetitle/{name}": ("/api/config/sourceaetitle", "name"),
    "/api/config/destinationaetitle/{name}": ("/api/config/destinationaetitle", "name"),
}


@pytest.mark.parametrize("path", ROWS)
def test_rows_are_as_the_document_says(adapter: Adapter, path: str) -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs")  # comes with schemathesis
    document = adapter.get("/api/openapi.json")
    many, key = ROWS[path]
    rows = adapter.get(many)
    assert rows
    for row in rows:
        shown = adapter.get(f"{many}/{row[key]}")
        check(jsonschema_rs, document, path, shown)
    check(jsonschema_rs, document, many, rows)


@pytest.mark.parametrize("uid", ["1.2.5", "1.2.9"])
def test_story_is_as_the_document_says(adapter: Adapter, uid: str) -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs")  # comes with schemathesis
    document = adapter.get("/api/openapi.json")
    shown = adapter.get(f"/api/timeline/{uid}")
    check(jsonschema_rs, document, "/api/timeline/{study_instance_uid}", shown)


def test_page_for_people_shows_every_operation_and_loads_nothing(adapter: Adapter) -> None:
    status, headers, body = adapter.request("GET", "/docs")
    names = {name.lower(): value for name, value in headers.items()}
    assert status == 200
    assert names["content-type"].startswith("text/html")
    page = body.decode()
    paths = adapter.get("/api/openapi.json")["paths"]
    shown = re.findall(r'<span class="method">(\w+)</span> <code>([^<]+)</code>', page)
    wanted = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert set(shown) == wanted
    assert not re.search(r"<script|<link|<img|src=|https?:", page)
    policy = names["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy


def check(jsonschema_rs: Any, document: dict[str, Any], path: str, answer: Any) -> None:
    """Fail if an answer is not what the document says of GET of a path."""
    success = document["paths"][path]["get"]["responses"]["200"]
    schema = success["content"]["application/json"]["schema"]
    jsonschema_rs.validate({**schema, "components": document["components"]}, answer)
