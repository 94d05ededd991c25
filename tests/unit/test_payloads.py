"""Job folders on a real file system."""

import json
import shutil
from pathlib import Path

import pytest
import trio
from fakes.placements import ONLY

from adapter.domain.messages import Placement
from adapter.domain.records import GroupRecord, Job
from adapter.errors import StorageFaultError
from adapter.store.fetched_results import FetchedResults
from adapter.store.files import DiskThreads
from adapter.store.instances import FolderInstanceStore
from adapter.store.layout import Layout
from adapter.store.parts import PartFiles
from adapter.store.payloads import FolderPayloadStore

TYPES = {dict: "object", list: "array", str: "string"}
SCHEMA = Path(__file__).parents[2] / "docs" / "job.meta.schema.json"


@pytest.fixture
async def disk(tmp_path):
    """Return (layout, instance store, payload store, part files) with one open group in them."""
    layout, threads = Layout(tmp_path / "root"), DiskThreads(trio.CapacityLimiter(2))
    parts = PartFiles(layout, "fsync")
    store = FolderInstanceStore(layout, "fsync", threads)
    await store.recover()
    await store.open_group(GroupRecord(id="group-1", ae_title="BRAIN", key="1", opened_at=0.0))
    for instance in ("1.1", "1.2"):
        part = parts.open()
        part.write([instance.encode() * 100])
        where = Placement(
            groups={ONLY: "group-1"}, study="7", series="8", instance=instance,
            same_instance="keep-first",
        )  # fmt: skip
        part.commit(where, "group-1")
        part.discard()
    return layout, store, FolderPayloadStore(layout, "fsync", threads)


def payload_ids(layout):
    return {path.name for path in layout.payloads.iterdir() if not path.name.startswith(".")}


def job(identifier="job-1", pipeline="seg"):
    return Job(
        id=identifier, group_id="group-1", ae_title="BRAIN", processor="AE Title Job Processor",
        name="brain-seg-1", pipeline=pipeline, pipeline_id="p1", priority="higher", opened_at=0.5,
        changed_at=0.5, instances=2, payload_bytes=600,
    )  # fmt: skip


async def test_payload_has_the_closed_group_as_input(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job())
    folder = layout.payload("job-1")
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == ["input/dcm/7/8/1.1.dcm", "input/dcm/7/8/1.2.dcm", "job.meta"]
    assert (folder / "input/dcm/7/8/1.1.dcm").read_bytes() == b"1.1" * 100
    assert list((folder / "output").iterdir()) == []
    assert payload_ids(layout) == {"job-1"}


