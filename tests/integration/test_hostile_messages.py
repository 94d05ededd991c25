"""Peers that get P-DATA and DIMSE wrong (F26-F37, F42-F49): a status or an abort, nothing stored
that should not be, and life goes on.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from wire import (
    C_ECHO,
    C_FIND,
    C_STORE,
    CT,
    DATA,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    NO_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    Wire,
    associate_rq,
    command,
    context,
    data_set,
    element,
    explicit,
    parse_command,
    pdu,
    pdv,
    request,
)

BY_PROVIDER = 2
UNRECOGNIZED_PDU, UNEXPECTED_PDU, UNEXPECTED_PARAMETER, INVALID_PARAMETER = 1, 2, 5, 6
MAX_PDU = 16384
ABORTED = ("abort", BY_PROVIDER)


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter({"dicom": {"scp": {"max_pdu": MAX_PDU}}})


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    """The adapter; after the case it lives, answers a C-ECHO, and keeps no partial instance."""
    before = files_outside(shared)
    with unharmed(shared):
        yield shared
    eventually(lambda: not list((shared.root / "incoming" / ".part").iterdir()), 5, "no parts")
    assert files_outside(shared) == before


@pytest.fixture
def wire(adapter: Adapter) -> Iterator[Wire]:
    with Wire(adapter.dicom_port) as connection:
        yield connection.associate()


def files_outside(adapter: Adapter) -> set[Path]:
    """Return the files beside the storage root, where nothing may be written."""
    above = adapter.root.parent
    found = set[Path]()
    for folder, folders, names in os.walk(above):
        found |= {Path(folder, name) for name in (*folders, *names)}
        folders[:] = [name for name in folders if Path(folder, name) != adapter.root]
    return found


def names_of(paths: Iterable[Path]) -> set[tuple[str, ...]]:
    """Return study, series and instance of files, whose groups close and become jobs meanwhile."""
    return {path.parts[-3:] for path in paths}


def stored(adapter: Adapter) -> list[Path]:
    return [path for part in ("incoming", "closed", "payloads") for path in adapter.instances(part)]


STORE = request(C_STORE, CT, b"1.2.3.99")
RAW = {
    "associate_twice": (associate_rq(), UNEXPECTED_PDU),
    "unknown_pdu": (pdu(0x42, bytes(10)), UNRECOGNIZED_PDU),
    "release_response": (pdu(RELEASE_RP, bytes(4)), UNEXPECTED_PDU),
    "pdv_length_0": (pdu(DATA, pdv(1, 3, b"", 0)), INVALID_PARAMETER),
    "pdv_length_1": (pdu(DATA, pdv(1, 3, b"", 1)), INVALID_PARAMETER),
    "pdv_beyond_pdu": (pdu(DATA, pdv(1, 3, bytes(10), 5000)), INVALID_PARAMETER),
    "pdv_length_ffffffff": (pdu(DATA, pdv(1, 3, bytes(10), 0xFFFFFFFF)), INVALID_PARAMETER),
    "pdata_length_0": (pdu(DATA, b""), INVALID_PARAMETER),
    "pdata_above_maximum": (pdu(DATA, pdv(1, 0, bytes(MAX_PDU))), INVALID_PARAMETER),
    "pdata_length_ffffffff": (pdu(DATA, bytes(6), 0xFFFFFFFF), INVALID_PARAMETER),
}


@pytest.mark.parametrize("case", RAW)
def test_malformed_pdu_is_aborted_with_its_reason(wire: Wire, case: str) -> None:
    """AA-8, PS3.8 9.3.8."""
    sent, reason = RAW[case]
    wire.send(sent)
    assert wire.answer() == (*ABORTED, reason)


ODD = request(C_STORE, CT, b"1.2.3.98")
GRAMMAR = {
    "data_before_command": pdu(DATA, pdv(3, 2, data_set("1.2.3.99"))),
    "command_where_data_is_due": pdu(DATA, pdv(3, 3, STORE)) * 2,
    "data_on_another_context": pdu(DATA, pdv(3, 3, STORE)) + pdu(DATA, pdv(1, 2, b"1234")),
    "context_never_negotiated": pdu(DATA, pdv(99, 3, STORE)),
    "command_noise": pdu(DATA, pdv(3, 3, os.urandom(64))),
    "command_empty": pdu(DATA, pdv(3, 3, b"")),
    "command_lying_length": pdu(DATA, pdv(3, 3, STORE[:12] + b"\xff\xff\xff\x7f" + STORE[16:])),
    "command_without_message_id": pdu(DATA, pdv(3, 3, command({0x0100: b"\1\0"}))),
    "command_without_field": pdu(DATA, pdv(3, 3, command({0x0110: b"\1\0"}))),
    "message_id_of_four_bytes": pdu(
        DATA, pdv(3, 3, command({0x0100: b"\1\0", 0x0110: b"\1\0\0\0", 0x0800: b"\1\1"}))
    ),
    "command_on_two_contexts": pdu(DATA, pdv(3, 1, STORE[:20]) + pdv(1, 3, STORE[20:])),
    "data_inside_a_command": pdu(DATA, pdv(3, 1, STORE[:20]) + pdv(3, 2, b"1234")),
    "command_endless": pdu(DATA, pdv(3, 1, bytes(16000))) * 8,
    "response_nobody_asked_for": pdu(DATA, pdv(3, 3, request(0x8001, CT, b"1.2", data=NO_DATA))),
}


@pytest.mark.parametrize("case", GRAMMAR)
def test_wrong_grammar_is_aborted(wire: Wire, case: str) -> None:
    """F29-F31: an abort by the provider, never silence."""
    wire.send(GRAMMAR[case])
    assert wire.answer()[:2] == ABORTED


@pytest.mark.parametrize("field", [C_FIND, 0x0010, 0x0021, 0x0100, 0x0130, 0x0777])
def test_other_services_are_answered_and_the_association_goes_on(wire: Wire, field: int) -> None:
    """F32: 0x0211 Unrecognized Operation (PS3.7 C.5.15)."""
    wire.message(3, request(field, CT), element(0x00080018, b"1.2"))
    assert wire.answer() == ("response", 0x0211)
    assert wire.echo() == ("response", 0)


STORE_ELEMENTS = {
    0x0002: CT.encode() + b"\0", 0x0100: b"\1\0", 0x0110: b"\7\0", 0x0700: b"\0\0",
    0x0800: b"\1\0", 0x1000: b"1.2.3.99",
}  # fmt: skip
MISTYPED = {
    "no_sop_class": {0x0002: None},
    "no_instance_uid": {0x1000: None},
    "no_data_set_type": {0x0800: None},
    "data_set_type_of_four_bytes": {0x0800: b"\1\0\0\0"},
    "data_set_type_empty": {0x0800: b""},
    "priority_of_four_bytes": {0x0700: bytes(4)},
}


@pytest.mark.parametrize("case", MISTYPED)
def test_store_with_an_argument_of_another_type_is_mistyped(
    wire: Wire, adapter: Adapter, case: str
) -> None:
    """F31: 0x0212 Mistyped Argument (PS3.7 C.5), its data set is passed over, and on it goes."""
    elements = {
        tag: value for tag, value in (STORE_ELEMENTS | MISTYPED[case]).items() if value is not None
    }
    wire.message(3, command(elements), data_set("1.2.3.99"))
    assert wire.answer() == ("response", 0x0212)
    assert not [path for path in stored(adapter) if path.stem == "1.2.3.99"]
    assert wire.store("1.2.3.97") == ("response", 0)


def test_echo_without_its_sop_class_is_mistyped(wire: Wire) -> None:
    elements = {0x0100: b"\x30\0", 0x0110: b"\1\0", 0x0800: b"\1\1"}
    wire.send(pdu(DATA, pdv(1, 3, command(elements))))
    assert wire.answer() == ("response", 0x0212)
    assert wire.echo() == ("response", 0)


def test_unknown_and_odd_elements_of_a_command_are_ignored(wire: Wire) -> None:
    """Move originator, private experiments, odd lengths: none of them is ours to judge."""
    more = {0x1030: b"MOVER ", 0x1031: b"\1\0", 0x0001: b"123456", 0x5010: b"odd"}
    uid = {0x1000: b"1.2.3.96"}
    wire.message(3, command(STORE_ELEMENTS | uid | more), data_set("1.2.3.96"))
    assert wire.answer() == ("response", 0)


def test_data_behind_the_last_fragment_is_aborted(wire: Wire) -> None:
    wire.message(3, STORE, data_set("1.2.3.4"))
    assert wire.answer() == ("response", 0xA900)
    wire.send(pdu(DATA, pdv(3, 2, b"1234")))
    assert wire.answer() == (*ABORTED, UNEXPECTED_PARAMETER)


def test_same_message_id_twice_is_served_in_order(wire: Wire, adapter: Adapter) -> None:
    """F37: with one operation at a time there is no duplicate invocation (0x0210, PS3.7 C.5)."""
    for uid in ("1.2.3.81", "1.2.3.82"):
        wire.message(3, request(C_STORE, CT, uid.encode(), message_id=5), data_set(uid))
    answers = [wire.read_pdu(), wire.read_pdu()]
    elements = [parse_command(body[6:]) for _, body in filter(None, answers)]
    assert [found[0x1000] for found in elements] == [b"1.2.3.81", b"1.2.3.82"]
    assert {found[0x0120] for found in elements} == {b"\5\0"}
    assert {found[0x0900] for found in elements} == {b"\0\0"}
    assert {"1.2.3.81", "1.2.3.82"} <= {path.stem for path in stored(adapter)}


def test_response_repeats_no_uid_that_is_none(wire: Wire) -> None:
    """10 kB of noise do not come back, nor anything longer than a UID can be."""
    wire.message(3, request(C_STORE, CT, b"\xff" * 10_000), data_set("1.2.3.4"))
    answer = wire.read_pdu()
    assert answer is not None
    kind, body = answer
    assert kind == DATA
    assert len(body) < 300
    assert struct.unpack("<H", parse_command(body[6:])[0x0900])[0] == 0x0117


@pytest.mark.parametrize("max_length", [8, 64, 100])
def test_responses_are_no_longer_than_the_peer_takes(adapter: Adapter, max_length: int) -> None:
    """PS3.8 D.1: the maximum length holds for every P-DATA-TF, also for short ones."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate(max_length=max_length)
        wire.message(3, request(C_STORE, CT, b"1.2.3.83"), data_set("1.2.3.83"))
        found, control = b"", 0
        while control != 3:
            answer = wire.read_pdu()
            assert answer is not None
            kind, body = answer
            assert kind == DATA
            assert len(body) <= max_length
            control = body[5]
            found += body[6:]
        assert parse_command(found)[0x0900] == b"\0\0"
        assert wire.release() == ("released",)


