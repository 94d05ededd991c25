"""Who changed what, who has logged in: over REST, by command, in the file (docs/security.md)."""

import csv
import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Adapter, eventually, run_cli
from health import MakeAdapter, unharmed
from test_api_keys import Keyed, offline


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Keyed:
    adapter = make_shared_adapter({"api": {"auth": "api-key"}}, start=False)
    adapter.file.write_text(json.dumps(adapter.settings))
    tokens = {
        role: offline(adapter, f"the {role}", role).stdout.strip()
        for role in ("viewer", "operator", "administrator")
    }
    adapter.start()
    return Keyed(adapter, tokens)


@pytest.fixture
def keyed(shared: Keyed) -> Iterator[Keyed]:
    with unharmed(shared.adapter):
        yield shared


def trail(keyed: Keyed, **filters: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    found: list[dict[str, Any]] = keyed.ask(
        "GET", f"/api/audit?limit=1000&{query}", "administrator"
    )
    return found


def test_change_is_told_as_it_was_and_as_it_is(keyed: Keyed) -> None:
    route = "/api/config/claraaetitle"
    entity = {"aeTitle": "AUDITED", "pipelines": {"one": "pipe-one"}}
    keyed.ask("POST", route, "administrator", entity)
    keyed.ask("PUT", f"{route}/AUDITED", "administrator", {**entity, "timeoutS": 7})
    keyed.ask("DELETE", f"{route}/AUDITED", "administrator")
    made, changed, removed = [e for e in trail(keyed) if e["path"].startswith(route)]
    assert {e["who"] for e in (made, changed, removed)} == {"the administrator"}
    assert {e["role"] for e in (made, changed, removed)} == {"administrator"}
    assert {e["address"] for e in (made, changed, removed)} == {"127.0.0.1"}
    assert (made["action"], made["outcome"], made["before"]) == (f"POST {route}", 201, {})
    assert made["after"]["aeTitle"] == "AUDITED"
    assert (changed["before"], changed["after"]) == ({"timeoutS": 5.0}, {"timeoutS": 7.0})
    assert removed["before"]["state"] == "running"


def test_what_was_refused_is_told_too(keyed: Keyed) -> None:
    assert keyed.status("POST", "/api/jobs/none/retry", keyed.tokens["viewer"]) == 403
    assert keyed.status("POST", "/api/jobs/none/cancel", keyed.tokens["operator"]) == 404
    denied, absent = [e for e in trail(keyed, kind="order") if "/api/jobs/none" in e["path"]]
    assert (denied["who"], denied["outcome"]) == ("the viewer", 403)
    assert (absent["who"], absent["outcome"]) == ("the operator", 404)


def test_looking_is_not_told(keyed: Keyed) -> None:
    before = len(trail(keyed))
    keyed.ask("GET", "/api/jobs", "administrator")
    keyed.ask("GET", "/api/keys", "administrator")
    assert keyed.status("GET", "/api/tasks/agent/pending", keyed.tokens["administrator"]) == 200
    assert len(trail(keyed)) == before


def test_logins_are_told_once_and_keys_never(keyed: Keyed) -> None:
    for _ in range(5):
        keyed.ask("GET", "/api/jobs", "operator")
        keyed.status("GET", "/api/jobs", "da-00000000-" + "x" * 43)
    logins = trail(keyed, kind="login")
    assert len([e for e in logins if e["who"] == "the operator"]) == 1
    assert len([e for e in logins if e["action"] == "wrong key"]) == 1
    made = keyed.ask("POST", "/api/keys", "administrator", {"name": "tmp", "role": "viewer"})
    keyed.ask("DELETE", f"/api/keys/{made['id']}", "administrator")
    text = json.dumps(trail(keyed)) + "\n".join(keyed.adapter.log)
    assert made["key"] not in text
    assert made["key"][12:] not in text
    revoked = trail(keyed)[-1]
    assert revoked["before"] == {"usable": True, "revokedAt": None}


def test_keys_made_offline_are_told(keyed: Keyed) -> None:
    told = [e for e in trail(keyed, who="offline") if e["action"] == "keys create"]
    assert {e["after"]["name"] for e in told} == {"the viewer", "the operator", "the administrator"}


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_administrators_read_it(keyed: Keyed, role: str) -> None:
    assert keyed.status("GET", "/api/audit", keyed.tokens[role]) == 403


@pytest.mark.parametrize("query", ["since=yesterday", "kind=nonsense", "limit=0", "since=%00"])
def test_bad_filters_are_refused(keyed: Keyed, query: str) -> None:
    assert keyed.status("GET", f"/api/audit?{query}", keyed.tokens["administrator"]) == 400


def test_command_exports_it(keyed: Keyed) -> None:
    rows = json.loads(keyed.cli("audit", "--json").stdout)
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    later = json.loads(keyed.cli("audit", "--json", "--since", rows[-1]["at"]).stdout)
    assert rows[-1] in later
    assert len(later) < len(rows)
    exported = list(csv.DictReader(keyed.cli("audit", "--csv").stdout.splitlines()))
    assert [row["seq"] for row in exported[: len(rows)]] == [str(row["seq"]) for row in rows]
    assert "the administrator" in keyed.cli("audit").stdout


def test_trail_outlives_a_kill_and_tells_of_the_file(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    status, _, _ = adapter.request("POST", "/api/jobs/none/retry")
    assert status == 404
    adapter.kill()
    adapter.settings["platform"] = {"max_retries": 9}
    adapter.start()
    entries = eventually(lambda: adapter.get("/api/audit"))
    begun, order, changed = entries
    assert (begun["who"], begun["action"]) == ("start", "configuration")
    assert (order["who"], order["action"]) == ("anybody", "POST /api/jobs/{job_id}/retry")
    assert (changed["before"], changed["after"]) == (
        {"platform.max_retries": "3"}, {"platform.max_retries": "9"},
    )  # fmt: skip
    assert len(adapter.events("audit.recorded")) <= 2


def test_secrets_of_the_file_are_hidden(make_adapter: MakeAdapter) -> None:
    secret = "s3cr3t-of-the-platform"
    http = {"engine": "http", "endpoint": "http://127.0.0.1:1/api", "http": {"api_key": secret}}
    adapter: Adapter = make_adapter({"platform": http})
    assert secret not in json.dumps(adapter.get("/api/audit"))
    assert secret not in "\n".join(adapter.log)
    shown = run_cli("config", "show", str(adapter.file)).stdout
    assert secret not in shown