async def test_what_the_input_has_is_counted(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    assert await payloads.count_inputs("job-1") is None
    await payloads.create_payload(job())
    assert await payloads.count_inputs("job-1") == 2
    (layout.payload("job-1") / "input/dcm/7/8/1.1.dcm").unlink()
    assert await payloads.count_inputs("job-1") == 1
    shutil.rmtree(layout.payload("job-1") / "input")
    assert await payloads.count_inputs("job-1") == 0


async def test_no_byte_is_copied(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job())
    received = layout.closed_group("group-1") / "dcm/7/8/1.1.dcm"
    linked = layout.payload("job-1") / "input/dcm/7/8/1.1.dcm"
    assert linked.stat().st_ino == received.stat().st_ino


async def test_meta_describes_the_job(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job())
    assert json.loads((layout.payload("job-1") / "job.meta").read_bytes()) == {
        "jobId": "job-1", "name": "brain-seg-1", "pipeline": "seg", "pipelineId": "p1",
        "priority": "higher", "source": "BRAIN (AE Title Job Processor)", "aeTitle": "BRAIN",
        "groupId": "group-1", "openedAt": "1970-01-01T00:00:00.500+00:00", "supplements": "",
        "destinations": [], "callingAeTitles": [],
        "metadata": {"Source": "BRAIN (AE Title Job Processor)", "Instances": "2"},
    }  # fmt: skip


async def test_creating_again_is_harmless(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job())
    (layout.payload("job-1") / "output" / "result").write_bytes(b"kept")
    await payloads.create_payload(job())
    assert (layout.payload("job-1") / "output" / "result").read_bytes() == b"kept"


async def test_creating_again_after_a_failure_half_way_succeeds(disk):
    """A full or failing disk leaves an unfinished folder; the next try must not stumble over it."""
    layout, store, payloads = disk
    with pytest.raises(StorageFaultError):
        await payloads.create_payload(job())  # the group is not closed: nothing to link
    assert payload_ids(layout) == set()
    await store.close_group("group-1")
    await payloads.create_payload(job())
    assert len(list(layout.payload("job-1").rglob("*.dcm"))) == 2


async def test_payload_survives_the_removal_of_its_group(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job())
    await store.remove_group("group-1")
    assert len(list(layout.payload("job-1").rglob("*.dcm"))) == 2


async def test_shared_bytes_come_back_with_the_last_payload(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job("job-1"))
    await payloads.create_payload(job("job-2", pipeline="lung"))
    await store.remove_group("group-1")
    assert await payloads.remove_payload("job-1") < 600
    assert await payloads.remove_payload("job-2") >= 600
    assert await payloads.remove_payload("job-2") == 0
    assert payload_ids(layout) == set()


class Reader:
    """Reads attributes of instances, and counts."""

    def __init__(self):
        self.paths = []

    def __call__(self, path):
        self.paths.append(path)
        return {"00080060": "CT", "0008103E": path[-7:]}


async def test_attributes_go_into_the_meta_once_for_all_jobs_of_a_group(disk):
    layout, store, _ = disk
    read = Reader()
    payloads = FolderPayloadStore(layout, "fsync", DiskThreads(trio.CapacityLimiter(2)), read)
    await store.close_group("group-1")
    for name in ("job-1", "job-2"):
        await payloads.create_payload(job(name))
        assert await payloads.metadata(name) == {
            "Source": "BRAIN (AE Title Job Processor)", "Instances": "2",
            "00080060": "CT", "0008103E-0": "1.1.dcm", "0008103E-1": "1.2.dcm",
        }  # fmt: skip
    assert len(read.paths) == 2


async def test_meta_that_is_gone_or_damaged_is_a_storage_fault(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job())
    meta = layout.payload("job-1") / "job.meta"
    meta.unlink()
    with pytest.raises(StorageFaultError):
        await payloads.metadata("job-1")
    meta.write_bytes(b"{")
    with pytest.raises(StorageFaultError):
        await payloads.metadata("job-1")


async def test_meta_has_the_fields_of_its_schema(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job())
    schema = json.loads(SCHEMA.read_bytes())["$defs"]["JobMeta"]
    meta = json.loads((layout.payload("job-1") / "job.meta").read_bytes())
    since_then = {"destinations", "callingAeTitles"}  # folders of older versions have none
    assert set(meta) == set(schema["properties"]) == set(schema["required"]) | since_then
    for name, value in meta.items():
        rule = schema["properties"][name]
        assert rule.get("type", "string") == TYPES[type(value)], name
        assert value in rule.get("enum", [value])


async def test_folders_say_which_group_they_were_made_of(disk):
    layout, store, payloads = disk
    await store.close_group("group-1")
    await payloads.create_payload(job())
    (layout.payloads / ".job-3").mkdir()
    (layout.payloads / "job-4").mkdir()
    assert await payloads.folders() == {"job-1", "job-4"}
    assert [await payloads.group_of(name) for name in ("job-1", "job-4")] == ["group-1", ""]


async def test_fetched_results_are_discarded_finished_or_not(disk):
    layout, _, _ = disk
    threads = DiskThreads(trio.CapacityLimiter(2))
    fetched = FetchedResults(layout, "fsync", threads, space=None)
    for steps in ((), ("finish",), ("finish", "missing")):
        await fetched.missing("job-9", ["a.dcm"])
        for step in steps:
            await (fetched.finish("job-9") if step == "finish" else fetched.missing("job-9", []))
        await fetched.discard("job-9")
        await fetched.discard("job-9")
        assert [path.name for path in layout.payloads.iterdir()] == []
