"""Senders to measure: programs that C-STORE files from disk, timed without their start.

What a program takes for one file is subtracted from what it takes for all of them: that leaves
reading and sending, the same for an interpreter and for a compiled program.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adapter import __version__
from benchmarks.instances import Template, new_run, template, uid
from benchmarks.peers import (
    DCMTK,
    PeerFailedError,
    Receiver,
    Running,
    dcmtk_version,
    environment,
    pynetdicom_version,
)
from benchmarks.process import resident

LOOK_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A program that sends all files of a folder."""

    name: str
    command: Callable[[int, str, Path], list[str]]
    """(port, called AE Title, folder): the program and its arguments."""
    version: Callable[[], str]
    share: float = 1.0
    """A program that is slow by orders of magnitude gets this part of the files."""


ADAPTER = Sender(
    name="adapter send",
    command=lambda port, called, folder: [
        sys.executable, "-m", "adapter", "send", f"{called}@127.0.0.1:{port}", str(folder),
    ],
    version=lambda: f"adapter {__version__}",
)  # fmt: skip
DCMSEND = Sender(
    name="dcmsend",
    command=lambda port, called, folder: [
        DCMTK["dcmsend"], "-aec", called, "+sd", "127.0.0.1", str(port), str(folder),
    ],
    version=dcmtk_version,
)  # fmt: skip
PYNETDICOM = Sender(
    name="pynetdicom storescu",
    command=lambda port, called, folder: [
        sys.executable, "-m", "pynetdicom", "storescu", "-q", "-cx", "-r", "-aec", called,
        "127.0.0.1", str(port), str(folder),
    ],
    version=pynetdicom_version,
    share=0.2,
)  # fmt: skip


def write_files(parent: Path, study: Template, count: int) -> Path:
    """Return a folder with that many files; it is made if it is not there."""
    folder = parent / f"{study.sop_class_uid}-{study.size}-{count}"
    if not folder.exists():
        folder.mkdir()
        run = new_run()
        for number in range(count):
            head, pixels = study.of_study(run, 1).part10(uid(run, 3, number))
            with open(folder / f"{number:06d}.dcm", "wb") as file:
                file.write(head)
                file.write(pixels)
        os.sync()
    return folder


def files_per_s(sender: Sender, receiver: Receiver, peer: Running, parent: Path, kind: str,
                count: int) -> float:  # fmt: skip
    """Return how many files per second a sender gets out, its start not counted.

    Raises:
        PeerFailedError: It failed.
    """
    one, many = (write_files(parent, template(kind), files) for files in (1, count))
    before, all_s, after = (_run(sender, receiver, peer, f) for f in (one, many, one))
    return (count - 1) / max(all_s - min(before, after), 1e-3)


def peak_bytes(sender: Sender, receiver: Receiver, peer: Running, folder: Path) -> int:
    """Return the highest resident size of a sender that sends the files of a folder."""
    command = sender.command(peer.port, receiver.called, folder)
    peak = 0
    with _log(peer) as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
        while process.poll() is None:
            # The kernel keeps the peak; only what happens after the last look is missed. Not
            # ru_maxrss: it begins with the memory of the process that forked.
            peak = max(peak, resident(process.pid, "VmHWM"))
            time.sleep(LOOK_S)
    _check(sender, peer, process.returncode)
    return peak


def write_large(parent: Path, study: Template) -> Path:
    """Return a folder with one file whose pixels take no space on the disk."""
    folder = parent / "large"
    if not folder.exists():
        folder.mkdir()
        head, pixels = study.part10(uid(new_run(), 3, 0))
        with open(folder / "large.dcm", "wb") as file:
            file.write(head)
            file.truncate(len(head) + len(pixels))
    return folder


def _run(sender: Sender, receiver: Receiver, peer: Running, folder: Path) -> float:
    """Return wall seconds."""
    command = sender.command(peer.port, receiver.called, folder)
    with _log(peer) as log:
        started = time.perf_counter()
        done = subprocess.run(command, env=environment(), stdout=log, stderr=log, check=False)
        seconds = time.perf_counter() - started
    _check(sender, peer, done.returncode)
    return seconds


def _log(peer: Running) -> BinaryIO:
    return open(peer.folder / "sender.log", "wb")


def _check(sender: Sender, peer: Running, exit_code: int) -> None:
    if exit_code:
        words = (peer.folder / "sender.log").read_text(errors="replace")[-1000:]
        raise PeerFailedError(f"{sender.name}: exit {exit_code}: {words}")
