"""TLS on the listening ports (PS3.15 B.12), against OpenSSL by way of Python's sockets and its own
program, DCMTK and pynetdicom (F24, F25, F34, F53, F118).
"""

import datetime
import hashlib
import json
import os
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from dicom_peers import DCMTK, free_port, run_peer
from harness import Adapter, configuration, eventually, run_cli
from health import MakeAdapter, unharmed
from pydicom.data import get_testdata_file
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]
from sample_files import rounds, samples
from test_hostile_slow import send_without_end, timed_out, until_closed
from test_memory import GROWTH_KB_MAX, digest_of_data_set, send_large
from tls_files import HOST, Files, Identity, TlsWire, answer_or_alert
from wire import (
    C_ECHO,
    DATA,
    NO_DATA,
    VERIFICATION,
    Wire,
    associate_rq,
    context,
    pdu,
    pdv,
    request,
    split_part10,
)

ARTIM_S, IDLE_S, DIMSE_S, SLACK_S = 10.0, 3.0, 2.0, 4.0
HANGS_S = 60.0
DEAF_PEERS = 6
ASSOCIATIONS = 100
OPENSSL = "/usr/bin/openssl"
CT_SMALL = str(get_testdata_file("CT_small.dcm"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls") / "files")


def tls_port(adapter: Adapter) -> int:
    """Return the port of TLS beside the shared one."""
    (ready,) = adapter.events("process.ready")
    return int(ready["dicom_ports"][-1])


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter, files: Files) -> Adapter:
    return make_shared_adapter({"dicom": {"scp": {
        "tls": files.listener(), "max_associations": 2 * DEAF_PEERS,
        "artim_s": ARTIM_S, "idle_s": IDLE_S, "dimse_s": DIMSE_S, "answer_s": 1,
    }}})  # fmt: skip


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    """The adapter; after the case it lives, answers, and no association or thread is in use."""
    threads = len(os.listdir(f"/proc/{shared.pid}/task"))
    with unharmed(shared):
        yield shared
        eventually(lambda: shared.associations() == 0, 5)
        eventually(lambda: shared.metrics("dicom_adapter_half_open") == {"": 0}, 5)
    assert len(os.listdir(f"/proc/{shared.pid}/task")) <= threads + 2 * DEAF_PEERS
    eventually(lambda: all_told(shared), 5, "the log tells of every association that is over")


def all_told(adapter: Adapter) -> bool:
    """Return whether the log, which comes a moment later, tells how each association ended."""
    accepted = adapter.metrics("dicom_adapter_events").get("association.accepted", 0)
    told = [adapter.events(f"association.{how}") for how in ("released", "aborted")]
    return sum(map(len, told)) == accepted


def warnings_of(adapter: Adapter) -> list[str]:
    return [line["why"] for line in adapter.events("connection.ended")]


def ended_without_request(adapter: Adapter) -> Counter[str]:
    return Counter(adapter.metrics("dicom_adapter_connections_without_request"))


# --- who is let in


def senders(files: Files) -> dict[str, ssl.SSLContext]:
    return {
        "none": files.client(),
        "none_1.2": files.client(version="TLSv1.2"),
        "good": files.client(files.sender),
        "good_1.2": files.client(files.sender, "TLSv1.2"),
        "expired": files.client(files.expired),
        "expired_1.2": files.client(files.expired, "TLSv1.2"),
        "foreign": files.client(files.foreign),
        "self_signed": files.client(files.self_signed),
        "old_1.1": files.client(files.sender, "TLSv1.1"),
        "old_1.0": files.client(files.sender, "TLSv1"),
        "distrusts_us": files.client(files.sender, ca=files.other_ca),
    }


WRONG_CERTIFICATES = {
    "expired": "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "expired_1.2": "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "foreign": "TLSV1_ALERT_UNKNOWN_CA",
    "self_signed": "TLSV1_ALERT_UNKNOWN_CA",
}
ALWAYS = {
    "good": "accept",
    "good_1.2": "accept",
    "old_1.1": "TLSV1_ALERT_PROTOCOL_VERSION",
    "old_1.0": "TLSV1_ALERT_PROTOCOL_VERSION",
    "distrusts_us": "CERTIFICATE_VERIFY_FAILED",
}
ANSWERS = {
    "required": {
        **ALWAYS, **WRONG_CERTIFICATES,
        "none": "TLSV13_ALERT_CERTIFICATE_REQUIRED", "none_1.2": "SSLV3_ALERT_HANDSHAKE_FAILURE",
    },
    "optional": {**ALWAYS, **WRONG_CERTIFICATES, "none": "accept", "none_1.2": "accept"},
    "none": {
        **ALWAYS, **dict.fromkeys(WRONG_CERTIFICATES, "accept"),
        "none": "accept", "none_1.2": "accept",
    },
}  # fmt: skip
REASONS = {
    "TLS: the peer shows no certificate",
    "TLS: the peer's certificate: certificate has expired",
    "TLS: the peer's certificate: unable to get local issuer certificate",
    "TLS: the peer's certificate: self-signed certificate",
    "TLS: no TLS version in common",
    "TLS: the peer says: unknown ca",
}


@pytest.mark.parametrize("policy", ANSWERS)
def test_client_certificates_decide_who_gets_in(
    make_adapter: MakeAdapter, files: Files, policy: str
) -> None:
    """F24. Whoever is refused hears why: the alert is not lost in a reset connection."""
    adapter = make_adapter({
        "dicom": {"scp": {"tls": files.listener(client_certificates=policy)}}
    })  # fmt: skip
    with unharmed(adapter):
        answers = {
            name: answer_or_alert(tls_port(adapter), sender, associate_rq())
            for name, sender in senders(files).items()
        }
        assert answers == ANSWERS[policy]
    refused = [answer for answer in answers.values() if answer != "accept"]
    eventually(lambda: ended_without_request(adapter)["tls"] == len(refused), 5)
    if policy == "required":
        eventually(lambda: set(warnings_of(adapter)) >= REASONS, 5, "each is in the log")
    assert set(warnings_of(adapter)) <= REASONS


def test_minimum_version_is_kept(make_adapter: MakeAdapter, files: Files) -> None:
    adapter = make_adapter({
        "dicom": {"scp": {"tls": files.listener(minimum_version="1.3")}}
    })  # fmt: skip
    answers = [
        answer_or_alert(tls_port(adapter), files.client(files.sender, version), associate_rq())
        for version in ("TLSv1.2", "TLSv1.3")
    ]
    assert answers == ["TLSV1_ALERT_PROTOCOL_VERSION", "accept"]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_association_is_shown_with_its_version(
    adapter: Adapter, files: Files, version: str
) -> None:
    before = len(adapter.events("association.released"))
    with TlsWire(tls_port(adapter), files.client(files.sender, version)) as wire:
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
        assert wire.echo() == ("response", 0)
        (row,) = adapter.get("/api/associations?state=accepted")
        assert row["tls"] == version
        assert wire.release() == ("released",)
        assert wire.sock.recv(1) == b"", "close_notify, not a ragged end"
    with Wire(adapter.dicom_port) as plain:
        plain.associate()
        rows = eventually(lambda: is_open(adapter, 1), what="the other one is over")
        assert rows[0]["tls"] == ""
        plain.release()
    released = eventually(lambda: adapter.events("association.released")[before + 1 :])
    assert [line["tls"] for line in released] == [""]
    assert adapter.events("association.released")[before]["tls"] == version


def is_open(adapter: Adapter, count: int) -> list[dict[str, Any]]:
    """Return the open associations if there are so many; one that was released is told as open for
    a moment more.
    """
    rows: list[dict[str, Any]] = adapter.get("/api/associations?state=accepted")
    return rows if len(rows) == count else []


def test_rejection_is_heard_through_tls(adapter: Adapter, files: Files) -> None:
    with TlsWire(tls_port(adapter), files.client(files.sender)) as wire:
        wire.send(associate_rq(called=b"NOBODY"))
        assert wire.answer() == ("reject", 1, 1, 7)
        assert wire.sock.recv(1) == b""


# --- modes and ports


def main_and_own(port: int) -> list[dict[str, Any]]:
    pipelines = {"one": "one"}
    return [
        {"name": "main", "ae_title": "MAIN", "pipelines": pipelines},
        {"name": "own", "ae_title": "OWN", "port": port, "pipelines": pipelines},
    ]


def test_only_means_every_port(make_adapter: MakeAdapter, files: Files) -> None:
    own = free_port()
    adapter = make_adapter({
        "dicom": {"scp": {"tls": files.listener("only")}},
        "application_entities": main_and_own(own),
    })  # fmt: skip
    (ready,) = adapter.events("process.ready")
    assert ready["dicom_ports"] == [adapter.dicom_port, own]
    for port, title in ((adapter.dicom_port, b"MAIN"), (own, b"OWN")):
        with TlsWire(port, files.client(files.sender)) as wire:
            wire.associate(called=title)
        with Wire(port) as plain:
            plain.send(associate_rq(called=title))
            assert plain.answer() == ("closed",)


def test_beside_means_the_shared_ae_titles_on_one_more_port(
    make_adapter: MakeAdapter, files: Files
) -> None:
    own = free_port()
    adapter = make_adapter({
        "dicom": {"scp": {"tls": files.listener("beside")}},
        "application_entities": main_and_own(own),
    })  # fmt: skip
    for port, title in ((adapter.dicom_port, b"MAIN"), (own, b"OWN")):
        with Wire(port) as plain:
            plain.associate(called=title)
    with TlsWire(tls_port(adapter), files.client(files.sender)) as wire:
        wire.associate(called=b"MAIN")
    with TlsWire(tls_port(adapter), files.client(files.sender)) as wire:
        wire.send(associate_rq(called=b"OWN"))
        assert wire.answer() == ("reject", 1, 1, 7)


# --- who speaks something else


def test_stranger_is_named_in_the_log_once(make_adapter: MakeAdapter, files: Files) -> None:
    adapter = make_adapter({"dicom": {"scp": {"tls": files.listener()}}})
    hello = ssl_hello()
    for _ in range(2):
        for port, words in (
            (tls_port(adapter), associate_rq()), (tls_port(adapter), b"GET / HTTP/1.1\r\n\r\n"),
            (adapter.dicom_port, hello), (adapter.dicom_port, b"GET / HTTP/1.1\r\n\r\n"),
            (adapter.dicom_port, b"SSH-2.0-OpenSSH_9.2\r\n"), (tls_port(adapter), b"\xff" * 99),
        ):  # fmt: skip
            with unharmed(adapter), Wire(port) as wire:
                wire.send(words)
                assert until_closed(wire) < 5
    eventually(lambda: sum(ended_without_request(adapter).values()) == 12, 5)
    assert ended_without_request(adapter) == {"tls": 6, "refused": 6}
    assert sorted(warnings_of(adapter)) == sorted([
        "DICOM without TLS on a TLS port", "HTTP on a TLS port", "TLS on a plain port",
        "HTTP on a plain port", "SSH on a plain port", "TLS: the peer does not speak TLS",
    ])  # fmt: skip


def ssl_hello() -> bytes:
    """Return the first words of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def test_probe_of_the_tls_port_is_no_fault(adapter: Adapter) -> None:
    """A load balancer that connects and leaves."""
    before = ended_without_request(adapter)
    for _ in range(5):
        Wire(tls_port(adapter)).sock.close()
    eventually(lambda: ended_without_request(adapter) - before == {"left": 5}, 5)


def test_hello_of_a_tls_client_that_leaves_is_counted(adapter: Adapter) -> None:
    before = ended_without_request(adapter)
    with Wire(tls_port(adapter)) as wire:
        wire.send(ssl_hello())
    eventually(lambda: (ended_without_request(adapter) - before).total() == 1, 5)


# --- who stalls (the handshake itself: test_hostile_tls)


def encrypted(context: ssl.SSLContext, sock: socket.socket, data: bytes) -> bytes:
    """Shake hands on a plain socket; return data as this client would send it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65536))
    session.write(associate_rq())
    sock.sendall(outgoing.read())
    while True:
        try:
            assert session.read(1) == b"\x02", "A-ASSOCIATE-AC"
            break
        except ssl.SSLWantReadError:
            incoming.write(sock.recv(65536))
    session.write(data)
    return outgoing.read()


