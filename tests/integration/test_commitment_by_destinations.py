"""Destinations that commit what they were sent, on this association or another, in part, late,
twice, or never (F96): nothing is reclaimed before the destination has taken responsibility.
"""

from typing import Any

import pytest
from commitment_peers import CommittingDestination, report
from harness import Adapter, eventually
from health import MakeAdapter
from wire import C_ECHO, C_STORE, CT, IMPLICIT, NO_DATA, Wire, associate_rq, context, request

COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
COMMITMENT = "1.2.840.10008.1.20.1"
UIDS = ("1.2.3.1", "1.2.3.2", "1.2.3.3")


def committing(
    make_adapter: MakeAdapter, peer: CommittingDestination, **commitment: Any
) -> Adapter:
    """Start an adapter whose one destination is this peer; jobs go at once."""
    adapter = make_adapter({
        "dicom": {"scu": {
            "export": {"max_retries": 2, "retry_delay_s": 0.2},
            "commitment": {"wait_s": 20.0, "deadline_s": 60.0, "max_retries": 1, **commitment},
            "connect_s": 10, "acse_s": 10, "dimse_s": 20,
        }},
        "storage": {"retention": {"completed_s": 0}},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1,
            "pipelines": {"copy": "copy"}, "destinations": ["peer"],
        }],
        "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
        "destinations": [{
            "name": "peer", "ae_title": "PEER", "host": "127.0.0.1", "port": peer.port,
            "storage_commitment": True,
        }],
    })  # fmt: skip
    peer.adapter_port = adapter.dicom_port
    return adapter


def store(adapter: Adapter, *uids: str) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for uid in uids or UIDS:
            assert wire.store(uid) == ("response", 0)
        wire.release()


def reclaimed(adapter: Adapter, seconds: float = 15) -> None:
    """Wait until nothing holds anything any more."""

    def over() -> bool:
        held = adapter.groups_on_disk() or adapter.payload_folders()
        return not held and adapter.get("/api/jobs") == []

    eventually(over, seconds, "everything is reclaimed")


def export(adapter: Adapter, state: str, seconds: float = 15) -> dict[str, Any]:
    """Wait until the one export is in this state; return it with outcomes and transactions."""
    (row,) = eventually(lambda: adapter.get(f"/api/exports?state={state}"), seconds, state)
    found: dict[str, Any] = adapter.get(f"/api/exports/{row['id']}")
    return found


@pytest.mark.parametrize("where", ["here", "anew"])
def test_export_completes_when_all_is_committed(make_adapter: MakeAdapter, where: str) -> None:
    peer = CommittingDestination(where=lambda _: (where,))
    with peer.listening():
        adapter = committing(make_adapter, peer)
        store(adapter)
        reclaimed(adapter)
    assert peer.answers == [0x0000]
    assert sorted(peer.instances(0)) == sorted(UIDS)
    assert {item.ReferencedSOPClassUID for item in peer.asked[0].ReferencedSOPSequence} == {CT}
    assert len(peer.asked) == 1
    assert str(peer.asked[0].TransactionUID).startswith("2.25.")


def test_nothing_is_reclaimed_before_the_report(make_adapter: MakeAdapter) -> None:
    """F96: the original is kept for as long as nobody has taken responsibility."""
    peer = CommittingDestination(where=lambda _: ())
    with peer.listening():
        adapter = committing(make_adapter, peer, wait_s=0)
        store(adapter)
        row = export(adapter, "Committing")
        assert row["sent"] == 3
        assert row["committed"] == 0
        assert adapter.payload_folders()
        adapter.kill()  # and a kill forgets no transaction
        adapter.start()
        export(adapter, "Committing")
        assert adapter.payload_folders()
        assert len(peer.asked) == 1, "the same transaction is waited for"
        peer.adapter_port = adapter.dicom_port
        peer.report_anew(report(peer.asked[0], {}))
        reclaimed(adapter)
    assert peer.answers == [0x0000]


def test_instance_the_destination_does_not_have_is_sent_again(make_adapter: MakeAdapter) -> None:
    """0112 for one: it alone is sent again, and asked about in a new transaction."""
    peer = CommittingDestination(failures=lambda n: {UIDS[1]: 0x0112} if n == 0 else {})
    with peer.listening():
        adapter = committing(make_adapter, peer)
        store(adapter)
        reclaimed(adapter)
    assert peer.stored == [*sorted(peer.stored[:3]), UIDS[1]]
    assert peer.instances(1) == [UIDS[1]]
    assert peer.asked[0].TransactionUID != peer.asked[1].TransactionUID


@pytest.mark.parametrize("reason", [0x0119, 0x0122])
def test_instance_refused_for_good_is_held(make_adapter: MakeAdapter, reason: int) -> None:
    peer = CommittingDestination(failures=lambda _: {UIDS[1]: reason})
    with peer.listening():
        adapter = committing(make_adapter, peer)
        store(adapter)
        row = export(adapter, "Failed")
        assert len(peer.stored) == len(UIDS)
        assert adapter.payload_folders()
    outcomes = {o["sopInstanceUid"]: o for o in row["outcomes"]}
    assert outcomes[UIDS[1]]["status"] == reason
    assert outcomes[UIDS[1]]["permanent"]
    assert not outcomes[UIDS[1]]["delivered"]
    assert [outcomes[uid]["committed"] for uid in UIDS] == [True, False, True]
    assert (row["committed"], row["failed"]) == (2, 1)


