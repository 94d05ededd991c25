"""Engine `http`: jobs run by the reference platform, another process, over real HTTP.

Outages only delay: every adapter here has `platform.max_retries = 0`, so whatever counts as a try
would fault the job.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import LyingDestination
from harness import Adapter, eventually, pass_time
from health import MakeAdapter
from platform_server import PlatformServer
from test_memory import GROWTH_KB_MAX, INSTANCE_MB, send_large
from wire import Wire

UPLOAD_MB = 200
"""Enough to be killed in the middle."""
UIDS = ("1.2.3.1", "1.2.3.2", "1.2.3.3")
ODD_NAMES = """
import glob, os, shutil
source = glob.glob("input/dcm/**/*.dcm", recursive=True)[0]
for name in ("a/b/50% of (a) #1?.dcm", "größe & maß.dcm", ".hidden/x.dcm", "%2e%2e.dcm"):
    os.makedirs(os.path.dirname("output/" + name), exist_ok=True)
    shutil.copy(source, "output/" + name)
open("output/report.txt", "w").close()
os.symlink("/etc/passwd", "output/link.dcm")
"""
PIPELINES = {
    "copy": ["/bin/cp", "-r", "input/dcm", "output/"],
    "link": ["/bin/cp", "-rl", "input/dcm", "output/"],
    "fail": ["/bin/false"],
    "endless": ["/bin/sleep", "300"],
    "odd-names": [sys.executable, "-c", ODD_NAMES],
}  # fmt: skip


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformServer]:
    """A platform that does not run yet; at the end it has not crashed."""
    with PlatformServer(tmp_path / "platform", PIPELINES) as server:
        yield server
        assert server.trouble() == ""


def entity(pipeline: str, *destinations: str, timeout_s: float = 1) -> list[dict[str, Any]]:
    return [{
        "name": "main", "ae_title": "MAIN", "timeout_s": timeout_s,
        "pipelines": {pipeline: pipeline}, "destinations": list(destinations),
    }]  # fmt: skip


def using(server: PlatformServer, make_adapter: MakeAdapter, pipeline: str) -> Adapter:
    """Start an adapter whose instances go to this pipeline."""
    return make_adapter({
        "application_entities": entity(pipeline), "platform": server.settings(),
    })  # fmt: skip


def peer_at(port: int) -> list[dict[str, Any]]:
    return [{"name": "peer", "ae_title": "PEER", "host": "127.0.0.1", "port": port}]


def store(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for uid in UIDS:
            assert wire.store(uid) == ("response", 0)
        wire.release()


def job_in(adapter: Adapter, state: str, seconds: float = 15) -> dict[str, Any]:
    """Wait until the one job is in this state."""

    def found() -> dict[str, Any] | None:
        rows = adapter.get("/api/jobs")
        return rows[0] if rows and rows[0]["state"] == state else None

    return eventually(found, seconds, state)


def job_with_error(adapter: Adapter, words: str) -> dict[str, Any]:
    """Wait until the one job says why it waits."""

    def found() -> dict[str, Any] | None:
        rows = adapter.get("/api/jobs")
        return rows[0] if rows and words in rows[0]["error"] else None

    return eventually(found, 15, words)


def test_job_goes_to_the_platform_and_its_results_to_a_destination(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    platform.start()
    with LyingDestination(lambda message_id, uid: (message_id, uid)) as peer:
        adapter = make_adapter({
            "application_entities": entity("copy", "peer"),
            "platform": platform.settings(), "destinations": peer_at(peer.port),
        })  # fmt: skip
        store(adapter)
        (export,) = eventually(lambda: adapter.get("/api/exports?state=Completed"), 15)
        assert (export["instances"], export["sent"], peer.stores) == (3, 3, 3)
    job = job_in(adapter, "Completed")
    assert job["platformJobId"] == job["id"]
    assert platform.states() == {job["id"]: "succeeded"}
    (folder,) = adapter.payload_folders()
    sent, got = folder / "input" / "dcm", folder / "output" / "dcm"
    assert [p.relative_to(sent) for p in sorted(sent.rglob("*.dcm"))] == [
        p.relative_to(got) for p in sorted(got.rglob("*.dcm"))
    ]
    for file in sent.rglob("*.dcm"):
        assert (got / file.relative_to(sent)).read_bytes() == file.read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == ["input", "job.meta", "output"]


def test_platform_that_is_down_delays_and_does_not_fault(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    adapter = using(platform, make_adapter, "copy")
    store(adapter)
    job = job_with_error(adapter, "no connection: Connection refused")
    pass_time(1)  # five tries or so
    assert adapter.metrics("dicom_adapter_platform_up") == {"": 0.0}
    assert adapter.get("/health/status")["platformOutage"] == job["error"]
    assert job_in(adapter, "Queued")["tryCount"] == 0
    platform.start()
    assert job_in(adapter, "Completed")["id"] == job["id"]
    assert adapter.metrics("dicom_adapter_platform_up") == {"": 1.0}


def part_sizes(platform: PlatformServer) -> Iterator[int]:
    """Yield how much there is of files that are being uploaded."""
    for part in platform.root.glob("*/.part-*"):
        with suppress(FileNotFoundError):  # it is whole
            yield part.stat().st_size


def test_upload_goes_on_where_a_killed_platform_stopped(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    platform.start()
    adapter = make_adapter({
        "application_entities": entity("link", timeout_s=4), "platform": platform.settings(),
    })  # fmt: skip
    with Wire(adapter.dicom_port, timeout_s=60) as wire:
        send_large(wire, "1.2.3.9", UPLOAD_MB)
    with Wire(adapter.dicom_port) as wire:  # the same group; and is sent before the large one
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
        wire.release()
    eventually(lambda: max(part_sizes(platform), default=0) > 1 << 20, 20)
    platform.kill()
    (part,) = platform.root.glob("*/.part-*")
    assert part.stat().st_size < UPLOAD_MB << 20
    (small,) = platform.root.rglob("1.2.3.1.dcm")
    inode = small.stat().st_ino
    job_with_error(adapter, "connection")
    platform.start()
    job_in(adapter, "Completed", 40)
    assert small.stat().st_ino == inode  # was not sent again
    (folder,) = adapter.payload_folders()
    assert len(list((folder / "output").rglob("*.dcm"))) == 2


def test_killed_platform_runs_its_jobs_anew_and_the_adapter_waits(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with PlatformServer(tmp_path / "gated", {
        "gated": ["/bin/sh", "-c", f"test -e {gate} || sleep 30; cp -r input/dcm output/"],
    }) as gated:  # fmt: skip
        gated.start()
        adapter = using(gated, make_adapter, "gated")
        store(adapter)
        eventually(lambda: "running" in gated.states().values(), 15)
        gated.kill()
        job_with_error(adapter, "connection")
        gate.touch()
        gated.start()
        job_in(adapter, "Completed")


def test_killed_adapter_takes_up_a_job_that_runs(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    script = f"echo >> {runs}; while ! test -e {gate}; do sleep 0.05; done; cp -r input/dcm output/"
    with PlatformServer(tmp_path / "gated", {"gated": ["/bin/sh", "-c", script]}) as gated:
        gated.start()
        adapter = using(gated, make_adapter, "gated")
        store(adapter)
        eventually(lambda: "running" in gated.states().values(), 15)
        adapter.kill()
        adapter.start()
        job_in(adapter, "Starting")
        gate.touch()
        job_in(adapter, "Completed")
        assert runs.read_text() == "\n"  # once


def test_failed_pipeline_faults_the_job_with_the_platforms_reason(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    platform.start()
    adapter = using(platform, make_adapter, "fail")
    store(adapter)
    assert job_in(adapter, "Faulted")["error"] == "the platform says failed: exit status 1"


def test_pipeline_the_platform_does_not_know_faults_the_job(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    platform.start()
    adapter = using(platform, make_adapter, "nowhere")
    store(adapter)
    error = job_in(adapter, "Faulted")["error"]
    assert error == "the platform refuses (422: there is no pipeline 'nowhere')"


def test_wrong_api_key_delays_until_the_right_one_is_in_its_file(
    make_adapter: MakeAdapter, platform: PlatformServer, tmp_path: Path
) -> None:
    platform.start()
    key_file = tmp_path / "our-key"
    key_file.write_text("another-key")
    adapter = make_adapter({
        "application_entities": entity("copy"),
        "platform": platform.settings(api_key_file=str(key_file)),
    })  # fmt: skip
    store(adapter)
    job = job_with_error(adapter, "the platform does not take our API key (401: this key is not")
    assert job["state"] == "Queued"
    key_file.write_text(platform.key_file.read_text())
    job_in(adapter, "Completed")
    assert not [line for line in adapter.log if "another-key" in line]


def test_names_of_results_may_be_odd_as_long_as_they_lead_down(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    platform.start()
    adapter = using(platform, make_adapter, "odd-names")
    store(adapter)
    job_in(adapter, "Completed")
    (folder,) = adapter.payload_folders()
    output = folder / "output"
    assert {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()} == {
        "a/b/50% of (a) #1?.dcm", "größe & maß.dcm", ".hidden/x.dcm", "%2e%2e.dcm",
        "report.txt", "job.done",
    }  # fmt: skip


def test_cancelled_job_is_stopped_at_the_platform(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    platform.start()
    adapter = using(platform, make_adapter, "endless")
    store(adapter)
    eventually(lambda: "running" in platform.states().values(), 15)
    status, _, _ = adapter.request("POST", f"/api/jobs/{job_in(adapter, 'Starting')['id']}/cancel")
    assert status == 200
    eventually(lambda: list(platform.states().values()) == ["cancelled"])
    job_in(adapter, "Cancelled")


def test_stop_of_the_adapter_does_not_wait_for_the_platform(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    platform.start()
    adapter = using(platform, make_adapter, "endless")
    store(adapter)
    eventually(lambda: "running" in platform.states().values(), 15)
    assert adapter.stop() == 0
    assert list(platform.states().values()) == ["running"]


def test_large_instance_costs_one_buffer_up_and_down(
    make_adapter: MakeAdapter, platform: PlatformServer
) -> None:
    platform.start()
    adapter = using(platform, make_adapter, "link")
    store(adapter)
    job_in(adapter, "Completed")  # whatever is loaded late is loaded now
    idle = adapter.memory_kb("VmHWM")
    with Wire(adapter.dicom_port, timeout_s=60) as wire:
        send_large(wire, "1.2.3.9", INSTANCE_MB)
    eventually(lambda: len(adapter.get("/api/jobs?state=Completed")) == 2, 40)
    assert adapter.memory_kb("VmHWM") - idle < GROWTH_KB_MAX
    sizes = [
        path.stat().st_size for path in adapter.instances("payloads") if "output" in path.parts
    ]
    assert max(sizes) > INSTANCE_MB << 20
