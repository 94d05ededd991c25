"""Warden: the small process between the adapter and one run of a program (engine `command`).

Run by its path with `python -I -S`; it imports nothing of the adapter. On stdin it gets one line
of JSON, the order; then stdin stays open as long as the adapter lives and wants the run. On stdout
it says one line of JSON, the report: `exit`, `signal`, or the `problem` that came between.

Rules, in the order in which they are kept:

- one warden for each job folder: `.lock` is held from the first look to the last process's end;
- what an earlier run left behind is ended first. It is known by the job's folder in its
  environment, so neither a new session nor a reused process id hides or feigns it;
- output/ is emptied, then the program is started, in a session of its own;
- the run is over when the program is: whatever it started and left is killed then. Nobody gets away
  by a new session or by forking twice, because orphans become children of the warden
  (PR_SET_CHILD_SUBREAPER);
- SIGTERM: everything gets SIGTERM, TERM_GRACE_S, SIGKILL. End of stdin (the adapter was killed):
  SIGKILL at once, and the next run waits for the lock;
- output/job.done is there if, and only if, the program ended with exit status 0.

Why stdin and not PR_SET_PDEATHSIG for the adapter's death: that signal comes when the *thread* that
forked ends, and Trio's threads end when they have been idle. The warden has one thread, so for its
own death it is right: the program gets SIGKILL if the warden is killed.

Limits: a process that runs as another user, or hangs in the kernel, cannot be ended from here, and
one that cleared its environment and outlived a warden that was killed by itself is not found (a
service manager's cgroup ends those).
"""

import ctypes
import fcntl
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

TERM_GRACE_S = 5.0
"""Between SIGTERM and SIGKILL to a program that is not wanted any more."""
KILL_S = 5.0
"""After SIGKILL a process that is still there will not go: it hangs in the kernel."""
POLL_S = 0.02
CHUNK = 65_536
DESCRIPTORS = 1024
"""Soft limit of a program, as usual; the adapter's own is higher, and select(2) cannot stand it."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
OUTPUT_VARIABLE = "DICOM_ADAPTER_OUTPUT"

libc = ctypes.CDLL(None, use_errno=True)


class UnwantedError(Exception):
    """Nobody wants the run any more, and it has not begun."""


class JobLog:
    """What programs of a job print: two files that take turns, each up to half of the limit."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._half = bytes_max // 2
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def write(self, text: bytes) -> None:
        """Append; a full disk costs the text and not the run."""
        try:
            if os.fstat(self._file).st_size + len(text) > self._half:
                self._path.replace(f"{self._path}.1")
                os.close(self._file)
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            os.write(self._file, text)
        except OSError:
            pass


