"""Peers that get A-ASSOCIATE wrong, or try to harm (F01-F23): the Standard's answer, and life
goes on.
"""

from collections.abc import Iterator

import pytest
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from wire import (
    ABORT,
    AC,
    CONTEXTS,
    CT,
    DATA,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    RQ,
    VERIFICATION,
    Wire,
    associate_rq,
    context,
    echo_works,
    item,
    pdu,
    pdv,
)

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)
BY_USER, BY_PROVIDER = 0, 2
CALLED_UNKNOWN, CALLING_UNKNOWN = ("reject", 1, 1, 7), ("reject", 1, 1, 3)


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter({"dicom": {"scp": {"artim_s": 5}}})


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    """The adapter; after the case it lives and answers a C-ECHO."""
    with unharmed(shared):
        yield shared


def answer_to(adapter: Adapter, data: bytes, *, end: bool = False) -> tuple[object, ...]:
    with Wire(adapter.dicom_port) as wire:
        wire.send(data)
        if end:
            wire.end()
        return wire.answer()


FIRST_WORDS = {
    "http_request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls_hello": TLS_HELLO,
    "noise": bytes(range(255, 0, -1)),
    "pdata_first": pdu(DATA, pdv(1, 3, bytes(10))),
    "release_first": pdu(RELEASE_RQ, bytes(4)),
    "release_response_first": pdu(RELEASE_RP, bytes(4)),
    "accept_first": pdu(AC, associate_rq()[6:]),
    "reject_first": pdu(RJ, bytes(4)),
    "unknown_pdu_first": pdu(0x42, bytes(4)),
}


@pytest.mark.parametrize("case", FIRST_WORDS)
def test_anything_but_a_request_first_is_aborted(adapter: Adapter, case: str) -> None:
    """Sta2: AA-1 (PS3.8 Table 9-10)."""
    assert answer_to(adapter, FIRST_WORDS[case]) == ("abort", BY_USER, 0)


def test_abort_first_is_closed(adapter: Adapter) -> None:
    assert answer_to(adapter, pdu(ABORT, bytes(4))) == ("closed",)


@pytest.mark.parametrize("length", [0, 1, 67, 0x00200000, 0xFFFFFFFF])
def test_request_with_a_wrong_length_is_refused_without_delay(
    adapter: Adapter, length: int
) -> None:
    """F09: judged from the header; nothing is allocated, nothing is waited for."""
    before = adapter.memory_kb("VmRSS")
    answer = answer_to(adapter, pdu(RQ, bytes(min(length, 67)), length))
    assert answer[0] in ("abort", "reject")
    assert adapter.memory_kb("VmRSS") - before < 20_000


def test_request_truncated_anywhere_is_closed(adapter: Adapter) -> None:
    whole = associate_rq()
    for length in range(0, len(whole), 7):
        answer = answer_to(adapter, whole[:length], end=True)
        assert answer in (("closed",), ("abort", BY_USER, 0)), length


def test_items_that_lie_about_their_length_are_refused(adapter: Adapter) -> None:
    whole = bytearray(associate_rq())
    for position in range(74, len(whole) - 4, 5):
        lying = bytes(whole[:position]) + b"\xff\xff" + bytes(whole[position + 2 :])
        assert answer_to(adapter, lying)[0] in ("abort", "reject", "accept", "closed"), position


