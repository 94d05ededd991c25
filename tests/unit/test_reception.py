"""One instance from its command to its status: what is asked, committed, told and answered."""

import pytest
from fakes.placements import ONLY

from adapter.domain.messages import Ignored, Placement, Refused
from adapter.errors import GroupClosedError, StorageFaultError, StorageFullError
from adapter.protocols.dimse.command_set import Command
from adapter.protocols.dimse.head import SOP_CLASS_UID, SOP_INSTANCE_UID
from adapter.protocols.dimse.reception import AcceptedContext, Reception

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
WANTED = frozenset((SOP_CLASS_UID, SOP_INSTANCE_UID))


def element(tag, vr, value):
    value += b"\0" * (len(value) % 2)
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    return head + vr + len(value).to_bytes(2, "little") + value


DATA = (
    element(SOP_CLASS_UID, b"UI", CT.encode())
    + element(SOP_INSTANCE_UID, b"UI", b"1.2.3")
    + element(0x00200010, b"SH", b"x")
)


class Disk:
    """Parts that are kept in memory; `failures` are raised by the next commits."""

    def __init__(self, *failures, full=False):
        self.failures, self.full = list(failures), full
        self.committed, self.written, self.discarded = [], b"", 0

    def open(self):
        return self

    def write(self, views):
        if self.full:
            raise StorageFullError("no space left on the storage")
        self.written += b"".join(views)

    def commit(self, placement, group_id):
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.committed.append(group_id)

    def discard(self):
        self.discarded += 1


class Entity:
    """Answers from a list; notes what it was told."""

    def __init__(self, *answers):
        self.answers, self.told, self.asked = list(answers), [], 0

    def place(self, instance):
        return self.answers.pop(0)

    def ask(self, instance):
        self.asked += 1
        self.joined = instance.joined
        return self.answers.pop(0)

    def settled(self, settled):
        arrivals = [(one.group_id, one.stored, one.duplicate) for one in settled.arrivals]
        self.told.append((settled.stored, arrivals))


def placement(group="", **groups):
    return Placement(
        groups=groups or {ONLY: group},
        study="1",
        series="2",
        instance="3",
        same_instance="keep-first",
    )


def received(disk, entity, data=DATA, *, sop_class=CT, uid="1.2.3", has_data_set=True):
    command = Command(1, 7, sop_class, uid, has_data_set, None)
    context = AcceptedContext(CT, EXPLICIT, "CT1", WANTED)
    reception = Reception(command, context, disk.open)
    if has_data_set:
        reception.fragment(memoryview(data), last=True)
    status, _ = reception.finish("a-1", "CT1", entity)
    reception.conclude(entity)
    return status


def test_stored_instance_is_told_and_answered_with_success():
    disk, entity = Disk(), Entity(placement("new"))
    assert received(disk, entity) == 0x0000
    assert disk.committed == ["new"]
    assert disk.written.endswith(DATA)
    assert entity.told == [(True, [("new", True, None)])]


def test_group_that_closed_under_a_lease_is_asked_about_again():
    disk = Disk(GroupClosedError("closed"))
    entity = Entity(placement("old"), placement("new"))
    assert received(disk, entity) == 0x0000
    assert disk.committed == ["new"]
    assert entity.asked == 1
    assert entity.told == [(True, [("new", True, None)])]


def test_group_that_closes_twice_is_left_to_the_sender():
    disk = Disk(GroupClosedError("closed"), GroupClosedError("closed"))
    entity = Entity(placement("old"), placement("new"))
    assert received(disk, entity) == 0xA700
    assert disk.committed == []
    assert disk.discarded
    assert entity.told == [(False, [])]


def test_failing_disk_is_out_of_resources_and_told():
    for failure in (StorageFullError("full"), StorageFaultError("I/O error")):
        disk, entity = Disk(failure), Entity(placement("new"))
        assert received(disk, entity) == 0xA700
        assert entity.told == [(False, [("new", False, None)])]
        assert disk.discarded


def test_disk_that_fills_up_while_receiving_asks_nobody():
    disk, entity = Disk(full=True), Entity()
    assert received(disk, entity) == 0xA700
    assert entity.told == []


def test_ignored_instance_is_success_and_not_kept():
    disk, entity = Disk(), Entity(Ignored(why="ignored_sop_classes"))
    assert received(disk, entity) == 0x0000
    assert disk.committed == []
    assert disk.discarded


def test_refusal_of_the_entity_is_the_status():
    disk, entity = Disk(), Entity(Refused(status=0x0122, comment="not here"))
    assert received(disk, entity) == 0x0122
    assert disk.committed == []


def test_wrong_identity_is_refused_before_anybody_is_asked():
    assert received(Disk(), Entity(), sop_class="1.2.840.10008.5.1.4.1.1.4") == 0x0122
    assert received(Disk(), Entity(), uid="../../etc") == 0x0117
    assert received(Disk(), Entity(), uid="1.2.4") == 0xA900
    assert received(Disk(), Entity(), has_data_set=False) == 0xC000
    assert received(Disk(), Entity(), b"") == 0xC000
    assert received(Disk(), Entity(), bytes(range(128, 256)) * 8) == 0xC000


# --- several processors


def test_instance_is_committed_into_every_group_and_told_once():
    disk, entity = Disk(), Entity(placement(one="a", two="b"))
    assert received(disk, entity) == 0x0000
    assert disk.committed == ["a", "b"]
    assert entity.told == [(True, [("a", True, None), ("b", True, None)])]


def test_group_that_has_it_is_not_asked_about_again():
    disk = Disk(None, GroupClosedError("closed"))
    entity = Entity(placement(one="a", two="b", three="c"), placement(two="new", three="c"))
    assert received(disk, entity) == 0x0000
    assert entity.joined == ("one",)
    assert disk.committed == ["a", "new", "c"]
    first, missed, *then = entity.told[0][1]
    assert (first, missed) == (("a", True, None), ("c", False, None))
    assert then == [("new", True, None), ("c", True, None)]


def test_what_one_group_has_is_stored_if_nobody_else_wants_it_any_more():
    disk = Disk(None, GroupClosedError("closed"))
    entity = Entity(placement(one="a", two="b"), Ignored(why="late"))
    assert received(disk, entity) == 0x0000
    assert entity.told == [(True, [("a", True, None)])]


@pytest.mark.parametrize(
    "answer", [Refused(status=0xA700, comment="low"), placement(two="new")], ids=["refused", "gone"]
)
def test_what_not_all_groups_get_is_not_acknowledged(answer):
    disk = Disk(None, GroupClosedError("closed"), GroupClosedError("closed"))
    entity = Entity(placement(one="a", two="b"), answer)
    assert received(disk, entity) == 0xA700
    assert entity.told == [(False, [("a", True, None)])]
    assert disk.discarded


def test_disk_that_fails_between_two_groups_is_out_of_resources():
    disk = Disk(None, StorageFullError("full"))
    entity = Entity(placement(one="a", two="b", three="c"))
    assert received(disk, entity) == 0xA700
    told = [("a", True, None), ("b", False, None), ("c", False, None)]
    assert entity.told == [(False, told)]
    assert disk.discarded
