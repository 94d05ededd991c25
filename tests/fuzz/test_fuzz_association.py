"""Fuzzes whole associations over real sockets, in both roles, with part files in memory.

Whatever the peer says, the association ends in bounded time without an exception; every part file
is closed in the end; and nothing is committed that is not answered with success, or the other way.
"""

import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest
from fuzz_grammar import (
    CT,
    ECHO_CONTEXT,
    EXPLICIT,
    IMPLICIT,
    MAX_PDU,
    SYNTAXES,
    VERIFICATION,
    Node,
    broken,
    fuzzing,
    mutations,
    request,
    response,
    tiny,
)
from fuzz_grammar import accept as accept_pdu
from fuzz_grammar import pdu as pdu_node
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz_core import to_acceptor

from adapter.domain.dimse_ports import AssociationReport, OutgoingInstance
from adapter.domain.messages import InstanceSettled, Placement, ReceivedInstance
from adapter.domain.records import Duplicate
from adapter.errors import GroupClosedError, PeerRefusalError, StorageFullError
from adapter.protocols.dimse import associate, pdu
from adapter.protocols.dimse.connection import Connection
from adapter.protocols.dimse.layer_events import AssociatePDU
from adapter.protocols.dimse.messages import AssociationLostError
from adapter.protocols.dimse.scp import Agreement, ScpLimits, StorageScp
from adapter.protocols.dimse.scu import ScuAssociation, ScuOptions
from adapter.protocols.dimse.upper_layer import UpperLayer

SECONDS_MAX = 4.0
DEADLINE_S = 0.5
SILENT_MEANS_OVER = struct.pack("@ii", 1, 0)  # SO_LINGER: RST instead of TIME_WAIT
FILE_BYTES = 4000


GROUPS = {"one": "g-1", "two": "g-2"}
"""Of two processors, both of which want everything."""


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield two connected TCP sockets; a socketpair has none of TCP's options."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, SILENT_MEANS_OVER)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    far.settimeout(SECONDS_MAX)
    with closing(near), closing(far):
        yield near, far


@dataclass
class Disk:
    """Part files in memory; now and then one that fails."""

    troubles: list[str]
    parts: "list[Part]" = field(default_factory=list)

    def open(self) -> "Part":
        if self._trouble() == "open":
            raise StorageFullError("no room")
        self.parts.append(Part(self))
        return self.parts[-1]

    def _trouble(self) -> str:
        return self.troubles.pop(0) if self.troubles else ""


@dataclass
class Part:
    """See port `PartFile`."""

    disk: Disk
    content: bytes = b""
    groups: set[str] = field(default_factory=set)
    closed: bool = False

    @property
    def committed(self) -> bool:
        """Whether it is in the groups of both processors."""
        return self.groups == {*GROUPS.values()}

    def write(self, views: list[bytes | memoryview]) -> None:
        assert not self.closed
        if self.disk._trouble() == "write":
            raise StorageFullError("no room")
        self.content += b"".join(views)

    def commit(self, placement: Placement, group_id: str) -> Duplicate | None:
        assert not self.closed
        match self.disk._trouble():
            case "closed":
                raise GroupClosedError("too late")
            case "commit":
                raise StorageFullError("no room")
        assert group_id not in self.groups, "once for each group"
        self.groups.add(group_id)
        again = placement.instance == "1.2.3.1"
        return Duplicate(differs=False, kept="first") if again else None

    def discard(self) -> None:
        self.closed = True


@dataclass
class Entity:
    """An entity whose processors want everything; see `service_link.ServiceLink`."""

    told: list[InstanceSettled] = field(default_factory=list)
    over: bool = False

    def place(self, instance: ReceivedInstance) -> Placement:
        return Placement(
            groups={name: GROUPS[name] for name in GROUPS if name not in instance.joined},
            study="1",
            series="2",
            instance=instance.sop_instance_uid,
            same_instance="keep-first",
        )

    def settled(self, settled: Sequence[InstanceSettled]) -> None:
        self.told += settled

    def released(self) -> bool:
        return True

    def ended(self) -> None:
        self.over = True