def test_release_collision_is_confirmed_like_any_release(wire: Wire) -> None:
    """A second A-RELEASE-RQ behind the first is nobody's business any more (Sta13)."""
    wire.send(pdu(RELEASE_RQ, bytes(4)) * 2)
    assert wire.answer() == ("released",)
    assert wire.answer() == ("closed",)


def test_cancel_nobody_needs_is_ignored(wire: Wire) -> None:
    cancel = {0x0100: b"\xff\x0f", 0x0120: b"\1\0", 0x0800: b"\1\1"}
    wire.send(pdu(DATA, pdv(3, 3, command(cancel))))
    assert wire.echo() == ("response", 0)


def test_two_requests_without_waiting_are_served_in_order(wire: Wire) -> None:
    echo = pdu(DATA, pdv(1, 3, request(C_ECHO, VERIFICATION, data=NO_DATA)))
    wire.send(echo, echo)
    assert [wire.answer(), wire.answer()] == [("response", 0)] * 2


UIDS = {
    "dots": b"..", "dot": b".", "path": b"../../x", "absolute": b"/tmp/x", "long": b"1." * 100,
    "empty": b"", "non_ascii": b"1.2.\xff\xfe", "newline": b"1.2\n3", "nul_inside": b"1.2\x003",
    "shell": b"$(touch x)", "trailing_dot": b"1.2.", "double_dot": b"1..2", "letters": b"abc",
}  # fmt: skip


