"""REST and health seen by an HTTP client (interface, section 3)."""

import json
from collections.abc import Mapping

import pytest
from harness import Adapter, eventually
from health import MakeAdapter
from wire import Wire, data_set

STUDIES = 7


@pytest.fixture(scope="module")
def adapter(make_shared_adapter: MakeAdapter) -> Adapter:
    """An adapter that has made a job of each of some studies; nobody runs them, so all wait."""
    adapter = make_shared_adapter()
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for number in range(STUDIES):
            uid = f"1.2.3.{number}"
            assert wire.store(uid, data_set(uid, study=f"1.2.4.{number}")) == ("response", 0)
        wire.release()
    eventually(lambda: len(adapter.get("/api/jobs?state=Starting")) == STUDIES, 10)
    return adapter


def test_health_says_alive_ready_and_what_runs(adapter: Adapter) -> None:
    for path in ("/health/live", "/health/ready"):
        status, _, body = adapter.request("GET", path)
        assert (status, body) == (200, b"Healthy")
    status = adapter.get("/health/status")
    assert status["activeDimseConnections"] == 0
    assert status["services"]
    assert set(status["services"].values()) == {"Running"}


def test_active_associations_are_counted(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert adapter.get("/health/status")["activeDimseConnections"] == 1
        (row,) = adapter.get("/api/associations?state=accepted")
        assert row["callingAeTitle"] == "TEST"
        assert adapter.get(f"/api/associations/{row['id']}")["id"] == row["id"]
        wire.release()
    eventually(lambda: adapter.get("/health/status")["activeDimseConnections"] == 0)


def test_pages_of_jobs_fit_together(adapter: Adapter) -> None:
    everything = adapter.get("/api/jobs")
    pages = [adapter.get(f"/api/jobs?limit=3&offset={offset}") for offset in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [job for page in pages for job in page] == everything
    detail = adapter.get(f"/api/jobs/{everything[0]['id']}")
    assert detail.pop("history")[0]["state"] == "Queued"
    (study,) = detail.pop("studies")
    assert detail["id"] in adapter.get(f"/api/timeline/{study}")["jobs"]
    assert detail == everything[0]


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_page_says_how_many_there_are_and_where_the_next_is(adapter: Adapter) -> None:
    path, seen = "/api/jobs?state=Starting&limit=3", []
    while path:
        status, headers, body = adapter.request("GET", path)
        assert status == 200
        assert lower(headers)["x-total-count"] == str(STUDIES)
        seen += [job["id"] for job in json.loads(body)]
        path = lower(headers).get("link", "").partition('>; rel="next"')[0].removeprefix("<")
    assert seen == [job["id"] for job in adapter.get("/api/jobs")]


def test_jobs_are_found_by_ae_title_pipeline_and_time(adapter: Adapter) -> None:
    everything = adapter.get("/api/jobs")
    assert adapter.get("/api/jobs?aeTitle=MAIN&pipeline=one") == everything
    assert adapter.get("/api/jobs?aeTitle=OTHER") == []
    assert adapter.get("/api/jobs?pipeline=other") == []
    assert adapter.get("/api/jobs?since=2020-01-01T00:00:00Z") == everything
    assert adapter.get("/api/jobs?until=2020-01-01T00:00:00Z") == []
    assert adapter.get("/api/exports?jobId=none&since=2020-01-01T00:00:00") == []


def test_values_that_cannot_be_are_named_with_what_is_wrong(adapter: Adapter) -> None:
    found = problem(adapter, "/api/jobs?limit=0&offset=x")
    problems = found["problems"]
    assert isinstance(problems, list)
    assert sorted(line.partition(":")[0] for line in problems) == ["limit", "offset"]
    assert "limit" in str(found["detail"])
    for value in ("yesterday", "2026-13-01T00:00:00Z", "0.5", "2026-01-01"):
        detail = str(problem(adapter, f"/api/jobs?since={value}")["detail"])
        assert detail.startswith("since: "), value


@pytest.mark.parametrize(
    "path",
    ["associations", "groups", "jobs", "jobs/x", "exports", "tasks", "commitments", "destinations",
     "config/claraaetitle", "config/sourceaetitle", "storage", "actors"],
)  # fmt: skip
def test_query_that_a_route_does_not_know_is_refused(adapter: Adapter, path: str) -> None:
    found = problem(adapter, f"/api/{path}?limt=1&nonsense=2")
    assert found["status"] == 400
    assert "'limt'" in str(found["detail"])
    assert "'nonsense'" in str(found["detail"])


@pytest.mark.parametrize(
    "path",
    ["associations", "groups", "tasks", "commitments", "destinations", "config/claraaetitle",
     "config/sourceaetitle", "config/destinationaetitle", "storage/items"],
)  # fmt: skip
def test_every_list_has_pages(adapter: Adapter, path: str) -> None:
    status, headers, body = adapter.request("GET", f"/api/{path}?limit=1&offset=0")
    assert status == 200
    total = int(lower(headers)["x-total-count"])
    assert len(json.loads(body)) == min(total, 1)
    assert ("link" in lower(headers)) == (total > 1)


def test_jobs_speak_camel_case(adapter: Adapter) -> None:
    job = adapter.get("/api/jobs?limit=1")[0]
    assert {"id", "aeTitle", "groupId", "pipelineId", "openedAt", "instances"} <= set(job)
    assert not [key for key in job if "_" in key]


def problem(adapter: Adapter, path: str) -> dict[str, object]:
    status, headers, body = adapter.request("GET", path)
    types = {name.lower(): value for name, value in headers.items()}
    assert types["content-type"].startswith("application/problem+json"), path
    found: dict[str, object] = json.loads(body)
    assert found["status"] == status
    assert set(found) >= {"type", "title", "status", "detail"}
    return found


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=-1", "limit=x", "offset=-1", "offset=1.5", "state=Nonsense",
     "limit=99999999999999999999999", "state=%00"],
)  # fmt: skip
@pytest.mark.parametrize("what", ["jobs", "exports"])
def test_bad_queries_are_problems(adapter: Adapter, what: str, query: str) -> None:
    assert problem(adapter, f"/api/{what}?{query}")["status"] == 400


