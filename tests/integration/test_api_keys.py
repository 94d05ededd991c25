"""Who may use the API: keys, roles, wrong keys (docs/security.md; F103)."""

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from harness import REPOSITORY, Adapter, environment, run_cli
from health import MakeAdapter, unharmed
from test_web_hostile import ANSWER_S, http, status_of, upgrade

ROLES = ("viewer", "operator", "administrator")


@dataclass
class Keyed:
    """An adapter that asks for keys, and one of each role."""

    adapter: Adapter
    tokens: dict[str, str]

    def status(self, method: str, path: str, token: str = "", body: object = None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        encoded = None if body is None else json.dumps(body).encode()
        return self.adapter.request(method, path, headers, encoded)[0]

    def ask(self, method: str, path: str, role: str, body: object = None) -> Any:
        headers = {"X-API-Key": self.tokens[role], "Content-Type": "application/json"}
        encoded = None if body is None else json.dumps(body).encode()
        status, _, answer = self.adapter.request(method, path, headers, encoded)
        assert status < 300, answer
        return json.loads(answer)

    def cli(
        self, *arguments: str, role: str = "administrator"
    ) -> "subprocess.CompletedProcess[str]":
        key = self.tokens[role]
        return run_cli(*arguments, "--url", self.adapter.url, "--api-key", key)


def offline(adapter: Adapter, name: str, role: str) -> "subprocess.CompletedProcess[str]":
    return run_cli("keys", "create", name, "--role", role, "--offline", "-c", str(adapter.file))


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Keyed:
    adapter = make_shared_adapter({"api": {"auth": "api-key"}}, start=False)
    adapter.file.write_text(json.dumps(adapter.settings))
    tokens = {}
    for role in ROLES:
        done = offline(adapter, f"the {role}", role)
        assert done.returncode == 0, done.stderr
        tokens[role] = done.stdout.strip()
    adapter.start()
    return Keyed(adapter, tokens)


@pytest.fixture
def keyed(shared: Keyed) -> Iterator[Keyed]:
    with unharmed(shared.adapter):
        yield shared


def test_without_a_key_only_liveness_is_told(keyed: Keyed) -> None:
    for path in ("/health/live", "/health/ready", "/api/openapi.json"):
        assert keyed.status("GET", path) == 200
    for path in (
        "/health/status",
        "/metrics",
        "/api/jobs",
        "/api/keys",
        "/api/config/claraaetitle",
    ):
        status, headers, body = keyed.adapter.request("GET", path)
        assert status == 401
        assert {n.lower(): v for n, v in headers.items()}["www-authenticate"] == "Bearer"
        assert json.loads(body)["status"] == 401


READ = ("GET", "/api/jobs", None)
ORDER = ("POST", "/api/jobs/none/retry", None)
CONFIGURE = ("POST", "/api/config/claraaetitle", {"aeTitle": "X", "nonsense": 1})
LIST_KEYS = ("GET", "/api/keys", None)


@pytest.mark.parametrize(
    ("role", "request_", "status"),
    [
        ("viewer", READ, 200), ("viewer", ORDER, 403), ("viewer", CONFIGURE, 403),
        ("viewer", LIST_KEYS, 403), ("operator", READ, 200), ("operator", ORDER, 404),
        ("operator", CONFIGURE, 403), ("operator", LIST_KEYS, 403), ("administrator", READ, 200),
        ("administrator", ORDER, 404), ("administrator", CONFIGURE, 400),
        ("administrator", LIST_KEYS, 200),
    ],
)  # fmt: skip
def test_role_decides(
    keyed: Keyed, role: str, request_: tuple[str, str, object], status: int
) -> None:
    method, path, body = request_
    assert keyed.status(method, path, keyed.tokens[role], body) == status


def test_prometheus_shows_its_key_as_bearer_token(keyed: Keyed) -> None:
    assert keyed.status("GET", "/metrics", keyed.tokens["viewer"]) == 200


def test_who_asks_is_told_who_they_are(keyed: Keyed) -> None:
    assert keyed.ask("GET", "/api/caller", "operator") == {
        "name": "the operator", "role": "operator", "address": "127.0.0.1",
    }  # fmt: skip


def test_key_is_never_taken_from_the_url_and_not_echoed(keyed: Keyed) -> None:
    token = keyed.tokens["administrator"]
    for name in ("key", "api_key", "token", "access_token", "X-API-Key"):
        status, _, body = keyed.adapter.request("GET", f"/api/jobs?{name}={token}")
        assert status == 401
        assert token.encode() not in body


def handshake(keyed: Keyed, extra: str) -> tuple[int, str]:
    """Return status and header lines of the answer to a WebSocket's upgrade."""
    port = keyed.adapter.api_port
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as sock:
        sock.sendall(upgrade(extra))
        response = HTTPResponse(sock)
        response.begin()
        return response.status, str(response.headers)


def test_websocket_takes_a_key_as_header_or_subprotocol(keyed: Keyed) -> None:
    token = keyed.tokens["viewer"]
    assert handshake(keyed, f"Authorization: Bearer {token}\r\n")[0] == 101
    offered = f"Sec-WebSocket-Protocol: dicom-adapter, key.{token}\r\n"
    status, headers = handshake(keyed, offered)
    assert status == 101
    assert "sec-websocket-protocol: dicom-adapter\n" in headers.lower()
    assert token not in headers


@pytest.mark.parametrize(
    "extra", ["", "Sec-WebSocket-Protocol: dicom-adapter\r\n", "Authorization: Bearer\r\n"]
)
def test_websocket_without_a_key_is_refused_before_the_upgrade(keyed: Keyed, extra: str) -> None:
    assert handshake(keyed, extra)[0] in (401, 403)


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "bearer x", "Basic " + base64.b64encode(b"a:b").decode(), "x" * 5000,
     "Bearer da-00000000-" + "A" * 43, "Bearer \xff\xfe", "Negotiate", ",,,"],
)  # fmt: skip
def test_what_is_no_key_is_refused(make_adapter: MakeAdapter, shared: Keyed, value: str) -> None:
    """Some of them are no key at all, some count as a wrong one."""
    with unharmed(shared.adapter):
        request = http("GET /api/jobs HTTP/1.1", "Host: x", f"Authorization: {value}")
        assert status_of(shared.adapter, request) in (401, 429)


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"api": {"auth": "api-key"}}, start=False)
    adapter.file.write_text(json.dumps(adapter.settings))
    token = offline(adapter, "root", "administrator").stdout.strip()
    keyed = Keyed(adapter.start(), {"administrator": token})
    wrong = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    statuses = [keyed.status("GET", "/api/jobs", wrong) for _ in range(15)]
    assert statuses[:10] == [401] * 10
    assert 429 in statuses[10:]
    status, headers, _ = adapter.request("GET", "/api/jobs", {"Authorization": f"Bearer {wrong}"})
    if status == 429:
        assert 1 <= int({n.lower(): v for n, v in headers.items()}["retry-after"]) <= 60
    assert keyed.status("GET", "/api/jobs", token) == 200
    assert not [line for line in adapter.log if wrong in line or token in line]