def served(
    near: socket.socket, far: socket.socket, stream: bytes, disk: Disk, entity: Entity
) -> AssociationReport:
    """Let a StorageScp serve a peer that sends all of stream and then no more."""
    layer = UpperLayer(acceptor=True, max_pdu=MAX_PDU)
    connection = Connection(near, layer)
    far.sendall(request([]).encode())
    asked = connection.next_event(SECONDS_MAX, SECONDS_MAX)
    assert isinstance(asked, AssociatePDU)
    agreement = Agreement(
        association="a-1", calling_ae_title="FUZZ", max_length=MAX_PDU,
        contexts={number: (CT, syntax) for number, syntax in SYNTAXES.items()}
        | {ECHO_CONTEXT: (VERIFICATION, IMPLICIT)},
        accept_pdu=associate.encode_associate_ac(asked.encoded, [], b""),
        limits=ScpLimits(idle_s=DEADLINE_S, dimse_s=DEADLINE_S),
        attributes=frozenset(), grouping=frozenset(),
    )  # fmt: skip
    scp = StorageScp(connection, agreement, entity, disk.open)
    sender = threading.Thread(target=_say, args=(far, stream))
    sender.start()
    try:
        return scp.run()
    finally:
        sender.join()


def _say(far: socket.socket, stream: bytes) -> None:
    try:
        far.sendall(stream)
        far.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has hung up on us, rightly


def pdus(data: bytes) -> list[tuple[int, bytes]]:
    """Return (type, body) of the PDUs in data; all of them must be whole."""
    found, position = [], 0
    while position < len(data):
        length = int.from_bytes(data[position + 2 : position + 6], "big")
        assert position + 6 + length <= len(data), "half a PDU"
        found.append((data[position], data[position + 6 : position + 6 + length]))
        position += 6 + length
    return found


def read_all(far: socket.socket) -> bytes:
    data = b""
    try:
        while piece := far.recv(65536):
            data += piece
    except ConnectionResetError:
        pass  # it closed while we were still talking
    return data


def store_statuses(answers: list[tuple[int, bytes]]) -> list[int]:
    """Return the status of each C-STORE-RSP among these PDUs."""
    found = []
    for kind, body in answers:
        elements, at = {}, 6
        while kind == 4 and at + 8 <= len(body):
            _, element, length = struct.unpack_from("<HHI", body, at)
            elements[element] = body[at + 8 : at + 8 + length]
            at += 8 + length
        if elements.get(0x0100) == b"\1\x80":
            found.append(int.from_bytes(elements[0x0900], "little"))
    return found


troubles = st.lists(st.sampled_from(("", "", "", "open", "write", "commit", "closed")), max_size=4)


@fuzzing(20, 60)
@given(to_acceptor(), mutations, troubles)
def test_scp_ends_well_whatever_a_sender_says(
    said: tuple[list[Node], list[object]], changes: list[tuple[int, str, int]], trouble: list[str]
) -> None:
    disk, entity = Disk(trouble), Entity()
    stream = broken(said[0][1:], changes)
    begin = time.monotonic()
    with pair() as (near, far):
        report = served(near, far, stream, disk, entity)
        answers = pdus(read_all(far))  # to its end: nothing more will be sent in any case
    assert time.monotonic() - begin < SECONDS_MAX
    assert entity.over, "the place of the association is free again"
    assert all(part.closed for part in disk.parts)
    committed = sum(part.committed for part in disk.parts)
    assert report.instances == committed == sum(settled.stored for settled in entity.told)
    statuses = store_statuses(answers)
    assert statuses.count(0) <= committed, "success is never said without a commit"
    assert answers[0][0] == pdu.ASSOCIATE_AC
    if report.released:
        assert answers[-1][0] == pdu.RELEASE_RP
        assert statuses.count(0) == committed


# --- as SCU


@pytest.fixture(scope="module")
def instance() -> Iterator[OutgoingInstance]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"meta" + tiny("1.2.3") + bytes(FILE_BYTES))
        file.flush()
        yield OutgoingInstance(
            path=file.name, sop_class_uid=CT, sop_instance_uid="1.2.3",
            transfer_syntax_uid=EXPLICIT, data_set_offset=4,
            data_set_bytes=len(tiny("1.2.3")) + FILE_BYTES,
        )  # fmt: skip


