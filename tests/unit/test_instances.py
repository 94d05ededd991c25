"""Groups as folders, on a real file system."""

import os
import resource

import pytest
import trio
from fakes.placements import ONLY

from adapter.domain.messages import Placement
from adapter.domain.records import GroupRecord
from adapter.errors import ConfigurationError, GroupClosedError, StorageFaultError
from adapter.store.files import DiskThreads
from adapter.store.instances import FolderInstanceStore
from adapter.store.layout import Layout
from adapter.store.lock import lock_root
from adapter.store.parts import PartFiles
from adapter.store.quarantine import Quarantine
from adapter.store.space import HYSTERESIS, DiskSpaceGauge, SpaceLimits


class Storage:
    """One storage root; `restart` is what the next process sees."""

    def __init__(self, root):
        self.layout = Layout(root)
        self.restart()

    def restart(self):
        self.parts = PartFiles(self.layout, "fsync")
        threads = DiskThreads(trio.CapacityLimiter(2))
        self.store = FolderInstanceStore(self.layout, "fsync", threads)

    def receive(self, group="group-1", instance="1.2.3", content=b"bytes", at=None):
        part = self.parts.open()
        part.write([content])
        where = Placement(
            groups={ONLY: group}, study="1", series="2", instance=instance,
            same_instance="keep-first",
        )  # fmt: skip
        part.commit(where, group)
        part.discard()
        if at is not None:
            path = self.layout.open_group(group) / "dcm" / "1" / "2" / f"{instance}.dcm"
            os.utime(path, (at, at))


@pytest.fixture
async def storage(tmp_path):
    made = Storage(tmp_path / "root")
    await made.store.recover()
    return made


def record(identifier="group-1", ae_title="BRAIN", opened_at=100.0):
    return GroupRecord(id=identifier, ae_title=ae_title, key="1.2", opened_at=opened_at,
                       calling_ae_titles=("CT1",))  # fmt: skip


async def test_folders_are_made_in_an_empty_root(storage):
    assert all(folder.is_dir() for folder in storage.layout.folders())


async def test_open_group_is_found_after_a_restart(storage):
    await storage.store.open_group(record())
    storage.receive(at=150.0)
    storage.receive(instance="1.2.4", content=b"more bytes", at=120.0)
    storage.restart()
    await storage.store.recover()
    (group,) = await storage.store.open_groups("BRAIN")
    assert group.record == record()
    assert (group.instances, group.payload_bytes, group.last_arrival_at) == (2, 15, 150.0)


async def test_empty_group_last_changed_when_it_opened(storage):
    await storage.store.open_group(record())
    (group,) = await storage.store.open_groups("BRAIN")
    assert (group.instances, group.last_arrival_at) == (0, 100.0)


async def test_groups_belong_to_their_ae_title_and_come_oldest_first(storage):
    await storage.store.open_group(record("group-2", opened_at=2.0))
    await storage.store.open_group(record("group-1", opened_at=1.0))
    await storage.store.open_group(record("group-3", ae_title="LUNG"))
    brain = await storage.store.open_groups("BRAIN")
    assert [group.record.id for group in brain] == ["group-1", "group-2"]
    assert [g.record.id for g in await storage.store.open_groups("LUNG")] == ["group-3"]


async def test_closed_group_is_closed_for_ever(storage):
    await storage.store.open_group(record())
    storage.receive()
    await storage.store.close_group("group-1")
    assert await storage.store.open_groups("BRAIN") == []
    (group,) = await storage.store.closed_groups("BRAIN")
    assert group.instances == 1
    with pytest.raises(GroupClosedError):
        storage.receive(instance="1.2.4")


async def test_closing_again_is_harmless(storage):
    await storage.store.open_group(record())
    await storage.store.close_group("group-1")
    await storage.store.close_group("group-1")
    assert len(await storage.store.closed_groups("BRAIN")) == 1


async def test_group_that_never_was_cannot_be_closed(storage):
    with pytest.raises(StorageFaultError):
        await storage.store.close_group("group-9")


async def test_removed_group_gives_its_bytes_back_once(storage):
    await storage.store.open_group(record())
    storage.receive(content=b"x" * 1000)
    await storage.store.close_group("group-1")
    size = 1000 + (storage.layout.closed_group("group-1") / "group.json").stat().st_size
    assert await storage.store.remove_group("group-1") == size
    assert await storage.store.remove_group("group-1") == 0
    assert list(storage.layout.closed.iterdir()) == []


async def test_bytes_that_are_linked_elsewhere_are_not_given_back(storage):
    await storage.store.open_group(record())
    storage.receive(content=b"x" * 1000)
    await storage.store.close_group("group-1")
    (path,) = storage.layout.closed.rglob("*.dcm")
    os.link(path, storage.layout.payloads / "kept.dcm")
    assert await storage.store.remove_group("group-1") < 1000
    assert (storage.layout.payloads / "kept.dcm").read_bytes() == b"x" * 1000


