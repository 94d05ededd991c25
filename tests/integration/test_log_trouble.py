"""Whoever reads the log stops reading, or its disk is full: the adapter goes on (F120)."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dicom_peers import free_port
from harness import REPOSITORY, configuration, environment, eventually
from wire import Wire, data_set, echo_works

PIPE_BYTES = 4096
LINES = 200
"""More than fit into the pipe, of each association at least one."""


@contextmanager
def running(
    tmp_path: Path, log: "int | IO[bytes]"
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run the adapter with a log of ours; yield it and its port."""
    port = free_port()
    settings = configuration(tmp_path / "root", {"dicom": {"scp": {"port": port}}})
    file = tmp_path / "adapter.json"
    file.write_text(json.dumps(settings | {"logging": {"format": "json", "level": "debug"}}))
    process = subprocess.Popen(
        [sys.executable, "-m", "adapter", "serve", "-c", str(file)],
        env=environment(), cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=log,
    )  # fmt: skip
    try:
        eventually(lambda: _answers(port), 30, "it is up")
        yield process, port
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return echo_works(port)
    except OSError:
        return False


def store(port: int, number: int) -> None:
    uid = f"1.2.3.{number}"
    with Wire(port) as wire:
        wire.associate()
        assert wire.store(uid, data_set(uid, study=uid)) == ("response", 0)
        wire.release()


def test_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with open(reading, "rb") as log, running(tmp_path, writing) as (process, port):
        os.close(writing)
        for number in range(LINES):
            store(port, number)
        assert process.poll() is None
        os.set_blocking(reading, False)
        told = eventually(lambda: _lost(log, port), 20, "it tells what it has lost")
        assert told["lines"] > LINES / 2
        assert told["logger"] == "logs"


def _lost(log: IO[bytes], port: int) -> "dict[str, int] | None":
    """Read, have something told, and return the line about those that were lost."""
    lines = (log.read() or b"").splitlines()
    store(port, LINES)
    lines += (log.read() or b"").splitlines()
    return next((json.loads(line) for line in lines if b'"log.lost"' in line), None)


def test_log_whose_disk_is_full_stops_nothing(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, running(tmp_path, full) as (process, port):
        store(port, 1)
        store(port, 2)
        process.terminate()
        assert process.wait(30) == 0