@pytest.mark.parametrize("case", UIDS)
def test_hostile_instance_uid_is_an_invalid_instance(
    wire: Wire, adapter: Adapter, case: str
) -> None:
    """F43: 0x0117 (PS3.7 C.5.9), nothing stored, and the association goes on."""
    before = names_of(stored(adapter))
    wire.message(3, request(C_STORE, CT, UIDS[case]), data_set("1.2.3.4"))
    assert wire.answer() == ("response", 0x0117)
    assert names_of(stored(adapter)) <= before
    assert wire.echo() == ("response", 0)


@pytest.mark.parametrize("uid", ["..", ".", "../../../x", "/etc/x", "1.2\n3", "x" * 64, "a\0b", ""])
def test_hostile_study_and_series_uids_choose_no_path(
    wire: Wire, adapter: Adapter, uid: str
) -> None:
    """F44: stored under a name that is ours, or refused; never outside."""
    before = set(stored(adapter))
    instance = f"1.2.3.{abs(hash(uid))}"
    answer = wire.store(instance, data_set(instance, study=uid, series=uid))
    assert answer in (("response", 0), ("response", 0xC000))
    new = {path for path in stored(adapter) if path.stem == instance} - before
    assert (answer == ("response", 0)) == bool(new)
    for path in new:
        assert path.resolve() == path
        assert not any(part in ("..", uid) for part in path.parts[-3:-1])


