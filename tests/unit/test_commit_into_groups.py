"""One file into the groups of several processors: by hard link, durable, killed at every step."""

import itertools
import os

import msgspec
import pytest

from adapter.domain.messages import Placement
from adapter.domain.records import Duplicate
from adapter.errors import GroupClosedError
from adapter.store.instances import remove_folder
from adapter.store.layout import Layout
from adapter.store.parts import PartFiles, clear_parts

GROUPS = {"one": "group-1", "two": "group-2"}
POLICIES = ("keep-first", "replace", "keep-both")
STEPS = ("fsync", "link", "mkdir", "open", "rename", "unlink")


class Killed(BaseException):
    """The process is no more: nothing it would do after this happens."""


class Kernel:
    """Notes what the process asks of the system, and kills it before its n-th call."""

    def __init__(self, monkeypatch, at=None):
        self.calls, self._at = [], at
        for name in STEPS:
            monkeypatch.setattr(os, name, self._counting(name, getattr(os, name)))

    def _counting(self, name, real):
        def call(target, *args, **options):
            if self._at is not None and len(self.calls) >= self._at:
                raise Killed
            path = os.readlink(f"/proc/self/fd/{target}") if name == "fsync" else target
            self.calls.append((name, os.path.basename(path)))
            return real(target, *args, **options)

        return call


def root(folder, *, synced="fsync"):
    layout = Layout(folder)
    for group in GROUPS.values():
        (layout.open_group(group) / "dcm").mkdir(parents=True)
    for path in layout.folders():
        path.mkdir(exist_ok=True)
    return layout, PartFiles(layout, synced)


def place(same_instance="keep-first", association=""):
    return Placement(
        groups=GROUPS, study="1", series="2", instance="1.2.3", same_instance=same_instance,
        association=association,
    )  # fmt: skip


def received(files, content):
    part = files.open()
    part.write([content])
    return part


def store(files, content, where, groups=GROUPS):
    """Receive and commit; return what became of it in each group."""
    part = received(files, content)
    duplicates = [part.commit(where, groups[name]) for name in groups]
    part.discard()
    return duplicates


def found(layout, group):
    return {path.name: path for path in sorted(layout.open_group(group).rglob("*.dcm"))}


def contents(layout, group):
    return {name: path.read_bytes() for name, path in found(layout, group).items()}


def test_every_group_has_the_same_file(tmp_path):
    layout, files = root(tmp_path)
    assert store(files, b"bytes", place()) == [None, None]
    one, two = (found(layout, group)["1.2.3.dcm"].stat() for group in GROUPS.values())
    assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)
    assert list(layout.parts.iterdir()) == []


def test_bytes_are_given_back_with_the_last_group(tmp_path):
    layout, files = root(tmp_path)
    store(files, b"bytes", place())
    assert remove_folder(layout, layout.open_group("group-1") / "dcm", "fsync") == 0
    assert remove_folder(layout, layout.open_group("group-2") / "dcm", "fsync") == 5


def test_file_is_synced_once_and_each_folder_behind_its_link(tmp_path, monkeypatch):
    _, files = root(tmp_path)
    store(files, b"other", place())  # the folders are known from then on
    part = received(files, b"bytes")
    where = msgspec.structs.replace(place(), instance="1.9")
    kernel = Kernel(monkeypatch)
    for group in GROUPS.values():
        part.commit(where, group)
    assert [(call, "part" if "-" in name else name) for call, name in kernel.calls] == [
        ("fsync", "part"),
        ("link", "part"), ("open", "2"), ("fsync", "2"),
        ("link", "part"), ("open", "2"), ("fsync", "2"),
    ]  # fmt: skip
    part.discard()


