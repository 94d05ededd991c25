"""What waits for a release, on a real file system: released, dropped, killed in between."""

import pytest
import trio
from fakes.placements import ONLY
from test_instances import Storage, record

from adapter.domain.messages import Placement
from adapter.domain.records import Duplicate, GroupHold, Merged
from adapter.errors import GroupClosedError, StorageFaultError
from adapter.store.instances import HOLD
from adapter.store.staged import RELEASED, STAGED


@pytest.fixture
async def storage(tmp_path):
    made = Storage(tmp_path / "root")
    await made.store.recover()
    await made.store.open_group(record())
    return made


def stage(  # as an association thread does
    storage,
    instance="1.2.3",
    content=b"bytes",
    association="a-1",
    series="2",
    same_instance="keep-first",
):
    part = storage.parts.open()
    part.write([content])
    where = Placement(
        groups={ONLY: "group-1"}, study="1", series=series, instance=instance,
        same_instance=same_instance, association=association,
    )  # fmt: skip
    duplicate = part.commit(where, "group-1")
    part.discard()
    return duplicate


def stored(storage):
    dcm = storage.layout.open_group("group-1") / "dcm"
    return {str(path.relative_to(dcm)): path.read_bytes() for path in sorted(dcm.rglob("*.dcm"))}


async def release(storage, association="a-1", same_instance="keep-first"):
    merged = Merged()
    await storage.store.release_staged("group-1", association)
    await storage.store.merge_released("group-1", association, same_instance, merged)
    return merged


async def test_staged_instance_is_not_in_the_group_yet(storage):
    stage(storage)
    (group,) = await storage.store.open_groups("BRAIN")
    assert (group.instances, group.staged, group.unmerged) == (0, {"a-1": (1, 5)}, {})
    assert stored(storage) == {}


async def test_released_instances_are_in_the_group(storage):
    stage(storage)
    stage(storage, "1.2.4", series="3")
    assert (await release(storage)).duplicates == []
    assert stored(storage) == {"1/2/1.2.3.dcm": b"bytes", "1/3/1.2.4.dcm": b"bytes"}
    (group,) = await storage.store.open_groups("BRAIN")
    assert (group.instances, group.staged, group.unmerged) == (2, {}, {})


async def test_release_and_drop_again_are_harmless(storage):
    stage(storage)
    await release(storage)
    await release(storage)
    await storage.store.drop_staged("group-1", "a-1")
    assert len(stored(storage)) == 1


async def test_dropped_instances_are_gone_and_others_are_not(storage):
    stage(storage)
    stage(storage, association="a-2")
    await storage.store.drop_staged("group-1", "a-1")
    (group,) = await storage.store.open_groups("BRAIN")
    assert group.staged == {"a-2": (1, 5)}
    await release(storage, "a-2")
    assert len(stored(storage)) == 1


async def test_second_staged_instance_of_an_association_is_a_duplicate(storage):
    assert stage(storage) is None
    assert stage(storage, content=b"other") == Duplicate(differs=True, kept="first")


@pytest.mark.parametrize(
    ("policy", "kept", "names"),
    [
        ("keep-first", "first", {"1/2/1.2.3.dcm": b"first"}),
        ("replace", "last", {"1/2/1.2.3.dcm": b"second"}),
        ("keep-both", "both", {"1/2/1.2.3.dcm": b"first", "1/2/1.2.3_2.dcm": b"second"}),
    ],
)
async def test_instance_of_two_associations_follows_the_policy_at_release(
    storage, policy, kept, names
):
    stage(storage, content=b"first")
    stage(storage, content=b"second", association="a-2")
    stage(storage, "1.2.4", content=b"own", association="a-2")
    await release(storage, "a-1", policy)
    merged = await release(storage, "a-2", policy)
    assert merged.duplicates == [("1.2.3", Duplicate(differs=True, kept=kept))]
    fewer = 0 if kept == "both" else 1
    assert (merged.instances_fewer, merged.payload_bytes_fewer) == (fewer, 6 * fewer)
    assert stored(storage) == names | {"1/2/1.2.4.dcm": b"own"}


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("keep-both", {b"A", b"B"}), ("keep-first", {b"A"}), ("replace", {b"A"})],
)
async def test_staged_copies_are_compared_with_every_copy_in_the_group(storage, policy, kept):
    stage(storage, content=b"A")
    await release(storage)
    for content in (b"B", b"A"):
        stage(storage, content=content, association="a-2", same_instance="keep-both")
    merged = await release(storage, "a-2", policy)
    assert {uid for uid, _ in merged.duplicates} == {"1.2.3"}
    assert merged.instances_fewer == 3 - len(kept)
    assert sorted(stored(storage).values()) == sorted(kept)


async def test_kill_before_the_release_leaves_it_unreleased(storage):
    stage(storage)
    storage.restart()
    await storage.store.recover()
    (group,) = await storage.store.open_groups("BRAIN")
    assert group.staged == {"a-1": (1, 5)}


