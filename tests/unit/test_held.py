"""Finding instances by SOP Instance UID, wherever their group is on its way."""

import trio
from fakes.placements import ONLY
from msgspec import structs

from adapter.domain.messages import Placement
from adapter.domain.records import GroupRecord, Job
from adapter.protocols.dimse.file_meta import FileMetaWriter, describe_stored
from adapter.store.files import DiskThreads
from adapter.store.held import FolderHeldInstances
from adapter.store.instances import FolderInstanceStore
from adapter.store.layout import Layout
from adapter.store.parts import PartFiles
from adapter.store.payloads import FolderPayloadStore

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
JOB = Job(
    id="job-1", group_id="group-1", ae_title="BRAIN", processor="p", name="n", pipeline="seg",
    pipeline_id="p1", priority="normal", opened_at=1.0, changed_at=1.0, instances=1,
    payload_bytes=10,
)  # fmt: skip


class Storage:
    """One storage root with what is needed to fill it."""

    def __init__(self, root):
        self.layout = Layout(root)
        threads = DiskThreads(trio.CapacityLimiter(2))
        self.parts = PartFiles(self.layout, "os")
        self.groups = FolderInstanceStore(self.layout, "os", threads)
        self.payloads = FolderPayloadStore(self.layout, "os", threads)
        self.opened = []
        self.held = FolderHeldInstances(self.layout, threads, self.describe)

    def describe(self, path):
        self.opened.append(path)
        return describe_stored(path)

    async def group(self, group, *instances):
        await self.groups.open_group(
            GroupRecord(id=group, ae_title="BRAIN", key="1.2", opened_at=1.0)
        )
        for uid, sop_class in instances:
            part = self.parts.open()
            meta = FileMetaWriter(sop_class, "1.2.840.10008.1.2.1", "CT1")
            part.write([meta.encode(uid), b"data"])
            where = Placement(
                groups={ONLY: group}, study="1", series="2", instance=uid,
                same_instance="keep-first",
            )  # fmt: skip
            part.commit(where, group)
            part.discard()


async def filled(tmp_path):
    storage = Storage(tmp_path / "root")
    await storage.groups.recover()
    await storage.group("group-1", ("1.2.1", CT))
    return storage


async def test_instance_is_found_on_its_whole_way(tmp_path):
    storage = await filled(tmp_path)
    wanted, found = {"1.2.1", "1.2.9"}, {"1.2.1": {CT}}
    assert await storage.held.find(wanted) == found
    await storage.groups.close_group("group-1")
    assert await storage.held.find(wanted) == found
    await storage.payloads.create_payload(JOB)
    await storage.groups.remove_group("group-1")
    assert await storage.held.find(wanted) == found
    await storage.payloads.remove_payload("job-1")
    assert await storage.held.find(wanted) == {}


async def test_only_what_is_asked_for_is_opened(tmp_path):
    storage = await filled(tmp_path)
    await storage.group("group-2", *((f"1.3.{n}", CT) for n in range(50)))
    assert await storage.held.find({"1.3.7", "1.9"}) == {"1.3.7": {CT}}
    assert len(storage.opened) == 1


async def test_every_class_it_is_held_under_is_told(tmp_path):
    storage = await filled(tmp_path)
    await storage.group("group-2", ("1.2.1", MR))
    assert await storage.held.find({"1.2.1"}) == {"1.2.1": {CT, MR}}


async def test_results_and_unfinished_folders_do_not_count(tmp_path):
    storage = await filled(tmp_path)
    await storage.groups.close_group("group-1")
    await storage.payloads.create_payload(structs.replace(JOB, id="job-2"))
    await storage.groups.remove_group("group-1")
    job = storage.layout.payload("job-2")
    (job / "input" / "dcm").rename(job / "output" / "dcm")
    assert await storage.held.find({"1.2.1"}) == {}


async def test_damaged_file_is_not_held(tmp_path):
    storage = await filled(tmp_path)
    (file,) = (storage.layout.incoming / "group-1" / "dcm").rglob("*.dcm")
    file.chmod(0o640)
    file.write_bytes(b"not a Part 10 file")
    assert await storage.held.find({"1.2.1"}) == {}
