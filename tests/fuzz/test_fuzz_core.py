"""Fuzzes everything between the socket and the disk that does no I/O, in both roles.

Invariants: no exception but the documented ones; the buffer is bounded and never without room; a
state is always one of the Standard's; after a violation or an abort nothing is understood any more;
data sets come out as they went in; and nothing depends on how the bytes are cut.
"""

from dataclasses import dataclass, field

from fuzz_grammar import (
    APPLICATION_CONTEXT,
    CT,
    MAX_PDU,
    SYNTAXES,
    USER_ITEMS,
    VERIFICATION,
    Node,
    accept,
    broken,
    cuts,
    data_sets,
    echo,
    fuzzing,
    good,
    mutations,
    pdata,
    pdu,
    pieces,
    request,
    response,
    store,
)
from hypothesis import given
from hypothesis import strategies as st

from adapter.protocols.dimse import associate, command_set, elements, head, negotiation
from adapter.protocols.dimse import pdu as codec
from adapter.protocols.dimse.command_set import MalformedCommandError
from adapter.protocols.dimse.items import MalformedPDUError
from adapter.protocols.dimse.layer_events import (
    Aborted,
    AssociatePDU,
    CommandReceived,
    DataFragment,
    LayerEvent,
    ProtocolViolationError,
    Signal,
)
from adapter.protocols.dimse.state import State
from adapter.protocols.dimse.upper_layer import BUFFER_BYTES_MAX, UpperLayer

WANTED = frozenset((0x00080016, 0x00080018, 0x0020000D, 0x0020000E))
BYTEWISE_MAX = 1500
"""Longer streams are not also fed byte by byte: it would be nothing but slow."""


