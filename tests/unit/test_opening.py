"""The ledger at the start: lost, damaged, older; jobs come back from their folders (F70, F71)."""

import json
import sqlite3

import pytest
import trio

from adapter.domain.records import GroupRecord, Job
from adapter.domain.recovery import AS_IT_SHOULD_BE
from adapter.domain.tables import JobState
from adapter.errors import LedgerError
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.files import DiskThreads
from adapter.store.group_commit import WriterThread
from adapter.store.instances import FolderInstanceStore
from adapter.store.layout import Layout
from adapter.store.opening import open_ledger
from adapter.store.payloads import FolderPayloadStore

NOW = 1_700_000_500.0


def job(number=1, **changes):
    fields = {
        "id": f"job-{number}", "group_id": f"group-{number}", "ae_title": "BRAIN",
        "processor": "one", "name": "brain-seg", "pipeline": "seg", "pipeline_id": "p1",
        "priority": "higher", "opened_at": 1_700_000_000.5 + number,
        "changed_at": 1_700_000_000.5, "instances": 1, "payload_bytes": 6,
        "destinations": ("pacs",), "calling_ae_titles": ("CT1",), "supplements": "job-0",
    }  # fmt: skip
    return Job(**fields | changes)


class Root:
    """A storage root with jobs in it, over one ledger after another."""

    def __init__(self, folder):
        self.layout = Layout(folder)
        threads = DiskThreads(trio.CapacityLimiter(1))
        self.store = FolderInstanceStore(self.layout, "os", threads)
        self.payloads = FolderPayloadStore(self.layout, "os", threads)
        self.opened = []

    async def close_group_of(self, job):
        record = GroupRecord(id=job.group_id, ae_title="BRAIN", key="1", opened_at=0.0)
        await self.store.open_group(record)
        series = self.layout.open_group(job.group_id) / "dcm" / "1.2" / "1.3"
        series.mkdir(parents=True)
        (series / "1.4.dcm").write_bytes(b"pixels")
        await self.store.close_group(job.group_id)

    async def make(self, job):
        await self.close_group_of(job)
        await self.payloads.create_payload(job)
        await self.store.remove_group(job.group_id)

    def open(self):
        ledger, report = open_ledger(self.layout, "os", WriterThread(), lambda: NOW)
        self.opened.append(ledger)
        return ledger, report

    def aside(self):
        return sorted(path.name for path in self.layout.quarantine.iterdir())


@pytest.fixture
async def root(tmp_path):
    root = Root(tmp_path / "root")
    await root.store.recover()
    yield root
    for ledger in root.opened:
        ledger.close()


async def test_ledger_that_is_as_it_should_be_says_so(root):
    ledger, report = root.open()
    assert report == AS_IT_SHOULD_BE
    await ledger.open_jobs([job()])
    await root.make(job())
    assert root.open()[1] == AS_IT_SHOULD_BE


async def test_jobs_come_back_from_their_folders_when_the_ledger_has_gone(root):
    await root.make(job(1))
    await root.make(job(2))
    (root.layout.payload("job-1") / "output" / "job.done").touch()
    ledger, report = root.open()
    assert (report.jobs_found, report.jobs_to_run, report.damage) == (2, 1, "")
    first, second = await ledger.jobs()
    assert (first.state, second.state) == (JobState.COMPLETED, JobState.QUEUED)
    assert not first.collected, "its results are exported again"
    for found, made in ((first, job(1)), (second, job(2))):
        for name in (
            "id", "group_id", "ae_title", "processor", "name", "pipeline", "pipeline_id",
            "priority", "opened_at", "instances", "payload_bytes", "destinations",
            "calling_ae_titles", "supplements",
        ):  # fmt: skip
            assert getattr(found, name) == getattr(made, name), name
    assert root.open()[1] == AS_IT_SHOULD_BE, "they are in the ledger now"


