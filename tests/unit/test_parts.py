"""Part files on a real file system: commit, duplicate, replace, closed group, discard."""

import os
import stat

import pytest
from fakes.placements import ONLY

from adapter.domain.messages import Placement
from adapter.domain.records import Duplicate
from adapter.errors import GroupClosedError, StorageFaultError, StorageFullError
from adapter.store.files import storage_errors, sync_folder, translated, write_all, write_file
from adapter.store.layout import Layout
from adapter.store.parts import PartFiles, clear_parts


@pytest.fixture(params=["fsync", "os"])
def place(request, tmp_path):
    """Return (layout, part files) with one open group."""
    layout = Layout(tmp_path)
    for folder in (*layout.folders(), layout.open_group("group-1") / "dcm"):
        folder.mkdir(parents=True, exist_ok=True)
    return layout, PartFiles(layout, request.param)


def placement(instance="1.2.3", same_instance="keep-first", group="group-1"):
    return Placement(
        groups={ONLY: group},
        study="1.2",
        series="1.2.1",
        instance=instance,
        same_instance=same_instance,
    )


def commit(part, where):
    """Commit into every group; return what became of it in the last one."""
    for group_id in where.groups.values():
        duplicate = part.commit(where, group_id)
    return duplicate


def final(layout, instance="1.2.3"):
    return layout.open_group("group-1") / "dcm" / "1.2" / "1.2.1" / f"{instance}.dcm"


def received(files, *pieces):
    part = files.open()
    part.write([memoryview(piece) for piece in pieces or (b"bytes",)])
    return part


def test_committed_instance_lies_under_its_final_name(place):
    layout, files = place
    part = received(files, b"one", b"", b"two")
    part.write([b"three"])
    assert commit(part, placement()) is None
    part.discard()
    assert final(layout).read_bytes() == b"onetwothree"
    assert list(layout.parts.iterdir()) == []


def test_committed_instance_is_read_only_and_not_executable(place):
    layout, files = place
    part = received(files)
    commit(part, placement())
    part.discard()
    assert stat.S_IMODE(final(layout).stat().st_mode) & 0o337 == 0


def test_first_instance_of_a_name_is_kept(place):
    layout, files = place
    kept = Duplicate(differs=True, kept="first")
    for content, duplicate in ((b"first", None), (b"second", kept)):
        part = received(files, content)
        assert commit(part, placement()) == duplicate
        part.discard()
    assert final(layout).read_bytes() == b"first"
    assert list(layout.parts.iterdir()) == []


def test_instance_is_replaced_when_asked(place):
    layout, files = place
    replaced = Duplicate(differs=True, kept="last")
    for content, duplicate in ((b"first", None), (b"second", replaced)):
        part = received(files, content)
        assert commit(part, placement(same_instance="replace")) == duplicate
        part.discard()
    assert final(layout).read_bytes() == b"second"
    assert list(layout.parts.iterdir()) == []


def test_replacing_leaves_the_input_of_a_job_alone(place):
    layout, files = place
    part = received(files, b"first")
    commit(part, placement())
    part.discard()
    linked = layout.payloads / "input.dcm"
    os.link(final(layout), linked)
    part = received(files, b"second")
    commit(part, placement(same_instance="replace"))
    part.discard()
    assert linked.read_bytes() == b"first"


def close(layout, files):
    layout.open_group("group-1").rename(layout.closed_group("group-1"))


@pytest.mark.parametrize("known", [True, False], ids=["series known", "series new"])
@pytest.mark.parametrize("same_instance", ["keep-first", "replace", "keep-both"])
def test_commit_into_a_closed_group_fails_as_a_whole(place, known, same_instance):
    layout, files = place
    if known:
        part = received(files, b"before")
        commit(part, placement("1.2.9"))
        part.discard()
    late = received(files)
    close(layout, files)
    with pytest.raises(GroupClosedError):
        commit(late, placement(same_instance=same_instance))
    late.discard()
    assert list(layout.parts.iterdir()) == []
    assert not layout.open_group("group-1").exists()
    stored = [path.name for path in layout.closed.rglob("*.dcm")]
    assert stored == (["1.2.9.dcm"] if known else [])


def test_commit_fails_even_when_the_series_folder_is_remembered(place):
    """The group may close between the look at the memory and the link."""
    layout, files = place
    part = received(files, b"before")
    commit(part, placement("1.2.9"))
    part.discard()
    late = received(files)
    layout.open_group("group-1").rename(layout.closed_group("group-1"))
    with pytest.raises(GroupClosedError):
        commit(late, placement())
    late.discard()


def test_discarded_instance_leaves_nothing(place):
    layout, files = place
    part = received(files)
    part.discard()
    part.discard()
    assert list(layout.parts.iterdir()) == []
    assert list(layout.incoming.rglob("*.dcm")) == []


def test_discard_after_a_commit_is_harmless(place):
    layout, files = place
    for same_instance in ("keep-first", "replace", "keep-both"):
        part = received(files)
        commit(part, placement(same_instance=same_instance))
        part.discard()
        part.discard()
    assert final(layout).read_bytes() == b"bytes"


def test_parts_of_two_associations_do_not_meet(place):
    layout, files = place
    one, other = received(files, b"1"), received(files, b"2")
    one.write([b"1"])
    other.write([b"2"])
    commit(one, placement("1.1"))
    commit(other, placement("1.2"))
    one.discard()
    other.discard()
    assert final(layout, "1.1").read_bytes() == b"11"
    assert final(layout, "1.2").read_bytes() == b"22"


def test_part_that_cannot_be_opened_is_a_storage_fault(tmp_path):
    with pytest.raises(StorageFaultError):
        PartFiles(Layout(tmp_path / "missing"), "os").open()


def test_full_disk_is_a_full_storage():
    """/dev/full answers every write with ENOSPC."""
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StorageFullError), storage_errors():
        write_all(fd, [b"x"])
    os.close(fd)


def test_what_was_being_received_is_cleared(place):
    layout, files = place
    parts = [received(files), received(files)]
    assert clear_parts(layout.parts) == 2
    assert list(layout.parts.iterdir()) == []
    for part in parts:
        part.discard()


# --- steps they are made of


def test_error_of_the_file_system_names_no_path():
    error = OSError(5, "Input/output error", "/data/incoming/1.2.3")
    assert str(translated(error)) == "storage failed: Input/output error"
    assert type(translated(OSError(28, ""))) is StorageFullError
    assert type(translated(OSError(122, ""))) is StorageFullError


def test_more_views_than_one_call_takes_are_written(tmp_path):
    path = tmp_path / "file"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    write_all(fd, [bytes([number % 256]) for number in range(2500)])
    os.close(fd)
    assert path.read_bytes() == bytes(number % 256 for number in range(2500))


def test_pipe_that_takes_little_at_a_time_gets_everything():
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    content = [bytes([n]) * 1000 for n in range(60)]
    write_all(writer, content)
    assert os.read(reader, 100_000) == b"".join(content)
    os.close(reader)
    os.close(writer)


def test_file_is_never_written_over(tmp_path):
    write_file(tmp_path / "a", b"1", "fsync")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", b"2", "fsync")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_folder_that_is_gone_cannot_be_synced(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone", "fsync")


@pytest.mark.parametrize("bad", ["", "..", "a/b", ".part", "Group", "a\n"])
def test_layout_takes_only_ids_of_ours(tmp_path, bad):
    layout = Layout(tmp_path)
    for path in (layout.open_group, layout.closed_group, layout.payload):
        with pytest.raises(ValueError, match="not an id of ours"):
            path(bad)
