"""Jobs of the real program, seen over REST, the command line, and in their folders.

Clara's scenarios T-121 to T-153 as far as they say something about behaviour; which ids are not
covered, and why, stands in docs/scenarios.md.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import free_port
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from pydicom.data import get_testdata_file
from wire import Wire, data_set

CT_SMALL = str(get_testdata_file("CT_small.dcm"))
WANTS_FLAG = "test -e flag"


def command(script: str, **changes: Any) -> dict[str, Any]:
    """Return settings for a pipeline that is a shell script."""
    pipeline = {"id": "pipe-one", "command": ["/bin/sh", "-c", script], "max_concurrent": 4}
    platform = {"engine": "command", "max_retries": 0, "pipelines": [pipeline]}
    return {"platform": platform | changes}


def send(adapter: Adapter, study: str = "1.2.4.1") -> str:
    """Store an instance; return the id of the job it becomes."""
    before = {job["id"] for job in adapter.get("/api/jobs")}
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store(f"{study}.1", data_set(f"{study}.1", study=study)) == ("response", 0)
        wire.release()
    eventually(lambda: len(adapter.get("/api/jobs")) > len(before), 10)
    (job_id,) = {job["id"] for job in adapter.get("/api/jobs")} - before
    return str(job_id)


def wait_for(adapter: Adapter, job_id: str, state: str, **fields: Any) -> dict[str, Any]:
    """Wait until the job is in a state, with these fields; return it."""

    def reached() -> dict[str, Any] | None:
        job: dict[str, Any] = adapter.get(f"/api/jobs/{job_id}")
        return job if {"state": state, **fields}.items() <= job.items() else None

    found = eventually(reached, 20, f"{job_id} {state}")
    assert found is not None
    return found


def order(
    adapter: Adapter, job_id: str, action: str, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Return status and body of POST retry or cancel."""
    status, _, body = adapter.request("POST", f"/api/jobs/{job_id}/{action}", headers)
    return status, json.loads(body)