def test_instance_uid_only_in_the_data_set_is_no_match(wire: Wire) -> None:
    assert wire.store("1.2.3.4", data_set("../../x")) == ("response", 0xA900)
    assert wire.store("1.2.3.4", data_set("1.2.3.5")) == ("response", 0xA900)


def nested(depth: int) -> bytes:
    """Return a sequence of undefined lengths in itself, `depth` times."""
    begin = struct.pack("<HH2sxxI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return (begin + item) * depth + end * depth


def identity(uid: str) -> bytes:
    """Return the first two elements of a data set."""
    return explicit(0x00080016, b"UI", CT.encode()) + explicit(0x00080018, b"UI", uid.encode())


HEAD = identity("1.2.3.7")
STUDY_AND_SERIES = data_set("1.2.3.7")[len(HEAD) :]
UNREADABLE = {
    "empty": b"",
    "noise": bytes(range(128, 256)) * 8,
    "text": b"GET / HTTP/1.1\r\n\r\n" * 10,
    "nested_4000_deep": HEAD + nested(4000),
    "past_end": HEAD + struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 60000) + b"CT",
    "length_4_gib": HEAD + struct.pack("<HH2sxxI", 0x0008, 0x0061, b"UN", 0xFFFFFFF0),
    "implicit_in_explicit": HEAD + element(0x00080060, b"CT") * 3,
    "group_0002_inside": explicit(0x00020010, b"UI", b"1.2") + data_set("1.2.3.7"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable_data_set_cannot_be_understood(wire: Wire, adapter: Adapter, case: str) -> None:
    """F45, F46, F49: 0xC000, nothing stored, and the association goes on."""
    before = set(stored(adapter))
    assert wire.store("1.2.3.7", UNREADABLE[case]) == ("response", 0xC000)
    assert not {path for path in set(stored(adapter)) - before if path.stem == "1.2.3.7"}
    assert wire.store("1.2.3.8") == ("response", 0)


def test_moderate_nesting_is_accepted(wire: Wire) -> None:
    content = identity("1.2.3.20") + nested(30) + STUDY_AND_SERIES
    assert wire.store("1.2.3.20", content) == ("response", 0)


def test_store_on_the_verification_context_is_not_stored(wire: Wire, adapter: Adapter) -> None:
    """F29: not as a CT, and not as an "instance" of Verification either."""
    wire.message(1, request(C_STORE, CT, b"1.2.3.77"), data_set("1.2.3.77"))
    assert wire.answer() == ("response", 0x0122)
    content = element(0x00080016, VERIFICATION.encode()) + element(0x00080018, b"1.2.3.77")
    wire.message(1, request(C_STORE, VERIFICATION, b"1.2.3.77"), content)
    assert wire.answer() == ("response", 0x0122)
    assert not [path for path in stored(adapter) if path.stem == "1.2.3.77"]


def test_store_of_another_class_than_the_context_is_not_stored(
    wire: Wire, adapter: Adapter
) -> None:
    wire.message(3, request(C_STORE, CT + ".1", b"1.2.3.78"), data_set("1.2.3.78"))
    assert wire.answer() == ("response", 0x0122)
    assert not [path for path in stored(adapter) if path.stem == "1.2.3.78"]


def test_store_announced_without_a_data_set_cannot_be_understood(wire: Wire) -> None:
    wire.message(3, request(C_STORE, CT, b"1.2.3.84", data=NO_DATA))
    assert wire.answer() == ("response", 0xC000)
    assert wire.echo() == ("response", 0)


@pytest.mark.parametrize("field", [C_STORE, C_ECHO, 0x0777])
def test_refused_message_with_a_long_data_set_is_passed_over(wire: Wire, field: int) -> None:
    """Nothing is kept of it, and the next message is found behind it."""
    wire.message(1, request(field, VERIFICATION, b"1.2.3"), os.urandom(300_000))
    assert wire.answer()[1] in (0x0122, 0x0211, 0x0212)
    assert wire.store("1.2.3.85") == ("response", 0)


def test_another_classes_instance_does_not_match(wire: Wire, adapter: Adapter) -> None:
    """F42: 0xA900, SOP Class UID of the data set is not that of the command."""
    content = data_set("1.2.3.86").replace(CT.encode(), CT[:-1].encode() + b"4", 1)
    assert wire.store("1.2.3.86", content) == ("response", 0xA900)
    assert not [path for path in stored(adapter) if path.stem == "1.2.3.86"]


def test_abort_in_the_middle_leaves_nothing(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.send(pdu(DATA, pdv(3, 3, STORE)), pdu(DATA, pdv(3, 0, data_set("1.2.3.99"))))
        wire.send(pdu(7, bytes(4)))
        assert wire.answer() == ("closed",)
    assert not [path for path in stored(adapter) if path.stem == "1.2.3.99"]


def test_deflate_bomb_keeps_memory_bounded(adapter: Adapter) -> None:
    """F48: half a GiB of zeros in half a MB."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = data_set("1.2.3.60")[:40] + struct.pack("<HH2sxxI", 0x0009, 0x1001, b"OB", 1 << 29)
    bomb = squeeze.compress(head)
    bomb += b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(512)) + squeeze.flush()
    before = adapter.memory_kb("VmHWM")
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq((context(5, CT, DEFLATED), context(7, CT, EXPLICIT, IMPLICIT))))
        assert wire.answer() == ("accept",)
        wire.message(5, request(C_STORE, CT, b"1.2.3.60"), bomb)
        assert wire.answer()[0] in ("response", "abort")
    assert adapter.memory_kb("VmHWM") - before < 50_000