@pytest.mark.parametrize(
    "path",
    ["/api/jobs/none", "/api/exports/none", "/api/associations/none", "/api/nothing", "/x",
     "/api/jobs/..%2f..%2fetc", "/api/jobs/%00", "/api/jobs/" + "x" * 3000],
)  # fmt: skip
def test_absent_things_are_problems(adapter: Adapter, path: str) -> None:
    assert problem(adapter, path)["status"] == 404


def test_wrong_method_is_a_problem(adapter: Adapter) -> None:
    status, _, body = adapter.request("DELETE", "/api/jobs")
    assert status == 405
    assert json.loads(body)["status"] == 405


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/api/jobs", {"GET", "OPTIONS"}), ("/api/config/claraaetitle", {"GET", "OPTIONS", "POST"}),
     ("/api/config/claraaetitle/main", {"GET", "OPTIONS", "PUT", "DELETE"})],
)  # fmt: skip
def test_path_tells_its_methods(adapter: Adapter, path: str, methods: set[str]) -> None:
    for method, expected in (("OPTIONS", 204), ("TRACE", 405)):
        status, headers, _ = adapter.request(method, path)
        assert status == expected
        assert set(lower(headers)["allow"].split(", ")) == methods


def test_openapi_lists_the_routes(adapter: Adapter) -> None:
    paths = adapter.get("/api/openapi.json")["paths"]
    assert {"/api/jobs", "/api/jobs/{job_id}", "/api/exports", "/health/ready"} <= set(paths)


def test_metrics_are_openmetrics(adapter: Adapter) -> None:
    status, _, body = adapter.request("GET", "/metrics")
    assert status == 200
    text = body.decode()
    assert text.endswith("# EOF\n")
    assert f'dicom_adapter_events_total{{type="instance.stored"}} {STUDIES}' in text


def test_no_page_of_another_site_may_read(adapter: Adapter) -> None:
    _, headers, _ = adapter.request("GET", "/api/jobs", {"Origin": "http://evil.example"})
    assert not [name for name in headers if name.lower() == "access-control-allow-origin"]
