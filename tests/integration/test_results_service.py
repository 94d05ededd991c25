"""Tasks of a Results Service elsewhere, over real HTTP, delivered to real DICOM peers.

Clara scenarios T-009, T-010, T-101 to T-106, T-178 to T-183 as far as they say something about
behaviour: docs/scenarios.md.
"""

import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import LyingDestination, ScriptedDestination, dcmtk_storescp, free_port
from harness import Adapter, eventually, pass_time
from health import MakeAdapter, unharmed
from pydicom import dcmread
from results_server import KEY, ResultsServer, settings
from test_jobs import send
from test_reload import reload, write
from test_results_api import CT_SMALL, destination, entity, leave, uids
from wire import CT, EXPLICIT


def new_id() -> str:
    return str(uuid.uuid4())


def instance(uid: str) -> bytes:
    """Return a Part 10 file."""
    dataset = dcmread(CT_SMALL)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.fixture
def service() -> Iterator[ResultsServer]:
    with ResultsServer().running() as server:
        yield server


def adapter_of(
    make_adapter: MakeAdapter,
    service: ResultsServer,
    *ports: int,
    fetches: bool = True,
    **more: Any,
) -> Adapter:
    """Start an adapter of this service with destinations `peer`, `peer2`, ..."""
    names = ["peer", *(f"peer{number}" for number in range(2, len(ports) + 1))]
    files = {"files_url": f"{service.url}/files"} if fetches else {}
    export = {"max_retries": 0, "retry_delay_s": 0.1}
    return make_adapter({
        "application_entities": entity(),
        "destinations": [destination(*pair) for pair in zip(names, ports, strict=True)],
        "results": dict(settings(service, **files)),
        "dicom": {"scu": {"export": {**export, **more}}},
    })  # fmt: skip


def offer(service: ResultsServer, *uid: str, **changes: Any) -> str:
    """Offer a task with an instance for each UID; return its id."""
    task_id = new_id()
    payload = new_id()
    for each in uid:
        service.files[f"{payload}/op/{each}.dcm"] = instance(each)
    service.offer(task_id, *(f"/op/{each}.dcm" for each in uid), payloadId=payload, **changes)
    return task_id


def ended(service: ResultsServer, task_id: str, state: str) -> None:
    eventually(lambda: service.state(task_id) == state, 20, f"{task_id} {state}")


def local(adapter: Adapter, task_id: str) -> Any:
    status, _, body = adapter.request("GET", f"/api/tasks/service-{task_id}")
    return json.loads(body) if status == 200 else None


