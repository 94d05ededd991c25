"""Associations as an operator sees them: who is sending, who was refused and why, and their end."""

import json
import socket
import sqlite3
import ssl
import struct
from contextlib import closing
from typing import Any

import msgspec
import pytest
from harness import Adapter, eventually, pass_time
from health import MakeAdapter, unharmed
from tls_files import Files
from wire import (
    C_STORE,
    CONTEXTS,
    CT,
    DATA,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    Wire,
    associate_rq,
    context,
    data_set,
    echo_works,
    pdu,
    pdv,
    request,
)

ECHO_ONLY = (context(1, VERIFICATION, IMPLICIT),)
BY_PROVIDER = ("abort", 2, 0)
UNKNOWN_SOURCE = ("reject", 1, 1, 3)


@pytest.fixture(scope="module")
def adapter(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter()


def strict(make_adapter: MakeAdapter, **scp: object) -> Adapter:
    """Return an adapter that knows one source, elsewhere."""
    return make_adapter({
        "dicom": {"scp": {"reject_unknown_sources": True, **scp}},
        "sources": [{"ae_title": "FAR", "host": "192.0.2.7"}],
    })  # fmt: skip


def refused(adapter: Adapter) -> dict[str, dict[str, Any]]:
    """Return the rows of refused associations by their rule."""
    return {row["why"]["rule"]: row for row in adapter.get("/api/associations?state=rejected")}


def written(adapter: Adapter) -> list[dict[str, Any]]:
    """Return the rows of refused associations that the ledger has on the disk."""
    with closing(sqlite3.connect(adapter.root / "ledger" / "cache.db")) as ledger:
        rows = ledger.execute("SELECT value FROM Cache WHERE key LIKE 'rejection/%'").fetchall()
    return [msgspec.msgpack.decode(row) for (row,) in rows]


def delete(adapter: Adapter, association: str) -> int:
    status, _, _ = adapter.request("DELETE", f"/api/associations/{association}")
    return status


# --- refused ones


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_refused_ones_are_known_after_a_restart(make_adapter: MakeAdapter, killed: bool) -> None:
    adapter = strict(make_adapter)
    for _ in range(3):
        with Wire(adapter.dicom_port) as wire:
            wire.send(associate_rq(calling=b"NEAR"))
            assert wire.answer() == UNKNOWN_SOURCE
    (before,) = eventually(lambda: adapter.get("/api/associations?state=rejected"))
    assert before["count"] == 3
    if killed:
        eventually(lambda: [row["count"] for row in written(adapter)] == [3], what="it is written")
        adapter.kill()
    else:
        adapter.stop()
    adapter.start()
    (after,) = adapter.get("/api/associations?state=rejected")
    assert after == before
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(calling=b"NEAR"))
        assert wire.answer() == UNKNOWN_SOURCE
    (again,) = eventually(lambda: adapter.get("/api/associations?state=rejected"))
    assert (again["id"], again["count"]) == (before["id"], 4)
    status, _, _ = adapter.request("POST", f"/api/associations/{before['id']}/allow")
    assert status == 201
    assert echo_works(adapter.dicom_port, calling=b"NEAR")


def test_refused_caller_is_kept_with_the_rule_and_what_can_be_done(
    make_adapter: MakeAdapter,
) -> None:
    adapter = strict(make_adapter)
    for calling in (b"CT1", b"FAR"):
        with Wire(adapter.dicom_port) as wire:
            wire.send(associate_rq(calling=calling))
            assert wire.answer() == UNKNOWN_SOURCE
    rows = refused(adapter)
    unknown, elsewhere = rows["source-unknown"], rows["source-elsewhere"]
    assert (unknown["callingAeTitle"], unknown["aeTitle"]) == ("CT1", "MAIN")
    assert (unknown["peer"], unknown["state"], unknown["count"]) == ("127.0.0.1", "rejected", 1)
    why = unknown["why"]
    assert (why["result"], why["source"], why["reason"]) == (1, 1, 3)
    assert why["words"] == "calling AE Title is not among the sources"
    assert why["remedy"].endswith(f"dicom-adapter associations allow {unknown['id']}")
    assert "192.0.2.7" in elsewhere["why"]["detail"]
    assert unknown["mayBeAllowed"]
    assert elsewhere["mayBeAllowed"]
    assert adapter.get(f"/api/associations/{unknown['id']}")["why"] == why


def test_modality_that_tries_again_and_again_is_one_row(make_adapter: MakeAdapter) -> None:
    adapter = strict(make_adapter)
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(calling=b"RARE"))
        assert wire.answer() == UNKNOWN_SOURCE
    for _ in range(250):
        with Wire(adapter.dicom_port) as wire:
            wire.send(associate_rq(calling=b"OFTEN"))
            assert wire.answer() == UNKNOWN_SOURCE
    rare, often = adapter.get("/api/associations?state=rejected")
    assert (rare["callingAeTitle"], rare["count"]) == ("RARE", 1)
    assert (often["callingAeTitle"], often["count"]) == ("OFTEN", 250)
    assert adapter.get(f"/api/associations/{often['latestId']}")["id"] == often["id"]
    assert often["openedAt"] < often["changedAt"]