@pytest.mark.parametrize("done", [0, 1])
async def test_kill_in_the_middle_of_a_release_is_made_good(storage, done):
    """The rename to `released` decides; what follows can be done again."""
    stage(storage)
    stage(storage, "1.2.4", series="3")
    folder = storage.layout.open_group("group-1")
    (folder / RELEASED).mkdir()
    (folder / STAGED / "a-1").rename(folder / RELEASED / "a-1")
    if done:
        (folder / "dcm" / "1").mkdir()
        (folder / RELEASED / "a-1" / "1" / "2").rename(folder / "dcm" / "1" / "2")
    storage.restart()
    await storage.store.recover()
    (group,) = await storage.store.open_groups("BRAIN")
    assert (group.instances, group.staged) == (done, {})
    assert group.unmerged == {"a-1": (2 - done, 5 * (2 - done))}
    await release(storage)
    assert list(stored(storage)) == ["1/2/1.2.3.dcm", "1/3/1.2.4.dcm"]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ("keep-first", {"1.dcm": b"A", "2.dcm": b"B"}),
        ("replace", {"1.dcm": b"AA", "2.dcm": b"B"}),
        ("keep-both", {"1.dcm": b"A", "1_2.dcm": b"AA", "2.dcm": b"B"}),
    ],
)
async def test_merge_that_fails_midway_and_is_done_again_counts_each_file_once(
    storage, policy, names, restarted
):
    stage(storage, "1", b"A")
    await release(storage)
    for instance, content in (("1", b"AA"), ("2", b"B"), ("3", b"C"), ("4", b"D")):
        stage(storage, instance, content, association="a-2")
    obstacle = storage.layout.open_group("group-1") / "dcm" / "1" / "2" / "3.dcm"
    obstacle.mkdir()
    await storage.store.release_staged("group-1", "a-2")
    merged = Merged()
    with pytest.raises(StorageFaultError):
        await storage.store.merge_released("group-1", "a-2", policy, merged)
    obstacle.rmdir()
    counted = 5 - merged.instances_fewer
    if restarted:
        storage.restart()
        await storage.store.recover()
        (group,) = await storage.store.open_groups("BRAIN")
        assert {each: group.unmerged[each][0] + group.instances for each in group.unmerged} == {
            "a-2": counted
        }
    again = Merged()
    await storage.store.merge_released("group-1", "a-2", policy, again)
    assert [uid for uid, _ in merged.duplicates] == ["1"]
    assert again.duplicates == [], "they have been told"
    expected = {f"1/2/{name}": content for name, content in names.items()}
    assert stored(storage) == expected | {"1/2/3.dcm": b"C", "1/2/4.dcm": b"D"}
    assert counted == len(stored(storage))


async def test_drop_of_what_was_perhaps_released_drops_it(storage):
    stage(storage)
    await storage.store.release_staged("group-1", "a-1")
    await storage.store.drop_staged("group-1", "a-1")
    (group,) = await storage.store.open_groups("BRAIN")
    assert (group.instances, group.staged, group.unmerged) == (0, {}, {})


async def test_arrivals_that_are_staged_count_for_the_time_left(storage):
    stage(storage)
    (group,) = await storage.store.open_groups("BRAIN")
    assert group.last_arrival_at > record().opened_at


async def test_nothing_can_be_staged_in_a_closed_group(storage):
    await storage.store.close_group("group-1")
    with pytest.raises(GroupClosedError):
        stage(storage)
    with pytest.raises(StorageFaultError):
        await storage.store.hold_group("group-1", GroupHold(held=True))


async def test_hold_is_found_after_a_restart_and_can_be_changed(storage):
    (group,) = await storage.store.open_groups("BRAIN")
    assert group.hold == GroupHold()
    for hold in (GroupHold(held=True, why="operator"), GroupHold(extended_at=5, extended_s=60)):
        await storage.store.hold_group("group-1", hold)
        storage.restart()
        await storage.store.recover()
        (group,) = await storage.store.open_groups("BRAIN")
        assert group.hold == hold


async def test_hold_that_cannot_be_read_holds(storage):
    (storage.layout.open_group("group-1") / HOLD).write_bytes(b"{")
    (group,) = await storage.store.open_groups("BRAIN")
    assert group.hold.held
    assert HOLD in group.hold.why


async def test_many_releases_at_once_lose_nothing(storage):
    for association in range(4):
        for number in range(10):
            stage(storage, f"1.2.{association}.{number}", association=f"a-{association}")
    async with trio.open_nursery() as nursery:
        for association in range(4):
            nursery.start_soon(release, storage, f"a-{association}")
    assert len(stored(storage)) == 40


# --- who sends


async def test_senders_are_found_after_a_restart_each_once(storage):
    for title in ("CT2", "CT3", "CT2"):
        await storage.store.add_sender("group-1", title)
    storage.restart()
    await storage.store.recover()
    (group,) = await storage.store.open_groups("BRAIN")
    assert group.record.calling_ae_titles == ("CT1", "CT2", "CT3")
    await storage.store.close_group("group-1")
    (group,) = await storage.store.closed_groups("BRAIN")
    assert group.record.calling_ae_titles == ("CT1", "CT2", "CT3")
    with pytest.raises(StorageFaultError):
        await storage.store.add_sender("group-1", "CT4")
