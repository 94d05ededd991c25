"""Log levels while the adapter runs (docs/security.md)."""

import json

import pytest
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from test_web_hostile import talk


def put(adapter: Adapter, body: object) -> int:
    headers = {"Content-Type": "application/json"}
    return adapter.request("PUT", "/api/logging", headers, json.dumps(body).encode())[0]


def probe(adapter: Adapter) -> None:
    """Connect to the DICOM port and leave: a debug line of the listener."""
    port, adapter.api_port = adapter.api_port, adapter.dicom_port
    try:
        talk(adapter, b"", 0.05)
    finally:
        adapter.api_port = port


def test_level_of_one_component_changes_and_is_audited(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"logging": {"levels": {"hub": "warning"}}})
    configured = adapter.get("/api/logging")
    assert (configured["level"], configured["levels"]) == ("info", {"hub": "warning"})
    assert "main" in configured["loggers"]
    probe(adapter)
    assert put(adapter, {"levels": {"listener": "debug"}}) == 200

    def heard() -> bool:
        probe(adapter)
        return any(line["level"] == "debug" for line in adapter.events("connection.ended"))

    eventually(heard)
    assert {line["logger"] for line in adapter.events("connection.ended")} == {"listener"}
    told = adapter.get("/api/audit?kind=configuration")[-1]
    assert told["action"] == "PUT /api/logging"
    assert told["before"]["levels"] == {"hub": "warning"}
    assert told["after"]["levels"] == {"listener": "debug"}
    assert put(adapter, {}) == 200
    assert adapter.get("/api/logging")["levels"] == {"hub": "warning"}


@pytest.mark.parametrize(
    "body",
    [{"level": "loud"}, {"levels": {"pydicom": "verbose"}}, {"levels": {"a.b": "debug"}},
     {"levels": {"x" * 100: "debug"}}, {"lvl": "info"}, [],
     {"levels": {f"n{n}": "info" for n in range(99)}}],
)  # fmt: skip
def test_what_is_no_level_changes_nothing(make_shared_adapter: MakeAdapter, body: object) -> None:
    adapter = make_shared_adapter()
    before = adapter.get("/api/logging")["levels"]
    assert put(adapter, body) == 400
    assert adapter.get("/api/logging")["levels"] == before
    adapter.kill()


def test_wrong_level_in_the_file_is_refused() -> None:
    done = run_cli("config", "show", "--set", "logging.levels.web=loud")
    assert done.returncode == 2
    assert "logging.levels" in done.stderr
    assert run_cli("config", "show", "--set", "logging.levels.web=debug").returncode == 0
