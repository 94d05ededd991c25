"""C-STORE requests cut into PDUs before the clock starts: to send one is to join a few bytes.

The instances of a study differ in two places only, message id and SOP Instance UID, and all of them
share their pixels and the PDU headers between the pixels.
"""

from struct import Struct

from adapter.protocols.dimse import command_set, pdu
from adapter.protocols.dimse.fragments import fragments
from benchmarks.instances import INSTANCE, Template

CONTEXT = 1
PDU_BYTES_MAX = 1 << 20
"""Longest PDU sent to a peer that sets no limit."""
JOINED_BYTES_MAX = 64 << 20
"""Up to here the PDUs behind the first one are kept as one piece of memory."""
Views = list[bytes | memoryview]

_US = Struct("<H")
_ID = b"\0\0\x10\x01\2\0\0\0"  # (0000,0110) Message ID, 2 bytes
_tails: dict[tuple[int, int, int], Views] = {}


class Cut:
    """The C-STORE requests of one study, for a peer that wants PDUs of a certain length."""

    def __init__(self, template: Template, max_length: int) -> None:
        """Cut.

        Args:
            template: Of the study's instances.
            max_length: What the peer announced (PS3.8 D.1); 0: no limit.
        """
        assert max_length == 0 or max_length >= 1024, "the UID would be cut in two"
        step = (min(max_length or PDU_BYTES_MAX, PDU_BYTES_MAX) - 6) & ~1
        head, tail = memoryview(template.head), template.tail
        command = command_set.store_request(CONTEXT, 1, template.sop_class_uid, INSTANCE.decode())
        room = max(step - len(head), 0)
        first, rest = tail[:room], tail[room:]
        if len(head) <= step:
            size, control = len(head) + len(first), 0 if rest else 2
            header = pdu.P_DATA_HEADER.pack(pdu.P_DATA_TF, size + 6, size + 2, CONTEXT, control)
            data: Views = [header, head]
        else:
            data = list(fragments(head, CONTEXT, step, last=not rest))
        blob = b"".join([command, *data])
        at_id = command.index(_ID) + len(_ID)
        self._before_id, remainder = blob[:at_id], blob[at_id + 2 :]
        self._between = remainder.split(INSTANCE)
        assert len(self._between) == 3, "command and data set name the instance once each"
        self._tail = _shared_tail(first, rest, step)

    def message(self, message_id: int, sop_instance_uid: bytes) -> Views:
        """Return a request as views; the list is the caller's."""
        blob = sop_instance_uid.join(self._between)
        return [b"".join((self._before_id, _US.pack(message_id), blob)), *self._tail]


def stock_writes(message: Views) -> Views:
    """Return a message as stock senders write it: each PDU's headers, then its data."""
    whole = memoryview(b"".join(message))
    writes: Views = []
    position = 0
    while position < len(whole):
        body = position + pdu.P_DATA_HEADER.size
        end = position + 6 + int.from_bytes(whole[position + 2 : position + 6], "big")
        writes += [whole[position:body], whole[body:end]]
        position = end
    return writes


def _shared_tail(first: memoryview, rest: memoryview, step: int) -> Views:
    """Return what follows the first PDU's head, one copy for all who ask for the same."""
    key = (len(first), len(rest), step)
    if key not in _tails:
        views: Views = [first] if first else []
        views += fragments(rest, CONTEXT, step, last=True)
        small = len(first) + len(rest) <= JOINED_BYTES_MAX
        _tails[key] = [memoryview(b"".join(views))] if views and small else views
    return list(_tails[key])