@dataclass
class Hearer:
    """The upper layer and the decoders behind it, as an association uses them; without I/O."""

    acceptor: bool
    releasing: bool = False
    """Requestor: release as soon as associated."""
    heard: list[object] = field(default_factory=list)
    over: bool = False
    data: bytes = b""
    contexts: dict[int, str] = field(default_factory=dict)
    scan: head.Head | None = None
    unreadable: bool = False
    layouts: dict[int, elements.Layout] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layer = UpperLayer(acceptor=self.acceptor, max_pdu=MAX_PDU)

    def feed(self, stream: bytes, sizes: list[int]) -> "Hearer":
        position = turn = 0
        while position < len(stream) and not self.over:
            room = self.layer.writable()
            size = min(sizes[turn % len(sizes)], len(room), len(stream) - position)
            assert size, "there is always room"
            assert len(room) <= max(BUFFER_BYTES_MAX, 2 * codec.ASSOCIATE_LENGTH_MAX)
            room[:size] = stream[position : position + size]
            self.layer.received(size)
            position, turn = position + size, turn + 1
            self._take_all()
        if self.over:
            self._ends_for_good(stream[position:])
        else:
            assert self.layer.closed() is Signal.CLOSED
            assert self.layer.state is State.STA1
        return self

    def _ends_for_good(self, rest: bytes) -> None:
        """Whatever still comes, nothing is understood, and nothing raised."""
        if isinstance(what := self.heard[-1], tuple) and what[0] == "violation":
            assert len(what[2]) == 10
            assert self.layer.state is State.STA13
        silence = (Signal.NEED_DATA, Signal.IGNORED, Signal.CLOSED)
        for _ in range(3):
            event = self.layer.next_event()
            assert event in silence or isinstance(event, Aborted)
            room = self.layer.writable()
            room[: len(rest)] = rest[: len(room)]
            self.layer.received(min(len(rest), len(room)))
        assert self.layer.state in (State.STA1, State.STA13)

    def _take_all(self) -> None:
        while not self.over:
            try:
                event = self.layer.next_event()
                if event is Signal.NEED_DATA:
                    return
                self._take(event)
            except ProtocolViolationError as violation:
                self._end("violation", violation.why, violation.reply)
            except (MalformedPDUError, MalformedCommandError) as error:
                self.layer.abort()
                self._end("malformed", str(error))

    def _end(self, *what: object) -> None:
        self.heard.append(what)
        self.over = True

    def _take(self, event: LayerEvent) -> None:
        match event:
            case AssociatePDU(type=codec.ASSOCIATE_RQ, encoded=encoded):
                self._answer(encoded)
            case AssociatePDU(type=codec.ASSOCIATE_AC, encoded=encoded):
                self.heard.append(associate.decode_associate_ac(encoded))
                if self.releasing:
                    assert self.layer.release() == codec.RELEASE_RQ_PDU
            case AssociatePDU(encoded=encoded):
                self._end("rejected", encoded)
            case CommandReceived(context_id=context_id, encoded=encoded):
                self._command(context_id, encoded)
            case DataFragment(context_id=context_id, view=view, last=last):
                self._fragment(context_id, view, last=last)
            case Aborted():
                self._end(event)
            case Signal.RELEASE_REQUESTED:
                assert self.layer.confirm_release() == codec.RELEASE_RP_PDU
                if self.layer.state is State.STA13:
                    self._end(event)
            case Signal.RELEASED:
                self._end(event)
            case _:
                self.heard.append(event)

    def _answer(self, encoded: bytes) -> None:
        """As a listener: decode, negotiate, accept; what we say must be readable."""
        asked = associate.decode_associate_rq(encoded)
        results = negotiation.negotiate(asked.contexts, verification_syntaxes=[*SYNTAXES.values()])
        reply = associate.encode_associate_ac(
            encoded, results, negotiation.answer(asked, results, MAX_PDU)
        )
        said = associate.decode_associate_ac(reply)
        assert set(said.contexts) == {context.id for context in asked.contexts}
        self.contexts = {r.id: r.transfer_syntax for r in results if r.result == 0}
        self.heard.append((asked, said))
        assert self.layer.accept(reply) is reply

    def _command(self, context_id: int, encoded: bytes) -> None:
        decoded = command_set.decode(encoded)
        self.heard.append((context_id, decoded))
        if decoded.field & command_set.RESPONSE_BIT:
            return
        again = command_set.decode(command_set.response(context_id, decoded, 0x0110, "why")[12:])
        assert (again.message_id, again.status) == (decoded.message_id, 0x0110)
        if decoded.has_data_set:
            self.layer.data_context = context_id
            fresh = elements.Layout(self.contexts.get(context_id, ""), WANTED)
            self.scan = head.Head(self.layouts.setdefault(context_id, fresh))
            self.data, self.unreadable = b"", False

    def _fragment(self, context_id: int, view: memoryview, *, last: bool) -> None:
        self.data += bytes(view)
        assert self.scan is not None
        if not self.unreadable:
            try:
                self.scan.feed(view, last=last)
            except elements.MalformedDataSetError:
                self.unreadable = True  # when it is found out depends on the pieces
        if last:
            assert self.scan.complete or self.unreadable
            judged = None if self.unreadable else self.scan.values
            assert judged == self._judged_alone(context_id)
            self.heard.append((context_id, self.data, judged))

    def _judged_alone(self, context_id: int) -> dict[int, str] | None:
        """What was received before must make no difference, nor how this one was cut."""
        scan = head.Head(elements.Layout(self.contexts.get(context_id, ""), WANTED))
        try:
            scan.feed(memoryview(self.data), last=True)
        except elements.MalformedDataSetError:
            return None
        return scan.values


