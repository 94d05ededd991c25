"""Destinations that refuse, lie, or are not there: "delivered" means answered 0x0000 for this
instance, and nothing is given up that could still arrive (F86-F95).
"""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from dicom_peers import LyingDestination, ScriptedDestination, free_port
from harness import Adapter, eventually
from health import MakeAdapter
from wire import C_STORE, CT, EXPLICIT, IMPLICIT, Wire, context, data_set, element, request

COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
UIDS = ("1.2.3.1", "1.2.3.2", "1.2.3.3")


def exporting(
    make_adapter: MakeAdapter,
    port: int,
    *,
    max_retries: int = 1,
    retry_delay_s: float = 0.2,
    deadline_s: float = 10,
    **more: Any,
) -> Adapter:
    """Start an adapter that exports what it receives to a destination on this port."""
    return make_adapter({
        "dicom": {"scu": {
            "export": {"max_retries": max_retries, "retry_delay_s": retry_delay_s},
            "connect_s": 2, "acse_s": 10, "dimse_s": 120,
        }},
        "shutdown": {"association_grace_s": 1, "deadline_s": deadline_s},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1,
            "pipelines": {"copy": "copy"}, "destinations": ["peer", *more],
        }],
        "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
        "destinations": [
            {"name": name, "ae_title": "PEER", "host": "127.0.0.1", "port": at}
            for name, at in {"peer": port, **more}.items()
        ],
    })  # fmt: skip


def store(adapter: Adapter, uids: Sequence[str] = UIDS, called: bytes = b"MAIN") -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=called)
        for uid in uids:
            assert wire.store(uid) == ("response", 0)
        wire.release()


def ended(adapter: Adapter, state: str, seconds: float = 15) -> dict[str, Any]:
    """Wait until the one export is in this state; return it with its outcomes."""
    (row,) = eventually(lambda: adapter.get(f"/api/exports?state={state}"), seconds, state)
    found: dict[str, Any] = adapter.get(f"/api/exports/{row['id']}")
    return found


LIES = {
    "wrong_message_id": lambda message_id, uid: (message_id + 1, uid),
    "wrong_instance": lambda message_id, uid: (message_id, b"1.2.99"),
    "closes_instead": lambda message_id, uid: None,
}


@pytest.mark.parametrize("case", LIES)
def test_answer_for_something_else_is_no_delivery(make_adapter: MakeAdapter, case: str) -> None:
    """F89, F93."""
    with LyingDestination(LIES[case]) as peer:
        adapter = exporting(make_adapter, peer.port)
        store(adapter)
        eventually(lambda: peer.stores >= 2, 15, "it is tried again")
        (row,) = adapter.get("/api/exports")
        export = adapter.get(f"/api/exports/{row['id']}")
    assert export["sent"] == 0
    assert not any(outcome["delivered"] for outcome in export["outcomes"])
    assert adapter.get("/api/exports?state=Completed") == []
    assert any(outcome["error"] for outcome in export["outcomes"])


def test_lie_about_one_instance_delivers_the_others(make_adapter: MakeAdapter) -> None:
    """One wrong answer ends that association; the rest goes on the next one."""
    lied: list[bytes] = []

    def lie_once(message_id: int, uid: bytes) -> tuple[int, bytes]:
        if not lied:
            lied.append(uid)
            return message_id + 7, uid
        return message_id, uid

    with LyingDestination(lie_once) as peer:
        adapter = exporting(make_adapter, peer.port, max_retries=5)
        store(adapter)
        export = ended(adapter, "Completed")
    assert export["sent"] == len(UIDS)
    assert peer.stores == len(UIDS) + 1, "only what was not answered for is sent again"


def test_refused_transfer_syntax_names_what_is_offered(make_adapter: MakeAdapter) -> None:
    """F94: an error per instance, no conversion, no loop."""
    peer = ScriptedDestination({CT: [IMPLICIT]})
    with peer.listening():
        adapter = exporting(make_adapter, peer.port)
        store(adapter)
        export = ended(adapter, "Failed")
    assert export["failed"] == len(UIDS)
    assert peer.received == []
    for outcome in export["outcomes"]:
        assert EXPLICIT in outcome["error"]
        assert outcome["error"].endswith(f"for this SOP class the destination takes {IMPLICIT}")
        assert outcome["permanent"]
        assert outcome["attempts"] == 1


def test_mixed_syntaxes_deliver_what_is_accepted(make_adapter: MakeAdapter) -> None:
    """The error of a refused syntax says which one the destination takes."""
    peer = ScriptedDestination({CT: [IMPLICIT]})
    with peer.listening():
        adapter = exporting(make_adapter, peer.port)
        implicit = b"".join(
            element(tag, value)
            for tag, value in (
                (0x00080016, CT.encode()), (0x00080018, b"1.2.3.9"), (0x0020000D, b"1.2.3"),
                (0x0020000E, b"1.2.3.1"),
            )
        )  # fmt: skip
        with Wire(adapter.dicom_port) as wire:
            wire.associate((context(1, CT, IMPLICIT), context(3, CT, EXPLICIT)))
            wire.message(1, request(C_STORE, CT, b"1.2.3.9"), implicit)
            assert wire.answer() == ("response", 0)
            assert wire.store("1.2.3.1") == ("response", 0)
        export = ended(adapter, "Failed")
    assert [received.sop_instance_uid for received in peer.received] == ["1.2.3.9"]
    assert peer.received[0].data == implicit
    assert (export["sent"], export["failed"]) == (1, 1)
    (error,) = [outcome["error"] for outcome in export["outcomes"] if outcome["error"]]
    assert EXPLICIT in error
    assert IMPLICIT in error.replace(EXPLICIT, "")