def test_record_byte_by_byte_is_ended_by_the_deadline(adapter: Adapter, files: Files) -> None:
    """What is no whole record yet prolongs nothing."""
    with Wire(tls_port(adapter)) as wire:
        drip = encrypted(files.client(files.sender), wire.sock, associate_rq())
        before = timed_out(adapter)
        assert until_closed(wire, drip) < IDLE_S + SLACK_S
    eventually(lambda: timed_out(adapter) == before + 1, 5)


def test_association_that_falls_silent_is_aborted(adapter: Adapter, files: Files) -> None:
    with TlsWire(tls_port(adapter), files.client(files.sender)) as wire:
        wire.associate()
        assert wire.answer() == ("abort", 0, 0)


def test_peers_that_never_read_are_cut_off(adapter: Adapter, files: Files) -> None:
    """F34: no thread is held by a peer that takes no answer."""
    echo = pdu(DATA, pdv(1, 3, request(C_ECHO, VERIFICATION, data=NO_DATA)))
    before = timed_out(adapter)
    with ExitStack() as stack:
        for _ in range(DEAF_PEERS):
            wire = stack.enter_context(TlsWire(tls_port(adapter), files.client(files.sender)))
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.associate()
            wire.sock.settimeout(0.2)
            with pytest.raises((TimeoutError, ConnectionError, ssl.SSLError)):
                send_without_end(wire, echo * 1000)
        eventually(lambda: timed_out(adapter) >= before + DEAF_PEERS, 4 * DIMSE_S + 2 * SLACK_S)
        eventually(lambda: adapter.associations() == 0, 2 * DIMSE_S + SLACK_S)


