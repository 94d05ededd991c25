"""What the kernel says of a process and its children (proc(5))."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its children, also of those that have ended."""
    total = 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended between two looks
        total += sum(int(field) for field in fields[11:15])  # utime stime cutime cstime
    return total / _TICKS


def resident(pid: int, field: str = "VmRSS") -> int:
    """Return VmRSS or VmHWM of a process and its children, in bytes."""
    total = 0
    for one in tree(pid):
        try:
            status = Path(f"/proc/{one}/status").read_text()
        except OSError:
            continue
        found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
        total += int(found[1]) * 1024 if found else 0  # none: it has ended, nobody has waited
    return total


def reset_peak(pid: int) -> None:
    """Let VmHWM begin anew."""
    for one in tree(pid):
        try:
            Path(f"/proc/{one}/clear_refs").write_text(_RESET_PEAK)
        except OSError:
            continue


def tree(pid: int) -> Iterator[int]:
    """Yield a process and those it started."""
    yield pid
    try:
        children = [
            child
            for task in os.listdir(f"/proc/{pid}/task")
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        ]
    except OSError:
        return
    for child in children:
        yield from tree(int(child))