def test_instance_that_is_never_committed_is_held_after_its_retries(
    make_adapter: MakeAdapter,
) -> None:
    peer = CommittingDestination(failures=lambda _: {UIDS[2]: 0x0110})
    with peer.listening():
        adapter = committing(make_adapter, peer)
        store(adapter)
        row = export(adapter, "Failed")
    assert peer.stored.count(UIDS[2]) == 3, "max_retries = 2"
    assert row["error"] == "not committed: 0x0110 processing failure"


def test_destination_that_never_reports_is_asked_anew_then_held(make_adapter: MakeAdapter) -> None:
    peer = CommittingDestination(where=lambda _: ())
    with peer.listening():
        adapter = committing(make_adapter, peer, wait_s=0.2, deadline_s=1.0)
        store(adapter)
        row = export(adapter, "Failed")
        assert adapter.payload_folders()
    assert len(peer.asked) == 2, "max_retries = 1"
    assert len({str(asked.TransactionUID) for asked in peer.asked}) == 2
    assert len(peer.stored) == len(UIDS), "what is delivered is not sent again"
    assert row["error"] == "no report within 1 s"
    assert [t["over"] for t in row["transactions"]] == [True, True]


def test_late_report_is_believed(make_adapter: MakeAdapter) -> None:
    """The first question is answered after the second was asked: committed is committed."""
    peer = CommittingDestination(where=lambda _: ())
    with peer.listening():
        adapter = committing(make_adapter, peer, wait_s=0, deadline_s=2.0, max_retries=5)
        store(adapter)
        eventually(lambda: len(peer.asked) >= 2, 15, "it is asked anew")
        peer.report_anew(report(peer.asked[0], {}))
        reclaimed(adapter)
    assert peer.answers == [0x0000]


def test_second_report_changes_nothing(make_adapter: MakeAdapter) -> None:
    peer = CommittingDestination(
        where=lambda _: ("anew", "anew"), failures=lambda n: {UIDS[0]: 0x0119} if n == 0 else {}
    )
    with peer.listening():
        adapter = committing(make_adapter, peer, wait_s=0)
        store(adapter)
        row = export(adapter, "Failed")
        eventually(lambda: len(peer.answers) == 2)
    assert peer.answers == [0x0000, 0x0000]
    assert (row["committed"], row["failed"]) == (2, 1)


def test_unknown_transaction_is_refused_and_changes_nothing(make_adapter: MakeAdapter) -> None:
    def another(said: Any) -> None:
        said.TransactionUID = "2.25.1"

    peer = CommittingDestination(where=lambda n: ("anew",), change=another)
    with peer.listening():
        adapter = committing(make_adapter, peer, wait_s=0, deadline_s=1.0, max_retries=0)
        store(adapter)
        row = export(adapter, "Failed")
    assert peer.answers == [0x0115]
    assert row["committed"] == 0


@pytest.mark.parametrize("case", ["refused", "not_offered"])
def test_destination_that_does_not_commit_holds_the_export(
    make_adapter: MakeAdapter, case: str
) -> None:
    peer = CommittingDestination(
        status=lambda _: 0x0110, offers_commitment=case == "refused", where=lambda _: ()
    )
    with peer.listening():
        adapter = committing(make_adapter, peer)
        store(adapter)
        row = export(adapter, "Failed")
        assert adapter.payload_folders()
    assert row["sent"] == len(UIDS)
    wanted = {"refused": "storage commitment refused: 0x0110", "not_offered": "was not accepted"}
    assert wanted[case] in row["error"]


def test_many_instances_take_several_transactions(make_adapter: MakeAdapter) -> None:
    peer = CommittingDestination(asked_first=2)
    with peer.listening():
        adapter = committing(make_adapter, peer, max_instances=2)
        store(adapter)
        reclaimed(adapter)
    assert [len(peer.instances(n)) for n in range(len(peer.asked))] == [2, 1]


def test_own_ae_title_takes_reports_of_destinations_only(make_adapter: MakeAdapter) -> None:
    """Called as ADAPTER: no storage for anybody, nothing at all for strangers."""
    peer = CommittingDestination(where=lambda _: ())
    with peer.listening():
        adapter = committing(make_adapter, peer)
        with Wire(adapter.dicom_port) as wire:
            wire.send(associate_rq(called=b"ADAPTER", calling=b"STRANGER"))
            assert wire.answer() == ("reject", 1, 1, 3)
        with Wire(adapter.dicom_port) as wire:
            wire.associate(called=b"ADAPTER", calling=b"PEER")
            assert wire.echo() == ("response", 0)
            wire.message(3, request(C_STORE, CT, b"1.2.3.4"), b"")
            assert wire.answer()[0] == "abort", "the storage context was not accepted"
        with Wire(adapter.dicom_port) as wire:
            wire.associate((context(1, COMMITMENT, IMPLICIT),), called=b"MAIN", calling=b"PEER")
            wire.message(1, request(C_ECHO, COMMITMENT, data=NO_DATA))
            assert wire.answer()[0] == "abort", "neither was storage commitment by MAIN"
