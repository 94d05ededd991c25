"""kill -9 of the adapter while a program of engine `command` writes to its output: nothing of the
old run is alive beside the new one, and nothing it wrote is a result of it (F83, F102).
"""

import os
import signal
import time
from pathlib import Path

from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from wire import Wire

PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path

shared = Path(sys.argv[1])
runs = shared / "runs"
before = [int(line) for line in runs.read_text().split()] if runs.exists() else []
with runs.open("a") as file:
    file.write(f"{os.getpid()}\\n")


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


if len(sys.argv) == 2:
    if beside := [pid for pid in before if lives(pid)]:
        (shared / "beside").write_text(str(beside))
        sys.exit(1)
    (shared / "found").write_text(" ".join(os.listdir("output")))
    if (shared / "go").exists():
        sys.exit(0)
    subprocess.Popen([sys.executable, "-S", *sys.argv, "child"], start_new_session=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    with Path("output", f"{os.getpid()}.dcm").open("ab") as file:
        file.write(b"x")
    time.sleep(0.005)
"""
"""Notes its process, refuses to run beside an earlier one, writes for ever with a child."""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


def pids(shared: Path) -> list[int]:
    runs = shared / "runs"
    return [int(line) for line in runs.read_text().split()] if runs.exists() else []


def running(make_adapter: MakeAdapter, folder: Path) -> tuple[Adapter, Path]:
    """Return an adapter with one job whose program and its child write to output."""
    program, shared = folder / "program.py", folder / "shared"
    program.write_text(PROGRAM)
    shared.mkdir()
    command = ["python3", "-S", str(program), str(shared)]
    adapter = make_adapter({
        "platform": {
            "engine": "command", "max_retries": 0,
            "pipelines": [{"id": "pipe-one", "command": command}],
        },
    })  # fmt: skip
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
        wire.release()
    eventually(lambda: len(pids(shared)) == 2, 15)
    (payload,) = adapter.payload_folders()
    eventually(lambda: len(list((payload / "output").iterdir())) == 2)
    return adapter, shared


def test_programs_die_with_a_killed_adapter_and_run_again(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter, shared = running(make_adapter, tmp_path)
    for _ in range(2):
        old = pids(shared)
        adapter.kill()
        adapter.start()  # at once: the old run may still be ending
        eventually(lambda old=old: len(pids(shared)) == len(old) + 2, 15)
        assert not any(alive(pid) for pid in old)
        assert (shared / "found").read_text() == ""
    assert not (shared / "beside").exists()
    (shared / "go").touch()
    adapter.kill()
    adapter.start()
    eventually(lambda: adapter.get("/api/jobs?state=Completed"), 15)
    (payload,) = adapter.payload_folders()
    assert [path.name for path in (payload / "output").iterdir()] == ["job.done"]
    assert not any(alive(pid) for pid in pids(shared))


def test_programs_die_with_a_killed_adapter_that_never_comes_back(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter, shared = running(make_adapter, tmp_path)
    os.kill(adapter.pid, signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in pids(shared)))
    adapter.kill()


def test_stop_ends_programs_that_ignore_sigterm(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter, shared = running(make_adapter, tmp_path)
    begun = time.monotonic()
    assert adapter.stop() == 0
    assert time.monotonic() - begun < 15
    assert not any(alive(pid) for pid in pids(shared))


def test_missing_program_is_told_at_start_and_by_config_check(make_adapter: MakeAdapter) -> None:
    """It is no reason to refuse what senders bring: their jobs wait, and are kept when faulted."""
    adapter = make_adapter({
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1,
            "pipelines": {"one": "pipe-one", "two": "2"},
        }],
        "platform": {
            "engine": "command", "max_retries": 0,
            "pipelines": [{"id": "pipe-one", "command": ["/no/such/program"]}],
        },
    })  # fmt: skip
    line = (
        "platform.pipelines[0].command: '/no/such/program' is not a program that can be executed"
        " here"
    )
    other = "application_entities[0]: pipeline 'two': platform.pipelines has no entry with id '2'"
    assert [event["why"] for event in adapter.events("pipeline.unusable")] == [line, other]
    checked = run_cli("config", "check", str(adapter.file))
    assert checked.returncode == 0
    assert checked.stderr.splitlines() == [f"warning: {line}", f"warning: {other}"]
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
        wire.release()
    jobs = eventually(lambda: len(j := adapter.get("/api/jobs?state=Faulted")) == 2 and j, 15)
    assert {job["error"] for job in jobs} == {
        "cannot run the program: /no/such/program: No such file or directory",
        "platform.pipelines has no entry with id '2'",
    }
    assert list(adapter.instances("payloads"))