# --- how it ends


def test_end_without_close_notify_is_an_end(adapter: Adapter, files: Files) -> None:
    """A stream that is cut ends the association as one without TLS would; what is stored stays."""
    before = len(ends(adapter))
    with TlsWire(tls_port(adapter), files.client(files.sender)) as wire:
        wire.associate()
        assert wire.store("1.2.3.71") == ("response", 0)
        raw = socket.socket(fileno=wire.sock.detach())
        raw.close()
    assert eventually(lambda: ends(adapter)[before:], 5) == ["closed without release"]
    # In this order: its group may close just now.
    places = [p for part in ("incoming", "closed", "payloads") for p in adapter.instances(part)]
    assert [p for p in places if p.stem == "1.2.3.71"]


def test_close_notify_without_release_is_an_end(adapter: Adapter, files: Files) -> None:
    before = len(ends(adapter))
    with TlsWire(tls_port(adapter), files.client(files.sender)) as wire:
        wire.associate()
        wire.sock.unwrap().close()
    assert eventually(lambda: ends(adapter)[before:], 5) == ["closed without release"]


def test_released_without_close_notify_is_released(adapter: Adapter, files: Files) -> None:
    before = len(adapter.events("association.released"))
    with TlsWire(tls_port(adapter), files.client(files.sender)) as wire:
        wire.associate()
        assert wire.release() == ("released",)
        socket.socket(fileno=wire.sock.detach()).close()
    eventually(lambda: len(adapter.events("association.released")) == before + 1, 5)


