"""Peers to measure: how a receiver is started in a folder of its own and what it has stored, and
how a sender is called."""

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
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from adapter import __version__

START_S = 30
STOP_S = 15
DCMTK = {name: f"/usr/bin/{name}" for name in ("storescp", "dcmrecv", "dcmsend", "storescu")}
"""Absolute: pynetdicom installs programs of the same names."""
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
    """A program that takes associations."""

    name: str
    command: Callable[[Path, int, int], list[str]]
    """(folder, DICOM port, HTTP port): the program and its arguments; may write a configuration."""
    stored: Callable[[Running], int]
    version: Callable[[], str]
    available: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    called: str = "BENCH"
    share: float = 1.0
    """A program that is slow by orders of magnitude gets this part of the instances."""
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
                        "scp": {
                            "host": "127.0.0.1",
                            "port": 0,
                            "reject_unknown_sources": False,
                            "max_associations": 1000,
                        }
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


def dcmtk(program: str, *options: str, nodelay: bool = False) -> Receiver:
    """Return storescp or dcmrecv of DCMTK; stock programs leave Nagle's algorithm on."""
    return Receiver(
        name=" ".join((program, *options)),
        command=lambda folder, port, _: [
            DCMTK[program], *options, "-od", _output(folder), str(port),
        ],
        environment={"TCP_NODELAY": "1"} if nodelay else {},
        stored=lambda running: _files(running.folder / "out"),
        version=dcmtk_version,
        available=lambda: Path(DCMTK[program]).exists(),
    )  # fmt: skip


def dcmtk_version() -> str:
    """Return name and version of DCMTK."""
    return "DCMTK " + _output_of(DCMTK["storescp"], "--version").split()[2]


def _pynetdicom() -> Receiver:
    return Receiver(
        name="pynetdicom storescp",
        command=lambda folder, port, _: [
            sys.executable, "-m", "pynetdicom", "storescp", "-q", "-ba", "127.0.0.1",
            "-od", _output(folder), str(port),
        ],
        stored=lambda running: _files(running.folder / "out"),
        version=pynetdicom_version,
        available=lambda: importlib.util.find_spec("pynetdicom") is not None,
        share=0.2,
    )  # fmt: skip


def pynetdicom_version() -> str:
    """Return name and version of pynetdicom."""
    return "pynetdicom " + version("pynetdicom")


def _orthanc(name: str, *, sync: bool) -> Receiver:
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
                    "SyncStorageArea": sync,
                }
            )
        )
        return [ORTHANC, str(configuration)]

    return Receiver(
        name=name,
        command=command,
        stored=_orthanc_count,
        version=lambda: _output_of(ORTHANC, "--version").splitlines()[0].split("/")[-1],
        available=lambda: Path(ORTHANC).exists(),
        share=0.5,
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


def environment() -> dict[str, str]:
    """Return the environment of a peer: this repository's code, nobody's configuration."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DICOM_ADAPTER")}
    return kept | {"PYTHONPATH": str(REPOSITORY)}


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
                env=environment() | receiver.environment,
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
        remove(folder)


def remove(folder: Path) -> None:
    """Delete a folder and write what is left to write: the next one does not pay for it."""
    shutil.rmtree(folder)
    os.sync()


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


TUNED = ("+B", "-pdu", "131072")
"""DCMTK's fastest way to store: as received, unparsed, in the longest PDUs it knows."""

ADAPTER = adapter("adapter", "os")
ADAPTER_FSYNC = adapter("adapter, fsync", "fsync")
STORESCP = dcmtk("storescp")
STORESCP_TUNED = dcmtk("storescp", *TUNED, nodelay=True)
STORESCP_FORK = dcmtk("storescp", "--fork")
STORESCP_FORK_TUNED = dcmtk("storescp", "--fork", *TUNED, nodelay=True)
STORESCP_IGNORING = dcmtk("storescp", "--ignore", "-pdu", "131072", nodelay=True)
DCMRECV = replace(
    dcmtk("dcmrecv", *TUNED, "-xf", "/etc/dcmtk/storescp.cfg", "Default", nodelay=True),
    name="dcmrecv +B -pdu 131072",
)
ORTHANC_DEFAULT = _orthanc("Orthanc", sync=True)
ORTHANC_UNSYNCED = _orthanc("Orthanc, no sync", sync=False)
PYNETDICOM = _pynetdicom()