@pytest.mark.peer("dcmtk")
def test_task_is_fetched_sent_and_reported_once(
    make_adapter: MakeAdapter, service: ResultsServer, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with dcmtk_storescp(first) as port, dcmtk_storescp(second) as port_2:
        adapter = adapter_of(make_adapter, service, port, port_2)
        one = offer(service, "1.2.9.1", "1.2.9.2")
        both = offer(service, "1.2.9.3", parameters='["PEER", "peer2"]')
        for task_id in (one, both):
            ended(service, task_id, "Succeeded")
        assert uids(first) == ["1.2.9.1", "1.2.9.2", "1.2.9.3"]
        assert uids(second) == ["1.2.9.3"]
        pass_time(0.5)  # ten more polls
        assert sorted(service.reports()) == sorted([(f"success/{t}", None) for t in (one, both)])
        assert len(service.files) == sum(path.startswith("/files/") for _, path, _ in service.calls)
        path = next(path for method, path, _ in service.calls if path.endswith("size=10"))
        assert path == "/api/tasks/ADAPTER/pending?size=10"
        task = eventually(lambda: (t := local(adapter, both)) and t["reported"] and t)
        assert (task["state"], len(task["exports"])) == ("Succeeded", 2)


@pytest.mark.peer("dcmtk")
def test_files_of_our_own_jobs_are_not_fetched(
    make_adapter: MakeAdapter, service: ResultsServer, tmp_path: Path
) -> None:
    with dcmtk_storescp(tmp_path / "peer") as port:
        adapter = adapter_of(make_adapter, service, port, fetches=False)
        job = send(adapter)
        task_id = new_id()
        service.offer(task_id, "a.dcm", "report.txt", jobId=job)
        leave(adapter, job, "a.dcm", "b.dcm", "report.txt")
        ended(service, task_id, "Succeeded")
        assert uids(tmp_path / "peer") == ["1.2.840.99.1"]
        assert local(adapter, task_id)["skipped"] == 1


def test_outage_only_delays(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    service = ResultsServer()
    with LyingDestination(lambda message_id, uid: (message_id, uid)) as peer:
        adapter = adapter_of(make_adapter, service, peer.port)
        task_id = offer(service, "1.2.9.1")
        eventually(lambda: adapter.events("results.service_away"))
        assert adapter.metrics("dicom_adapter_results_service_up") == {"": 0.0}
        assert "Connection refused" in adapter.get("/health/status")["resultsServiceOutage"]
        with service.running():
            ended(service, task_id, "Succeeded")
            assert peer.stores == 1
            assert adapter.metrics("dicom_adapter_results_service_up") == {"": 1.0}


ANSWERS = [
    (200, b""), (200, b"{"), (200, b"null"), (200, b"7"), (200, b"{}"), (200, b"<html>no</html>"),
    (200, b'["\xff"]'), (200, b"[" * 100_000), (200, b"[" + b" " * (17 << 20) + b"]"),
    (302, b"[]"), (401, b"[]"), (404, b"[]"), (500, b"[]"), (503, b"<html>busy</html>"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "answer"), ANSWERS, ids=lambda a: repr(a)[:12])
def test_what_is_no_answer_is_an_outage(
    nonsense: tuple[Adapter, ResultsServer], status: int, answer: bytes
) -> None:
    adapter, service = nonsense
    with unharmed(adapter):
        service.answer, service.status = answer, status
        eventually(lambda: adapter.get("/health/status")["resultsServiceOutage"], 20)
        service.answer = None
        eventually(lambda: not adapter.get("/health/status")["resultsServiceOutage"], 20)


@pytest.fixture(scope="module")
def nonsense(make_shared_adapter: MakeAdapter) -> Iterator[tuple[Adapter, ResultsServer]]:
    with ResultsServer().running() as server:
        yield adapter_of(make_shared_adapter, server, free_port()), server


BAD_TASKS: list[dict[str, Any]] = [
    {"uris": ["../../../etc/passwd"]}, {"uris": ["a/../../b"]}, {"uris": ["//etc/passwd"]},
    {"uris": ["a\\..\\b"]}, {"uris": ["job.done"]}, {"uris": [7]}, {"uris": "a.dcm"},
    {"uris": ["x" * 2000]}, {"parameters": '"nobody"'}, {"parameters": '["peer", "nobody"]'},
    {"parameters": '{"a": 1}'}, {"parameters": '["peer", 7]'}, {"parameters": "../x"},
    {"parameters": 7}, {"parameters": '""'}, {"parameters": json.dumps(["peer"] * 65)},
    {"uris": ["job.done/a"]}, {"uris": ["a/b", "a"]}, {"retries": -1}, {"retries": "x"},
    {"jobId": {}},
]  # fmt: skip


def test_task_that_cannot_be_done_is_reported_and_holds_up_no_other(
    make_adapter: MakeAdapter, service: ResultsServer
) -> None:
    with LyingDestination(lambda message_id, uid: (message_id, uid)) as peer:
        bad = []
        for changes in BAD_TASKS:
            bad.append(new_id())
            service.offer(bad[-1], **{"uris": ["a.dcm"], **changes})
        for number, odd in enumerate((7, None, "text", {"agent": "ADAPTER"}, {"taskId": "../x"},
                                      {"taskId": 7}, [])):  # fmt: skip
            service.tasks[f"odd-{number}"] = odd  # type: ignore[assignment]
        good = [offer(service, f"1.2.9.{number}") for number in range(3)]
        adapter = adapter_of(make_adapter, service, peer.port)
        for task_id in bad:
            ended(service, task_id, "Failed")
        for task_id in good:
            ended(service, task_id, "Succeeded")
        reports = service.reports()
        assert [r for r in reports if r[1] == {"RetryLater": True}] == []
        assert sorted(name for name, _ in reports) == sorted(
            [f"failure/{t}" for t in bad] + [f"success/{t}" for t in good]
        )
        assert not [path for _, path, _ in service.calls if "passwd" in path]
        assert adapter.metrics("dicom_adapter_events")["task.failed"] == len(bad)


def test_unknown_job_is_reported_where_nothing_is_fetched(
    make_adapter: MakeAdapter, service: ResultsServer
) -> None:
    adapter_of(make_adapter, service, free_port(), fetches=False)
    task_id = new_id()
    service.offer(task_id, "a.dcm")
    ended(service, task_id, "Failed")
    assert service.reports() == [(f"failure/{task_id}", {"RetryLater": False})]


def test_broken_download_is_repeated_and_nothing_torn_is_sent(
    make_adapter: MakeAdapter, service: ResultsServer, tmp_path: Path
) -> None:
    with LyingDestination(lambda message_id, uid: (message_id, uid)) as peer:
        service.truncates = 3
        task_id = offer(service, "1.2.9.1", "1.2.9.2")
        adapter = adapter_of(make_adapter, service, peer.port)
        ended(service, task_id, "Succeeded")
        assert service.truncates == 0
        assert peer.stores == 2
        (folder,) = adapter.payload_folders()
        assert sorted(p.name for p in (folder / "output").rglob("*") if p.is_file()) == [
            "1.2.9.1.dcm", "1.2.9.2.dcm", "job.done",
        ]  # fmt: skip
        for uid in ("1.2.9.1", "1.2.9.2"):
            assert (folder / "output" / "op" / f"{uid}.dcm").read_bytes() == instance(uid)


def test_service_that_hangs_is_an_outage_and_the_rest_goes_on(
    make_adapter: MakeAdapter, service: ResultsServer
) -> None:
    with LyingDestination(lambda message_id, uid: (message_id, uid)) as peer:
        adapter = make_adapter({
            "application_entities": entity("peer"),
            "destinations": [destination("peer", peer.port)],
            "results": dict(settings(service, answer_s=0.5, connect_s=0.5)),
        })  # fmt: skip
        service.hangs.clear()
        eventually(lambda: "answer" in adapter.get("/health/status")["resultsServiceOutage"])
        job = send(adapter)
        leave(adapter, job, "a.dcm")
        eventually(lambda: adapter.get("/api/exports?state=Completed"), 15)
        service.hangs.set()
        eventually(lambda: not adapter.get("/health/status")["resultsServiceOutage"], 15)


def test_report_that_does_not_get_through_is_repeated_also_after_a_kill(
    make_adapter: MakeAdapter, service: ResultsServer
) -> None:
    with LyingDestination(lambda message_id, uid: (message_id, uid)) as peer:
        service.forgets_reports = 10**9
        adapter = adapter_of(make_adapter, service, peer.port)
        task_id = offer(service, "1.2.9.1")
        eventually(lambda: len(service.reports()) >= 2, 15)
        adapter.kill()
        adapter.start()
        service.forgets_reports = 0
        ended(service, task_id, "Succeeded")
        assert peer.stores == 1  # it was offered all the time


def test_kills_deliver_each_instance_and_report_each_task(
    make_adapter: MakeAdapter, service: ResultsServer
) -> None:
    with LyingDestination(lambda message_id, uid: (message_id, uid)) as peer:
        adapter = adapter_of(make_adapter, service, peer.port)
        tasks: list[str] = []
        for life in range(4):
            tasks += [offer(service, f"1.2.9.{life}.{number}") for number in range(5)]
            seen = len(service.calls)
            eventually(lambda: len(service.calls) > seen + 3 * life)  # noqa: B023
            adapter.kill()
            adapter.start()
        for task_id in tasks:
            ended(service, task_id, "Succeeded")
        assert peer.stores >= len(tasks)
        assert {name for name, _ in service.reports()} == {f"success/{t}" for t in tasks}


def test_failure_is_retried_later_and_only_what_failed_is_sent_again(
    make_adapter: MakeAdapter, service: ResultsServer
) -> None:
    """One of two instances is refused for good; the service offers the task again, twice."""
    stores: list[str] = []

    def refuse_one(received: Any) -> int:
        stores.append(received.sop_instance_uid)
        return 0xC000 if received.sop_instance_uid == "1.2.9.2" else 0

    with ScriptedDestination({CT: [EXPLICIT]}, status=refuse_one).listening() as peer:
        adapter = adapter_of(make_adapter, service, peer.port, max_retries=2, failure_threshold=0.4)
        task_id = offer(service, "1.2.9.1", "1.2.9.2")
        ended(service, task_id, "Failed")
        reports = [body for _, body in service.reports()]
        assert reports == [{"RetryLater": True}, {"RetryLater": True}, {"RetryLater": False}]
        assert (stores.count("1.2.9.1"), stores.count("1.2.9.2")) == (1, 3)
        held = local(adapter, task_id)
        assert (held["state"], held["retries"]) == ("Failed", 2)
        assert adapter.payload_folders()


def test_share_of_failures_that_counts_follows_the_file(
    make_adapter: MakeAdapter, service: ResultsServer
) -> None:
    def refuse_one(received: Any) -> int:
        return 0xC000 if received.sop_instance_uid == "1.2.9.2" else 0

    with ScriptedDestination({CT: [EXPLICIT]}, status=refuse_one).listening() as peer:
        adapter = adapter_of(make_adapter, service, peer.port, failure_threshold=0.4)
        ended(service, offer(service, "1.2.9.1", "1.2.9.2"), "Failed")
        write(adapter, {"dicom": {"scu": {"export": {"failure_threshold": 0.5}}}})
        status, plan = reload(adapter)
        assert (status, [change["restart"] for change in plan["changes"]]) == (200, [False])
        ended(service, offer(service, "1.2.9.3", "1.2.9.2"), "Succeeded")


def test_key_that_is_not_taken_is_an_outage_until_its_file_has_another(
    make_adapter: MakeAdapter, service: ResultsServer, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("wrong\n")
    adapter = make_adapter({"results": {
        "service_url": service.url, "poll_ms": 50, "api_key_file": str(key),
    }})  # fmt: skip
    eventually(lambda: "401" in adapter.get("/health/status")["resultsServiceOutage"])
    key.write_text(f"{KEY}\n")
    eventually(lambda: not adapter.get("/health/status")["resultsServiceOutage"], 15)
