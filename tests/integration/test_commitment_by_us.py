"""Senders that ask the adapter to commit (PS3.4 J, as SCP): what it says is what it holds, and what
it cannot say now it says later, also after a kill.
"""

import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from dicom_peers import free_port, serving
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)
from wire import (
    CT,
    DATA,
    EXPLICIT,
    IMPLICIT,
    NO_DATA,
    RELEASE_RQ,
    Wire,
    command,
    context,
    element,
    parse_command,
    pdu,
    pdv,
)

UIDS = ("1.2.3.1", "1.2.3.2", "1.2.3.3")
MR = "1.2.840.10008.5.1.4.1.1.4"
COMMITMENT, INSTANCE = "1.2.840.10008.1.20.1", b"1.2.840.10008.1.20.1.1"
CONTEXTS = (context(1, COMMITMENT, IMPLICIT), context(3, CT, EXPLICIT))
N_ACTION = 0x0130
REPORT_S = 60.0
"""For a report to come, on a machine on which much else runs."""
Asked = Sequence[tuple[str, str]]


@dataclass
class Modality:
    """A pynetdicom sender that stores elsewhere, asks, and takes reports on either association."""

    port: int = 0
    heard: list[tuple[str, int, Dataset]] = field(default_factory=list)
    """(here or anew, Event Type ID, Event Information) of each report."""
    arrived: threading.Event = field(default_factory=threading.Event)
    statuses: list[int] = field(default_factory=list)
    """What to answer to reports, in order; then success."""

    def _report(self, event: Any, where: str) -> tuple[int, None]:
        self.heard.append((where, event.event_type, event.event_information))
        self.arrived.set()
        return (self.statuses.pop(0) if self.statuses else 0x0000), None

    @contextmanager
    def listening(self, port: int = 0) -> Any:
        """Take reports on associations of the adapter until the block ends."""
        ae = AE("MODALITY")
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        ae.add_supported_context(Verification)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._report, ["anew"])]
        with serving(ae, handlers, port) as self.port:
            yield self

    def ask(self, adapter: Adapter, transaction: str, asked: Asked, *, stay_s: float = 0) -> int:
        """Ask by N-ACTION, stay so long for the report, release; return the status."""
        ae = AE("MODALITY")
        ae.add_requested_context(StorageCommitmentPushModel)
        association = ae.associate(
            "127.0.0.1", adapter.dicom_port, ae_title="MAIN",
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._report, ["here"])],
        )  # fmt: skip
        assert association.is_established
        wanted = Dataset()
        wanted.TransactionUID = transaction
        wanted.ReferencedSOPSequence = []
        for sop_class, instance in asked:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            wanted.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(
            wanted, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        if stay_s:
            self.arrived.wait(stay_s)
        association.release()
        return int(status.Status)

    def report(self) -> tuple[str, list[str], dict[str, int]]:
        """Return where the first report came, what is committed, and why the rest is not."""
        assert self.arrived.wait(REPORT_S), "no report"
        where, event_type, said = self.heard[0]
        failed = {
            str(item.ReferencedSOPInstanceUID): item.FailureReason
            for item in said.get("FailedSOPSequence", [])
        }
        assert event_type == (2 if failed else 1)
        kept = [str(i.ReferencedSOPInstanceUID) for i in said.get("ReferencedSOPSequence", [])]
        return where, kept, failed


def holding(make_adapter: MakeAdapter, modality: Modality, timeout_s: float = 1) -> Adapter:
    """Start an adapter that answers for what it holds; its jobs wait for a platform for ever."""
    return make_adapter({
        "dicom": {"scp": {"commitment": {"retry_delay_s": 0.5}}, "scu": {"connect_s": 1}},
        "storage": {"durability": "fsync"},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": timeout_s,
            "pipelines": {"one": "pipe-one"}, "storage_commitment": "held",
        }],
        "destinations": [{
            "name": "modality", "ae_title": "MODALITY", "host": "127.0.0.1",
            "port": modality.port or free_port(),
        }],
    })  # fmt: skip