async def test_damaged_ledger_is_put_aside_and_filled_from_the_folders(root):
    await root.make(job())
    ledger, _ = root.open()
    await ledger.open_jobs([job()])
    (root.layout.ledger / "cache.db").write_bytes(b"not a database" * 1000)
    for rest in root.layout.ledger.glob("cache.db-*"):
        rest.unlink()
    ledger, report = root.open()
    assert "not a database" in report.damage
    assert report.put_aside == "quarantine/ledger"
    assert [found.id for found in await ledger.jobs()] == ["job-1"]
    assert (root.layout.quarantine / "ledger" / "found" / "cache.db").exists()
    assert "not a database" in (root.layout.quarantine / "ledger" / "why").read_text()


async def test_zeroed_page_of_the_ledger_loses_no_job(root):
    ledger, _ = root.open()
    jobs = [job(number, error="x" * 500) for number in range(200)]
    for each in jobs:
        await root.make(each)
    await ledger.open_jobs(jobs)
    with sqlite3.connect(root.layout.ledger / "cache.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    with (root.layout.ledger / "cache.db").open("r+b") as file:
        for page in range(8, 24):
            file.seek(page * 4096)
            file.write(bytes(4096))
    ledger, report = root.open()
    assert report.damage
    assert report.jobs_found == 200
    assert {found.id for found in await ledger.jobs()} == {each.id for each in jobs}


async def test_row_that_cannot_be_read_is_damage(root):
    engine = DiskcacheEngine(root.layout.ledger)
    engine.write([("format", b"1"), ("job/job-1", b"\xc1")])
    engine.close()
    assert "a row of the ledger" in root.open()[1].damage


async def test_ledger_of_another_version_is_left_as_it_is(root):
    engine = DiskcacheEngine(root.layout.ledger)
    engine.write([("format", b"2")])
    engine.close()
    with pytest.raises(LedgerError, match="another version"):
        root.open()
    assert root.aside() == []


async def test_job_whose_closed_group_is_there_is_left_to_its_processor(root):
    await root.close_group_of(job())
    await root.payloads.create_payload(job())
    ledger, report = root.open()
    assert report == AS_IT_SHOULD_BE
    assert await ledger.jobs() == []


@pytest.mark.parametrize(
    "meta",
    [
        None, b"{", b"{}", {"jobId": "job-2"}, {"groupId": "../../etc"}, {"openedAt": "soon"},
        {"priority": 7}, {"jobId": "../job-1"},
    ],
)  # fmt: skip
async def test_folder_that_is_no_job_is_put_aside(root, meta):
    await root.make(job())
    path = root.layout.payload("job-1") / "job.meta"
    content = json.loads(path.read_bytes())
    path.unlink()
    if meta is not None:
        path.write_bytes(meta if isinstance(meta, bytes) else json.dumps(content | meta).encode())
    ledger, report = root.open()
    assert report.folders_put_aside == 1
    assert await ledger.jobs() == []
    assert root.aside() == ["payloads-job-1"]
    assert list((root.layout.quarantine / "payloads-job-1").rglob("*.dcm"))


async def test_link_to_a_folder_elsewhere_is_no_job(root, tmp_path):
    await root.make(job())
    elsewhere = tmp_path / "job-1"
    root.layout.payload("job-1").rename(elsewhere)
    root.layout.payload("job-1").symlink_to(elsewhere)
    ledger, report = root.open()
    assert (report.folders_put_aside, await ledger.jobs()) == (1, [])
    assert list(elsewhere.rglob("*.dcm"))


async def test_fetched_results_without_a_row_wait_for_their_task(root):
    """They become a job when their service offers the task again; until then they are nothing."""
    output = root.layout.payload("job-fetched") / "output"
    output.mkdir(parents=True)
    (output / "job.done").touch()
    ledger, report = root.open()
    assert report == AS_IT_SHOULD_BE
    assert (await ledger.jobs(), root.aside()) == ([], [])
    assert output.exists()