def group_of(pid: int) -> list[int]:
    """Return the processes of a process group that are not dead."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            if int(fields[2]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def payload(adapter: Adapter, job_id: str) -> Path:
    return adapter.root / "payloads" / job_id


def test_cancel_ends_the_whole_process_group_and_keeps_the_files(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(command("echo $$ > started; sleep 1000 & sleep 1000"))
    job_id = send(adapter)
    started = payload(adapter, job_id) / "started"
    eventually(lambda: started.exists() and started.read_text().strip())
    pid = int(started.read_text())
    assert eventually(lambda: len(group_of(pid)) >= 3)
    status, job = order(adapter, job_id, "cancel")
    assert (status, job["state"]) == (200, "Cancelled")
    eventually(lambda: not group_of(pid), 10, "the programs end")
    wait_for(adapter, job_id, "Cancelled", stopping=False, error="")
    assert len(list((payload(adapter, job_id) / "input").rglob("*.dcm"))) == 1
    assert order(adapter, job_id, "cancel")[0] == 409
    assert adapter.metrics("dicom_adapter_jobs")["Cancelled"] == 1
    started.unlink()
    status, job = order(adapter, job_id, "retry")
    assert (status, job["state"], job["submissions"]) == (200, "Queued", 2)
    eventually(started.exists, 10, "it runs again")
    order(adapter, job_id, "cancel")


def test_cancelled_job_stays_cancelled_after_a_kill(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()  # engine folder: somebody else runs it
    job_id = send(adapter)
    wait_for(adapter, job_id, "Starting")
    assert order(adapter, job_id, "cancel", {"Idempotency-Key": "k1"})[0] == 200
    adapter.kill()
    adapter.start()
    wait_for(adapter, job_id, "Cancelled", stopping=False)
    assert order(adapter, job_id, "cancel", {"Idempotency-Key": "k1"})[0] == 200
    assert order(adapter, job_id, "retry", {"Idempotency-Key": "k1"})[0] == 422
    assert order(adapter, job_id, "retry")[0] == 200
    wait_for(adapter, job_id, "Starting")
    (payload(adapter, job_id) / "output" / "job.done").touch()
    wait_for(adapter, job_id, "Completed")


def test_faulted_job_keeps_its_files_and_goes_on_at_its_step_after_a_kill(
    make_adapter: MakeAdapter,
) -> None:
    """W-54; T-141: failure beyond the maximum gives Faulted."""
    adapter = make_adapter(command(WANTS_FLAG))
    job_id = send(adapter)
    job = wait_for(adapter, job_id, "Faulted", tryCount=1, error="exit status 1")
    assert [change["state"] for change in job["history"]] == [
        "Queued", "Creating", "Created", "MetadataUploading", "MetadataUploaded",
        "PayloadUploading", "PayloadUploaded", "Starting", "Faulted",
    ]  # fmt: skip
    assert order(adapter, job_id, "cancel")[0] == 409
    adapter.kill()
    adapter.start()
    (payload(adapter, job_id) / "flag").touch()
    done = run_cli("jobs", "retry", job_id, "--url", adapter.url)
    assert (done.returncode, done.stdout) == (0, f"{job_id}: PayloadUploaded\n"), done.stderr
    job = wait_for(adapter, job_id, "Completed", tryCount=0, error="")
    assert [change["state"] for change in job["history"][-3:]] == [
        "PayloadUploaded", "Starting", "Completed",
    ]  # fmt: skip
    assert adapter.metrics("dicom_adapter_job_queue_wait_seconds_count")[""] == 0  # it had begun


def test_job_whose_folder_has_gone_is_faulted(make_adapter: MakeAdapter) -> None:
    """F69: nobody can give it a result any more."""
    adapter = make_adapter()  # engine folder: it waits for somebody else
    job_id = send(adapter)
    wait_for(adapter, job_id, "Starting")
    adapter.kill()
    shutil.rmtree(payload(adapter, job_id))
    adapter.start()
    wait_for(adapter, job_id, "Faulted", error="its folder has gone")


def test_failed_step_is_tried_again_and_counted(make_adapter: MakeAdapter) -> None:
    """T-130, T-140."""
    adapter = make_adapter(command(WANTS_FLAG, max_retries=100, retry_delay_s=0.1))
    job_id = send(adapter)
    eventually(lambda: adapter.get(f"/api/jobs/{job_id}")["tryCount"] >= 1, 10)
    (payload(adapter, job_id) / "flag").touch()
    wait_for(adapter, job_id, "Completed")
    assert adapter.metrics("dicom_adapter_job_retries")["Starting"] >= 1


def test_slow_pipeline_delays_no_other(make_adapter: MakeAdapter) -> None:
    slow = {"id": "pipe-one", "command": ["/bin/sleep", "1000"]}
    quick = {"id": "pipe-two", "command": ["/bin/true"]}
    entity = {
        "name": "main", "ae_title": "MAIN", "timeout_s": 1,
        "pipelines": {"one": "pipe-one", "two": "pipe-two"},
    }  # fmt: skip
    adapter = make_adapter({
        "application_entities": [entity],
        "platform": {"engine": "command", "pipelines": [slow, quick]},
    })  # fmt: skip
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for study in ("1.2.5.1", "1.2.5.2", "1.2.5.3"):
            wire.store(f"{study}.1", data_set(f"{study}.1", study=study))
        wire.release()

    def states(pipeline: str) -> list[str]:
        jobs = adapter.get("/api/jobs")
        return sorted(job["state"] for job in jobs if job["pipeline"] == pipeline)

    eventually(lambda: states("two") == ["Completed"] * 3, 20)
    eventually(lambda: states("one") == ["Queued", "Queued", "Starting"])


def test_order_is_refused_as_a_problem(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    job_id = send(adapter)
    wait_for(adapter, job_id, "Starting")
    for path, headers, expected in (
        (f"/api/jobs/{job_id}/retry", {}, 409),
        ("/api/jobs/job-x/cancel", {}, 404),
        (f"/api/jobs/{job_id}/cancel", {"Idempotency-Key": "x" * 256}, 400),
        (f"/api/jobs/{job_id}/cancel", {"Origin": "http://elsewhere.example"}, 403),
        (f"/api/jobs/{job_id}/burn", {}, 404),
    ):
        status, types, body = adapter.request("POST", path, headers)
        assert status == expected, body
        assert json.loads(body)["status"] == expected
        content = {name.lower(): value for name, value in types.items()}["content-type"]
        assert content.startswith("application/problem+json")
    wait_for(adapter, job_id, "Starting")


def test_jobs_on_the_command_line(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    ids = [send(adapter, f"1.2.6.{n}") for n in range(2)]
    url = ("--url", adapter.url)
    for job_id in ids:
        wait_for(adapter, job_id, "Starting")
    table = run_cli("jobs", *url).stdout
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [[i, "Starting"] for i in ids]
    listed = json.loads(run_cli("jobs", "--json", *url).stdout)
    assert [job["id"] for job in listed] == ids
    assert run_cli("jobs", "cancel", ids[0], *url).stdout == f"{ids[0]}: Cancelled\n"
    listed = json.loads(run_cli("jobs", "--state", "Cancelled", "--json", *url).stdout)
    assert [job["id"] for job in listed] == [ids[0]]
    shown = run_cli("jobs", "show", ids[0], *url).stdout
    assert "state: Cancelled\n" in shown
    assert shown.splitlines()[-1].endswith(" Cancelled")
    assert json.loads(run_cli("jobs", "show", ids[1], "--json", *url).stdout)["id"] == ids[1]
    for arguments, why in (
        (("cancel", ids[0]), "the job is Cancelled"),
        (("retry", "job x"), "no job job x"),
        (("--state", "Burnt"), "state"),
    ):
        done = run_cli("jobs", *arguments, *url)
        (line,) = done.stderr.strip().splitlines()
        assert (done.returncode, why in line) == (1, True), line
    done = run_cli("jobs", "--url", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, "no adapter answers" in done.stderr) == (1, True)


def test_attributes_are_in_the_meta_and_nowhere_else(make_adapter: MakeAdapter) -> None:
    """T-127, T-153; the values are patient data."""
    tags = ["0010,0020", "0010,0010", "0008,0060"]
    platform = {"upload_metadata": True, "metadata_dicom_source": tags}
    adapter = make_adapter({"platform": platform})
    assert run_cli("send", adapter.destination(), CT_SMALL).returncode == 0
    eventually(lambda: adapter.get("/api/jobs"), 10)  # its folder is there before its row
    (folder,) = adapter.payload_folders()
    meta = json.loads((folder / "job.meta").read_bytes())
    assert meta["metadata"] == {
        "Source": "MAIN (AE Title Job Processor)", "Instances": "1", "00080060": "CT",
        "00100010": "CompressedSamples^CT1", "00100020": "1CT1",
    }  # fmt: skip
    wait_for(adapter, folder.name, "Starting")
    told = json.dumps(adapter.get("/api/jobs")) + "".join(adapter.log)
    told += adapter.request("GET", "/metrics")[2].decode()
    assert "CompressedSamples" not in told
    assert "1CT1" not in told


@pytest.mark.parametrize("platform", [{}, {"upload_metadata": True, "metadata_dicom_source": []}])
def test_without_upload_metadata_the_meta_has_no_patient_data(
    make_adapter: MakeAdapter, platform: dict[str, Any]
) -> None:
    """T-209, T-210: switched off, or no attribute wanted."""
    adapter = make_adapter({"platform": platform})
    assert run_cli("send", adapter.destination(), CT_SMALL).returncode == 0
    eventually(lambda: adapter.payload_folders(), 10)
    (folder,) = adapter.payload_folders()
    meta = json.loads((folder / "job.meta").read_bytes())
    assert set(meta["metadata"]) == {"Source", "Instances"}
    assert "1CT1" not in (folder / "job.meta").read_text()


def test_cancelled_job_goes_after_its_retention(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"storage": {"retention": {"faulted_s": 1}}})
    job_id = send(adapter)
    order(adapter, job_id, "cancel")
    eventually(lambda: adapter.get("/api/jobs") == [], 15)
    assert adapter.payload_folders() == []
    assert order(adapter, job_id, "retry")[0] == 404
    assert not os.path.exists(payload(adapter, job_id))


def test_unknown_pipeline_faults_its_job_and_names_the_key(make_adapter: MakeAdapter) -> None:
    """T-142: the platform is not asked."""
    adapter = make_adapter({"platform": {"engine": "command", "max_retries": 0}})
    job = wait_for(adapter, send(adapter), "Faulted")
    assert job["error"] == "platform.pipelines has no entry with id 'pipe-one'"
    assert job["left"] == "Queued"
