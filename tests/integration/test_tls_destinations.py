"""TLS towards destinations (PS3.15 B.12): DCMTK and pynetdicom behind certificates, good and bad
ones, and what the operator is told (F24, F86, F118).
"""

import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import ScriptedDestination, dcmtk_storescp, free_port
from harness import Adapter, configuration, eventually, run_cli
from health import MakeAdapter
from pydicom.data import get_testdata_file
from test_hostile_destinations import DELIVERING, FAILING, ROUND_S, UID, Destination
from tls_files import HOST, Files
from wire import CT, EXPLICIT, Wire, data_set, explicit

COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
CONTENT = data_set("1.2.3.1", tail=explicit(0x7FE00010, b"OW", bytes(range(256)) * 4000))
CT_SMALL = str(get_testdata_file("CT_small.dcm"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls") / "files")


def ours(files: Files, **changes: Any) -> dict[str, Any]:
    """Return `destinations[].tls` of an adapter that has a certificate."""
    return {
        "ca": str(files.ca), "certificate": str(files.sender.certificate),
        "key": str(files.sender.key), **changes,
    }  # fmt: skip


def settings(port: int, tls: dict[str, Any] | None, host: str = HOST) -> dict[str, Any]:
    return {
        "dicom": {"scu": {
            "export": {"max_retries": 1, "retry_delay_s": 0.2},
            "connect_s": 3, "acse_s": 3, "dimse_s": 4,
        }},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"copy": "copy"},
            "destinations": ["peer"],
        }],
        "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
        "destinations": [
            {"name": "peer", "ae_title": "PEER", "host": host, "port": port, "tls": tls}
        ],
    }  # fmt: skip


