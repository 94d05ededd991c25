"""The adapter as a Results Service: registering over real HTTP, agents, exports to real peers."""

import http.client
import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import dcmtk_storescp, free_port
from harness import Adapter, eventually, pass_time
from health import MakeAdapter, unharmed
from pydicom import dcmread
from pydicom.data import get_testdata_file
from test_jobs import send, wait_for

CT_SMALL = Path(str(get_testdata_file("CT_small.dcm")))
AGENT = "Fhir-1"


def destination(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "ae_title": name.upper(), "host": "127.0.0.1", "port": port}


def entity(*destinations: str) -> list[dict[str, Any]]:
    return [{
        "name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"},
        "destinations": list(destinations),
    }]  # fmt: skip


def output(adapter: Adapter, job_id: str) -> Path:
    return adapter.root / "payloads" / job_id / "output"


def leave(adapter: Adapter, job_id: str, *names: str) -> None:
    """Leave results as a pipeline does, the flag last; each is an instance of its own."""
    folder = output(adapter, job_id)
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".dcm"):
            dataset = dcmread(CT_SMALL)
            dataset.SOPInstanceUID = f"1.2.840.99.{number + 1}"
            dataset.save_as(path)
        else:
            path.write_text("no instance")
    (folder / "job.done").touch()


def ask(adapter: Adapter, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return status and decoded body of a request with JSON."""
    content = None if body is None else json.dumps(body).encode()
    status, headers, answer = adapter.request(
        method, path, {"Content-Type": "application/json"}, content
    )
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
    return status, json.loads(answer)


def register(adapter: Adapter, job_id: str, *uris: str, **more: Any) -> tuple[int, Any]:
    return ask(adapter, "POST", "/api/tasks", {"jobId": job_id, "uris": list(uris), **more})


def pending(adapter: Adapter, agent: str = AGENT, query: str = "") -> list[str]:
    status, tasks = ask(adapter, "GET", f"/api/tasks/{agent}/pending{query}")
    assert status == 200
    return [task["taskId"] for task in tasks]


def uids(folder: Path) -> Sequence[str]:
    return sorted(str(dcmread(file).SOPInstanceUID) for file in folder.iterdir())


def ended(adapter: Adapter, task_id: str, state: str) -> dict[str, Any]:
    """Wait until a task is in a state; return it."""

    def reached() -> dict[str, Any] | None:
        task: dict[str, Any] = adapter.get(f"/api/tasks/{task_id}")
        return task if task["state"] == state else None

    found = eventually(reached, 20, f"{task_id} {state}")
    assert found is not None
    return found


@pytest.mark.peer("dcmtk")
def test_registered_results_go_where_they_say_and_the_rest_where_the_ae_title_says(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with dcmtk_storescp(first) as port_1, dcmtk_storescp(second) as port_2:
        adapter = make_adapter({
            "application_entities": entity("first"),
            "destinations": [destination("first", port_1), destination("second", port_2)],
        })  # fmt: skip
        job = send(adapter)
        status, task = register(adapter, job, "seg/b.dcm", "report.txt", destinations="SECOND")
        assert (status, task["state"], task["destinations"]) == (201, "Pending", ["second"])
        assert adapter.get("/api/exports") == []  # its job has not completed
        leave(adapter, job, "a.dcm", "seg/b.dcm", "report.txt")
        done = ended(adapter, task["taskId"], "Succeeded")
        assert (done["skipped"], done["missing"]) == (1, 0)
        eventually(lambda: len(adapter.get("/api/exports?state=Completed")) == 2)
        assert uids(first) == ["1.2.840.99.1"]
        assert uids(second) == ["1.2.840.99.2"]
        found = adapter.get(f"/api/jobs/{job}")
        assert (found["results"], found["skipped"]) == (2, 1)
        assert found["skippedFiles"] == ["report.txt"]
        assert adapter.metrics("dicom_adapter_events")["job.collected"] == 1


def test_task_of_a_dead_destination_waits_and_holds_the_job(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({
        "application_entities": entity(), "destinations": [destination("dead", free_port())],
        "storage": {"retention": {"completed_s": 0}},
    })  # fmt: skip
    job = send(adapter)
    _, task = register(adapter, job, "a.dcm", destinations=["dead"])
    leave(adapter, job, "a.dcm")
    ended(adapter, task["taskId"], "InProgress")
    (export,) = adapter.get("/api/exports")
    eventually(lambda: "refused" in adapter.get(f"/api/exports/{export['id']}")["error"])
    pass_time(6)  # the reclaimer looks every 5 s, and retention is over
    assert output(adapter, job).exists()
    assert adapter.get("/api/tasks")[0]["state"] == "InProgress"


def test_agent_takes_reports_and_hears_of_it_again(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"results": {"report_s": 4, "retry_delay_s": 0}})
    job = send(adapter)
    _, task = register(adapter, job, "a.dcm", agent=AGENT, destinations=["any", "thing"])
    assert task["parameters"] == '["any","thing"]'
    assert pending(adapter) == []  # not before the job has completed
    leave(adapter, job, "a.dcm")
    wait_for(adapter, job, "Completed")
    (taken,) = eventually(lambda: ask(adapter, "GET", f"/api/tasks/{AGENT}/pending?size=10")[1])
    assert taken["taskId"] == task["taskId"]
    assert (taken["jobId"], taken["payloadId"], taken["pipelineId"]) == (job, job, "pipe-one")
    assert (taken["uris"], taken["state"], taken["retries"]) == (["a.dcm"], "InProgress", 0)
    assert pending(adapter) == []
    adapter.kill()  # whoever took it reports to the next life; nothing is offered twice in time
    adapter.start()
    path = f"/api/tasks/failure/{task['taskId']}"
    status, failed = ask(adapter, "PUT", path, {"RetryLater": True})
    assert (status, failed["state"], failed["retries"]) == (200, "Pending", 1)
    assert pending(adapter) == [task["taskId"]]
    assert eventually(lambda: pending(adapter), 10) == [task["taskId"]]  # nobody reported
    for _ in range(2):
        status, done = ask(adapter, "PUT", f"/api/tasks/success/{task['taskId']}")
        assert (status, done["state"]) == (200, "Succeeded")
    assert ask(adapter, "PUT", path, {"RetryLater": False})[0] == 409


def test_failed_task_is_held_and_retried_by_hand(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"storage": {"retention": {"completed_s": 0}}})
    job = send(adapter)
    _, task = register(adapter, job, "a.dcm", agent=AGENT)
    leave(adapter, job, "a.dcm")
    eventually(lambda: pending(adapter))
    path = f"/api/tasks/failure/{task['taskId']}"
    assert ask(adapter, "PUT", path, {"retryLater": False})[1]["state"] == "Failed"
    assert adapter.get("/api/tasks?state=Failed")[0]["taskId"] == task["taskId"]
    assert ask(adapter, "POST", f"/api/tasks/{task['taskId']}/retry")[1]["state"] == "Pending"
    assert pending(adapter) == [task["taskId"]]
    assert output(adapter, job).exists()  # although retention is over
    assert ask(adapter, "PUT", f"/api/tasks/success/{task['taskId']}")[0] == 200
    gone = f"/api/tasks/{task['taskId']}"
    eventually(lambda: ask(adapter, "GET", gone)[0] == 404, what="the job is reclaimed")
    assert not output(adapter, job).exists()  # files go first: what is remembered can be removed


@pytest.mark.parametrize(
    "uri",
    ["../../etc/passwd", "/etc/passwd", "a/../../b.dcm", "", ".", "..", "a//b", "a\\..\\b", "a\0b",
     "a/", "x" * 300, "job.done", "a\nb", "\udc80"],
)  # fmt: skip
def test_uri_that_leads_elsewhere_is_refused(
    make_shared_adapter: MakeAdapter, shared: Adapter, uri: str
) -> None:
    with unharmed(shared):
        status, problem = register(shared, "job-1", "a.dcm", uri)
        assert status == 400
        assert problem["status"] == 400


BODIES: list[Any] = [
    None, 7, [], "text", {}, {"jobId": "job-1"}, {"uris": ["a.dcm"]},
    {"jobId": "job-1", "uris": []}, {"jobId": "job-1", "uris": "a.dcm"},
    {"jobId": 7, "uris": ["a.dcm"]}, {"jobId": "job-1", "uris": [7]},
    {"jobId": "job-1", "uris": ["a.dcm"], "agent": "../x"},
    {"jobId": "job-1", "uris": ["a.dcm"], "destinations": {"a": 1}},
    {"jobId": "job-1", "uris": ["a.dcm"], "destinations": ["x"] * 65},
    {"jobId": "job-1", "uris": ["a.dcm"], "more": 1},
]  # fmt: skip


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter()


@pytest.mark.parametrize("body", BODIES, ids=repr)
def test_body_that_is_no_registration_is_a_400(shared: Adapter, body: Any) -> None:
    with unharmed(shared):
        assert ask(shared, "POST", "/api/tasks", body)[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/tasks", {"jobId": "job-1", "uris": ["a.dcm"]}, 404),
        ("POST", "/api/tasks", {"jobId": "../../x", "uris": ["a.dcm"]}, 404),
        ("GET", "/api/tasks/no-task", None, 404),
        ("PUT", "/api/tasks/success/no-task", None, 404),
        ("PUT", "/api/tasks/failure/no-task", {"RetryLater": True}, 404),
        ("PUT", "/api/tasks/failure/no-task", {"RetryLater": "yes"}, 400),
        ("PUT", "/api/tasks/failure/no-task", [], 400),
        ("POST", "/api/tasks/no-task/retry", None, 404),
        ("GET", "/api/tasks/ADAPTER/pending", None, 409),
        ("GET", "/api/tasks/Fhir/pending?size=0", None, 400),
        ("GET", "/api/tasks/Fhir/pending?size=101", None, 400),
        ("GET", "/api/tasks/Fhir/pending?size=x", None, 400),
        ("GET", "/api/tasks?state=Odd", None, 400),
    ],
)
def test_what_cannot_be_is_told(
    shared: Adapter, method: str, path: str, body: Any, status: int
) -> None:
    with unharmed(shared):
        assert ask(shared, method, path, body)[0] == status


def test_foreign_page_takes_and_registers_nothing(shared: Adapter) -> None:
    foreign = {"Origin": "http://elsewhere.example", "Content-Type": "application/json"}
    for method, path in (
        ("GET", "/api/tasks/Fhir/pending"), ("POST", "/api/tasks"),
        ("PUT", "/api/tasks/success/x"), ("PUT", "/api/tasks/failure/x"),
        ("POST", "/api/tasks/x/retry"),
    ):  # fmt: skip
        assert shared.request(method, path, foreign, b"{}")[0] == 403


def test_link_in_the_folder_leads_nowhere(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter = make_adapter({
        "application_entities": entity(), "destinations": [destination("dead", free_port())],
    })  # fmt: skip
    job = send(adapter)
    shutil.copy(CT_SMALL, tmp_path / "secret.dcm")
    (output(adapter, job) / "link.dcm").symlink_to(tmp_path / "secret.dcm")
    (output(adapter, job) / "folder").symlink_to(tmp_path)
    _, task = register(adapter, job, "link.dcm", "folder/secret.dcm", destinations="dead")
    leave(adapter, job, "a.dcm")
    held = ended(adapter, task["taskId"], "Failed")
    assert (held["skipped"], held["missing"]) == (1, 1)
    assert adapter.get("/api/exports") == []


def test_acknowledged_registrations_survive_kills_and_none_is_doubled(
    make_adapter: MakeAdapter,
) -> None:
    """Killed between writing and answering, many times: who hears nothing asks again."""
    adapter = make_adapter()
    job = send(adapter)
    leave(adapter, job, "a.dcm")
    wait_for(adapter, job, "Completed")
    acknowledged: dict[str, str] = {}

    def post_until_dead(first: int) -> None:
        for number in range(first, first + 1000):
            try:
                status, task = register(adapter, job, f"{number}.dcm", agent=AGENT)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                return
            assert status in (200, 201)
            acknowledged[f"{number}.dcm"] = task["taskId"]

    for life in range(3):
        before = len(acknowledged)
        threads = [
            threading.Thread(target=post_until_dead, args=(life * 10_000 + n * 1000,))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: len(acknowledged) >= before + 20)  # noqa: B023 - it ends in the loop
        adapter.kill()
        for thread in threads:
            thread.join()
        adapter.start()
        kept = {task["taskId"] for task in adapter.get("/api/tasks?limit=1000")}
        assert set(acknowledged.values()) <= kept
        for name in list(acknowledged)[-3:]:
            assert register(adapter, job, name, agent=AGENT)[0] == 200
        assert len(adapter.get("/api/tasks?limit=1000")) == len(kept)
