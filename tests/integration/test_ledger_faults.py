"""The ledger goes, is damaged, has no room, or its disk fails (F61, F62, F71)."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from entity_calls import DESTINATIONS, SOURCES
from harness import Adapter, eventually
from health import MakeAdapter, missing
from system_calls import STRACE, failing
from test_api_keys import Keyed, offline
from test_kill import every_job
from wire import Wire, associate_rq, data_set, echo_works

PIPELINES = {"one": "pipe-one", "two": "pipe-two"}


def configured(**storage: object) -> dict[str, object]:
    return {
        "storage": storage,
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": PIPELINES}
        ],
    }


def send(adapter: Adapter, *studies: str) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for study in studies:
            assert wire.store(f"{study}.1", data_set(f"{study}.1", study=study)) == ("response", 0)
        wire.release()


def jobs(adapter: Adapter) -> dict[str, str]:
    """Return the state of each job by its id."""
    return {job["id"]: job["state"] for job in every_job(adapter)}


def damage(folder: Path) -> None:
    for path in folder.glob("cache.db*"):
        path.write_bytes(b"not a database" * 1000)


@pytest.mark.parametrize("fault", [shutil.rmtree, damage])
def test_jobs_come_back_without_their_ledger(make_adapter: MakeAdapter, fault: object) -> None:
    """F71: never an empty start where there was something."""
    adapter = make_adapter(configured())
    send(adapter, "1.2.1", "1.2.2")
    eventually(lambda: len(jobs(adapter)) == 4, 10)
    before = jobs(adapter)
    eventually(lambda: set(jobs(adapter).values()) == {"Starting"}, 10, "they run")
    adapter.kill()
    assert callable(fault)
    fault(adapter.root / "ledger")
    adapter.start()
    assert jobs(adapter).keys() == before.keys()
    (told,) = adapter.events("storage.rebuilt")
    assert (told["jobsFound"], told["jobsToRun"]) == (4, 4)
    because = adapter.get("/health/status")["degradedBecause"]
    assert any("API keys" in why and "audit trail" in why for why in because)
    if fault is damage:
        assert told["damage"]
        assert (adapter.root / told["putAside"] / "found" / "cache.db").exists()
    eventually(lambda: set(jobs(adapter).values()) == {"Starting"}, 10, "they run again")
    assert len(adapter.payload_folders()) == 4
    send(adapter, "1.2.3")
    eventually(lambda: len(jobs(adapter)) == 6, 10)


def noise_over_the_header(file: Path) -> None:
    root_page(file, "Cache")  # SQLite has read its log then, which has the header once more
    overwrite(file, 0, bytes(range(255, 155, -1)))


def zeroed_index_page(file: Path) -> None:
    overwrite(file, (root_page(file, "Cache_expire_time") - 1) * 4096, bytes(4096))


def root_page(file: Path, name: str) -> int:
    with closing(sqlite3.connect(file)) as database:
        select = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        ((page,),) = database.execute(select, (name,)).fetchall()
    return int(page)


def overwrite(file: Path, offset: int, content: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(content)


@pytest.mark.parametrize("fault", [noise_over_the_header, zeroed_index_page])
def test_what_was_made_over_rest_outlives_a_damaged_ledger(
    make_adapter: MakeAdapter, fault: Callable[[Path], None]
) -> None:
    """F71: keys, sources, destinations and the audit trail are in no folder."""
    rest = {"api": {"auth": "api-key"}, "dicom": {"scp": {"reject_unknown_sources": True}}}
    adapter = make_adapter(configured() | rest, start=False)
    adapter.file.write_text(json.dumps(adapter.settings))
    key = offline(adapter, "Jane", "administrator").stdout.strip()
    adapter.start()
    keyed = Keyed(adapter, {"administrator": key})
    keyed.ask("POST", SOURCES, "administrator", {"aeTitle": "CT1", "hostIp": "127.0.0.1"})
    pacs = {"name": "pacs", "aeTitle": "PACS", "hostIp": "127.0.0.1", "port": 104}
    keyed.ask("POST", DESTINATIONS, "administrator", pacs)
    adapter.stop()
    fault(adapter.root / "ledger" / "cache.db")
    adapter.start()
    assert is_admitted(adapter, b"CT1")
    assert not is_admitted(adapter, b"CT2")
    assert keyed.ask("GET", f"{DESTINATIONS}/pacs", "administrator")["aeTitle"] == "PACS"
    assert keyed.status("GET", "/health/ready") == 200
    health = keyed.ask("GET", "/health/status", "administrator")
    assert health["state"] == "degraded"
    assert any("API keys, sources" in why for why in health["degradedBecause"])
    (told,) = [json.loads(line) for line in adapter.log if '"storage.rebuilt"' in line]
    kept = told["rowsKept"]
    assert (kept["apiKeys"], kept["sources"], kept["destinations"]) == (1, 1, 1)
    assert "as far as they could not be read" in told["lost"]
    trail = keyed.cli("audit", "verify")
    assert trail.returncode == 0, trail.stderr
    actions = [entry["action"] for entry in keyed.ask("GET", "/api/audit", "administrator")]
    assert actions.count("ledger made anew") == 1
    assert len(actions) > kept["auditEntries"] > 2
    adapter.stop()
    adapter.start()
    assert keyed.ask("GET", "/health/status", "administrator")["state"] == "ready"


def is_admitted(adapter: Adapter, calling: bytes) -> bool:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=b"MAIN", calling=calling))
        return wire.answer()[0] == "accept"


@pytest.fixture
def small_ledger(tmp_path: Path) -> Iterator[Path]:
    """A storage root whose ledger has a file system of its own."""
    folder = tmp_path / "root" / "ledger"
    folder.mkdir(parents=True)
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        missing(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["/bin/umount", "-l", str(folder)], check=True)


def test_ledger_without_room_waits_for_it(make_adapter: MakeAdapter, small_ledger: Path) -> None:
    """F61: instances are taken and kept, jobs open as soon as there is room."""
    adapter = make_adapter(configured(root=str(small_ledger.parent)))
    (small_ledger / ".reserve").unlink()
    filler = fill_up(small_ledger)
    send(adapter, "1.2.1")
    eventually(lambda: adapter.request("GET", "/health/ready")[0] == 503, 20, "it is unready")
    assert any("no space" in why for why in adapter.get("/health/status")["unreadyBecause"])
    assert adapter.metrics("dicom_adapter_ledger_up") == {"": 0.0}
    assert echo_works(adapter.dicom_port)
    filler.unlink()
    eventually(lambda: len(jobs(adapter)) == 2, 20, "it has become jobs")
    eventually(lambda: adapter.request("GET", "/health/ready")[0] == 200, 20, "it is ready")
    adapter.kill()


def fill_up(disk: Path) -> Path:
    """Write until nothing more can be written, by anybody; return the file."""
    filler = disk / "filler"
    full = pytest.raises(OSError, match="No space left")
    with filler.open("wb", buffering=0) as file, open("/dev/zero", "rb") as zeros, full:
        shutil.copyfileobj(zeros, file, 4096)
    return filler


def test_full_disk_is_freed_by_what_has_ended(make_adapter: MakeAdapter, small_disk: Path) -> None:
    """What is written to free space finds room that was kept for it."""
    changes = configured(root=str(small_disk / "root"), retention={"completed_s": 86_400})
    adapter = make_adapter(changes)
    send(adapter, "1.2.1", "1.2.2")
    for folder in eventually(lambda: len(adapter.payload_folders()) == 4 and
                             adapter.payload_folders(), 10):  # fmt: skip
        (folder / "output" / "job.done").touch()
    eventually(lambda: list(jobs(adapter).values()) == ["Completed"] * 4, 20)
    fill_up(small_disk)
    adapter.kill()
    adapter.settings["storage"]["watermark_percent"] = 90
    adapter.start()
    eventually(lambda: jobs(adapter) == {}, 20, "they are gone")
    assert not adapter.payload_folders()  # which go first
    adapter.kill()


def test_ledger_whose_disk_fails_ends_the_process_and_no_job_is_lost(
    make_adapter: MakeAdapter,
) -> None:
    """F62: a sync that failed is not asked for again; the next start reads what is there."""
    if not Path(STRACE).exists():
        missing("strace is not installed")
    adapter = Adapter(make_adapter(configured(), start=False).root.parent, configured())
    adapter.start()
    try:
        with failing([adapter.pid], "fdatasync,fsync", "EIO", "1+",
                     path=adapter.root / "ledger" / "cache.db-wal") as tracer:  # fmt: skip
            send(adapter, "1.2.1")
            eventually(lambda: tracer.happened, 20, "the ledger was synced")
            assert adapter.wait(30) == 1
        assert any('"ledger.failed"' in line for line in adapter.log)
        adapter.start()
        eventually(lambda: len(jobs(adapter)) == 2, 20, "it has become jobs")
        assert len(adapter.payload_folders()) == 2
    finally:
        adapter.kill()
