"""Independent programs on the other end: DCMTK, Orthanc, pynetdicom, and a liar made by hand.

DCMTK is called by absolute path: pynetdicom installs commands of the same names.
"""

import json
import random
import socket
import ssl
import struct
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import eventually
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from wire import AC, DATA, NO_DATA, RELEASE_RP, Wire, command, item, parse_command, pdv
from wire import pdu as make_pdu

DCMTK = {
    name: f"/usr/bin/{name}"
    for name in ("echoscu", "storescu", "dcmsend", "storescp", "dcmdump", "dcmodify")
}
ORTHANC = "/usr/sbin/Orthanc"
ORTHANC_DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
ODIL, GDCMSCU, JAVA = "/usr/bin/odil", "/usr/bin/gdcmscu", "/usr/bin/java"
JARS = [f"/usr/share/java/{name}.jar" for name in ("pixelmed", "vecmath", "commons-codec")]
CHROMIUM = "/usr/bin/chromium"
PROGRAMS = {
    "dcmtk": list(DCMTK.values()),
    "orthanc": [ORTHANC],
    "orthanc-dicomweb": [ORTHANC, ORTHANC_DICOMWEB],
    "odil": [ODIL],
    "gdcm": [GDCMSCU],
    "pixelmed": [JAVA, *JARS],
    "chromium": [CHROMIUM],
}
EPHEMERAL = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
PIXELMED = [JAVA, "-cp", ":".join(JARS)]


def free_port(in_a_row: int = 1) -> int:
    """Return a port that was free a moment ago, the first of `in_a_row`.

    Below the kernel's ephemeral ports, or somebody's outgoing connection may take it meanwhile.
    """
    while True:
        port = random.randrange(15_000, EPHEMERAL - in_a_row)
        try:
            for offset in range(in_a_row):
                socket.create_server(("127.0.0.1", port + offset)).close()
        except OSError:
            continue
        return port


def listens(port: int) -> bool:
    """Return whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def run_peer(name: str, *arguments: str) -> str:
    """Run a DCMTK program, which must succeed; return what it printed."""
    return run_program(DCMTK[name], *arguments)


def run_program(*command: str) -> str:
    """Run a peer's program, which must succeed; return what it printed."""
    done = ended(*command)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def ended(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a peer's program to its end, whatever that is."""
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )


@contextmanager
def pixelmed_scp(folder: Path) -> Any:
    """Run pixelmed's Storage SCP, which keeps instances as they come; yield its port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    scp = "com.pixelmed.network.StorageSOPClassSCPDispatcher"
    command = [*PIXELMED, scp, str(port), "PIXELMED", str(folder), "NONSECURE", "ANY"]
    with running(command, port, folder.with_suffix(".log")):
        yield port


@contextmanager
def running(arguments: Sequence[str], port: int, log: Path) -> Any:
    """Run a server until the block ends, and yield its process; its port answers first."""
    with open(log, "wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: listens(port), 20, f"{arguments[0]} listens")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def dcmtk_storescp(folder: Path, *options: str, port: int = 0) -> Any:
    """Run DCMTK's storescp; yield its port. Instances arrive as files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    log = folder.with_suffix(".log")
    with running([DCMTK["storescp"], *options, "-od", str(folder), str(port)], port, log):
        yield port


@dataclass
class Orthanc:
    """A running Orthanc."""

    dicom_port: int
    http_port: int
    headers: dict[str, str] = field(default_factory=dict)
    """For its REST API."""

    @property
    def url(self) -> str:
        """Of its REST API."""
        return f"http://127.0.0.1:{self.http_port}"

    def get(self, path: str) -> Any:
        """Return the JSON of a GET on its REST API."""
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        """Return the body of a GET on its REST API."""
        request = urllib.request.Request(f"{self.url}{path}", headers=self.headers)
        with urllib.request.urlopen(request, timeout=30) as body:
            found: bytes = body.read()
        return found

    def instances(self) -> list[bytes]:
        """Return the files of all instances."""
        return [self.read(f"/instances/{one}/file") for one in self.get("/instances")]

    def send(self, method: str, path: str, body: Any) -> None:
        """Send JSON to its REST API."""
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(body).encode(), headers=self.headers, method=method
        )
        urllib.request.urlopen(request, timeout=30).close()