def test_what_is_no_request_is_kept_too(make_adapter: MakeAdapter) -> None:
    adapter = strict(make_adapter, artim_s=3)
    with Wire(adapter.dicom_port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.answer()
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq()[:40])  # and no more
        wire.answer()
    row = eventually(lambda: refused(adapter).get("no-request"))
    assert row["why"]["detail"] == "HTTP on a plain port"
    assert row["why"]["result"] is None
    assert (row["peer"], row["callingAeTitle"]) == ("127.0.0.1", "")
    silent = eventually(lambda: refused(adapter).get("artim"))
    assert silent["why"]["words"] == "no A-ASSOCIATE-RQ in time"


def test_failed_handshake_is_kept_with_its_reason(make_adapter: MakeAdapter, files: Files) -> None:
    adapter = make_adapter({"dicom": {"scp": {"tls": files.listener(mode="only")}}})
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", adapter.dicom_port), timeout=8) as plain:
        try:
            with nobody.wrap_socket(plain) as secure:
                secure.recv(1)
        except OSError:
            pass  # as it is told
    row = eventually(lambda: refused(adapter).get("tls"))
    assert row["why"]["detail"] == "TLS: the peer shows no certificate"
    assert "operation.md" in row["why"]["remedy"]


def test_one_over_the_limit_is_told_how_many_there_are(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"dicom": {"scp": {"max_associations": 1}}})
    with Wire(adapter.dicom_port) as first, Wire(adapter.dicom_port) as second:
        first.associate()
        second.send(associate_rq())
        assert second.answer() == ("reject", 2, 3, 2)
    why = refused(adapter)["limit"]["why"]
    assert (why["words"], why["detail"]) == ("dicom.scp.max_associations", "1 open, 1 allowed")
    assert (why["result"], why["source"], why["reason"]) == (2, 3, 2)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls") / "files")


# --- allowed ones


def allow(adapter: Adapter, association: str) -> tuple[int, Any]:
    status, _, body = adapter.request("POST", f"/api/associations/{association}/allow")
    return status, json.loads(body)


@pytest.mark.parametrize("calling", ["CT1", "FAR"])
def test_refused_caller_is_let_in_and_stays_so(make_adapter: MakeAdapter, calling: str) -> None:
    adapter = strict(make_adapter)
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(calling=calling.encode()))
        assert wire.answer() == UNKNOWN_SOURCE
    (row,) = adapter.get("/api/associations?state=rejected")
    status, source = allow(adapter, row["id"])
    assert status == 201
    assert (source["aeTitle"], source["host"]) == (calling, "127.0.0.1")
    assert adapter.get(f"/api/config/sourceaetitle/{source['name']}") == source
    assert echo_works(adapter.dicom_port, calling=calling.encode())
    again, same = allow(adapter, row["id"])
    assert (again, same["name"]) == (200, source["name"])
    adapter.stop()
    adapter.start()
    assert echo_works(adapter.dicom_port, calling=calling.encode())


def test_caller_that_no_source_would_help_is_not_allowed(make_adapter: MakeAdapter) -> None:
    adapter = strict(make_adapter)
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=b"NOBODY"))
        assert wire.answer() == ("reject", 1, 1, 7)
    (row,) = adapter.get("/api/associations?state=rejected")
    assert not row["mayBeAllowed"]
    status, problem = allow(adapter, row["id"])
    assert status == 409
    assert "called AE Title is not configured" in problem["detail"]
    assert allow(adapter, "a-none")[0] == 404


# --- open ones