MALFORMED = {
    "zero_contexts": associate_rq(()),
    "even_context_id": associate_rq((context(2, VERIFICATION, IMPLICIT),)),
    "context_id_zero": associate_rq((context(0, VERIFICATION, IMPLICIT),)),
    "duplicate_ids": associate_rq((context(1, VERIFICATION, IMPLICIT), context(1, CT, EXPLICIT))),
    "129_contexts": associate_rq(tuple(context(n % 256, CT, EXPLICIT) for n in range(1, 259, 2))),
    "no_abstract_syntax": associate_rq((item(0x20, bytes((1, 0, 0, 0)) + item(0x40, b"1.2")),)),
    "abstract_syntax_no_uid": associate_rq((context(1, "../../x", IMPLICIT),)),
    "abstract_syntax_non_ascii": associate_rq(
        (item(0x20, bytes((1, 0, 0, 0)) + item(0x30, b"\xff\xfe") + item(0x40, b"1.2")),)
    ),
    "maximum_length_1": associate_rq(max_length=1),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_request_is_refused_aloud(adapter: Adapter, case: str) -> None:
    """F13, F14, F18, F20: R 1/1/1 or A 2/x; never silence, never acceptance."""
    answer = answer_to(adapter, MALFORMED[case])
    assert answer[0] in ("abort", "reject")
    assert answer[1] == (BY_PROVIDER if answer[0] == "abort" else 1)


REJECTED = {
    "application_context": (associate_rq(application_context=b"1.2.3"), ("reject", 1, 1, 2)),
    "version_0": (associate_rq(version=0), ("reject", 1, 2, 2)),
    "version_2": (associate_rq(version=2), ("reject", 1, 2, 2)),
    "called_unknown": (associate_rq(called=b"NOBODY"), CALLED_UNKNOWN),
    "called_blank": (associate_rq(called=b""), CALLED_UNKNOWN),
    "called_newline": (associate_rq(called=b"MA\r\nIN"), CALLED_UNKNOWN),
    "called_nul": (associate_rq(called=b"MAIN".ljust(16, b"\0")), CALLED_UNKNOWN),
    "called_path": (associate_rq(called=b"../../etc"), CALLED_UNKNOWN),
    "calling_escape": (associate_rq(calling=b"\x1b[31mred"), CALLING_UNKNOWN),
    "calling_backslash": (associate_rq(calling=b"A\\B"), CALLING_UNKNOWN),
    "calling_blank": (associate_rq(calling=b""), CALLING_UNKNOWN),
    "calling_non_ascii": (associate_rq(calling=b"\xff\xfe\xfd"), CALLING_UNKNOWN),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejection_names_its_reason(adapter: Adapter, case: str) -> None:
    """PS3.8 9.3.4."""
    sent, expected = REJECTED[case]
    assert answer_to(adapter, sent) == expected


ACCEPTED = {
    "version_3": associate_rq(version=3),  # only bit 0 is tested (PS3.8 9.3.2)
    "unknown_user_items": associate_rq(user=item(0x99, b"abc") + item(0xEE, b"")),
    "user_identity": associate_rq(user=item(0x58, b"\x01\x00\x00\x04name\x00\x00")),
    "titles_in_spaces": associate_rq(called=b"  MAIN", calling=b" X"),
    "context_without_syntaxes_beside_a_good_one": associate_rq((*CONTEXTS, context(5, CT))),
    "unlimited_length": associate_rq(max_length=0),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_harmless_oddities_are_accepted(adapter: Adapter, case: str) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.send(ACCEPTED[case])
        assert wire.answer() == ("accept",)
        assert wire.echo() == ("response", 0)
        assert wire.release() == ("released",)


def test_context_without_syntaxes_is_never_served(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq((context(1, CT),)))
        head = wire.read_pdu()
        assert head is not None
        kind, body = head
        refused = kind == AC and body[68:].find(b"\x21\x00") >= 0 and body[-1:] is not None
        assert kind in (RJ, ABORT) or refused


@pytest.mark.parametrize("identity", [b"", b"\x02\x01\xff\xff", b"\x63\x01" + bytes(60_000)])
def test_hostile_user_identity_is_never_met_with_silence(adapter: Adapter, identity: bytes) -> None:
    """F19: R 1/1/1, A 2/x, or ignored."""
    answer = answer_to(adapter, associate_rq(user=item(0x58, identity)))
    assert answer[0] in ("accept", "reject", "abort")


def test_peer_text_never_reaches_the_log_raw(adapter: Adapter) -> None:
    """F16: every line stays one JSON object, whatever a peer sends."""
    answer_to(adapter, associate_rq((context(1, "../../x", IMPLICIT),)))
    answer_to(adapter, associate_rq(called=b'"}\n{"event":"x'))
    assert [line for line in adapter.log if not line.startswith("{")] == []


def test_fifty_probes_that_leave_at_once_cost_nothing(adapter: Adapter) -> None:
    for _ in range(50):
        Wire(adapter.dicom_port).sock.close()


def test_unknown_services_are_refused_one_by_one(adapter: Adapter) -> None:
    """F54: a context of another service is refused, the others are served."""
    worklist = "1.2.840.10008.5.1.4.31"
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq((*CONTEXTS, context(5, worklist, IMPLICIT))))
        reply = wire.read_pdu()
        assert reply is not None
        assert _results(reply[1]) == {1: 0, 3: 0, 5: 3}
        assert wire.release() == ("released",)


def _results(body: bytes) -> dict[int, int]:
    """Return the result of each context of an A-ASSOCIATE-AC."""
    found, position = {}, 68
    while position < len(body):
        if body[position] == 0x21:
            found[body[position + 4]] = body[position + 6]
        position += 4 + int.from_bytes(body[position + 2 : position + 4], "big")
    return found


def policies(make_adapter: MakeAdapter, **scp: object) -> Adapter:
    return make_adapter({"dicom": {"scp": scp}})


def test_unknown_sources_are_rejected(make_adapter: MakeAdapter) -> None:
    """F23: calling AE Title and address are checked together."""
    adapter = make_adapter({
        "dicom": {"scp": {"reject_unknown_sources": True}},
        "sources": [{"ae_title": "TEST", "host": "127.0.0.2"}],
    })  # fmt: skip
    assert answer_to(adapter, associate_rq(calling=b"OTHER")) == CALLING_UNKNOWN
    assert answer_to(adapter, associate_rq()) == CALLING_UNKNOWN, "right title, wrong address"
    with Wire(adapter.dicom_port, "127.0.0.2") as wire:
        wire.associate()


def test_associations_beyond_the_limit_are_told_to_come_back(make_adapter: MakeAdapter) -> None:
    adapter = policies(make_adapter, max_associations=2)
    with Wire(adapter.dicom_port) as first, Wire(adapter.dicom_port) as second:
        first.associate()
        second.associate()
        assert answer_to(adapter, associate_rq()) == ("reject", 2, 3, 2)
        assert first.release() == second.release() == ("released",)
    eventually(lambda: adapter.get("/health/status")["activeDimseConnections"] == 0)
    assert echo_works(adapter.dicom_port)


def test_disabled_verification_is_not_served(make_adapter: MakeAdapter) -> None:
    adapter = policies(make_adapter, verification={"enabled": False})
    only = associate_rq((context(1, VERIFICATION, IMPLICIT),))
    assert answer_to(adapter, only)[:2] == ("reject", 1)
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq())
        reply = wire.read_pdu()
        assert reply is not None
        assert _results(reply[1]) == {1: 3, 3: 0}


def test_low_space_rejects_storage_as_transient_and_answers_echo(
    make_adapter: MakeAdapter,
) -> None:
    adapter = make_adapter({"storage": {"reserve_space_gb": 1_000_000}})
    assert answer_to(adapter, associate_rq()) == ("reject", 2, 3, 1)
    assert echo_works(adapter.dicom_port)
    assert adapter.request("GET", "/health/ready")[0] == 503
    assert adapter.request("GET", "/health/live")[0] == 200
