"""What pages of others may do: nothing (Origin, Host, headers; F104, F105)."""

import http.client
from collections.abc import Iterator

import pytest
from harness import Adapter
from health import MakeAdapter, unharmed
from test_web_hostile import http as lines
from test_web_hostile import status_of, upgrade


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter({"api": {"host_names": ["adapter.example.org"]}})


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    with unharmed(shared):
        yield shared


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:5000", "127.0.0.1.evil.example", "localhost.evil.example", "x",
     "[::1", "", "127.0.0.1@evil.example:1", "adapter.example.org.evil"],
)  # fmt: skip
def test_name_of_somebody_elses_does_not_lead_here(adapter: Adapter, host: str) -> None:
    """DNS rebinding: the name of a page may point to this machine by now."""
    assert status_of(adapter, lines("GET /api/jobs HTTP/1.1", f"Host: {host}")) in (400, 421)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:5000", "localhost", "LOCALHOST:1", "[::1]:5000", "10.1.2.3",
     "adapter.example.org", "adapter.example.org:443"],
)  # fmt: skip
def test_names_that_are_ours_lead_here(adapter: Adapter, host: str) -> None:
    assert status_of(adapter, lines("GET /api/jobs HTTP/1.1", f"Host: {host}")) == 200


FOREIGN = ["http://evil.example", "null", "http://[::1", "http://127.0.0.1:1", "http://\xff",
           "file://", "https://localhost.evil.example", ""]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_page_changes_nothing(adapter: Adapter, origin: str) -> None:
    request = lines("POST /api/jobs/none/retry HTTP/1.1", "Host: 127.0.0.1:5000",
                    f"Origin: {origin}", "Content-Length: 0")  # fmt: skip
    assert status_of(adapter, request) == 403


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_page_hears_no_events(adapter: Adapter, origin: str) -> None:
    assert status_of(adapter, upgrade(f"Origin: {origin}\r\n")) == 403


def test_foreign_page_takes_no_tasks(adapter: Adapter) -> None:
    """The one GET that changes something."""
    _, _, _ = adapter.request("GET", "/api/tasks/agent/pending")
    refused = adapter.request("GET", "/api/tasks/agent/pending", {"Origin": "http://evil.example"})
    assert refused[0] == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [("127.0.0.1:5000", "http://127.0.0.1:5000"), ("localhost", "http://localhost:80"),
     ("10.1.2.3:5000", "https://adapter.example.org")],
)  # fmt: skip
def test_own_page_may(adapter: Adapter, host: str, origin: str) -> None:
    request = lines("POST /api/jobs/none/retry HTTP/1.1", f"Host: {host}", f"Origin: {origin}",
                    "Content-Length: 0")  # fmt: skip
    assert status_of(adapter, request) == 404


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_nobody_is_told_that_other_origins_may_read(adapter: Adapter, method: str) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    _, headers, _ = adapter.request(method, "/api/jobs", asked)
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/api/jobs", "/api/nothing", "/health/live", "/metrics", "/api/jobs?limit=x"]
)
def test_every_answer_tells_browsers_what_it_is(adapter: Adapter, path: str) -> None:
    _, headers, _ = adapter.request("GET", path)
    found = {name.lower(): value for name, value in headers.items()}
    assert found["x-content-type-options"] == "nosniff"
    assert found["referrer-policy"] == "no-referrer"
    assert found["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in found["content-security-policy"]
    assert "unsafe" not in found["content-security-policy"]
    assert "strict-transport-security" not in found, "it would be a lie without TLS"
    assert "server" not in found


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_form_of_a_foreign_page_is_no_order(adapter: Adapter, content_type: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", adapter.api_port, timeout=10)
    headers = {"Content-Type": content_type, "Origin": "http://evil.example"}
    connection.request("POST", "/api/config/claraaetitle", b'{"aeTitle":"EVIL"}', headers)
    assert connection.getresponse().status == 403
    connection.close()
    assert not [one for one in adapter.get("/api/config/claraaetitle") if one["aeTitle"] == "EVIL"]