@pytest.mark.parametrize("policy", POLICIES)
def test_one_group_costs_a_link_and_a_sync_of_its_folder(tmp_path, monkeypatch, policy):
    _, files = root(tmp_path)
    only = msgspec.structs.replace(place(policy), groups={"aetitle": "group-1"})
    store(files, b"other", only, only.groups)
    part = received(files, b"bytes")
    where = msgspec.structs.replace(only, instance="1.9")
    kernel = Kernel(monkeypatch)
    part.commit(where, "group-1")
    part.discard()
    assert [call for call, _ in kernel.calls] == ["fsync", "link", "open", "fsync", "unlink"]


@pytest.mark.parametrize(
    ("policy", "kept", "files_left"),
    [
        ("keep-first", "first", {"1.2.3.dcm": b"old"}),
        ("replace", "last", {"1.2.3.dcm": b"new"}),
        ("keep-both", "both", {"1.2.3.dcm": b"old", "1.2.3_2.dcm": b"new"}),
    ],
)
def test_each_group_decides_about_the_same_instance(tmp_path, policy, kept, files_left):
    layout, files = root(tmp_path)
    store(files, b"old", place(policy), {"one": "group-1"})
    assert store(files, b"new", place(policy)) == [Duplicate(differs=True, kept=kept), None]
    assert contents(layout, "group-1") == files_left
    assert contents(layout, "group-2") == {"1.2.3.dcm": b"new"}
    assert list(layout.parts.iterdir()) == []


def test_replacing_in_both_groups_leaves_both_with_the_new_one(tmp_path):
    layout, files = root(tmp_path)
    store(files, b"old", place("replace"))
    replaced = Duplicate(differs=True, kept="last")
    assert store(files, b"new", place("replace")) == [replaced, replaced]
    assert {contents(layout, group)["1.2.3.dcm"] for group in GROUPS.values()} == {b"new"}
    assert list(layout.parts.iterdir()) == []


def test_group_that_has_closed_leaves_the_others_to_be_gone_on_with(tmp_path):
    layout, files = root(tmp_path)
    layout.open_group("group-2").rename(layout.closed_group("group-2"))
    part = received(files, b"bytes")
    assert part.commit(place(), "group-1") is None
    with pytest.raises(GroupClosedError):
        part.commit(place(), "group-2")
    (layout.open_group("group-3") / "dcm").mkdir(parents=True)
    assert part.commit(place(), "group-3") is None
    part.discard()
    assert found(layout, "group-3").keys() == found(layout, "group-1").keys() == {"1.2.3.dcm"}
    assert not list(layout.closed.rglob("*.dcm"))


@pytest.mark.parametrize("there_before", [(), ("one",), ("two",), ("one", "two")])
@pytest.mark.parametrize("association", ["", "a-1"])
@pytest.mark.parametrize("policy", POLICIES)
def test_kill_at_any_step_leaves_whole_files_and_a_repetition_makes_it_good(
    tmp_path, policy, association, there_before
):
    """Nothing was acknowledged: the sender sends again, and then each group has it once."""
    where = place(policy, association)
    for step in itertools.count():
        layout, files = root(tmp_path / str(step))
        for name in there_before:
            store(files, b"old", where, {name: GROUPS[name]})
        part = received(files, b"new")
        with pytest.MonkeyPatch.context() as monkeypatch:
            Kernel(monkeypatch, step)
            try:
                for group in GROUPS.values():
                    part.commit(where, group)
            except Killed:
                over = False
            else:
                over = True
        for group in GROUPS.values():
            assert set(contents(layout, group).values()) <= {b"old", b"new"}, "torn"
        clear_parts(layout.parts)
        part.discard()
        store(PartFiles(layout, "fsync"), b"new", where)
        assert list(layout.parts.iterdir()) == []
        for name, group in GROUPS.items():
            assert contents(layout, group) == expected(policy, there=name in there_before)
        if over:
            break
    assert step >= 7


def expected(policy, *, there):
    if not there or policy == "replace":
        return {"1.2.3.dcm": b"new"}
    if policy == "keep-both":
        return {"1.2.3.dcm": b"old", "1.2.3_2.dcm": b"new"}
    return {"1.2.3.dcm": b"old"}
