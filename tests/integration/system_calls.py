"""Makes system calls of running processes fail, by strace."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import eventually

STRACE = shutil.which("strace") or "/usr/bin/strace"


class Failing:
    """Processes of which a call fails; what strace has seen is in `seen`."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @property
    def seen(self) -> str:
        return self._log.read_text()

    @property
    def happened(self) -> bool:
        """Return whether a call has been made to fail."""
        return "(INJECTED)" in self.seen


@contextmanager
def failing(
    pids: Sequence[int],
    calls: str,
    error: str,
    when: str,
    *,
    path: Path | None = None,
    delay_us: int = 0,
) -> Iterator[Failing]:
    """Have calls of these processes fail, or take their time, while the block runs.

    Args:
        error: Its name; empty: none.
        calls: Names, separated by commas; they are counted together, in each thread.
        when: Which of them, as strace has it: `3` the third, `3+` from the third on.
        path: Only calls about this file.
        delay_us: They begin so much later.
    """
    with tempfile.TemporaryDirectory() as name:
        log = Path(name, "seen")
        fault = f":error={error}" if error else ""
        fault += f":delay_enter={delay_us}" if delay_us else ""
        command = [STRACE, "-f", "-o", str(log), "-e", f"trace={calls}",
                   "-e", f"inject={calls}{fault}:when={when}"]  # fmt: skip
        for pid in pids:
            command += ["-p", str(pid)]
        if path is not None:
            command += ["-P", str(path)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            eventually(lambda: all(traced(pid, tracer.pid) for pid in pids), what="strace is there")
            yield Failing(log)
        finally:
            tracer.terminate()
            _, told = tracer.communicate(timeout=10)
    assert tracer.returncode in (0, -15, 143), told


def traced(pid: int, by: int) -> bool:
    """Return whether every thread of the process is traced."""
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return all(_tracer(thread) == by for thread in threads)


def _tracer(thread: Path) -> int:
    try:
        found = re.search(r"^TracerPid:\s+(\d+)", (thread / "status").read_text(), re.MULTILINE)
    except FileNotFoundError:
        return -1
    assert found
    return int(found[1])
