"""The upper layer: bytes in, events out, whatever the pieces; and its words at a violation."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.protocols.dimse import associate, command_set, pdu
from adapter.protocols.dimse.layer_events import (
    Aborted,
    AssociatePDU,
    CommandReceived,
    DataFragment,
    ProtocolViolationError,
    Signal,
)
from adapter.protocols.dimse.state import State
from adapter.protocols.dimse.upper_layer import (
    BUFFER_BYTES_MAX,
    COMMAND_BYTES_MAX,
    UpperLayer,
)

CT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"
MAX_PDU = 16384
REQUEST = associate.encode_associate_rq(
    "BRAIN", "CT1", [associate.ProposedContext(1, CT, (IMPLICIT,))], MAX_PDU
)
ACCEPT = associate.encode_associate_ac(REQUEST, [associate.ContextResult(1, CT, IMPLICIT, 0)], b"")
COMMAND = command_set.store_request(1, 7, CT, "1.2.3")
ECHO = command_set.echo_request(1, 8, "1.2.840.10008.1.1")
UNEXPECTED_PARAMETER = bytes.fromhex("0700 00000004 0000 02 05")
INVALID_PARAMETER = bytes.fromhex("0700 00000004 0000 02 06")
UNEXPECTED_PDU = bytes.fromhex("0700 00000004 0000 02 02")
UNRECOGNIZED_PDU = bytes.fromhex("0700 00000004 0000 02 01")
BY_USER = bytes.fromhex("0700 00000004 0000 00 00")


def pdv(value, context_id=1, control=2, length=None):
    size = len(value) + 2 if length is None else length
    return size.to_bytes(4, "big") + bytes((context_id, control)) + value


def pdata(*values, length=None):
    body = b"".join(values)
    return pdu.HEADER.pack(pdu.P_DATA_TF, len(body) if length is None else length) + body


def store(data, *, cut=()):
    """Return a C-STORE-RQ whose data set is cut into PDVs at these places."""
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in cut)})
    pieces = [data[a:b] for a, b in itertools.pairwise(places)] or [b""]
    values = [pdv(piece, control=0) for piece in pieces[:-1]] + [pdv(pieces[-1], control=2)]
    return COMMAND + b"".join(pdata(value) for value in values)


def fill(layer, data):
    room = layer.writable()
    count = min(len(room), len(data))
    assert count, "there is always room"
    room[:count] = data[:count]
    layer.received(count)
    return count


class Acceptor:
    """What an acceptor makes of a stream, as events that do not depend on its pieces."""

    def __init__(self):
        self.layer = UpperLayer(acceptor=True, max_pdu=MAX_PDU)
        self.events = []
        self.data = b""
        self.over = False

    def feed(self, piece):
        while piece and not self.over:
            piece = piece[fill(self.layer, piece) :]
            self.take_all()

    def take_all(self):
        while not self.over:
            try:
                event = self.layer.next_event()
            except ProtocolViolationError as violation:
                self.events.append(("violation", violation.why, violation.reply))
                self.over = True
                return
            if event is Signal.NEED_DATA:
                return
            self.take(event)

    def take(self, event):
        match event:
            case AssociatePDU(type=kind, encoded=encoded):
                self.events.append(("associate", kind, encoded))
                self.layer.accept(b"")
            case CommandReceived(context_id=context_id, encoded=encoded):
                self.events.append(("command", context_id, encoded))
                self.layer.data_context = context_id if len(encoded) > 80 else None
            case DataFragment(context_id=context_id, view=view, last=last):
                self.data += bytes(view)
                if last:
                    self.events.append(("data", context_id, self.data))
                    self.data = b""
            case Aborted():
                self.events.append(("aborted", event.source, event.reason))
                self.over = True
            case Signal.RELEASE_REQUESTED:
                self.events.append(("release",))
                self.over = True
            case _:
                self.events.append((event,))


def heard(stream, sizes=(1 << 20,)):
    acceptor, position, turn = Acceptor(), 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        acceptor.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    return acceptor.events, acceptor.layer.state, acceptor.data


# --- whole conversations


def test_store_and_release_are_heard():
    stream = REQUEST + store(b"abcdef", cut=(2, 4)) + ECHO + pdu.RELEASE_RQ_PDU
    events, state, rest = heard(stream)
    assert events == [
        ("associate", pdu.ASSOCIATE_RQ, REQUEST),
        ("command", 1, COMMAND[12:]),
        ("data", 1, b"abcdef"),
        ("command", 1, ECHO[12:]),
        ("release",),
    ]
    assert (state, rest) == (State.STA8, b"")


def test_pieces_make_no_difference():
    stream = REQUEST + store(bytes(range(200)), cut=(1, 9, 77)) + ECHO + pdu.RELEASE_RQ_PDU
    whole = heard(stream)
    assert [kind for kind, *_ in whole[0]] == ["associate", "command", "data", "command", "release"]
    for size in (1, 2, 3, 5, 6, 7, 11, 64):
        assert heard(stream, [size]) == whole


conversations = st.lists(
    st.one_of(
        st.builds(
            lambda data, cut: store(data, cut=cut),
            st.binary(max_size=60),
            st.lists(st.integers(0, 60), max_size=4),
        ),
        st.just(ECHO),
        st.builds(  # several PDVs in one PDU, commands in fragments
            lambda at, data: pdata(
                pdv(COMMAND[12 : 12 + at], control=1),
                pdv(COMMAND[12 + at :], control=3),
                pdv(data, control=0),
                pdv(b"", control=2),
            ),
            st.integers(0, 90),
            st.binary(max_size=30),
        ),
    ),
    max_size=4,
).map(b"".join)
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@settings(max_examples=60)
@given(conversations, sizes)
def test_any_conversation_sounds_the_same_in_any_pieces(talk, pieces):
    stream = REQUEST + talk + pdu.RELEASE_RQ_PDU
    whole = heard(stream)
    assert whole[0][-1] == ("release",)
    assert heard(stream, pieces) == whole
    assert heard(stream, [1]) == whole


@settings(max_examples=120)
@given(
    conversations,
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4),
    st.binary(max_size=30),
    sizes,
)
def test_damaged_conversation_sounds_the_same_in_any_pieces(talk, damage, noise, pieces):
    raw = bytearray(talk + noise)
    for place, value in damage:
        if raw:
            raw[place % len(raw)] = value
    stream = REQUEST + bytes(raw)
    assert heard(stream, pieces) == heard(stream) == heard(stream, [1])


@settings(max_examples=100)
@given(st.binary(max_size=60), sizes)
def test_noise_is_a_violation_or_waited_for(noise, pieces):
    events, _, _ = heard(noise, pieces)
    assert events == heard(noise)[0]
    assert all(kind in ("violation", "aborted", "associate") for kind, *_ in events)


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_noise_to_a_requestor_is_a_violation_or_waited_for(noise):
    layer = UpperLayer(acceptor=False, max_pdu=MAX_PDU)
    fill(layer, noise + b"\0")
    try:
        event = layer.next_event()
    except ProtocolViolationError as violation:
        event = violation
    if isinstance(event, ProtocolViolationError):
        assert len(event.reply) == 10
    else:
        assert event is Signal.NEED_DATA or isinstance(event, (AssociatePDU, Aborted))


# --- violations, word for word


def told_off(stream):
    events, state, _ = heard(REQUEST + stream)
    assert state is State.STA13
    kind, _, reply = events[-1]
    assert kind == "violation"
    return reply


@pytest.mark.parametrize(
    ("stream", "reply"),
    [
        (pdata(length=MAX_PDU + 1), INVALID_PARAMETER),
        (pdata(length=0xFFFFFFFF), INVALID_PARAMETER),
        (pdata(length=0), INVALID_PARAMETER),
        (pdata(length=5), INVALID_PARAMETER),
        (COMMAND + pdata(pdv(b"ab", length=0)), INVALID_PARAMETER),
        (COMMAND + pdata(pdv(b"ab", length=1)), INVALID_PARAMETER),
        (COMMAND + pdata(pdv(b"ab", length=5)), INVALID_PARAMETER),
        (COMMAND + pdata(pdv(b"ab", length=0xFFFFFFFF)), INVALID_PARAMETER),
        (COMMAND + pdata(pdv(b"ab"), b"\0\0\0"), INVALID_PARAMETER),
        (pdata(pdv(b"ab")), UNEXPECTED_PARAMETER),
        (COMMAND + pdata(pdv(b"ab", context_id=3)), UNEXPECTED_PARAMETER),
        (COMMAND + COMMAND, UNEXPECTED_PARAMETER),
        (store(b"ab") + pdata(pdv(b"cd")), UNEXPECTED_PARAMETER),
        (pdata(pdv(b"ab", control=1), pdv(b"cd", control=3, context_id=3)), UNEXPECTED_PARAMETER),
        (b"\x08\0\0\0\0\4????", UNRECOGNIZED_PDU),
        (b"\x00\0\0\0\0\4????", UNRECOGNIZED_PDU),
        (b"\xff\0\xff\xff\xff\xff", UNRECOGNIZED_PDU),
        (REQUEST, UNEXPECTED_PDU),
        (ACCEPT, UNEXPECTED_PDU),
        (pdu.RELEASE_RP_PDU, UNEXPECTED_PDU),
        (pdu.associate_rj(1, 1, 1), UNEXPECTED_PDU),
        (pdu.HEADER.pack(pdu.RELEASE_RQ, 5) + bytes(5), INVALID_PARAMETER),
        (pdu.HEADER.pack(pdu.RELEASE_RQ, 0xFFFFFFFF), INVALID_PARAMETER),
        (pdu.HEADER.pack(pdu.ABORT, 0), INVALID_PARAMETER),
        (pdu.HEADER.pack(pdu.ASSOCIATE_RQ, 0xFFFFFFFF), INVALID_PARAMETER),
    ],
)
def test_violation_of_an_established_association_is_answered_word_for_word(stream, reply):
    assert told_off(stream) == reply


@pytest.mark.parametrize(
    "stream",
    [
        pdu.HEADER.pack(pdu.ASSOCIATE_RQ, 0xFFFFFFFF),
        pdu.HEADER.pack(pdu.ASSOCIATE_RQ, pdu.ASSOCIATE_LENGTH_MAX + 1),
        COMMAND,
        ACCEPT,
        pdu.RELEASE_RQ_PDU,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_anything_but_a_request_is_aborted_by_the_service_user(stream):
    """PS3.8 Table 9-10, Sta2: AA-1."""
    events, state, _ = heard(stream)
    assert [(kind, reply) for kind, _, reply in events] == [("violation", BY_USER)]
    assert state is State.STA13


def test_second_pdu_before_our_answer_is_aborted():
    layer = UpperLayer(acceptor=True, max_pdu=MAX_PDU)
    fill(layer, REQUEST + pdu.RELEASE_RQ_PDU)
    assert isinstance(layer.next_event(), AssociatePDU)
    with pytest.raises(ProtocolViolationError) as raised:
        layer.next_event()
    assert raised.value.reply == UNEXPECTED_PDU


def test_endless_command_set_is_aborted():
    piece = pdata(pdv(bytes(16000), control=1))
    assert told_off(piece * (COMMAND_BYTES_MAX // 16000 + 1)) == INVALID_PARAMETER


def test_longest_pdata_announced_is_taken():
    data = bytes(MAX_PDU - 6)
    events, _, _ = heard(REQUEST + COMMAND + pdata(pdv(data)))
    assert events[-1] == ("data", 1, data)


def test_empty_pdv_ends_a_data_set():
    events, _, _ = heard(REQUEST + COMMAND + pdata(pdv(b"ab", control=0)) + pdata(pdv(b"")))
    assert events[-1] == ("data", 1, b"ab")


def test_lengths_are_judged_before_anything_is_waited_for():
    events, _, _ = heard(REQUEST + pdu.HEADER.pack(pdu.P_DATA_TF, MAX_PDU + 1))
    assert events[-1][0] == "violation"


# --- buffer


def test_buffer_stays_bounded_whatever_arrives():
    layer = UpperLayer(acceptor=True, max_pdu=1 << 20)
    fill(layer, REQUEST)
    layer.next_event()
    layer.accept(b"")
    fill(layer, COMMAND)
    assert isinstance(layer.next_event(), CommandReceived)
    layer.data_context = 1
    piece = pdata(pdv(bytes(1 << 19), control=0))
    stream, position, total = piece * 6, 0, 0
    while position < len(stream):
        position += fill(layer, stream[position:])
        while (event := layer.next_event()) is not Signal.NEED_DATA:
            total += len(event.view)
        assert len(layer.writable()) <= BUFFER_BYTES_MAX
    assert total == 6 << 19


def test_request_longer_than_the_buffer_is_taken_whole():
    body = REQUEST[6:] + b"\x99\0\xff\xff" + bytes(0xFFFF)
    body += (b"\x99\0\xff\xff" + bytes(0xFFFF)) * 4
    request = pdu.HEADER.pack(pdu.ASSOCIATE_RQ, len(body)) + body
    for pieces in ([1 << 20], [5000]):
        events, state, _ = heard(request, pieces)
        assert events == [("associate", pdu.ASSOCIATE_RQ, request)]
        assert state is State.STA6


def test_inside_part_tells_silence_from_slowness():
    layer = UpperLayer(acceptor=True, max_pdu=MAX_PDU)
    assert not layer.inside_part
    fill(layer, REQUEST[:3])
    assert layer.inside_part
    fill(layer, REQUEST[3:])
    layer.next_event()
    layer.accept(b"")
    assert not layer.inside_part
    fill(layer, COMMAND[:50])
    assert layer.next_event() is Signal.NEED_DATA
    assert layer.inside_part
    fill(layer, COMMAND[50:])
    layer.next_event()
    assert not layer.inside_part


# --- local requests and the end


def established():
    acceptor = Acceptor()
    acceptor.feed(REQUEST)
    return acceptor.layer


def associated():
    layer = UpperLayer(acceptor=False, max_pdu=MAX_PDU)
    fill(layer, ACCEPT)
    assert isinstance(layer.next_event(), AssociatePDU)
    return layer


def test_reject_is_sent_and_the_close_awaited():
    layer = UpperLayer(acceptor=True, max_pdu=MAX_PDU)
    fill(layer, REQUEST)
    layer.next_event()
    assert layer.reject(1, 1, 7) == pdu.associate_rj(1, 1, 7)
    assert layer.state is State.STA13
    assert layer.closed() is Signal.CLOSED


def test_release_of_the_peer_is_confirmed():
    layer = established()
    fill(layer, pdu.RELEASE_RQ_PDU)
    assert layer.next_event() is Signal.RELEASE_REQUESTED
    assert layer.confirm_release() == pdu.RELEASE_RP_PDU
    assert layer.closed() is Signal.CLOSED


def test_our_release_is_confirmed_by_the_peer():
    layer = associated()
    assert layer.release() == pdu.RELEASE_RQ_PDU
    fill(layer, pdu.RELEASE_RP_PDU)
    assert layer.next_event() is Signal.RELEASED
    assert layer.state is State.STA1


def test_release_collision_of_the_requestor_ends_released():
    layer = associated()
    layer.release()
    fill(layer, pdu.RELEASE_RQ_PDU)
    assert layer.next_event() is Signal.RELEASE_REQUESTED
    assert layer.confirm_release() == pdu.RELEASE_RP_PDU
    fill(layer, pdu.RELEASE_RP_PDU)
    assert layer.next_event() is Signal.RELEASED


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_data_while_releasing_does_not_hide_the_release(size):
    """PS3.8 Table 9-10, Sta7: P-DATA-TF is AR-6, and the association goes on to its release."""
    layer = associated()
    layer.release()
    late = command_set.response(1, command_set.Command(1, 7, CT, "1.2", True, None), 0)
    stream, events = late + pdu.RELEASE_RP_PDU, []
    for start in range(0, len(stream), size):
        fill(layer, stream[start : start + size])
        while layer.state is State.STA7 and (event := layer.next_event()) is not Signal.NEED_DATA:
            events.append(event)
    assert events[-1] is Signal.RELEASED


def test_abort_of_the_peer_carries_its_reason():
    layer = established()
    fill(layer, pdu.abort(2, 6))
    assert layer.next_event() == Aborted(2, 6)
    assert layer.state is State.STA1


@pytest.mark.parametrize(
    "behind", [pdu.RELEASE_RQ_PDU, COMMAND, b"\xff" * 20], ids=["release", "data", "noise"]
)
def test_bytes_behind_an_abort_are_no_error(behind):
    """The association is over: whatever still arrives means nothing (Sta1)."""
    layer = established()
    fill(layer, pdu.abort(2, 6) + behind)
    assert layer.next_event() == Aborted(2, 6)
    assert layer.next_event() in (Signal.NEED_DATA, Signal.IGNORED, Signal.CLOSED)


def test_reject_of_the_peer_is_handed_out_whole():
    layer = UpperLayer(acceptor=False, max_pdu=MAX_PDU)
    fill(layer, pdu.associate_rj(2, 3, 2))
    assert layer.next_event() == AssociatePDU(pdu.ASSOCIATE_RJ, pdu.associate_rj(2, 3, 2))


def test_abort_of_an_established_association_is_sent():
    layer = established()
    assert layer.abort() == BY_USER
    assert layer.state is State.STA13
    assert layer.abort() == b""


def test_connection_that_never_asked_is_closed_without_a_word():
    layer = UpperLayer(acceptor=True, max_pdu=MAX_PDU)
    assert layer.abort() == b""
    assert layer.state is State.STA1


def test_close_of_the_peer_is_heard_in_any_state():
    for layer in (UpperLayer(acceptor=True, max_pdu=MAX_PDU), established(), associated()):
        assert layer.closed() is Signal.CLOSED
        assert layer.state is State.STA1
        assert layer.closed() is Signal.CLOSED


def test_violation_found_by_the_user_aborts():
    layer = established()
    assert layer.violation("a command that lies").reply == INVALID_PARAMETER
    assert layer.state is State.STA13
