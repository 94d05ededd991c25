"""Engine `command` with real programs: outcomes, limits, and that nothing of a run outlives it
(F83, F102, F116).
"""

import os
import signal
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from harness import eventually, fill

from adapter.domain.entities import Pipeline
from adapter.domain.programs import programs_among
from adapter.domain.records import Job
from adapter.errors import PipelineError, PostponedError, UnavailableError
from adapter.protocols.platform import warden
from adapter.protocols.platform.command import CommandPlatform, missing_programs

STUBBORN = "trap '' TERM; echo $$ >> pids; while :; do sleep 0.01; done"
"""A shell script that cannot be ended by SIGTERM."""
FAMILY = """
setsid sh ./stubborn &
(sh ./stubborn &) &
while [ "$(wc -l 2>/dev/null < pids)" != 2 ]; do sleep 0.01; done
"""
"""A shell script that starts a child in a session of its own and an orphan."""


class Payload:
    """A job's folder, and what the engine makes of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.job = Job(
            id="job-1", group_id="group-1", ae_title="BRAIN", processor="p", name="brain",
            pipeline="seg", pipeline_id="p1", priority="normal", opened_at=0.0, changed_at=0.0,
            instances=1, payload_bytes=1,
        )  # fmt: skip
        self.folder = root / self.job.id
        self.output = self.folder / "output"
        self.output.mkdir(parents=True)
        (self.folder / "stubborn").write_text(STUBBORN)

    async def run(self, command: str | Sequence[str], **changes: object) -> None:
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        pipeline = Pipeline(**{"id": "p1", "command": words, **changes})  # type: ignore[arg-type]
        await CommandPlatform(self.root, programs_among([pipeline])).wait(self.job)

    def pids(self) -> list[int]:
        file = self.folder / "pids"
        return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def payload(tmp_path: Path) -> Payload:
    return Payload(tmp_path)


def runs(pid: int) -> bool:
    """Return whether the process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


async def until_pids(payload: Payload, count: int) -> list[int]:
    while len(payload.pids()) < count:
        await trio.sleep(0.01)
    return payload.pids()