async def test_what_was_unfinished_is_cleared_at_the_next_start(storage):
    layout = storage.layout
    for folder in (
        layout.incoming / ".group-1",
        layout.closed / ".group-2",
        layout.payloads / ".job-1",
    ):
        (folder / "dcm").mkdir(parents=True)
        (folder / "dcm" / "file").write_bytes(b"x")
    (layout.parts / "7").write_bytes(b"half an instance")
    storage.restart()
    await storage.store.recover()
    assert list(layout.incoming.iterdir()) == [layout.parts]
    for folder in (layout.parts, layout.closed, layout.payloads, layout.quarantine):
        assert list(folder.iterdir()) == []


async def test_folder_that_is_no_group_is_quarantined_not_deleted(storage):
    layout = storage.layout
    for name, content in (("lost", None), ("damaged", b"{"), ("foreign", b'{"id": 1}')):
        (layout.incoming / name).mkdir()
        (layout.incoming / name / "1.dcm").write_bytes(name.encode())
        if content is not None:
            (layout.incoming / name / "group.json").write_bytes(content)
    (layout.closed / "file").write_bytes(b"a file")
    await storage.store.recover()
    kept = {path.read_bytes() for path in layout.quarantine.rglob("*.dcm")}
    assert kept == {b"lost", b"damaged", b"foreign"}
    assert {path.name for path in layout.quarantine.iterdir()} == {
        "incoming-lost", "incoming-damaged", "incoming-foreign", "closed-file",
    }  # fmt: skip
    threads = DiskThreads(trio.CapacityLimiter(1))
    listed = await Quarantine(layout, threads).listed()
    assert [one.why for one in listed] == ["no readable group.json"] * 4
    assert await storage.store.open_groups("BRAIN") == []


async def test_second_folder_of_a_quarantined_name_does_not_stop_the_start(storage):
    layout = storage.layout
    for content in (b"first", b"second"):
        (layout.incoming / "lost").mkdir()
        (layout.incoming / "lost" / "1.dcm").write_bytes(content)
        await storage.store.recover()
    kept = {path.read_bytes() for path in layout.quarantine.rglob("*.dcm")}
    assert kept == {b"first", b"second"}


async def test_group_that_lost_its_record_is_an_error_while_running(storage):
    (storage.layout.incoming / "group-1" / "dcm").mkdir(parents=True)
    with pytest.raises(StorageFaultError, match=r"group-1 has no readable group\.json"):
        await storage.store.open_groups("BRAIN")


async def test_links_are_not_followed(storage, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.dcm").write_bytes(b"x" * 100)
    await storage.store.open_group(record())
    (storage.layout.open_group("group-1") / "dcm" / "link").symlink_to(tmp_path / "outside")
    await storage.store.close_group("group-1")
    (group,) = await storage.store.closed_groups("BRAIN")
    assert group.instances == 0
    await storage.store.remove_group("group-1")
    assert (tmp_path / "outside" / "1.dcm").exists()


async def test_folder_on_a_missing_disk_is_a_storage_fault(tmp_path):
    storage = Storage(tmp_path / "missing")
    with pytest.raises(StorageFaultError):
        await storage.store.open_groups("BRAIN")


# --- lock and space of the same root


def test_storage_root_is_for_one_process(tmp_path):
    held = lock_root(Layout(tmp_path / "root"))
    with pytest.raises(ConfigurationError, match="another adapter uses this folder"):
        lock_root(Layout(tmp_path / "root"))
    os.close(held)
    os.close(lock_root(Layout(tmp_path / "root")))


def test_storage_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "root").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"storage\.root"):
        lock_root(Layout(tmp_path / "root"))


def gauge(root, reserve_bytes, watermark_percent=100.0):
    Layout(root).lock.touch()
    return DiskSpaceGauge(
        Layout(root), limits=SpaceLimits(watermark_percent, reserve_bytes),
        threads=DiskThreads(trio.CapacityLimiter(1)),
    )  # fmt: skip


async def test_want_of_descriptors_is_no_fault_of_the_storage(tmp_path):
    one = gauge(tmp_path, 0)
    await one.measure()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        await one.measure()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (one.low, one.fault) == (False, "")


async def test_space_is_low_below_the_reserve(tmp_path):
    reading = await gauge(tmp_path, 0).measure()
    assert 0 < reading.free_bytes <= reading.total_bytes
    low = gauge(tmp_path, 2 * reading.total_bytes)
    assert (await low.measure()).reserved_bytes == 2 * reading.total_bytes
    assert low.low


async def test_space_is_low_above_the_watermark(tmp_path):
    one = gauge(tmp_path, 0, watermark_percent=1.0)
    reading = await one.measure()
    assert reading.reserved_bytes == int(reading.total_bytes * 0.99)
    assert one.low == (reading.free_bytes < reading.reserved_bytes)


async def test_space_does_not_flap_at_the_edge(tmp_path):
    free = (await gauge(tmp_path, 0).measure()).free_bytes
    edge = gauge(tmp_path, int(free / (1 + HYSTERESIS / 2)))
    await edge.measure()
    assert not edge.low
    edge.low = True
    await edge.measure()
    assert edge.low