def test_keys_are_made_shown_once_listed_and_revoked(keyed: Keyed) -> None:
    made = keyed.ask("POST", "/api/keys", "administrator", {"name": "ward 7", "role": "viewer"})
    token = made.pop("key")
    assert made["usable"]
    assert made["madeBy"] == "the administrator"
    assert keyed.status("GET", "/api/jobs", token) == 200
    again = {"name": "ward 7", "role": "viewer"}
    assert keyed.status("POST", "/api/keys", keyed.tokens["administrator"], again) == 409
    assert made in keyed.ask("GET", "/api/keys", "administrator")
    assert token not in json.dumps(keyed.ask("GET", "/api/keys", "administrator"))
    keyed.ask("DELETE", f"/api/keys/{made['id']}", "administrator")
    assert keyed.status("GET", "/api/jobs", token) in (401, 429)
    assert not keyed.ask("DELETE", f"/api/keys/{made['id']}", "administrator")["usable"]


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "x"}, {"name": "", "role": "viewer"}, {"name": "x", "role": "open"},
     {"name": "x", "role": "root"}, {"name": "x", "role": "viewer", "days": -1},
     {"name": "a\nb", "role": "viewer"}, {"name": "x", "role": "viewer", "digest": "0"}],
)  # fmt: skip
def test_what_describes_no_key_makes_none(keyed: Keyed, body: dict[str, object]) -> None:
    before = keyed.ask("GET", "/api/keys", "administrator")
    assert keyed.status("POST", "/api/keys", keyed.tokens["administrator"], body) == 400
    assert keyed.ask("GET", "/api/keys", "administrator") == before


