"""Variable items of A-ASSOCIATE PDUs (PS3.8 9.3.2): what pynetdicom's codecs get to read."""

from collections.abc import Callable, Iterator

from adapter.domain.identifiers import is_uid

# PS3.8 9.3.2: items of A-ASSOCIATE-RQ
APPLICATION_CONTEXT, PRESENTATION_CONTEXT_RQ, PRESENTATION_CONTEXT_AC = 0x10, 0x20, 0x21
ABSTRACT_SYNTAX, TRANSFER_SYNTAX = 0x30, 0x40
USER_INFORMATION, MAXIMUM_LENGTH = 0x50, 0x51


class MalformedPDUError(Exception):
    """The peer sent an association PDU that cannot be understood."""


def items(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (type, value, whole item) of items with a two-byte length (PS3.8 9.3.2.1)."""
    position = 0
    while position < len(data):
        end = position + 4 + int.from_bytes(data[position + 2 : position + 4], "big")
        if position + 4 > len(data) or end > len(data):
            raise MalformedPDUError("an item is longer than the PDU")
        yield data[position], data[position + 4 : end], data[position:end]
        position = end


def understood(tail: bytes) -> bytes:
    """Return the reserved bytes and variable items of a request, without what means nothing to us.

    Unknown items are to be ignored (PS3.8 9.3.1), and no text of a peer that is not a UID reaches a
    library that prints what it does not like.
    """
    kept = [tail[:32]]
    for kind, value, whole in items(tail[32:]):
        if kind == USER_INFORMATION:
            kept.append(_item(kind, _kept(value, lambda sub, _: sub == MAXIMUM_LENGTH)))
        elif kind == PRESENTATION_CONTEXT_RQ:
            kept.append(_item(kind, value[:4] + _kept(value[4:], _is_syntax)))
        elif kind == APPLICATION_CONTEXT:
            kept.append(whole if is_uid(uid_text(value)) else _item(kind, b"0"))
    return b"".join(kept)


def _is_syntax(kind: int, value: bytes) -> bool:
    if kind == ABSTRACT_SYNTAX and not is_uid(uid_text(value)):
        raise MalformedPDUError("an abstract syntax that is no UID")
    return is_uid(uid_text(value))


def _kept(encoded: bytes, wanted: Callable[[int, bytes], bool]) -> bytes:
    return b"".join(whole for kind, value, whole in items(encoded) if wanted(kind, value))


def _item(kind: int, value: bytes) -> bytes:
    return bytes((kind, 0)) + len(value).to_bytes(2, "big") + value


def uid_text(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", "replace")