def test_destination_that_comes_back_gets_everything(make_adapter: MakeAdapter) -> None:
    """F86: an outage costs no retry, however long it lasts."""
    port = free_port()
    adapter = exporting(make_adapter, port, max_retries=0)
    store(adapter)
    eventually(lambda: _outages(adapter) >= 1, 10, "it has been tried")
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening(port):
        export = ended(adapter, "Completed", 20)
    assert sorted(received.sop_instance_uid for received in peer.received) == sorted(UIDS)
    assert {received.data for received in peer.received} == {data_set(uid) for uid in UIDS}
    assert export["sent"] == len(UIDS)


def test_echo_of_a_destination_that_is_back_has_sent_what_waits(make_adapter: MakeAdapter) -> None:
    port = free_port()
    adapter = exporting(make_adapter, port, retry_delay_s=3600)
    store(adapter)
    eventually(lambda: _outages(adapter) >= 1, 10, "it has been tried")
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening(port):
        status, _, _ = adapter.request("POST", "/api/config/destinationaetitle/peer/echo")
        assert status == 200
        assert ended(adapter, "Completed")["sent"] == len(UIDS)


def _outages(adapter: Adapter) -> int:
    return sum(bool(export["error"]) for export in adapter.get("/api/exports"))


def test_outage_survives_a_kill(make_adapter: MakeAdapter) -> None:
    port = free_port()
    adapter = exporting(make_adapter, port, max_retries=0)
    store(adapter)
    eventually(lambda: _outages(adapter) >= 1, 10)
    adapter.kill()
    adapter.start()
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening(port):
        ended(adapter, "Completed", 20)
    assert sorted(received.sop_instance_uid for received in peer.received) == sorted(UIDS)


def test_busy_destination_is_asked_again_for_what_it_refused(make_adapter: MakeAdapter) -> None:
    """F90: A700 twice, then success; what was taken is not sent again."""
    refusals = {UIDS[1]: 2}

    def status(received: Any) -> int:
        left = refusals.get(received.sop_instance_uid, 0)
        refusals[received.sop_instance_uid] = left - 1
        return 0xA700 if left > 0 else 0x0000

    peer = ScriptedDestination({CT: [EXPLICIT]}, status=status)
    with peer.listening():
        adapter = exporting(make_adapter, peer.port, max_retries=5)
        store(adapter)
        export = ended(adapter, "Completed")
    assert sorted(received.sop_instance_uid for received in peer.received) == sorted(UIDS)
    attempts = {o["sopInstanceUid"]: o["attempts"] for o in export["outcomes"]}
    assert attempts == {UIDS[0]: 1, UIDS[1]: 3, UIDS[2]: 1}


@pytest.mark.parametrize("refusal", [0xA900, 0xC000, 0x0122])
def test_refused_for_good_is_held_and_the_rest_delivered(
    make_adapter: MakeAdapter, refusal: int
) -> None:
    """F91."""
    peer = ScriptedDestination(
        {CT: [EXPLICIT]},
        status=lambda received: refusal if received.sop_instance_uid == UIDS[1] else 0,
    )
    with peer.listening():
        adapter = exporting(make_adapter, peer.port, max_retries=3)
        store(adapter)
        export = ended(adapter, "Failed")
    assert (export["sent"], export["failed"]) == (2, 1)
    held = {o["sopInstanceUid"]: o["attempts"] for o in export["outcomes"] if not o["delivered"]}
    assert held == {UIDS[1]: 1}


def test_warning_status_is_a_delivery(make_adapter: MakeAdapter) -> None:
    """F92."""
    peer = ScriptedDestination({CT: [EXPLICIT]}, status=lambda _: 0xB000)
    with peer.listening():
        adapter = exporting(make_adapter, peer.port)
        store(adapter)
        export = ended(adapter, "Completed")
    assert {outcome["status"] for outcome in export["outcomes"]} == {0xB000}


def test_one_destination_that_is_down_delays_no_other(make_adapter: MakeAdapter) -> None:
    """F97."""
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening():
        adapter = exporting(make_adapter, peer.port, down=free_port())
        store(adapter)
        eventually(lambda: len(peer.received) == len(UIDS), 10)
        states = {row["destination"]: row["state"] for row in adapter.get("/api/exports")}
    assert states["down"] != "Completed"


def test_destination_that_never_answers_does_not_hold_a_stop(make_adapter: MakeAdapter) -> None:
    """F88: the drain is cut at its deadline, not when the peer or its timer feels like it."""
    asked, leave = threading.Event(), threading.Event()

    def never(message_id: int, uid: bytes) -> None:
        asked.set()
        leave.wait(100)

    with LyingDestination(never) as peer:
        adapter = exporting(make_adapter, peer.port, deadline_s=3)
        store(adapter)
        assert asked.wait(60)
        adapter.terminate()
        try:
            assert adapter.wait(60) == 1, "a cut drain is told by the exit code"
        finally:
            leave.set()
    assert adapter.payload_folders(), "what was not delivered is kept"
