"""Does anything grow? The whole way of instances under steady load, for as long as one likes.

`python -m benchmarks.soak --minutes 60`: senders store without a pause, groups become jobs, a
program copies each job's input, everything is deleted when it is done. Memory, threads, descriptors
and files of the adapter and its processes are looked at every few seconds; the last third is
compared with the one before it. Exit code 1 if it is more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import environment, workspace
from benchmarks.power_cut import Sender
from benchmarks.process import resident, tree

LOOK_S = 5.0
SENDERS = 2
GROWTH_MAX = 1.05
"""Of a figure from one third to the next; what is above it is growth, not noise."""
SLACK = {"resident MB": 8.0, "threads": 4.0, "descriptors": 16.0, "files": 2000.0}


class Steady(Sender):
    """Associates anew when it was cut off: pynetdicom loses a response now and then, and aborts."""

    associations = 0

    def run(self) -> None:
        """Send until it is over."""
        while not self.over.is_set():
            self.associations += 1
            super().run()


def main() -> None:
    """Load, look, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    with workspace(given.folder) as (work, _), _running(work) as (pid, port):
        senders = [Steady(number, port) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        samples = list[dict[str, float]]()
        until = time.monotonic() + 60 * given.minutes
        while time.monotonic() < until:
            time.sleep(LOOK_S)
            samples.append(_look(pid, work))
        stored = sum(len(sender.acknowledged) for sender in senders)
        for sender in senders:
            sender.over.set()
            sender.join()
    cut = sum(sender.associations for sender in senders) - SENDERS
    print(f"{given.minutes:g} minutes, {stored} instances, {cut} associations cut off")
    sys.exit(1 if _grows(samples) else 0)


def _grows(samples: list[dict[str, float]]) -> list[str]:
    third = len(samples) // 3
    growing = []
    for name in samples[0]:
        before = statistics.median(one[name] for one in samples[third : 2 * third])
        after = statistics.median(one[name] for one in samples[2 * third :])
        print(f"{name}: {samples[0][name]:.0f} at first, then {before:.0f}, {after:.0f} at last")
        if after > before * GROWTH_MAX + SLACK[name]:
            growing.append(name)
    if growing:
        print(f"grows: {', '.join(growing)}")
    return growing


def _look(pid: int, work: Path) -> dict[str, float]:
    threads = descriptors = 0
    for one in tree(pid):
        threads += _entries(f"/proc/{one}/task")
        descriptors += _entries(f"/proc/{one}/fd")
    files = sum(len(names) for _, _, names in os.walk(work / "data"))
    return {
        "resident MB": resident(pid) / 1e6, "threads": threads, "descriptors": descriptors,
        "files": files,
    }  # fmt: skip


def _entries(folder: str) -> int:
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0  # it ended between two looks


@contextmanager
def _running(work: Path) -> Iterator[tuple[int, int]]:
    configuration = work / "adapter.json"
    configuration.write_text(json.dumps({
        "dicom": {"scp": {"host": "127.0.0.1", "port": 0, "reject_unknown_sources": False}},
        "application_entities": [{
            "name": "soak", "ae_title": "BENCH", "timeout_s": 1, "max_instances": 100,
            "pipelines": {"copy": "copy"},
        }],
        "platform": {"engine": "command", "pipelines": [
            {"id": "copy", "command": ["/bin/cp", "-r", "input/dcm", "output/"],
             "max_concurrent": 4},
        ]},
        "storage": {
            "root": str(work / "data"), "durability": "os", "watermark_percent": 100,
            "reserve_space_gb": 0, "retention": {"completed_s": 0, "faulted_s": 0},
        },
        "api": {"port": 0}, "logging": {"format": "json"},
    }))  # fmt: skip
    log = work / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "adapter", "serve", "-c", str(configuration)],
            env=environment(), stdout=subprocess.DEVNULL, stderr=output,
        )  # fmt: skip
    try:
        yield process.pid, _port(process, log)
    finally:
        process.terminate()
        process.wait()


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    while process.poll() is None:
        for line in log.read_bytes().splitlines():
            if b'"process.ready"' in line:
                return int(json.loads(line)["dicom_port"])
        time.sleep(0.1)
    raise SystemExit(f"the adapter did not start: {log.read_text()[-1000:]}")


if __name__ == "__main__":
    main()