@st.composite
def to_acceptor(draw: st.DrawFn) -> tuple[list[Node], list[tuple[int, str, bytes]]]:
    """Draw what a sender says, well formed, and the data sets in it."""
    nodes, sent = [request(draw(st.lists(USER_ITEMS, max_size=3)))], []
    for number in range(draw(st.integers(0, 4))):
        if draw(st.integers(0, 3)):
            context, uid, data = draw(data_sets())
            nodes.append(store(context, number, uid, draw(cuts)))
            nodes += pdata(context, data, draw(st.sampled_from((7, 100, 1001, 16000))))
            sent.append((context, uid, data))
        else:
            field_ = draw(st.sampled_from((0x30, 0x30, 0x20, 0x130, 0x0FFF)))
            nodes.append(echo(number, field_, draw(cuts)))
    last = draw(st.sampled_from((5, 5, 5, 6, 7, 4, 0x42)))
    return [*nodes, pdu(last, bytes(4))], sent


@st.composite
def to_requestor(draw: st.DrawFn) -> list[Node]:
    """Draw what a destination says, well formed."""
    first = draw(st.sampled_from(("accept", "accept", "accept", "reject", "abort")))
    if first != "accept":
        return [pdu(3 if first == "reject" else 7, bytes((0, 1, 2, 2)))]
    nodes = [accept(draw(st.lists(USER_ITEMS, max_size=2)))]
    for number in range(draw(st.integers(0, 4))):
        field_ = draw(st.sampled_from((0x8001, 0x8030, 0x0001)))
        status = draw(st.sampled_from((0, 0xB000, 0xA700, 0xFFFF)))
        nodes.append(response(3, field_, number, status, draw(st.sampled_from(("", "1.2.3")))))
    last = draw(st.sampled_from((5, 6, 7, 2, 1)))
    return [*nodes, pdu(last, bytes(4))]


def check_splits(stream: bytes, sizes: list[int], *, acceptor: bool, releasing: bool) -> Hearer:
    whole = Hearer(acceptor, releasing).feed(stream, [1 << 20])
    ways = [sizes, [1]] if len(stream) <= BYTEWISE_MAX else [sizes]
    for way in ways:
        cut = Hearer(acceptor, releasing).feed(stream, way)
        assert cut.heard == whole.heard
        assert cut.over == whole.over
    return whole


@fuzzing(2, 250)
@given(to_acceptor(), mutations, pieces)
def test_acceptor_hears_the_same_in_any_pieces_and_never_stumbles(
    said: tuple[list[Node], list[object]], changes: list[tuple[int, str, int]], sizes: list[int]
) -> None:
    check_splits(broken(said[0], changes), sizes, acceptor=True, releasing=False)


@fuzzing(4, 150)
@given(to_requestor(), mutations, pieces, st.booleans())
def test_requestor_hears_the_same_in_any_pieces_and_never_stumbles(
    said: list[Node], changes: list[tuple[int, str, int]], sizes: list[int], releasing: bool
) -> None:
    check_splits(broken(said, changes), sizes, acceptor=False, releasing=releasing)


@fuzzing(4, 150)
@given(to_acceptor(), pieces)
def test_well_formed_conversation_is_heard_word_for_word(
    said: tuple[list[Node], list[tuple[int, str, bytes]]], sizes: list[int]
) -> None:
    """Every data set comes out as it went in, up to where an unasked PDU ends the association."""
    nodes, sent = said
    hearer = check_splits(broken(nodes, []), sizes, acceptor=True, releasing=False)
    arrived = [entry for entry in hearer.heard if isinstance(entry, tuple) and len(entry) == 3]
    got = [(entry[0], entry[1]) for entry in arrived if isinstance(entry[1], bytes)]
    assert got == [(context, data) for context, _, data in sent]
    values = {entry[1]: entry[2] for entry in arrived if isinstance(entry[1], bytes)}
    for context, uid, data in sent:
        if data == good(context, uid):
            found = values[data]
            assert isinstance(found, dict)
            assert (found[0x00080018], found[0x00080016]) == (uid, CT)
    asked = hearer.heard[0]
    assert isinstance(asked, tuple)
    assert asked[0].application_context == APPLICATION_CONTEXT
    assert asked[0].contexts[0].abstract_syntax == VERIFICATION
