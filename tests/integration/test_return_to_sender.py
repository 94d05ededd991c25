"""Results that go back to whoever has sent the instances, and results that come back in."""

from pathlib import Path
from typing import Any

import pytest
from dicom_peers import dcmtk_storescp, run_peer
from harness import Adapter, eventually
from health import MakeAdapter
from pydicom import dcmread
from test_results_api import CT_SMALL, destination, leave, output, uids

RESULT = "1.2.840.99.1"
"""The first that `leave` makes."""


def entities(*destinations: str, **more: Any) -> list[dict[str, Any]]:
    return [{
        "name": "main", "ae_title": "MAIN", "timeout_s": 2, "pipelines": {"one": "pipe-one"},
        "destinations": list(destinations), **more,
    }]  # fmt: skip


def send_file(adapter: Adapter, file: Path, calling: str) -> None:
    """Send by DCMTK's storescu; it fails unless it is answered 0x0000."""
    run_peer("storescu", "-aet", calling, "-aec", "MAIN", "127.0.0.1", str(adapter.dicom_port),
             str(file))  # fmt: skip


def sample(folder: Path, uid: str) -> Path:
    """Return a CT instance of one study."""
    dataset = dcmread(CT_SMALL)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.save_as(folder / f"{uid}.dcm")
    return folder / f"{uid}.dcm"


def the_job(adapter: Adapter) -> dict[str, Any]:
    (job,) = eventually(lambda: adapter.get("/api/jobs"), 15)
    return dict(job)


@pytest.mark.peer("dcmtk")
def test_results_go_back_to_both_senders_and_wait_for_the_third(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    with (
        dcmtk_storescp(first) as port_1,
        dcmtk_storescp(second) as port_2,
        dcmtk_storescp(third) as port_3,
    ):
        adapter = make_adapter({
            "application_entities": entities("@sender", timeout_s=600),
            "destinations": [destination("ct1", port_1), destination("ct2", port_2)],
        })  # fmt: skip
        for number, title in enumerate(["CT1", "CT2", "CT3", "CT1"]):
            send_file(adapter, sample(tmp_path, f"1.2.9.{number}"), title)
            if number == 1:  # who has sent is as durable as what was sent
                adapter.kill()
                adapter.start()
        (group,) = adapter.get("/api/groups")
        assert adapter.request("POST", f"/api/groups/{group['id']}/close")[0] == 204
        job = the_job(adapter)
        assert job["callingAeTitles"] == ["CT1", "CT2", "CT3"]
        leave(adapter, job["id"], "a.dcm")
        eventually(lambda: len(adapter.get("/api/exports?state=Completed")) == 2, 15)
        assert (uids(first), uids(second)) == ([RESULT], [RESULT])
        (held,) = adapter.get("/api/exports?state=Queued")
        assert held["destination"] == "@CT3"
        assert held["error"] == "no destination has the AE Title 'CT3'"
        adapter.stop()
        adapter.settings["destinations"].append(destination("ct3", port_3))
        adapter.start()
        eventually(lambda: len(adapter.get("/api/exports?state=Completed")) == 3, 15)
        assert uids(third) == [RESULT]
        assert (uids(first), uids(second)) == ([RESULT], [RESULT])


@pytest.mark.peer("dcmtk")
def test_result_that_comes_back_starts_nothing_also_after_a_kill(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter({"application_entities": entities()})
    send_file(adapter, sample(tmp_path, "1.2.9.1"), "CT1")
    job = the_job(adapter)
    leave(adapter, job["id"], "a.dcm")
    eventually(lambda: adapter.get(f"/api/jobs/{job['id']}")["results"] == 1, 15)
    eventually(lambda: adapter.groups_on_disk() == [], what="the group goes after its job is known")
    result = output(adapter, job["id"]) / "a.dcm"
    dataset = dcmread(result)
    dataset.file_meta.MediaStorageSOPInstanceUID = RESULT
    dataset.save_as(tmp_path / "result.dcm")
    for life in range(2):
        send_file(adapter, tmp_path / "result.dcm", "SOMEBODY")
        send_file(adapter, tmp_path / "result.dcm", "CT1")
        assert adapter.groups_on_disk() == []
        assert adapter.metrics("dicom_adapter_events")["instance.ignored"] == 2
        if life == 0:
            adapter.kill()
            adapter.start()
    send_file(adapter, sample(tmp_path, "1.2.9.1"), "CT1")  # what it was made of may come again
    eventually(lambda: len(adapter.get("/api/jobs")) == 2, 15)


@pytest.mark.peer("dcmtk")
def test_result_is_found_among_instances_of_the_same_kind(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """Within one association, where further instances are otherwise placed without a question."""
    adapter = make_adapter({"application_entities": entities()})
    send_file(adapter, sample(tmp_path, "1.2.9.1"), "CT1")
    job = the_job(adapter)
    leave(adapter, job["id"], "a.dcm")
    eventually(lambda: adapter.get(f"/api/jobs/{job['id']}")["results"] == 1, 15)
    files = [sample(tmp_path, uid) for uid in ("1.2.9.2", "1.2.9.3", RESULT, "1.2.9.4")]
    run_peer("storescu", "-aec", "MAIN", "127.0.0.1", str(adapter.dicom_port), *map(str, files))
    eventually(lambda: len(adapter.get("/api/jobs")) == 2, 15)
    other = next(one for one in adapter.get("/api/jobs") if one["id"] != job["id"])
    assert other["instances"] == 3


@pytest.mark.peer("dcmtk")
def test_result_is_taken_by_an_ae_title_that_was_told_to(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter({"application_entities": entities(loop_guard=False)})
    send_file(adapter, sample(tmp_path, "1.2.9.1"), "CT1")
    job = the_job(adapter)
    leave(adapter, job["id"], "a.dcm")
    eventually(lambda: adapter.get(f"/api/jobs/{job['id']}")["results"] == 1, 15)
    send_file(adapter, sample(tmp_path, RESULT), "CT1")
    eventually(lambda: len(adapter.get("/api/jobs")) == 2, 15)