def test_last_administrator_cannot_be_locked_out(keyed: Keyed) -> None:
    mine = [
        k for k in keyed.ask("GET", "/api/keys", "administrator") if k["role"] == "administrator"
    ]
    (usable,) = [key for key in mine if key["usable"]]
    path = f"/api/keys/{usable['id']}"
    assert keyed.status("DELETE", path, keyed.tokens["administrator"]) == 409


def test_commands_take_keys(keyed: Keyed) -> None:
    assert keyed.cli("jobs", "--json", role="viewer").stdout.strip() == "[]"
    made = keyed.cli("keys", "create", "by command", "--role", "operator", "--json")
    key = json.loads(made.stdout)
    assert keyed.status("GET", "/api/jobs", key["key"]) == 200
    listed = keyed.cli("keys", "list", "--json").stdout
    assert {"the viewer", "by command"} <= {row["name"] for row in json.loads(listed)}
    assert keyed.cli("keys", "revoke", key["id"]).returncode == 0
    refused = keyed.cli("keys", "list", role="viewer")
    assert refused.returncode == 1
    assert "administrator" in refused.stderr


def test_commands_take_the_key_from_the_environment(keyed: Keyed) -> None:
    command = [sys.executable, "-m", "adapter", "jobs", "--json", "--url", keyed.adapter.url]
    variable = {"DICOM_ADAPTER_API_KEY": keyed.tokens["viewer"]}
    done = subprocess.run(
        command, env=environment() | variable, cwd=REPOSITORY, capture_output=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    without = run_cli("jobs", "--url", keyed.adapter.url)
    assert without.returncode == 1
    assert without.stderr == "a key is needed\n"


def test_keys_are_in_force_after_a_restart_and_not_in_the_ledger(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"api": {"auth": "api-key"}}, start=False)
    adapter.file.write_text(json.dumps(adapter.settings))
    token = offline(adapter, "root", "administrator").stdout.strip()
    keyed = Keyed(adapter.start(), {"administrator": token})
    other = keyed.ask("POST", "/api/keys", "administrator", {"name": "x", "role": "viewer"})["key"]
    adapter.kill()
    adapter.start()
    for each in (token, other):
        assert keyed.status("GET", "/api/jobs", each) == 200
    assert adapter.stop() == 0
    ledger = b"".join(path.read_bytes() for path in (adapter.root / "ledger").iterdir())
    assert token[12:].encode() not in ledger
    assert other[12:].encode() not in ledger


def test_first_key_is_made_only_while_the_adapter_is_stopped(shared: Keyed) -> None:
    done = offline(shared.adapter, "burglar", "administrator")
    assert done.returncode == 2
    assert "another adapter uses this folder" in done.stderr
    assert not done.stdout


def test_other_machines_are_not_served_without_saying_how(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[api]\nhost = "0.0.0.0"\n')
    done = run_cli("config", "check", str(file))
    assert done.returncode == 2
    assert "api.auth" in done.stderr
    file.write_text('[api]\nhost = "0.0.0.0"\nauth = "api-key"\n')
    assert run_cli("config", "check", str(file)).returncode == 0


def test_keys_in_the_clear_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[api]\nhost = "0.0.0.0"\nauth = "api-key"\n')
    assert "in the clear" in run_cli("config", "check", str(file)).stderr
    file.write_text('[api]\nhost = "0.0.0.0"\nauth = "none"\n')
    assert "may do everything" in run_cli("config", "check", str(file)).stderr
    file.write_text('[api]\nauth = "api-key"\n')
    assert "warning" not in run_cli("config", "check", str(file)).stderr
