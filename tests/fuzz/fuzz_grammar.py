"""Conversations to fuzz with: trees of PDUs, items, PDVs and elements, then broken on purpose.

A conversation is written well formed, as a tree; a mutation takes one node of it and lies about its
length, changes its type, drops, doubles, swaps or truncates it. What comes out is nearly right, and
gets deeper than noise. Shares no code with the adapter but the UIDs of the Standard.
"""

import functools
import itertools
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXECUTIONS = int(os.environ.get("FUZZ_EXECUTIONS", "0"))
"""Of the core; 0: the short run of `make test`. The slower targets get a part of it."""

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # as the adapter does: it quotes peers

CT, VERIFICATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
ECHO_CONTEXT = 1
SYNTAXES = {3: EXPLICIT, 5: IMPLICIT, 7: BIG, 9: DEFLATED, 11: JPEG}
"""Context ids on which CT instances are offered, one transfer syntax each."""
MAX_PDU = 16384
DATA_BYTES_MAX = 6000


def fuzzing(part: int, short: int) -> settings:
    """Return hypothesis' settings: one part-th of the executions, or a short run."""
    return settings(
        max_examples=max(EXECUTIONS // part, 1) if EXECUTIONS else short,
        deadline=None, database=None, print_blob=True, derandomize=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@dataclass(slots=True, repr=False)
class Node:
    """A PDU, item, PDV or element: a header with a length, and what is inside."""

    form: str
    number: int
    body: "list[Node | bytes]" = field(default_factory=list)
    control: int = 0
    reserved: int = 0
    lie: int | None = None
    """What the length says instead of the truth."""

    def __repr__(self) -> str:
        inside = [x.hex() if isinstance(x, bytes) else x for x in self.body]
        return f"{self.form} {self.number:#x} {inside}"

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(repr(self))  # hypothesis' own way would fill pages

    def encode(self) -> bytes:
        inner = b"".join(x if isinstance(x, bytes) else x.encode() for x in self.body)
        length = len(inner) + (2 if self.form == "pdv" else 0) if self.lie is None else self.lie
        match self.form:
            case "pdu":
                return struct.pack(">BBI", self.number, self.reserved, length) + inner
            case "item":
                return struct.pack(">BBH", self.number, self.reserved, length & 0xFFFF) + inner
            case "pdv":
                return struct.pack(">IBB", length, self.number, self.control) + inner
            case _:
                group, element = self.number >> 16, self.number & 0xFFFF
                return struct.pack("<HHI", group, element, length) + inner

    def walk(self) -> "Iterator[tuple[list[Node | bytes], int]]":
        """Yield (list, index) of every node below this one."""
        for index, child in enumerate(self.body):
            if isinstance(child, Node):
                yield self.body, index
                yield from child.walk()


def item(kind: int, *body: Node | bytes) -> Node:
    return Node("item", kind, list(body))


def pdu(kind: int, *body: Node | bytes) -> Node:
    return Node("pdu", kind, list(body))


def us(tag: int, value: int) -> Node:
    return Node("element", tag, [struct.pack("<H", value)])


def ui(tag: int, value: str) -> Node:
    raw = value.encode()
    return Node("element", tag, [raw + b"\0" * (len(raw) & 1)])


# --- the pieces of a conversation, well formed


def user_information(extras: list[Node]) -> Node:
    return item(0x50, item(0x51, MAX_PDU.to_bytes(4, "big")), item(0x52, b"1.2.3.4.5"), *extras)


USER_ITEMS = st.sampled_from([
    (0x53, b"\0\5\0\5"), (0x54, b"\0\x0a1.2.840.10\1\1"), (0x55, b"PEER_1"),
    (0x56, b"\0\x0a1.2.840.10\2\0"), (0x57, b"\0\x0a1.2.840.10\0\x031.2\0\0"),
    (0x58, b"\2\1\0\4name\0\4word"), (0x59, b"\0\0"), (0x99, b"new"), (0xEE, b""),
])  # fmt: skip


def request(extras: list[tuple[int, bytes]]) -> Node:
    """Return A-ASSOCIATE-RQ."""
    contexts = [(ECHO_CONTEXT, VERIFICATION, [IMPLICIT])]
    contexts += [(number, CT, [syntax]) for number, syntax in SYNTAXES.items()]
    return pdu(
        1, b"\0\1\0\0", b"MAIN".ljust(16), b"FUZZ".ljust(16), bytes(32),
        item(0x10, APPLICATION_CONTEXT.encode()),
        *(
            item(0x20, bytes((number, 0, 0, 0)), item(0x30, abstract.encode()),
                 *(item(0x40, syntax.encode()) for syntax in syntaxes))
            for number, abstract, syntaxes in contexts
        ),
        user_information([item(kind, value) for kind, value in extras]),
    )  # fmt: skip


def accept(extras: list[tuple[int, bytes]]) -> Node:
    """Return A-ASSOCIATE-AC that takes everything `request` offers."""
    contexts = [(ECHO_CONTEXT, IMPLICIT), *SYNTAXES.items()]
    return pdu(
        2, b"\0\1\0\0", b"PEER".ljust(16), b"MAIN".ljust(16), bytes(32),
        item(0x10, APPLICATION_CONTEXT.encode()),
        *(
            item(0x21, bytes((number, 0, 0, 0)), item(0x40, syntax.encode()))
            for number, syntax in contexts
        ),
        user_information([item(kind, value) for kind, value in extras]),
    )  # fmt: skip


def fragmented(context: int, control: int, content: list[Node | bytes], cuts: list[int]) -> Node:
    """Return one P-DATA-TF with the content in one PDV, or as bytes in several."""
    if not cuts:
        return pdu(4, Node("pdv", context, content, control=control | 2))
    raw = b"".join(x if isinstance(x, bytes) else x.encode() for x in content)
    places = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    pieces = [raw[a:b] for a, b in itertools.pairwise(places)]
    last = len(pieces) - 1
    return pdu(4, *(
        Node("pdv", context, [piece], control=control | (2 if n == last else 0))
        for n, piece in enumerate(pieces)
    ))  # fmt: skip


def command(context: int, elements: list[Node], cuts: list[int]) -> Node:
    length = sum(len(element.encode()) for element in elements)
    group_length = Node("element", 0, [length.to_bytes(4, "little")])
    return fragmented(context, 1, [group_length, *elements], cuts)


def store(context: int, message_id: int, uid: str, cuts: list[int]) -> Node:
    """Return C-STORE-RQ; its data set follows as PDUs of their own."""
    return command(context, [
        ui(0x0002, CT), us(0x0100, 1), us(0x0110, message_id), us(0x0700, 0), us(0x0800, 1),
        ui(0x1000, uid),
    ], cuts)  # fmt: skip


def echo(message_id: int, field: int, cuts: list[int]) -> Node:
    """Return C-ECHO-RQ, or another request without a data set."""
    number = us(0x0120 if field == 0x0FFF else 0x0110, message_id)
    return command(ECHO_CONTEXT, [
        ui(0x0002, VERIFICATION), us(0x0100, field), number, us(0x0800, 0x0101),
    ], cuts)  # fmt: skip


def response(context: int, field: int, message_id: int, status: int, uid: str) -> Node:
    """Return a response, as a peer of our SCU gives it."""
    elements = [
        ui(0x0002, CT if uid else VERIFICATION), us(0x0100, field), us(0x0120, message_id),
        us(0x0800, 0x0101), us(0x0900, status),
    ]  # fmt: skip
    return command(context, elements + ([ui(0x1000, uid)] if uid else []), [])


def pdata(context: int, data: bytes, step: int) -> list[Node]:
    """Return a data set as P-DATA-TF PDUs."""
    starts = range(0, max(len(data), 1), step)
    return [
        pdu(4, Node("pdv", context, [data[at : at + step]], control=2 * (at + step >= len(data))))
        for at in starts
    ]


# --- data sets


def tiny(uid: str, *, big: bool = False) -> bytes:
    """Return a small CT data set in Explicit VR."""
    order = ">" if big else "<"
    found = b""
    for tag, value in ((0x00080016, CT), (0x00080018, uid), (0x0020000D, "1.2"), (0x0020000E, "1")):
        raw = value.encode() + b"\0" * (len(value) & 1)
        found += struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, b"UI", len(raw)) + raw
    return found


def _implicit(uid: str) -> bytes:
    pairs = ((0x00080016, CT), (0x00080018, uid), (0x0020000D, "1.2"), (0x0020000E, "1.3"))
    return b"".join(ui(tag, value).encode() for tag, value in pairs)


def deflated(data: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


def good(context: int, uid: str) -> bytes:
    """Return a data set that must be stored on this context."""
    match SYNTAXES[context]:
        case syntax if syntax == IMPLICIT:
            return _implicit(uid)
        case syntax if syntax == BIG:
            return tiny(uid, big=True)
        case syntax if syntax == DEFLATED:
            return deflated(tiny(uid))
    return tiny(uid)


@functools.cache
def real() -> list[tuple[int, str, bytes]]:
    """Return (context id, SOP Instance UID, first bytes of the data set) of pydicom's own files."""
    by_syntax = {syntax: number for number, syntax in SYNTAXES.items()}
    found = []
    for path in sorted((Path(pydicom.__file__).parent / "data").rglob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                meta = pydicom.filereader.read_file_meta_info(path)
            except Exception:
                continue
        raw = path.read_bytes()
        if "FileMetaInformationGroupLength" not in meta:
            continue
        start = 144 + int(meta.FileMetaInformationGroupLength)
        context = by_syntax.get(str(meta.get("TransferSyntaxUID", "")), 11)
        uid = str(meta.get("MediaStorageSOPInstanceUID", "1.2.3"))
        found.append((context, uid, raw[start : start + DATA_BYTES_MAX]))
    assert len(found) > 50
    return found


places = st.lists(st.tuples(st.integers(0, DATA_BYTES_MAX), st.integers(0, 255)), max_size=3)
sequences = st.builds(
    lambda depth, undefined: b"".join(
        struct.pack("<HH2sxxI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF if undefined else 8)
        for _ in range(depth)
    ),
    st.integers(0, 90), st.booleans(),
)  # fmt: skip


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[int, str, bytes]:
    """Draw (context id, UID of the command, data set): good, real, damaged or noise."""
    context = draw(st.sampled_from(sorted(SYNTAXES)))
    uid = f"1.2.3.{draw(st.integers(1, 50))}"
    match draw(st.integers(0, 5)):
        case 0 | 1:
            return context, uid, good(context, uid)
        case 2 | 3:
            context, uid, data = draw(st.sampled_from(real()))
        case 4:
            data = good(context, uid)[:60] + draw(sequences) + good(context, uid)[60:]
        case _:
            data = draw(st.binary(max_size=60))
    raw = bytearray(data)
    for place, value in draw(places):
        if raw:
            raw[place % len(raw)] = value
    cut = draw(st.one_of(st.none(), st.integers(0, DATA_BYTES_MAX)))
    return context, uid, bytes(raw[:cut])


# --- breaking it

OPERATIONS = (
    "lie",
    "type",
    "drop",
    "double",
    "swap",
    "truncate",
    "reserved",
    "control",
    "stretch",
    "noise",
)
mutations = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(OPERATIONS), st.integers(0, 0xFFFFFFFF)),
    max_size=4,
)
pieces = st.lists(st.integers(1, 3000), min_size=1, max_size=5)
cuts = st.lists(st.integers(0, 200), max_size=3)


def broken(nodes: list[Node], changes: list[tuple[int, str, int]]) -> bytes:
    """Return the encoding of the nodes after these changes, which it carries out on them."""
    root = Node("pdu", 0, list(nodes))
    for place, operation, value in changes:
        found = list(root.walk())
        if found:
            siblings, index = found[place % len(found)]
            _change(siblings, index, operation, value)
    return b"".join(x if isinstance(x, bytes) else x.encode() for x in root.body)


def _change(siblings: list[Node | bytes], index: int, operation: str, value: int) -> None:
    node = siblings[index]
    assert isinstance(node, Node)
    whole = node.encode()
    match operation:
        case "lie":
            lies = (0, 1, 5, len(whole), len(whole) - 7, 0xFFFF, 0xFFFFFFFF, value)
            node.lie = max(lies[value % 8], 0)
        case "type":
            node.number = value % 256 if node.form != "element" else value % 0x2000
        case "drop":
            del siblings[index]
        case "double":
            siblings.insert(index, whole)
        case "swap":
            other = value % len(siblings)
            siblings[index], siblings[other] = siblings[other], siblings[index]
        case "truncate":
            siblings[index] = whole[: value % (len(whole) + 1)]
        case "reserved":
            node.reserved = value % 256
        case "control":
            node.control = value % 256
        case "stretch":
            node.body.append(bytes(value % 70_000))
        case _:
            node.body = [value.to_bytes(4, "big")]