def warden_of(payload: Payload) -> int:
    """Return the process that holds the folder's lock."""
    inode = (payload.folder / ".lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        if line.split()[5].endswith(f":{inode}"):
            return int(line.split()[4])
    raise AssertionError("nobody holds the lock")


def resize(disk: Path, inodes: int) -> None:
    """Let a tmpfs have so many files."""
    options = f"remount,nr_inodes={inodes}"
    subprocess.run(["/bin/mount", "-o", options, str(disk)], check=True)


# --- what a program finds, and what its end means


async def test_program_finds_its_folder_and_only_what_is_documented(payload, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_ADAPTER", "1")
    await payload.run(["/usr/bin/env"], environment={"MODEL": "x; touch /tmp/no"})
    found = dict(
        line.split("=", 1) for line in (payload.folder / "job.log").read_text().splitlines()
    )
    assert found == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "MODEL": "x; touch /tmp/no",
        "DICOM_ADAPTER_JOB": "job-1",
        "DICOM_ADAPTER_INPUT": str(payload.folder / "input"),
        "DICOM_ADAPTER_OUTPUT": str(payload.output),
    }
    payload.output.joinpath("job.done").unlink()
    await payload.run(["/bin/pwd"])
    assert (payload.folder / "job.log").read_text().splitlines()[-1] == str(payload.folder)


async def test_words_of_a_command_are_never_read_by_a_shell(payload):
    await payload.run(["/bin/echo", "$(id); `id` > x", "a b"])
    assert (payload.folder / "job.log").read_text() == "$(id); `id` > x a b\n"


async def test_program_inherits_no_descriptor_and_the_usual_limit_of_them(payload):
    other = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(other, True)
    await payload.run("ls /proc/self/fd; ulimit -Sn")
    os.close(other)
    said = (payload.folder / "job.log").read_text().split()
    assert said == ["0", "1", "2", "3", "1024"]  # 3: the folder that ls reads


async def test_exit_status_0_sets_the_flag(payload):
    await payload.run("echo result > output/a")
    assert sorted(path.name for path in payload.output.iterdir()) == ["a", "job.done"]


async def test_run_that_had_finished_is_not_repeated(payload):
    await payload.run("echo 1 >> runs")
    await payload.run("echo 2 >> runs")
    assert (payload.folder / "runs").read_text() == "1\n"


async def test_next_run_finds_an_empty_output(payload):
    with pytest.raises(PipelineError):
        await payload.run("mkdir output/deep; touch output/deep/a; exit 1")
    await payload.run("ls output > listing")
    assert (payload.folder / "listing").read_text() == ""


@pytest.mark.parametrize("status", [1, 74, 76, 127, 255])
async def test_other_exit_statuses_are_failures(payload, status):
    with pytest.raises(PipelineError, match=f"^exit status {status}$"):
        await payload.run(f"touch output/job.done; exit {status}")
    assert not payload.output.joinpath("job.done").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
async def test_signals_are_named(payload, number):
    with pytest.raises(PipelineError, match=f"^ended by signal {number.name}$"):
        await payload.run(f"ulimit -c 0; kill -{int(number)} $$")


async def test_exit_status_75_asks_for_a_later_try(payload):
    with pytest.raises(PostponedError, match="exit status 75"):
        await payload.run(f"exit {os.EX_TEMPFAIL}")


async def test_missing_program_is_named(payload):
    with pytest.raises(UnavailableError, match="/no/such/program: No such file or directory"):
        await payload.run(["/no/such/program"])


async def test_program_without_the_right_to_execute_is_named(payload, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    with pytest.raises(UnavailableError, match="plain: Permission denied"):
        await payload.run([str(plain)])


async def test_folder_that_cannot_be_used_is_named(payload):
    payload.output.rmdir()
    payload.output.write_text("no folder")
    with pytest.raises(UnavailableError, match="output: Not a directory"):
        await payload.run("exit 0")


async def test_full_disk_postpones_the_run(small_disk):
    payload = Payload(small_disk)
    status = os.statvfs(small_disk)
    resize(small_disk, status.f_files - status.f_ffree)
    with pytest.raises(PostponedError, match="No space left on device"):
        await payload.run("exit 0")
    resize(small_disk, status.f_files)
    await payload.run("exit 0")


def test_programs_that_are_not_there_are_told_beforehand(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    pipelines = [
        Pipeline(id=str(number), command=command)
        for number, command in enumerate(
            [["/bin/true"], ["sh", "-c", ""], ["/no/such"], [str(plain)], ["no-such-word"]]
        )
    ]
    lines = list(missing_programs(pipelines))
    assert [line.partition(".command")[0] for line in lines] == [
        f"platform.pipelines[{number}]" for number in (2, 3, 4)
    ]
    plain.chmod(stat.S_IRWXU)
    here = Pipeline(id="1", command=["plain"], environment={"PATH": str(tmp_path)})
    assert list(missing_programs([here])) == []


# --- what it prints


async def test_log_keeps_the_end_of_what_was_printed_within_its_limit(payload):
    limit = 131_072
    with pytest.raises(PipelineError):
        await payload.run("seq 1 200000; echo oops >&2; exit 1", log_bytes_max=limit)
    older, newer = payload.folder / "job.log.1", payload.folder / "job.log"
    kept = older.read_text() + newer.read_text()
    assert limit / 2 <= len(kept) <= limit
    assert kept.endswith("199999\n200000\noops\n")
    assert kept.splitlines()[1:-1] == [
        str(number) for number in range(int(kept.splitlines()[1]), 200_001)
    ]


async def test_log_goes_on_from_try_to_try(payload):
    for word in ("first", "second"):
        with pytest.raises(PipelineError):
            await payload.run(f"echo {word}; exit 1")
    assert (payload.folder / "job.log").read_text() == "first\nsecond\n"


async def test_full_disk_costs_the_log_and_not_the_run(small_disk):
    payload = Payload(small_disk)
    filler = fill(small_disk, leave=0)
    await payload.run("seq 1 100000")
    filler.unlink()
    assert (payload.folder / "job.log").stat().st_size == 0


# --- nothing outlives its run


async def test_what_a_program_leaves_behind_ends_with_it(payload):
    await payload.run(FAMILY)
    pids = payload.pids()
    assert len(pids) == 2
    assert not any(runs(pid) for pid in pids)


@pytest.mark.parametrize("program", ["exec sleep 1000", "exec sh ./stubborn"])
async def test_timeout_ends_those_too_who_ignore_sigterm(payload, program):
    with pytest.raises(PipelineError, match=r"stopped after timeout_s = 1$"):
        await payload.run(FAMILY + program, timeout_s=1)
    assert not any(runs(pid) for pid in payload.pids())


async def test_program_may_clean_up_at_sigterm(payload):
    with trio.move_on_after(30) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                payload.run,
                "trap 'echo bye >> bye; exit 0' TERM; echo $$ >> pids;while :; do sleep 0.01; done",
            )
            (pid,) = await until_pids(payload, 1)
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    assert (payload.folder / "bye").read_text() == "bye\n"
    assert not runs(pid)


async def test_program_dies_with_its_warden_and_its_family_before_the_next_run(payload):
    """A warden that was killed by itself cannot end anybody: the next one does."""
    async with trio.open_nursery() as nursery:

        async def first() -> None:
            with pytest.raises(UnavailableError, match=r"without a report .*SIGKILL"):
                await payload.run(FAMILY + "echo $$ >> pids; exec sleep 1000")

        nursery.start_soon(first)
        pids = await until_pids(payload, 3)
        os.kill(warden_of(payload), signal.SIGKILL)
    eventually(lambda: not runs(pids[2]))
    assert all(runs(pid) for pid in pids[:2])
    await payload.run(
        "for pid in $(cat pids); do"
        "  case $(cut -d' ' -f3 /proc/$pid/stat 2>/dev/null) in Z|'') ;; *) exit 3;; esac;"
        "done"
    )
    assert not any(runs(pid) for pid in pids)


async def test_two_runs_in_one_folder_take_turns(payload):
    """Also of two adapters, should the lock of the root ever fail."""
    script = (
        "mkdir busy || exit 9; touch started; "
        "while [ ! -e go ]; do sleep 0.01; done; rmdir busy; rm output/job.done; exit 1"
    )

    async def run() -> None:
        with pytest.raises(PipelineError, match="exit status 1"):
            await payload.run(script)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(run)
        while not (payload.folder / "started").exists():
            await trio.sleep(0.01)
        await trio.sleep(10 * warden.POLL_S)
        (payload.folder / "go").touch()


async def test_run_that_waits_for_its_turn_can_be_stopped(payload):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(payload.run, "echo $$ >> pids; exec sleep 1000")
        await until_pids(payload, 1)
        with pytest.raises(PipelineError, match="timeout_s"):
            await payload.run("exit 0", timeout_s=0.5)
        nursery.cancel_scope.cancel()