def test_abort_is_heard(adapter: Adapter, files: Files) -> None:
    before = len(ends(adapter))
    with TlsWire(tls_port(adapter), files.client(files.sender)) as wire:
        wire.associate()
        wire.abort()
        (why,) = eventually(lambda: ends(adapter)[before:], 5)
    assert why.startswith("aborted by the peer")


def ends(adapter: Adapter) -> list[str]:
    return [line["why"] for line in adapter.events("association.aborted")]


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_stop_aborts_what_does_not_end(
    make_adapter: MakeAdapter, files: Files, *, tls: bool
) -> None:
    adapter = make_adapter({"dicom": {"scp": {"tls": files.listener()}}})
    wire = (
        TlsWire(tls_port(adapter), files.client(files.sender)) if tls else Wire(adapter.dicom_port)
    )
    with wire:
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
        adapter.terminate()
        assert wire.answer() == ("abort", 2, 0)
        assert wire.sock.recv(1) == b"", "no ragged end"
    assert adapter.wait() == 0
    assert [line["why"] for line in adapter.events("association.aborted")] == ["aborted by us"]


# --- work


def test_associations_at_once_store_every_file_intact(
    make_adapter: MakeAdapter, files: Files
) -> None:
    """Real files of many kinds, one association each, all open before the first one stores."""
    split = rounds(samples())[:2]
    adapter = make_adapter({
        "dicom": {"scp": {
            "tls": files.listener(), "max_associations": ASSOCIATIONS, "idle_s": 2 * HANGS_S,
        }},
        "application_entities": [
            {"name": f"round{n}", "ae_title": f"ROUND{n}", "timeout_s": 60, "pipelines": {"a": "a"}}
            for n in range(len(split))
        ],
    })  # fmt: skip
    work = [(f"ROUND{n}".encode(), sample) for n, found in enumerate(split) for sample in found]
    work = work[:ASSOCIATIONS]
    assert len(work) == ASSOCIATIONS
    tls = files.client(files.sender)
    all_open = threading.Barrier(ASSOCIATIONS)
    answers: list[Any] = []

    def store(title: bytes, sample: Any) -> None:
        with TlsWire(tls_port(adapter), tls, timeout_s=HANGS_S) as wire:
            wire.associate((context(1, sample.sop_class, sample.syntax),), called=title)
            all_open.wait(HANGS_S)
            uid = sample.sop_instance.encode()
            wire.message(1, request(0x0001, sample.sop_class, uid), sample.data)
            answers.append(wire.answer())
            wire.release()

    threads = [threading.Thread(target=store, args=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [("response", 0)] * ASSOCIATIONS
    stored = Counter(
        hashlib.sha256(split_part10(path.read_bytes())[1]).hexdigest()
        for path in adapter.instances("incoming")
    )
    assert stored == Counter(sample.digest[1] for _, sample in work)


def test_large_instance_costs_one_buffer(make_adapter: MakeAdapter, files: Files) -> None:
    """F53, inside TLS."""
    adapter = make_adapter({"dicom": {"scp": {"tls": files.listener()}}})
    tls = files.client(files.sender)
    with TlsWire(tls_port(adapter), tls) as wire:
        wire.associate()
        wire.release()
    idle = adapter.memory_kb("VmHWM")
    with TlsWire(tls_port(adapter), tls, timeout_s=60) as wire:
        sent = send_large(wire, "1.2.3.1", 200)
    assert adapter.memory_kb("VmHWM") - idle < GROWTH_KB_MAX
    eventually(lambda: adapter.payload_folders() and not adapter.groups_on_disk())
    (stored,) = adapter.instances("payloads")
    assert digest_of_data_set(stored) == sent


# --- certificates that change while it runs (F118)


def serial(wire: TlsWire) -> str:
    certificate = wire.sock.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_renewed_certificate_is_used_without_a_restart(
    make_adapter: MakeAdapter, files: Files
) -> None:
    """New associations get the new one, running ones go on, a broken one changes nothing."""
    ours = files.issue("changing")
    paths = {"certificate": str(ours.certificate), "key": str(ours.key)}
    adapter = make_adapter({"dicom": {"scp": {"tls": files.listener(**paths)}}})
    tls = files.client(files.sender)
    with TlsWire(tls_port(adapter), tls) as running:
        running.associate()
        assert running.store("1.2.3.1") == ("response", 0)
        ours.replace(files.renewed)
        renewed = eventually(lambda: used_other_than(adapter, tls, serial(running)), 10)
        assert running.store("1.2.3.2") == ("response", 0)
        ours.certificate.write_bytes(b"broken")
        eventually(lambda: used(adapter, tls) and adapter.events("tls.reload_failed"), 10)
        assert used(adapter, tls) == renewed
        (failed,) = adapter.events("tls.reload_failed")
        assert failed["why"] == (
            f"dicom.scp.tls.certificate: {ours.certificate}: holds no certificate in PEM"
        )
        ours.replace(files.adapter)
        eventually(lambda: used_other_than(adapter, tls, renewed), 10)
        assert running.store("1.2.3.3") == ("response", 0)
        assert running.release() == ("released",)
    eventually(lambda: len(adapter.events("tls.reloaded")) >= 2)


def used(adapter: Adapter, tls: ssl.SSLContext) -> str:
    """Return the serial number of the certificate that a new association gets."""
    with TlsWire(tls_port(adapter), tls) as wire:
        wire.associate()
        wire.release()
        return serial(wire)


def used_other_than(adapter: Adapter, tls: ssl.SSLContext, old: str) -> str:
    found = used(adapter, tls)
    return found if found != old else ""


def test_authority_that_is_taken_away_is_trusted_no_more(
    make_adapter: MakeAdapter, files: Files, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(files.ca.read_bytes() + files.other_ca.read_bytes())
    adapter = make_adapter({"dicom": {"scp": {"tls": files.listener(ca=str(ca))}}})
    foreign = files.client(files.foreign)
    assert answer_or_alert(tls_port(adapter), foreign, associate_rq()) == "accept"
    ca.write_bytes(files.ca.read_bytes())
    eventually(
        lambda: answer_or_alert(tls_port(adapter), foreign, associate_rq())
        == "TLSV1_ALERT_UNKNOWN_CA", 10,
    )  # fmt: skip
    assert (
        answer_or_alert(tls_port(adapter), files.client(files.sender), associate_rq()) == "accept"
    )


def test_expiry_is_a_metric_and_a_warning(make_adapter: MakeAdapter, files: Files) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=10)
    ours = files.issue("soon", not_after=soon.replace(tzinfo=None, microsecond=0))
    paths = {"certificate": str(ours.certificate), "key": str(ours.key)}
    adapter = make_adapter({"dicom": {"scp": {"tls": files.listener(**paths)}}})
    metric = adapter.metrics("dicom_adapter_certificate_expiry_seconds")
    assert set(metric) == {"dicom.scp.tls.certificate"}
    assert abs(metric["dicom.scp.tls.certificate"] - soon.timestamp()) < 2
    (warning,) = eventually(lambda: adapter.events("certificate.expires"), 5)
    assert warning["key"] == "dicom.scp.tls.certificate"
    assert 9.9 <= warning["days"] <= 10


# --- files that cannot be used


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize("case", ["missing", "encrypted", "not_ours"])
def test_unusable_key_is_one_line_and_no_question(
    files: Files, tmp_path: Path, command: str, case: str
) -> None:
    key = tmp_path / "key.pem"
    if case == "encrypted":
        key.write_bytes(encrypted_key(files.adapter.key.read_bytes()))
    elif case == "not_ours":
        key.write_bytes(files.sender.key.read_bytes())
    file = tmp_path / "adapter.json"
    tls = files.listener(key=str(key))
    file.write_text(json.dumps(configuration(tmp_path / "root", {"dicom": {"scp": {"tls": tls}}})))
    done = run_cli(*(("serve", "-c") if command == "serve" else ("config", "check")), str(file))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    why = {
        "missing": "No such file or directory", "encrypted": "the key is encrypted; it must not be",
        "not_ours": "the key is not the certificate's",
    }[case]  # fmt: skip
    assert line == f"dicom.scp.tls.key: {key}: {why}"
    assert done.stdout == ""


def encrypted_key(key: bytes) -> bytes:
    found = serialization.load_pem_private_key(key, None)
    return found.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


# --- other people's programs


def paths_of(identity: Identity) -> tuple[str, str]:
    return str(identity.key), str(identity.certificate)


def dcmtk(program: str, adapter: Adapter, files: Files, identity: Identity | None) -> list[str]:
    """Return the command of a DCMTK program that calls MAIN."""
    options = ["+tls", *paths_of(identity)] if identity else ["+tla"]
    target = ["-aec", "MAIN", HOST, str(tls_port(adapter))]
    return [DCMTK[program], "-v", *options, "+cf", str(files.ca), *target]


@pytest.mark.peer("dcmtk")
def test_dcmtk_echoes_and_stores(adapter: Adapter, files: Files) -> None:
    before = len(adapter.events("association.released"))
    printed = run_peer("echoscu", *dcmtk("echoscu", adapter, files, files.sender)[1:])
    assert "Received Echo Response (Success)" in printed
    for profile in ("+py", "+px", "+pz"):
        run_peer(
            "storescu", profile, *dcmtk("storescu", adapter, files, files.sender)[1:], CT_SMALL
        )
    eventually(lambda: len(adapter.events("association.released")) == before + 4, 5)
    released = adapter.events("association.released")[before:]
    assert sorted(line["instances"] for line in released) == [0, 1, 1, 1]
    assert all(line["tls"] for line in released)


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("who", ["nobody", "expired", "foreign", "self_signed"])
def test_dcmtk_without_a_good_certificate_stores_nothing(
    adapter: Adapter, files: Files, who: str
) -> None:
    identity = None if who == "nobody" else getattr(files, who)
    done = subprocess.run(
        [*dcmtk("storescu", adapter, files, identity), CT_SMALL],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Received Store Response" not in done.stdout + done.stderr


def test_pynetdicom_echoes_and_stores(adapter: Adapter, files: Files) -> None:
    ae = AE("TEST")
    ae.add_requested_context(Verification)
    ae.add_requested_context(CTImageStorage)
    association = ae.associate(
        HOST, tls_port(adapter), ae_title="MAIN", tls_args=(files.client(files.sender), HOST)
    )
    assert association.is_established
    assert association.send_c_echo().Status == 0
    assert association.send_c_store(CT_SMALL).Status == 0
    association.release()


def s_client(adapter: Adapter, files: Files, *options: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [OPENSSL, "s_client", "-connect", f"{HOST}:{tls_port(adapter)}", "-CAfile", str(files.ca),
         "-cert", str(files.sender.certificate), "-key", str(files.sender.key), *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


needs_openssl = pytest.mark.skipif(not Path(OPENSSL).exists(), reason=f"not installed: {OPENSSL}")


@needs_openssl
def test_renegotiation_is_refused(adapter: Adapter, files: Files) -> None:
    with s_client(adapter, files, "-tls1_2") as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"R\n")
        client.stdin.flush()
        printed = client.stdout.read().decode(errors="replace")
    assert "RENEGOTIATING" in printed
    assert "no renegotiation" in printed


@needs_openssl
def test_key_update_is_followed(adapter: Adapter, files: Files) -> None:
    """RFC 8446 4.6.3: both directions have new keys, and the association is accepted with them."""
    with s_client(adapter, files, "-tls1_3") as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"K\n")
        client.stdin.flush()
        for line in client.stdout:
            if b"KEYUPDATE" in line:
                break
        client.stdin.write(associate_rq())
        client.stdin.flush()
        answer = b""
        while b"MAIN" not in answer and (piece := client.stdout.read1()):
            answer += piece
        assert answer.index(b"\x02\x00") < answer.index(b"MAIN")
        client.terminate()