@st.composite
def to_scu(draw: st.DrawFn) -> list[Node]:
    """Draw the answers of a destination to three C-STORE-RQ, mostly to the point."""
    nodes = []
    for number in range(1, draw(st.integers(0, 5)) + 1):
        field_ = draw(st.sampled_from((0x8001, 0x8001, 0x8001, 0x8030, 0x0001)))
        status = draw(st.sampled_from((0, 0, 0xB000, 0xA700, 0x0122)))
        uid = draw(st.sampled_from(("1.2.3", "1.2.3", "", "1.2.99")))
        message_id = draw(st.sampled_from((number, number, number, 99)))
        nodes.append(response(3, field_, message_id, status, uid))
    last = draw(st.sampled_from((6, 6, 5, 7, 2, 4, 0x42)))
    return [*nodes, pdu_node(last, bytes(4))]


def first_answer(stream: bytes) -> tuple[int, bytes, bytes, int]:
    """Return (field, message id, UID, status) if the first PDU is a response, by hand."""
    body = stream[12 : 6 + int.from_bytes(stream[2:6], "big")]
    elements, at = {}, 0
    while at + 8 <= len(body):
        _, element, length = struct.unpack_from("<HHI", body, at)
        elements[element] = body[at + 8 : at + 8 + length]
        at += 8 + length
    status = int.from_bytes(elements.get(0x0900, b"\xff\xff"), "little")
    field_ = int.from_bytes(elements.get(0x0100, b""), "little")
    return field_, elements.get(0x0120, b""), elements.get(0x1000, b"").rstrip(b"\0"), status


@fuzzing(20, 60)
@given(to_scu(), mutations, st.sampled_from((0, 8, 64, 16384)))
def test_scu_ends_well_whatever_a_destination_says(
    instance: OutgoingInstance, said: list[Node], changes: list[tuple[int, str, int]], limit: int
) -> None:
    stream = broken(said, changes)
    options = ScuOptions(
        ae_title="US", max_pdu=MAX_PDU, connect_s=1, acse_s=DEADLINE_S, dimse_s=DEADLINE_S
    )
    proposed = [associate.ProposedContext(3, CT, (EXPLICIT,))]
    begin = time.monotonic()
    with pair() as (near, far):
        layer = UpperLayer(acceptor=False, max_pdu=MAX_PDU)
        connection = Connection(near, layer)
        far.sendall(accept_pdu([]).encode())
        answered = connection.next_event(SECONDS_MAX, SECONDS_MAX)
        assert isinstance(answered, AssociatePDU)
        accepted = associate.decode_associate_ac(answered.encoded)
        agreed = associate.AssociateAccept(accepted.contexts, type(accepted.user)(max_length=limit))
        association = ScuAssociation(connection, agreed, proposed, options)
        _say(far, stream)
        results = [association.store(instance) for _ in range(3)]
        try:
            association.echo()
        except (AssociationLostError, PeerRefusalError):
            pass
        association.release()
        association.abort()
        assert near.fileno() == -1
        heard = read_all(far)
    assert time.monotonic() - begin < SECONDS_MAX
    if limit:
        assert all(len(body) <= limit for kind, body in pdus_so_far(heard) if kind == 4)
    if not changes and results[0].status == 0:
        field_, message_id, uid, status = first_answer(stream)
        assert (field_, message_id, status) == (0x8001, b"\1\0", 0)
        assert uid in (b"", b"1.2.3")
    for result in results:
        assert (result.status is None) == bool(result.error and not result.error.startswith("0x"))


def pdus_so_far(data: bytes) -> list[tuple[int, bytes]]:
    """Return the PDUs in data, without half a PDU at the end."""
    position = 0
    while position + 6 <= len(data):
        length = int.from_bytes(data[position + 2 : position + 6], "big")
        if position + 6 + length > len(data):
            break
        position += 6 + length
    return pdus(data[:position])
