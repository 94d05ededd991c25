"""Data sets as P-DATA-TF PDUs (PS3.8 9.3.5): headers by hand, the data as views, nothing copied."""

from collections.abc import Iterator

from adapter.domain.records import OutgoingInstance
from adapter.domain.transfer_syntaxes import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
from adapter.protocols.dimse import pdu
from adapter.protocols.dimse.file_meta import NotPart10Error

READ_BYTES = 1 << 20
"""So much of a file is read at a time: what an association takes, however long its files."""
FRAGMENT_BYTES_MAX = 256 << 10
_FRAGMENTS_MAX = 500
"""Of a peer that takes small ones only, so many go out at a time: a header and a piece each."""
_LAST_DATA, _MORE_DATA = 2, 0  # PS3.8 E.2


def fragments(
    data: memoryview, context_id: int, step: int, *, last: bool
) -> Iterator[bytes | memoryview]:
    """Yield headers and pieces of data, one PDV to a PDU.

    Args:
        data: The next part of a data set.
        context_id: Of the presentation context.
        step: Most bytes of data in a PDU; even, so that every fragment is.
        last: The data set ends with `data`.
    """
    if not data:
        return
    before = (len(data) - 1) // step * step  # where the final piece begins
    header = pdu.P_DATA_HEADER.pack(pdu.P_DATA_TF, step + 6, step + 2, context_id, _MORE_DATA)
    for position in range(0, before, step):
        yield header
        yield data[position : position + step]
    size = len(data) - before
    control = _LAST_DATA if last else _MORE_DATA
    yield pdu.P_DATA_HEADER.pack(pdu.P_DATA_TF, size + 6, size + 2, context_id, control)
    yield data[before:]


class OutgoingDataSets:
    """Reads the data sets of files as fragments; one buffer for all files of an association."""

    def __init__(self, max_length: int) -> None:
        """Fragment for a peer that takes P-DATA-TF of max_length bytes; 0: no limit."""
        self.fragment_bytes = FRAGMENT_BYTES_MAX
        if max_length:
            # An even number of bytes behind each PDV header (PS3.8 9.3.5.1: even fragments).
            self.fragment_bytes = max(min(max_length - 6, FRAGMENT_BYTES_MAX) & ~1, 2)
        self._buffer = bytearray(0)

    def read(
        self, instance: OutgoingInstance, context_id: int
    ) -> Iterator[list[memoryview | bytes]]:
        """Yield what belongs together in one system call; valid until the next.

        Raises:
            NotPart10Error: The file became shorter meanwhile.
            OSError: It cannot be read.
        """
        with open(instance.path, "rb", buffering=0) as file:
            left = file.seek(0, 2) - instance.data_set_offset
            file.seek(instance.data_set_offset)
            # A deflated data set of odd length is stored as it came, and sent padded (PS3.5 A.5).
            padding = (
                left & 1 and instance.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            )
            while left:
                at_once = min(left, READ_BYTES, _FRAGMENTS_MAX * self.fragment_bytes)
                if len(self._buffer) <= at_once:
                    self._buffer = bytearray(at_once + 1)
                count = file.readinto(memoryview(self._buffer)[:at_once])
                if not count:
                    raise NotPart10Error("the file became shorter while it was sent")
                left -= count
                if padding and not left:
                    self._buffer[count] = 0
                    count += 1
                piece = memoryview(self._buffer)[:count]
                yield [*fragments(piece, context_id, self.fragment_bytes, last=not left)]