def store(adapter: Adapter, *uids: str) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for uid in uids or UIDS:
            assert wire.store(uid) == ("response", 0)
        wire.release()


def ask_and_leave(adapter: Adapter, transaction: str, *uids: str) -> int:
    """Ask by hand, and for the release with the same packet; return the status.

    Whoever is slow to leave may be told on this association.
    """
    items = [reference(CT.encode(), uid.encode()) for uid in uids]
    asked = information(*items, transaction=transaction.encode())
    with Wire(adapter.dicom_port) as wire:
        wire.associate(CONTEXTS, calling=b"MODALITY")
        wire.send(
            pdu(DATA, pdv(1, 3, action())), pdu(DATA, pdv(1, 2, asked)), pdu(RELEASE_RQ, bytes(4))
        )
        kind, status = wire.answer()
        assert kind == "response"
        assert wire.answer() == ("released",)
    return int(status)


@pytest.mark.parametrize("stays", [False, True])
def test_what_is_held_is_committed(make_adapter: MakeAdapter, stays: bool) -> None:
    """On the association of the request if the sender stays, else on another."""
    modality = Modality()
    with modality.listening():
        adapter = holding(make_adapter, modality)
        store(adapter)
        if stays:
            asked = [(CT, uid) for uid in UIDS]
            status = modality.ask(adapter, "2.25.7", asked, stay_s=REPORT_S)
        else:
            status = ask_and_leave(adapter, "2.25.7", *UIDS)
        assert status == 0x0000
        where, kept, failed = modality.report()
        eventually(lambda: adapter.get("/api/commitments") == [])
    assert where == ("here" if stays else "anew")
    assert (kept, failed) == (list(UIDS), {})
    assert str(modality.heard[0][2].TransactionUID) == "2.25.7"
    assert len(modality.heard) == 1


@pytest.mark.parametrize("place", ["incoming", "payloads"])
def test_what_is_not_held_is_not_committed(make_adapter: MakeAdapter, place: str) -> None:
    """0112 for what is not there, 0119 for another SOP class; wherever the rest lies."""
    modality = Modality()
    with modality.listening():
        adapter = holding(make_adapter, modality, timeout_s=600 if place == "incoming" else 1)
        store(adapter)
        eventually(lambda: len(list(adapter.instances(place))) == 3)
        asked = [(CT, UIDS[0]), (CT, "1.2.3.99"), (MR, UIDS[1])]
        assert modality.ask(adapter, "2.25.7", asked) == 0x0000
        _, kept, failed = modality.report()
    assert (kept, failed) == ([UIDS[0]], {"1.2.3.99": 0x0112, UIDS[1]: 0x0119})


def test_report_survives_a_kill_and_an_absent_sender(make_adapter: MakeAdapter) -> None:
    port = free_port()
    modality = Modality(port=port)
    adapter = holding(make_adapter, modality)
    store(adapter)
    assert ask_and_leave(adapter, "2.25.7", UIDS[0]) == 0x0000
    eventually(lambda: adapter.get("/api/commitments")[0]["tries"] >= 1, 10)
    adapter.kill()
    adapter.start()
    with modality.listening(port):
        _, kept, failed = modality.report()
        eventually(lambda: adapter.get("/api/commitments") == [])
    assert (kept, failed) == ([UIDS[0]], {})


def test_report_that_could_not_be_taken_is_made_again(make_adapter: MakeAdapter) -> None:
    modality = Modality(statuses=[0x0110])
    with modality.listening():
        adapter = holding(make_adapter, modality)
        store(adapter)
        assert modality.ask(adapter, "2.25.7", [(CT, UIDS[0])]) == 0x0000
        eventually(lambda: len(modality.heard) == 2, 15)
        eventually(lambda: adapter.get("/api/commitments") == [])