def test_open_association_is_counted_while_it_sends(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate(calling=b"LIVE")
        (row,) = adapter.get("/api/associations?state=open&callingAeTitle=LIVE")
        assert (row["aeTitle"], row["stored"], row["why"]) == ("MAIN", 0, None)
        for number in range(5):
            uid = f"1.2.3.5.{number}"
            content = data_set(uid, tail=struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OB", 40000))
            assert wire.store(uid, content + bytes(40000)) == ("response", 0)

        def seen() -> dict[str, Any]:
            found: dict[str, Any] = adapter.get(f"/api/associations/{row['id']}")
            return found if found["stored"] == 5 and found["bytesPerS"] else {}

        now = eventually(seen)
        assert now["bytes"] > 5 * 40000
        assert 0 < now["bytesPerS"] <= now["bytes"]
        assert now["ageS"] > 0
        assert now["presentationContexts"] == [
            {"abstractSyntax": VERIFICATION, "transferSyntax": IMPLICIT},
            {"abstractSyntax": CT, "transferSyntax": EXPLICIT},
        ]
        wire.release()
    over = eventually(
        lambda: adapter.get("/api/associations?state=closed&callingAeTitle=LIVE")
    )[0]  # fmt: skip
    assert (over["state"], over["instances"], over["bytesPerS"]) == ("released", 5, None)
    assert over["why"]["rule"] == "released"
    assert adapter.get(f"/api/associations/{row['id']}")["presentationContexts"]


@pytest.mark.parametrize("contexts", [CONTEXTS, ECHO_ONLY], ids=["receiver", "main process"])
def test_operator_aborts_an_association(adapter: Adapter, contexts: tuple[bytes, ...]) -> None:
    with unharmed(adapter), Wire(adapter.dicom_port) as wire:
        wire.associate(contexts, calling=b"BUSY")
        (row,) = adapter.get("/api/associations?state=open&callingAeTitle=BUSY")
        assert delete(adapter, row["id"]) == 204
        assert wire.answer() == BY_PROVIDER
        ended = eventually(lambda: adapter.get(f"/api/associations/{row['id']}")["why"])
        assert ended == {
            "rule": "aborted", "words": "aborted by order of an operator", "detail": "",
            "result": None, "source": None, "reason": None, "remedy": "",
        }  # fmt: skip
        assert delete(adapter, row["id"]) == 409


def test_abort_in_the_middle_of_an_instance_leaves_what_was_acknowledged(
    adapter: Adapter,
) -> None:
    with unharmed(adapter), Wire(adapter.dicom_port) as wire:
        wire.associate(calling=b"HALF")
        whole = data_set("1.2.3.77", study="1.2.77")  # a group of others may still be open
        assert wire.store("1.2.3.77", whole) == ("response", 0)
        command = request(C_STORE, CT, b"1.2.3.78")
        half = pdv(3, 0, data_set("1.2.3.78"))
        wire.send(pdu(DATA, pdv(3, 3, command)), pdu(DATA, half))
        (row,) = adapter.get("/api/associations?state=open&callingAeTitle=HALF")
        assert delete(adapter, row["id"]) == 204
        assert wire.answer() == BY_PROVIDER
        assert adapter.get(f"/api/associations/{row['id']}")["instances"] == 1
        assert not list((adapter.root / "incoming" / ".part").iterdir())
    (job,) = eventually(lambda: [
        job for job in adapter.get("/api/jobs") if "HALF" in job["callingAeTitles"]
    ])  # fmt: skip
    assert job["instances"] == 1


def test_many_aborts_at_once_end_many_associations(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    wires = [Wire(adapter.dicom_port).associate() for _ in range(20)]
    rows = adapter.get("/api/associations?state=open")
    assert {delete(adapter, row["id"]) for row in rows} == {204}
    assert {wire.answer() for wire in wires} == {BY_PROVIDER}
    for wire in wires:
        wire.sock.close()
    assert adapter.associations() == 0


def test_unknown_association_cannot_be_aborted(adapter: Adapter) -> None:
    assert delete(adapter, "a-none") == 404


def test_foreign_page_aborts_nothing(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate(calling=b"SAFE")
        (row,) = adapter.get("/api/associations?state=open&callingAeTitle=SAFE")
        path = f"/api/associations/{row['id']}"
        status, _, _ = adapter.request("DELETE", path, {"Origin": "http://evil.example"})
        assert status == 403
        assert wire.echo() == ("response", 0)


# --- pages


def test_pages_of_associations_lead_to_each_other(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    for number in range(5):
        with Wire(adapter.dicom_port) as wire:
            wire.associate(ECHO_ONLY, calling=f"P{number}".encode())
            wire.release()
    eventually(lambda: len(adapter.get("/api/associations?state=closed")) == 5)
    path, seen = "/api/associations?state=closed&limit=2", []
    while path:
        status, headers, body = adapter.request("GET", path)
        assert status == 200
        names = {name.lower(): value for name, value in headers.items()}
        assert names["x-total-count"] == "5"
        seen += [row["callingAeTitle"] for row in json.loads(body)]
        path = names.get("link", "").partition('>; rel="next"')[0].removeprefix("<")
    assert seen == [f"P{number}" for number in range(5)]


def test_misspelt_filter_is_refused_and_named(adapter: Adapter) -> None:
    status, _, body = adapter.request("GET", "/api/associations?sate=open&x=1")
    assert status == 400
    assert "'sate' (did you mean state?)" in json.loads(body)["detail"]
    assert "'x'" in json.loads(body)["detail"]


def test_rate_of_an_association_that_falls_silent_goes_to_zero(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate(calling=b"QUIET")
        assert wire.store("1.2.3.99") == ("response", 0)
        (row,) = adapter.get("/api/associations?state=open&callingAeTitle=QUIET")
        path = f"/api/associations/{row['id']}"
        eventually(lambda: adapter.get(path)["bytesPerS"] > 0)
        pass_time(1)
        eventually(lambda: adapter.get(path)["bytesPerS"] == 0)