def store(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1", CONTENT) == ("response", 0)
        wire.release()


def down(adapter: Adapter, why: str) -> None:
    """Wait until it is told that the destination is down for this reason; `.*` is anything.

    It is tried again and again: on a busy machine one try may be too slow, and say that instead.
    """
    pattern = re.compile(re.escape(why).replace(re.escape(".*"), ".*"))
    eventually(
        lambda: [
            line
            for line in adapter.events("export.undelivered")
            if pattern.fullmatch(line["error"])
        ],
        15,
        why,
    )


def delivered(adapter: Adapter) -> None:
    eventually(lambda: adapter.get("/api/exports?state=Completed"), 15, "delivered")


def echo_says(folder: Path, port: int, tls: dict[str, Any] | None, host: str = HOST) -> str:
    """Return what `echo` prints of a destination; "" if it succeeds."""
    file = folder / "echo.json"
    file.write_text(json.dumps(configuration(folder / "root", settings(port, tls, host))))
    done = run_cli("echo", "peer", "-c", str(file))
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr.partition("\n")[0]


# --- it works


@contextmanager
def pynetdicom_destination(context: ssl.SSLContext, port: int = 0) -> Iterator[ScriptedDestination]:
    peer = ScriptedDestination({CT: [EXPLICIT]}, tls=context)
    with peer.listening(port):
        yield peer


@pytest.mark.parametrize("client_certificates", [True, False])
def test_export_to_pynetdicom_arrives(
    make_adapter: MakeAdapter, files: Files, client_certificates: bool
) -> None:
    server = files.server(files.adapter, client_certificates=client_certificates)
    with pynetdicom_destination(server) as peer:
        adapter = make_adapter(settings(peer.port, ours(files)))
        store(adapter)
        delivered(adapter)
    (received,) = peer.received
    assert hashlib.sha256(received.data).digest() == hashlib.sha256(CONTENT).digest()
    assert adapter.metrics("dicom_adapter_certificate_expiry_seconds").keys() == {
        "destinations.peer.tls.certificate"
    }


@pytest.mark.peer("dcmtk")
def test_export_echo_and_send_reach_storescp(
    make_adapter: MakeAdapter, files: Files, tmp_path: Path
) -> None:
    options = ("+tls", str(files.adapter.key), str(files.adapter.certificate),
               "+cf", str(files.ca), "-aet", "PEER")  # fmt: skip
    with dcmtk_storescp(tmp_path / "archive", *options) as port:
        assert echo_says(tmp_path, port, ours(files)) == ""
        sent = run_cli("send", "peer", CT_SMALL, "-c", str(tmp_path / "echo.json"))
        assert (sent.returncode, "sent 1, failed 0" in sent.stdout) == (0, True)
        adapter = make_adapter(settings(port, ours(files)))
        store(adapter)
        delivered(adapter)
    assert len([path for path in (tmp_path / "archive").iterdir() if path.is_file()]) == 2
    log = (tmp_path / "archive.log").read_text()
    assert log.count("TLS error") <= 1, log  # the probe of `running`; we say close_notify


def test_two_adapters_trust_each_other(make_adapter: MakeAdapter, files: Files) -> None:
    there = make_adapter({"dicom": {"scp": {"tls": files.listener("only")}}})
    tls = ours(files, minimum_version="1.3")
    here = settings(there.dicom_port, tls)
    here["destinations"][0]["ae_title"] = "MAIN"
    adapter = make_adapter(here)
    store(adapter)
    delivered(adapter)
    (released,) = eventually(lambda: there.events("association.released"), 5)
    assert (released["tls"], released["instances"]) == ("TLSv1.3", 1)


def test_host_name_may_be_left_unverified(files: Files, tmp_path: Path) -> None:
    with pynetdicom_destination(files.server(files.elsewhere)) as peer:
        assert echo_says(tmp_path, peer.port, ours(files, verify_host_name=False)) == ""


# --- it does not, and says why

WRONG = {
    "elsewhere": "the peer's certificate: IP address mismatch, certificate is not valid for "
    "'127.0.0.1'",
    "expired": "the peer's certificate: certificate has expired",
    "foreign": "the peer's certificate: unable to get local issuer certificate",
    "self_signed": "the peer's certificate: self-signed certificate",
}


@pytest.mark.parametrize("who", WRONG)
def test_destination_with_a_wrong_certificate_is_down_until_it_has_a_right_one(
    make_adapter: MakeAdapter, files: Files, tmp_path: Path, who: str
) -> None:
    port = free_port()
    adapter = make_adapter(settings(port, ours(files)))
    with pynetdicom_destination(files.server(getattr(files, who)), port) as peer:
        store(adapter)
        down(adapter, f"no connection: TLS: {WRONG[who]}")
        assert echo_says(tmp_path, port, ours(files)) == f"PEER: no connection: TLS: {WRONG[who]}"
        assert peer.associations == 0
    with pynetdicom_destination(files.server(files.adapter), port) as peer:
        delivered(adapter)
        assert len(peer.received) == 1


def test_authority_that_is_added_is_trusted_without_a_restart(
    make_adapter: MakeAdapter, files: Files, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(files.other_ca.read_bytes())
    with pynetdicom_destination(files.server(files.adapter)) as peer:
        adapter = make_adapter(settings(peer.port, ours(files, ca=str(ca))))
        store(adapter)
        down(adapter, "no connection: TLS: the peer's certificate: .*")
        ca.write_bytes(files.other_ca.read_bytes() + files.ca.read_bytes())
        delivered(adapter)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_destination_that_refuses_our_certificate_says_so(
    files: Files, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """With TLS 1.3 its word comes after the handshake, instead of A-ASSOCIATE-AC."""
    server = files.server(files.adapter, client_certificates=True)
    server.maximum_version = version
    nothing = {"ca": str(files.ca)}
    foreign = ours(files, certificate=str(files.foreign.certificate), key=str(files.foreign.key))
    with pynetdicom_destination(server) as peer:
        said = [echo_says(tmp_path, peer.port, tls) for tls in (nothing, foreign)]
    missing = {
        ssl.TLSVersion.TLSv1_2: "PEER: no connection: TLS: the peer says: handshake failure",
        ssl.TLSVersion.TLSv1_3: "PEER: no association: TLS: the peer says: certificate required",
    }
    assert said == [missing[version], missing[version].partition("says: ")[0] + "says: unknown ca"]


def test_plain_and_tls_that_meet_are_told(files: Files, tmp_path: Path) -> None:
    plain = ScriptedDestination({CT: [EXPLICIT]})
    with plain.listening():
        said = echo_says(tmp_path, plain.port, ours(files))
    assert said.startswith("PEER: no connection: TLS: ")
    with pynetdicom_destination(files.server(files.adapter)) as peer:
        said = echo_says(tmp_path, peer.port, None)
    assert said.startswith("PEER: no association: ")


def test_old_destination_is_refused(files: Files, tmp_path: Path) -> None:
    server = files.server(files.adapter)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    with pynetdicom_destination(server) as peer:
        said = echo_says(tmp_path, peer.port, ours(files, minimum_version="1.3"))
    assert said == "PEER: no connection: TLS: the peer says: protocol version"


def test_files_of_a_destination_are_checked_at_the_start(files: Files, tmp_path: Path) -> None:
    file = tmp_path / "adapter.json"
    tls = ours(files, key=str(tmp_path / "nowhere.key"))
    file.write_text(json.dumps(configuration(tmp_path / "root", settings(1, tls))))
    for arguments in (("serve", "-c"), ("config", "check"), ("echo", "peer", "-c")):
        done = run_cli(*arguments, str(file))
        assert done.returncode == 2
        (line,) = done.stderr.strip().splitlines()
        assert line == (
            f"destinations.peer.tls.key: {tmp_path}/nowhere.key: No such file or directory"
        )


# --- it stalls


class Stalling(threading.Thread):
    """Takes connections and says nothing, with a context after the handshake; never reads."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._context = context
        self._server = socket.create_server((HOST, 0))
        self.port = int(self._server.getsockname()[1])
        self.connections = 0
        self._held: list[socket.socket] = []

    def __enter__(self) -> "Stalling":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.join()
        for sock in self._held:
            sock.close()

    def run(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            sock.settimeout(5)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._held.append(sock)
            self.connections += 1


@pytest.mark.parametrize("shakes_hands", [True, False])
def test_destination_that_stalls_is_tried_again(
    make_adapter: MakeAdapter, files: Files, shakes_hands: bool
) -> None:
    context = files.server(files.adapter) if shakes_hands else None
    with Stalling(context) as peer:
        adapter = make_adapter(settings(peer.port, ours(files)))
        store(adapter)
        down(adapter, f"no {'association' if shakes_hands else 'connection'}: timeout")
        eventually(lambda: peer.connections >= 2, 10, "another try")


STALLING = (
    "hangs_at_associate", "accepts_byte_by_byte", "never_reads", "hangs_at_response",
    "answers_byte_by_byte", "leaves_in_the_middle",
)  # fmt: skip
ENDING = ("behaves", "hangs_at_release", "aborts_at_release", "answers_in_pieces")


def behind_tls(
    act: Callable[[Destination, Wire], object], context: ssl.SSLContext
) -> Callable[[Destination, Wire], object]:
    def shaken(peer: Destination, wire: Wire) -> None:
        wire.sock = context.wrap_socket(wire.sock, server_side=True)
        act(peer, wire)

    return shaken


def test_destinations_that_stall_inside_tls_are_cut_off(
    make_adapter: MakeAdapter, files: Files
) -> None:
    """A second try means that the first has ended; what is answered for is delivered meanwhile."""
    context = files.server(files.adapter)
    acts = {**FAILING, **DELIVERING}
    with ExitStack() as stack:
        peers = {
            name.replace("_", "-"): stack.enter_context(
                Destination(behind_tls(acts[name], context))
            )
            for name in (*STALLING, *ENDING)
        }
        base = settings(1, None)
        base["dicom"]["scu"] |= {
            "max_associations": 20, "export": {"max_retries": 1000, "retry_delay_s": 0.1},
        }  # fmt: skip
        base["application_entities"][0]["destinations"] = list(peers)
        base["destinations"] = [
            {"name": name, "ae_title": "PEER", "host": HOST, "port": peer.port, "tls": ours(files)}
            for name, peer in peers.items()
        ]
        adapter = make_adapter(base)
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            large = data_set(UID, tail=explicit(0x7FE00010, b"OW", bytes(3 << 20)))
            assert wire.store(UID, large) == ("response", 0)
            wire.release()
        for name in STALLING:
            peer = peers[name.replace("_", "-")]
            eventually(lambda peer=peer: peer.connections >= 2, 3 * ROUND_S, name)
        complete = eventually(
            lambda: len(found := adapter.get("/api/exports?state=Completed")) == len(ENDING)
            and found, 2 * ROUND_S,
        )  # fmt: skip
        assert {row["destination"] for row in complete} == {n.replace("_", "-") for n in ENDING}
        assert [peers[n.replace("_", "-")].connections for n in ENDING] == [1] * len(ENDING)
        assert adapter.stop() in (0, 1)