def test_transaction_uid_in_use_is_refused(make_adapter: MakeAdapter) -> None:
    adapter = holding(make_adapter, Modality())
    store(adapter)
    assert ask_and_leave(adapter, "2.25.7", UIDS[0]) == 0x0000
    assert ask_and_leave(adapter, "2.25.7", UIDS[1]) == 0x0131
    assert ask_and_leave(adapter, "2.25.8", UIDS[1]) == 0x0000


def test_it_is_not_offered_unless_configured(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    ae = AE("MODALITY")
    ae.add_requested_context(StorageCommitmentPushModel)
    association = ae.associate("127.0.0.1", adapter.dicom_port, ae_title="MAIN")
    assert [context.result for context in association.rejected_contexts] == [3]
    association.abort()


def action(data: int = 1, *, kind: bytes = b"\1\0", instance: bytes = INSTANCE) -> bytes:
    return command({
        0x0003: COMMITMENT.encode(), 0x0100: N_ACTION.to_bytes(2, "little"), 0x0110: b"\1\0",
        0x0800: data.to_bytes(2, "little"), 0x1001: instance, 0x1008: kind,
    })  # fmt: skip


def reference(sop_class: bytes, instance: bytes) -> bytes:
    inner = element(0x00081150, sop_class) + element(0x00081155, instance)
    return element(0xFFFEE000, inner)


def information(*items: bytes, transaction: bytes = b"2.25.9") -> bytes:
    return element(0x00081195, transaction) + element(0x00081199, b"".join(items))


ONE = reference(CT.encode(), b"1.2.3.1")
HOSTILE = {
    "no_data_set": (action(NO_DATA), None, 0x0120),
    "empty_data_set": (action(), b"", 0x0120),
    "no_transaction": (action(), element(0x00081199, ONE), 0x0120),
    "transaction_is_no_uid": (action(), information(ONE, transaction=b"../../x"), 0x0115),
    "no_reference": (action(), element(0x00081195, b"2.25.9"), 0x0120),
    "reference_without_class": (
        action(), information(element(0xFFFEE000, element(0x00081155, b"1.2"))), 0x0120,
    ),
    "instance_is_no_uid": (action(), information(reference(CT.encode(), b"..")), 0x0115),
    "noise": (action(), b"\xff" * 3000, 0x0120),
    "nested_4000_deep": (
        action(),
        bytes.fromhex("08009911ffffffff feff00e0ffffffff") * 4000,
        0x0110,
    ),
    "too_long": (action(), information(*[ONE] * 20_000), 0x0213),
    "another_action": (action(kind=b"\2\0"), information(ONE), 0x0123),
    "another_instance": (action(instance=b"1.2.3"), information(ONE), 0x0112),
}  # fmt: skip


def test_malformed_requests_are_told_what_is_wrong(make_adapter: MakeAdapter) -> None:
    """On one association, which goes on."""
    adapter = holding(make_adapter, Modality())
    with unharmed(adapter), Wire(adapter.dicom_port) as wire:
        wire.associate(CONTEXTS)
        got = {}
        for name, (asked, data, _) in HOSTILE.items():
            wire.message(1, asked, data)
            got[name] = wire.answer()
        assert wire.store("1.2.3.4") == ("response", 0)
        assert wire.release() == ("released",)
    assert got == {name: ("response", status) for name, (_, _, status) in HOSTILE.items()}


def test_requestor_that_leaves_instead_of_answering_gets_the_report_again(
    make_adapter: MakeAdapter,
) -> None:
    modality = Modality()
    with modality.listening():
        adapter = holding(make_adapter, modality)
        store(adapter)
        with Wire(adapter.dicom_port) as wire:
            wire.associate(CONTEXTS, calling=b"MODALITY")
            wire.message(1, action(), information(ONE))
            assert wire.answer() == ("response", 0)
            kind, body = wire.read_pdu() or (0, b"")
            assert (kind, parse_command(body[6:])[0x0100]) == (4, b"\x00\x01"), "N-EVENT-REPORT-RQ"
        where, kept, _ = modality.report()
    assert (where, kept) == ("anew", ["1.2.3.1"])
