"""Flags of finished jobs: noticed at once where the kernel tells, else by looking."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from adapter.protocols.platform import done_flags
from adapter.protocols.platform.done_flags import DoneFlags

NEVER_S = 3600.0
IN_TIME_S = 20.0


def new_flags(look_s: float = NEVER_S) -> DoneFlags:
    return DoneFlags(trio.CapacityLimiter(1), look_s)


def job(folder: Path, number: int = 1) -> Path:
    output = folder / f"job-{number}" / "output"
    output.mkdir(parents=True)
    return output / "job.done"


async def waiting(nursery: trio.Nursery, flags: DoneFlags, flag: Path) -> trio.Event:
    """Wait for the flag in the background until the watch is set and nothing was there."""
    over = trio.Event()

    async def wait() -> None:
        await flags.wait(flag)
        over.set()

    before = len(flags._watched)
    nursery.start_soon(wait)
    while len(flags._watched) == before and not over.is_set():
        await trio.sleep(0.001)
    return over


async def test_flag_is_told_without_looking(tmp_path):
    flags, flag = new_flags(), job(tmp_path)
    with trio.fail_after(IN_TIME_S):
        async with trio.open_nursery() as nursery:
            over = await waiting(nursery, flags, flag)
            await trio.testing.wait_all_tasks_blocked(0.05)
            (flag.parent / "a.dcm").touch()
            (flag.parent / "not.job.done").touch()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not over.is_set()
            flag.touch()


async def test_flag_that_is_renamed_into_place_is_told(tmp_path):
    flags, flag = new_flags(), job(tmp_path)
    with trio.fail_after(IN_TIME_S):
        async with trio.open_nursery() as nursery:
            await waiting(nursery, flags, flag)
            (tmp_path / "made").touch()
            os.rename(tmp_path / "made", flag)


async def test_flag_that_is_there_is_seen(tmp_path):
    flags, flag = new_flags(), job(tmp_path)
    flag.touch()
    with trio.fail_after(IN_TIME_S):
        await flags.wait(flag)


async def test_many_jobs_end_each_by_its_own_flag(tmp_path):
    flags = new_flags()
    numbers = range(200)
    paths = [job(tmp_path, number) for number in numbers]
    with trio.fail_after(IN_TIME_S):
        async with trio.open_nursery() as nursery:
            overs = [await waiting(nursery, flags, path) for path in paths]
            for number in reversed(numbers):  # whoever looks for all leaves last, or first
                paths[number].touch()
                await overs[number].wait()
                assert sum(over.is_set() for over in overs) == len(numbers) - number
    assert not flags._watched
    assert not flags._waiting


async def test_somebody_looks_on_when_the_one_who_looked_is_cancelled(tmp_path):
    flags, first, second = new_flags(), job(tmp_path, 1), job(tmp_path, 2)
    with trio.fail_after(IN_TIME_S):
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as doomed:
                await waiting(doomed, flags, first)
                over = await waiting(nursery, flags, second)
                await trio.testing.wait_all_tasks_blocked(0.05)
                doomed.cancel_scope.cancel()
            second.touch()
            await over.wait()
    assert not flags._watched


async def test_what_nobody_tells_is_found_by_looking(tmp_path, monkeypatch):
    """As on a network file system, or when no more watches may be had."""
    monkeypatch.setattr(
        done_flags, "libc", Deaf(inotify_init1=lambda _: -1, inotify_add_watch=lambda *_: -1)
    )
    flags, paths = new_flags(look_s=0.01), [job(tmp_path, number) for number in range(3)]
    with trio.fail_after(IN_TIME_S):
        async with trio.open_nursery() as nursery:
            for path in paths:
                nursery.start_soon(flags.wait, path)
            await trio.testing.wait_all_tasks_blocked(0.005)
            for path in paths:
                path.touch()


async def test_queue_that_ran_over_makes_it_look(tmp_path):
    flags, flag = new_flags(), job(tmp_path)
    with trio.fail_after(IN_TIME_S):
        async with trio.open_nursery() as nursery:
            await waiting(nursery, flags, flag)
            await trio.testing.wait_all_tasks_blocked(0.05)
            flags._watched.clear()  # what is told about it says nothing now
            flags._take(done_flags._HEAD.pack(-1, done_flags.IN_Q_OVERFLOW, 0, 0))
            flag.touch()


@pytest.mark.parametrize("state", ["folder is gone", "folder is a file"])
async def test_job_without_an_output_folder_waits(tmp_path, state):
    flags, flag = new_flags(look_s=0.01), tmp_path / "job-1" / "output" / "job.done"
    if state == "folder is a file":
        flag.parent.parent.mkdir()
        flag.parent.touch()
    with trio.move_on_after(0.1) as pause:
        await flags.wait(flag)
    assert pause.cancelled_caught
    assert not flags._waiting


class Deaf:
    """A C library whose inotify does nothing."""

    def __init__(self, **calls: object) -> None:
        self.__dict__.update(calls)
