"""Data sets as P-DATA-TF PDUs (PS3.8 9.3.5): headers by hand, the data as views, nothing copied."""

from collections.abc import Iterator

from adapter.protocols.dimse import pdu

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
    end = len(data)
    for position in range(0, end, step):
        piece = data[position : position + step]
        size = len(piece)
        control = _LAST_DATA if last and position + size == end else _MORE_DATA
        yield pdu.P_DATA_HEADER.pack(pdu.P_DATA_TF, size + 6, size + 2, context_id, control)
        yield piece
