"""Receivers to measure: how each is started in a folder of its own, what it has stored."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from adapter import __version__

START_S = 30
STOP_S = 15
STORESCP = "/usr/bin/storescp"
"""Absolute: pynetdicom installs a program of the same name."""
ORTHANC = "/usr/sbin/Orthanc"
REPOSITORY = Path(__file__).resolve().parent.parent


class PeerFailedError(Exception):
    """A receiver did not start, or did not store what it was sent."""


@dataclass(frozen=True, slots=True)
class Running:
    """A receiver that takes associations."""

    pid: int
    port: int
    folder: Path
    http_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One row of the table."""

    name: str
    command: Callable[[Path, int, int], list[str]]
    """(folder, DICOM port, HTTP port): the program and its arguments; may write a configuration."""
    stored: Callable[[Running], int]
    version: Callable[[], str]
    available: Callable[[], bool]
    called: str = "BENCH"
    instances_max: int | None = None
    """A receiver that is slow by orders of magnitude gets fewer instances."""
    says_port: bool = False
    """It takes port 0 and logs the one it got."""


def adapter(name: str, durability: str) -> Receiver:
    """Return this adapter; its groups stay open, so that nothing but receiving is measured."""

    def command(folder: Path, _port: int, _http_port: int) -> list[str]:
        configuration = folder / "adapter.json"
        configuration.write_text(
            json.dumps(
                {
                    "dicom": {
                        "scp": {"host": "127.0.0.1", "port": 0, "reject_unknown_sources": False}
                    },
                    "application_entities": [
                        {
                            "name": "bench",
                            "ae_title": "BENCH",
                            "timeout_s": 86_400,
                            "pipelines": {"none": "none"},
                        }
                    ],
                    "storage": {
                        "root": str(folder / "data"),
                        "durability": durability,
                        "watermark_percent": 100,
                        "reserve_space_gb": 0,
                    },
                    "api": {"port": 0},
                    "logging": {"format": "json"},
                }
            )
        )
        return [sys.executable, "-m", "adapter", "serve", "-c", str(configuration)]

    return Receiver(
        name=name,
        command=command,
        stored=lambda running: _files(running.folder / "data" / "incoming", ".dcm"),
        version=lambda: f"adapter {__version__}",
        available=lambda: True,
        says_port=True,
    )


def storescp(name: str, *options: str) -> Receiver:
    """Return DCMTK's storescp."""
    return Receiver(
        name=name,
        command=lambda folder, port, _: [
            STORESCP, *options, "-od", _output(folder), str(port),
        ],
        stored=lambda running: _files(running.folder / "out"),
        version=lambda: "DCMTK " + _output_of(STORESCP, "--version").split()[2],
        available=lambda: Path(STORESCP).exists(),
    )  # fmt: skip


def _pynetdicom() -> Receiver:
    return Receiver(
        name="pynetdicom storescp",
        command=lambda folder, port, _: [
            sys.executable, "-m", "pynetdicom", "storescp", "-q", "-ba", "127.0.0.1",
            "-od", _output(folder), str(port),
        ],
        stored=lambda running: _files(running.folder / "out"),
        version=lambda: "pynetdicom " + version("pynetdicom"),
        available=lambda: importlib.util.find_spec("pynetdicom") is not None,
        instances_max=300,
    )  # fmt: skip


def _orthanc() -> Receiver:
    def command(folder: Path, port: int, http_port: int) -> list[str]:
        configuration = folder / "orthanc.json"
        configuration.write_text(
            json.dumps(
                {
                    "StorageDirectory": str(folder / "out"),
                    "IndexDirectory": str(folder / "out"),
                    "DicomPort": port,
                    "DicomAlwaysAllowStore": True,
                    "HttpPort": http_port,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "Plugins": [],
                }
            )
        )
        return [ORTHANC, str(configuration)]

    return Receiver(
        name="Orthanc",
        command=command,
        stored=_orthanc_count,
        version=lambda: _output_of(ORTHANC, "--version").splitlines()[0].split("/")[-1],
        available=lambda: Path(ORTHANC).exists(),
    )


@contextmanager
def workspace(parent: Path) -> Iterator[tuple[Path, str]]:
    """Yield a folder for `running` and the type of its file system; delete it afterwards.

    ext4 creates a file slowly (700 instead of 27 us) next to inodes deleted in the last minutes,
    and a new folder is put next to its neighbours: the first receiver would look best. +T spreads
    the folders over the disk (chattr(1)); where it is not known, it is not needed.

    Raises:
        SystemExit: The folder is in memory.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=parent) as name:
        file_system = _output_of("/usr/bin/df", "--output=fstype", name).split()[-1]
        if file_system == "tmpfs":
            raise SystemExit(f"{parent} is in memory: choose another --folder")
        subprocess.run(["/usr/bin/chattr", "+T", name], capture_output=True, check=False)
        yield Path(name), file_system


@contextmanager
def running(receiver: Receiver, work: Path) -> Iterator[Running]:
    """Start a receiver in a new folder of a workspace; end it by its PID, delete the folder.

    Raises:
        PeerFailedError: It does not take connections.
    """
    folder = Path(tempfile.mkdtemp(dir=work))
    port, http_port = _free_ports(2)
    log = folder / "log"
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                receiver.command(folder, port, http_port),
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            port = _ready(receiver, process, port, log)
            yield Running(process.pid, port, folder, http_port)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder)
        os.sync()  # the next one does not pay for what this one left to write


def _ready(receiver: Receiver, process: "subprocess.Popen[bytes]", port: int, log: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if receiver.says_port:
            found = _logged_port(log)
            if found:
                return found
        else:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return port
            except OSError:
                pass  # not yet
        time.sleep(0.05)
    raise PeerFailedError(f"{receiver.name} did not start: {log.read_text()[-2000:]}")


def _logged_port(log: Path) -> int:
    for line in log.read_bytes().splitlines():
        if b"process.ready" in line:
            return int(json.loads(line)["dicom_port"])
    return 0


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def _output(folder: Path) -> str:
    (folder / "out").mkdir()
    return str(folder / "out")


def _files(folder: Path, suffix: str = "") -> int:
    return sum(path.is_file() for path in folder.rglob(f"*{suffix}"))


def _orthanc_count(at: Running) -> int:
    url = f"http://127.0.0.1:{at.http_port}/statistics"
    with urllib.request.urlopen(url, timeout=START_S) as answer:
        return int(json.load(answer)["CountInstances"])


def _output_of(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=START_S)
    return result.stdout


RECEIVERS = (
    adapter("adapter", "os"),
    adapter("adapter, fsync", "fsync"),
    storescp("storescp +B -pdu 131072", "+B", "-pdu", "131072"),
    storescp("storescp"),
    _pynetdicom(),
    _orthanc(),
)