@contextmanager
def orthanc(folder: Path, **options: Any) -> Any:
    """Run an Orthanc without plug-ins in a folder of its own; options as in its file."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Orthanc(free_port(), free_port())
    file = folder / "orthanc.json"
    file.write_text(json.dumps({
        "Name": "test", "StorageDirectory": str(folder / "db"), "DicomAet": "ORTHANC",
        "DicomPort": server.dicom_port, "HttpPort": server.http_port, "Plugins": [],
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True,
        **options,
    }))  # fmt: skip
    with running([ORTHANC, str(file)], server.http_port, folder / "orthanc.log"):
        eventually(lambda: listens(server.dicom_port), 20, "Orthanc's DICOM port")
        yield server


@contextmanager
def serving(ae: AE, handlers: list[Any], port: int = 0, tls: ssl.SSLContext | None = None) -> Any:
    """Run an acceptor of pynetdicom until the block ends; yield its port."""
    server = ae.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls
    )
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@dataclass
class Received:
    """What a destination was handed."""

    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes


@dataclass
class ScriptedDestination:
    """A pynetdicom Storage SCP that keeps what comes and answers as told."""

    contexts: dict[str, list[str]]
    status: Callable[[Received], int] = lambda _: 0x0000
    received: list[Received] = field(default_factory=list)
    port: int = 0
    associations: int = 0
    tls: ssl.SSLContext | None = None

    @contextmanager
    def listening(self, port: int = 0) -> Any:
        """Listen until the block ends."""
        ae = AE("PEER")
        ae.maximum_associations = 20
        ae.supported_contexts = [
            build_context(abstract, syntaxes) for abstract, syntaxes in self.contexts.items()
        ]
        ae.add_supported_context(Verification)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accepted)]
        with serving(ae, handlers, port, self.tls) as self.port:
            yield self

    def _accepted(self, _: Any) -> None:
        self.associations += 1

    def _store(self, event: Any) -> int:
        instance = Received(
            str(event.request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
            event.encoded_dataset(include_meta=False),
        )
        status = self.status(instance)
        if status == 0x0000:
            self.received.append(instance)
        return status


class LyingDestination(threading.Thread):
    """Accepts one context after another, takes every instance, and answers what `lie` makes of it.

    `lie` gets (message id, SOP Instance UID) and returns those to answer with, or None to close.
    """

    def __init__(self, lie: Callable[[int, bytes], tuple[int, bytes] | None]) -> None:
        super().__init__()
        self._lie = lie
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.stores = 0

    def __enter__(self) -> "LyingDestination":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.join()

    def run(self) -> None:
        """Serve one association after another."""
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            sock.settimeout(60)
            wire = Wire.__new__(Wire)
            wire.sock = sock
            with wire:
                self._serve(wire)

    def _serve(self, wire: Wire) -> None:
        message_id, instance = 0, b""
        while (got := wire.read_pdu()) is not None:
            kind, body = got
            if kind == 1:
                wire.send(accept_everything(body))
            elif kind == 5:
                wire.send(make_pdu(RELEASE_RP, bytes(4)))
            elif kind != DATA:
                return
            elif body[5] & 1:
                found = parse_command(body[6:])
                message_id = struct.unpack("<H", found[0x0110])[0]
                instance = found[0x1000].rstrip(b"\0")
                data = body[4 + int.from_bytes(body[:4], "big") :]  # a second PDV may follow
                if data and data[5] & 2:
                    got_all = self._respond(wire, data[4], message_id, instance)
                    if not got_all:
                        return
            elif body[5] & 2 and not self._respond(wire, body[4], message_id, instance):
                return

    def _respond(self, wire: Wire, context_id: int, message_id: int, instance: bytes) -> bool:
        self.stores += 1
        answer = self._lie(message_id, instance)
        if answer is None:
            return False
        elements = {
            0x0002: b"1.2.840.10008.5.1.4.1.1.2", 0x0100: struct.pack("<H", 0x8001),
            0x0120: struct.pack("<H", answer[0]), 0x0800: struct.pack("<H", NO_DATA),
            0x0900: b"\0\0", 0x1000: answer[1],
        }  # fmt: skip
        wire.send(make_pdu(DATA, pdv(context_id, 3, command(elements))))
        return True


def accept_everything(body: bytes) -> bytes:
    """Return A-ASSOCIATE-AC for the body of an A-ASSOCIATE-RQ, first syntaxes taken."""
    accepted, position = b"", 68
    while position < len(body):
        kind, length = body[position], int.from_bytes(body[position + 2 : position + 4], "big")
        if kind == 0x20:
            inner = body[position + 8 : position + 4 + length]
            skip = 4 + int.from_bytes(inner[2:4], "big")
            size = int.from_bytes(inner[skip + 2 : skip + 4], "big")
            syntax = inner[skip : skip + 4 + size]
            accepted += item(0x21, bytes((body[position + 4], 0, 0, 0)) + syntax)
        position += 4 + length
    user = item(0x50, item(0x51, bytes(4)) + item(0x52, b"1.2.3"))
    return make_pdu(AC, body[:68] + item(0x10, b"1.2.840.10008.3.1.1.1") + accepted + user)
