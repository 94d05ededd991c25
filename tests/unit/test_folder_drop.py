"""Files in a watched folder: whole or not there, under a name that leads nowhere else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from adapter.domain.commitment import COMMITMENT_CONTEXT
from adapter.domain.entities import Destination
from adapter.domain.records import OutgoingInstance
from adapter.errors import PeerRefusalError
from adapter.protocols.folder_drop import drop
from adapter.protocols.folder_drop.requestor import FolderRequestor

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
META = bytes(128) + b"DICM" + bytes(200)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


def instance(path: Path, uid: str = "1.2.3", data: bytes = b"data set") -> OutgoingInstance:
    path.write_bytes(META + data)
    return outgoing(path, uid, len(data))


def outgoing(path: Path, uid: str, data_set_bytes: int) -> OutgoingInstance:
    return OutgoingInstance(
        path=str(path), sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax_uid=EXPLICIT,
        data_set_offset=len(META), data_set_bytes=data_set_bytes,
    )  # fmt: skip


def to(folder: Path) -> Destination:
    return Destination(name="watched", type="folder", path=str(folder))


async def dropped(folder: Path, *instances: OutgoingInstance, step_s: float = 10.0):
    async with FolderRequestor(step_s).associate(to(folder), []) as session:
        return await session.store(instances)


async def test_file_is_there_as_it_is_stored(tmp_path, folder):
    data = os.urandom(3 * drop.STEP_BYTES + 17)
    (result,) = await dropped(folder, instance(tmp_path / "a", "1.2.3", data))
    assert result.status == 0
    assert os.listdir(folder) == ["1.2.3.dcm"]
    assert (folder / "1.2.3.dcm").read_bytes() == META + data
    assert (folder / "1.2.3.dcm").stat().st_mode & 0o7777 == drop.FILE_MODE


async def test_preamble_that_could_be_a_program_stays_behind(tmp_path, folder):
    """F50: results of pipelines come with the preamble their maker chose (PS3.10 7.5)."""
    one = instance(tmp_path / "a")
    program = b"MZ" + os.urandom(126)
    (tmp_path / "a").write_bytes(program + (tmp_path / "a").read_bytes()[128:])
    await dropped(folder, one)
    assert (folder / "1.2.3.dcm").read_bytes() == META + b"data set"
    assert (tmp_path / "a").read_bytes().startswith(program)


async def test_same_instance_again_is_harmless(tmp_path, folder):
    one = instance(tmp_path / "a")
    results = [*await dropped(folder, one, one), *await dropped(folder, one)]
    assert [result.status for result in results] == [0, 0, 0]
    assert os.listdir(folder) == ["1.2.3.dcm"]


@pytest.mark.parametrize("uid", ["../escape", "/etc/passwd", "", ".", "1.2\n3", "1." * 40])
async def test_nothing_but_a_uid_becomes_a_name(tmp_path, folder, uid):
    (result,) = await dropped(folder, instance(tmp_path / "a", uid))
    (name,) = os.listdir(folder)
    assert result.status == 0
    assert name.startswith("x")
    assert sorted(os.listdir(tmp_path)) == ["a", "watched"]


async def test_name_of_the_instance_may_be_a_link_to_elsewhere(tmp_path, folder):
    (tmp_path / "precious").write_text("keep")
    (folder / "1.2.3.dcm").symlink_to(tmp_path / "precious")
    await dropped(folder, instance(tmp_path / "a"))
    assert (tmp_path / "precious").read_text() == "keep"
    assert not (folder / "1.2.3.dcm").is_symlink()


async def test_name_that_is_taken_by_a_folder_fails_this_file_only(tmp_path, folder):
    (folder / "1.2.3.dcm").mkdir()
    results = await dropped(folder, instance(tmp_path / "a"), instance(tmp_path / "b", "1.2.4"))
    assert [(result.status, result.permanent) for result in results] == [(None, True), (0, False)]
    assert "Is a directory" in results[0].error
    assert sorted(os.listdir(folder)) == ["1.2.3.dcm", "1.2.4.dcm"]


@pytest.mark.parametrize("kept", [0, len(META) + 3])
async def test_file_that_became_shorter_fails_alone_and_leaves_nothing(tmp_path, folder, kept):
    short = instance(tmp_path / "a")
    os.truncate(short.path, kept)
    results = await dropped(folder, short, instance(tmp_path / "b", "1.2.4"))
    assert results[0].permanent
    assert "shorter" in results[0].error
    assert os.listdir(folder) == ["1.2.4.dcm"]


async def test_file_that_has_gone_fails_alone(tmp_path, folder):
    (result,) = await dropped(folder, outgoing(tmp_path / "gone", "1.2.3", 8))
    assert result.permanent
    assert "No such file" in result.error


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("a file")])
async def test_folder_that_is_none_is_an_outage_with_a_reason(tmp_path, make):
    make(tmp_path / "watched")
    requestor = FolderRequestor(10.0)
    with pytest.raises(PeerRefusalError, match=r"No such file|Not a directory") as caught:
        await requestor.echo(to(tmp_path / "watched"))
    assert caught.value.cause == "folder"
    with pytest.raises(PeerRefusalError):
        await dropped(tmp_path / "watched", instance(tmp_path / "a"))
    assert not (tmp_path / "watched").is_dir()


async def test_folder_that_goes_away_is_an_outage_for_all_of_them(tmp_path, folder):
    async with FolderRequestor(10.0).associate(to(folder), []) as session:
        folder.rmdir()
        with pytest.raises(PeerRefusalError, match="No such file"):
            await session.store([instance(tmp_path / "a"), instance(tmp_path / "b", "1.2.4")])


@contextmanager
def half_readable(path: Path, uid: str) -> Iterator[OutgoingInstance]:
    """Yield an instance whose first bytes can be read; the rest never comes, and then the end."""
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    try:
        os.write(fd, META)
        yield outgoing(path, uid, 8)
    finally:
        os.close(fd)


async def nothing_but(folder: Path, *names: str) -> None:
    while sorted(os.listdir(folder)) != sorted(names):
        await FolderRequestor(10.0).echo(to(folder))


async def test_what_was_delivered_before_the_folder_hung_stays_delivered(tmp_path, folder):
    first, last = instance(tmp_path / "a"), instance(tmp_path / "b", "1.2.5")
    with half_readable(tmp_path / "fifo", "1.2.4") as hanging:
        results = await dropped(folder, first, hanging, last, step_s=0.2)
    assert [result.status for result in results] == [0, None, None]
    assert not any(result.permanent for result in results)


async def test_step_that_hangs_costs_its_deadline_and_leaves_nothing(tmp_path, folder):
    with half_readable(tmp_path / "fifo", "1.2.3") as hanging:
        with pytest.raises(PeerRefusalError, match=r"says nothing in 0\.2 s"):
            await dropped(folder, hanging, step_s=0.2)
        (hidden,) = os.listdir(folder)
        assert hidden.startswith(drop.HIDDEN)
    await nothing_but(folder)


async def test_abort_ends_a_step_that_hangs(tmp_path, folder):
    async with FolderRequestor(60.0).associate(to(folder), []) as session:
        with half_readable(tmp_path / "fifo", "1.2.3") as hanging:

            async def abort_once_it_hangs() -> None:
                while not os.listdir(folder):
                    await trio.lowlevel.checkpoint()
                session.abort()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(abort_once_it_hangs)
                results = await session.store([hanging, hanging])
    assert [(result.status, result.error) for result in results] == [(None, "aborted")] * 2
    await nothing_but(folder)


async def test_hidden_files_of_a_killed_adapter_go_when_they_are_old(folder):
    old, new = (folder / f"{drop.HIDDEN}{name}" for name in ("old", "new"))
    for path in (old, new, folder / ".theirs"):
        path.write_bytes(b"half")
    for path in (old, folder / ".theirs"):
        os.utime(path, (1, 1))
    await FolderRequestor(10.0).echo(to(folder))
    assert sorted(os.listdir(folder)) == [new.name, ".theirs"]


async def test_no_folder_commits_to_keep_anything(folder):
    async with FolderRequestor(10.0).associate(to(folder), []) as session:
        assert session.accepted((CT, EXPLICIT))
        assert not session.accepted(COMMITMENT_CONTEXT)
