"""Variable items of A-ASSOCIATE PDUs (PS3.8 9.3.2, PS3.7 D.3.3): type, length, value.

Rules: a length that lies ends the association; what is not known by its type, and every reserved
byte, is ignored (PS3.8 9.3.1).
"""

from collections.abc import Iterator

# PS3.8 9.3.2, 9.3.3
APPLICATION_CONTEXT = 0x10
PRESENTATION_CONTEXT_RQ, PRESENTATION_CONTEXT_AC = 0x20, 0x21
ABSTRACT_SYNTAX, TRANSFER_SYNTAX, USER_INFORMATION = 0x30, 0x40, 0x50
# PS3.8 D.1, PS3.7 D.3.3
MAXIMUM_LENGTH = 0x51
IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME = 0x52, 0x55
ASYNCHRONOUS_OPERATIONS_WINDOW, ROLE_SELECTION, EXTENDED_NEGOTIATION = 0x53, 0x54, 0x56
USER_IDENTITY_RQ, USER_IDENTITY_AC = 0x58, 0x59


class MalformedPDUError(Exception):
    """The peer sent an association PDU that cannot be understood."""


def items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of items with a two-byte length (PS3.8 9.3.2.1).

    Raises:
        MalformedPDUError: An item is longer than what it is part of.
    """
    position, end_of_data = 0, len(data)
    while position < end_of_data:
        end = position + 4 + int.from_bytes(data[position + 2 : position + 4], "big")
        if position + 4 > end_of_data or end > end_of_data:
            raise MalformedPDUError("an item is longer than what it is part of")
        yield data[position], data[position + 4 : end]
        position = end


def item(kind: int, value: bytes) -> bytes:
    """Return an item with its header."""
    return bytes((kind, 0)) + len(value).to_bytes(2, "big") + value


def counted(value: bytes) -> bytes:
    """Return value behind its length in two bytes, as some sub-items nest it (PS3.7 D.3.3)."""
    return len(value).to_bytes(2, "big") + value


def take_counted(data: bytes, position: int) -> tuple[bytes, int]:
    """Return the value that `counted` wrote at position, and the position behind it.

    Raises:
        MalformedPDUError: It is longer than data.
    """
    start = position + 2
    end = start + int.from_bytes(data[position:start], "big")
    if start > len(data) or end > len(data):
        raise MalformedPDUError("a field is longer than its item")
    return data[start:end], end


def uid_text(value: bytes) -> str:
    """Return a UID without padding; what is not ASCII is replaced, so it is no UID any more."""
    return value.rstrip(b"\0 ").decode("ascii", "replace")