class Run:
    """One run of one program."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._folder = Path(order["folder"])
        self._output = self._folder / "output"
        self._here = -1  # a descriptor of the folder's file system
        self._stopping = self._alone = False
        self._program: subprocess.Popen[bytes] | None = None  # kept: one let go is waited for
        self._status: int | None = None
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it wakes select

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._stopping = True

    def report(self) -> dict[str, Any]:
        """Run the program to its end; return what to say of it."""
        try:
            self._lock()
            self._end_leftovers()
            if self._output.exists():
                shutil.rmtree(self._output)
            self._output.mkdir(0o750)
            log = JobLog(self._folder / "job.log", self._order["log_bytes_max"])
            self._watch(log, self._start())
            if self._status == 0:
                self._sync()
                (self._output / "job.done").touch()
                self._sync()
            else:
                (self._output / "job.done").unlink(missing_ok=True)
        except UnwantedError:
            return {"problem": "stopped before it began"}
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            return {"problem": f"{what}{error.strerror or error}", "errno": error.errno or 0}
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        return {"signal": -code} if code < 0 else {"exit": code}

    def _sync(self) -> None:
        """Have what was written outlive a power loss, where instances do."""
        if self._order["durable"] and libc.syncfs(self._here):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    # --- before

    def _lock(self) -> None:
        """Wait until no other warden is at work in this folder; held until we end."""
        lock = self._here = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o640)
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._look([], POLL_S)
            if self._alone or self._stopping:
                raise UnwantedError

    def _end_leftovers(self) -> None:
        """End what earlier runs in this folder left behind."""
        mark = f"{OUTPUT_VARIABLE}={self._output}".encode()
        deadline = time.monotonic() + KILL_S
        while left := list(_marked(mark)):
            if time.monotonic() > deadline:
                raise OSError(0, f"processes of an earlier run do not end: {left}")
            self._look([], POLL_S)

    def _start(self) -> int:
        """Start the program; return the descriptor from which to read what it prints."""
        printed, write = os.pipe()
        warden = os.getpid()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)

        def in_child() -> None:  # between fork and exec
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != warden:
                os._exit(1)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        with open(os.devnull, "rb") as nothing, os.fdopen(write, "wb") as output:
            self._program = subprocess.Popen(  # noqa: S603 - the operator's own program
                self._order["command"], stdin=nothing, stdout=output, stderr=output,
                cwd=self._folder, env=self._order["environment"], start_new_session=True,
                preexec_fn=in_child,  # noqa: PLW1509 - the warden has one thread
            )  # fmt: skip
        return printed

    # --- meanwhile

    def _watch(self, log: JobLog, printed: int) -> None:
        """Return when the program has ended, or has to."""
        readers = [printed]
        deadline: float | None = None
        while True:
            self._reap()
            if self._status is not None or self._alone:
                break
            if self._stopping and deadline is None:
                _signal_all(signal.SIGTERM)
                deadline = time.monotonic() + TERM_GRACE_S
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            if printed in self._look(readers, left):
                text = os.read(printed, CHUNK)
                log.write(text)
                readers = readers if text else []
        self._end_all()
        os.set_blocking(printed, False)
        try:
            while text := os.read(printed, CHUNK):
                log.write(text)
        except BlockingIOError:
            pass  # somebody outside of the run has it

    def _look(self, readers: list[int], timeout_s: float | None) -> list[int]:
        """Wait until something happens; return what can be read of the readers."""
        lifeline = [] if self._alone else [sys.stdin.fileno()]
        ready, _, _ = select.select([*readers, *lifeline, self._woken], [], [], timeout_s)
        if self._woken in ready:
            os.read(self._woken, CHUNK)
        if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), CHUNK):
            self._alone = True
        return ready

    def _reap(self) -> bool:
        """Take the status of whoever has ended; return whether any child is left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if self._program is not None and pid == self._program.pid:
                    self._status = status
        except ChildProcessError:
            return False

    def _end_all(self) -> None:
        """Kill every descendant. Without a child there is none: orphans become ours."""
        deadline = time.monotonic() + KILL_S
        while self._reap():
            if time.monotonic() > deadline:
                raise OSError(0, f"processes of the program do not end: {list(_descendants())}")
            _signal_all(signal.SIGKILL)
            self._look([], POLL_S)


def _parents() -> Iterator[tuple[int, int]]:
    """Yield (process, its parent) for every process."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_bytes()
        except OSError:
            continue  # it has gone
        yield int(name), int(stat.rpartition(b")")[2].split()[1])  # proc(5): the name may hold any


def _descendants() -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return iter(found[1:])


def _signal_all(number: signal.Signals) -> None:
    for pid in _descendants():  # none of these ids is reused: who ended waits for us, or its parent
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # gone, or another user's: see Limits


def _marked(mark: bytes) -> Iterator[int]:
    """Kill and yield the processes whose environment has the mark."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            process = os.pidfd_open(int(name))
        except OSError:
            continue
        try:  # what is read now is of the process that the descriptor means, or it has gone
            if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(process, signal.SIGKILL)
                yield int(name)
        except OSError:
            continue
        finally:
            os.close(process)


def main() -> None:
    """Read the order, run the program, say the report."""
    text = b""
    while not text.endswith(b"\n"):
        chunk = os.read(sys.stdin.fileno(), CHUNK)
        if not chunk:
            return
        text += chunk
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    report = Run(json.loads(text)).report()
    try:
        os.write(sys.stdout.fileno(), json.dumps(report).encode())
    except BrokenPipeError:
        pass  # the adapter was killed


if __name__ == "__main__":
    main()
