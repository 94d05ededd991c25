"""What a peer speaks that does not speak what it should, told by its first bytes."""

OPENING_BYTES = 8
TLS, PLAIN = "TLS", "DICOM without TLS"
_OPENINGS = {
    TLS: (b"\x16\x03", b"\x15\x03", b"\x80"),  # RFC 8446 5.1; hello of SSL 2 (RFC 5246 E.2)
    "HTTP": (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PRI * ", b"HTTP/"),
    "SSH": (b"SSH-",),
    PLAIN: (b"\x01\x00",),  # A-ASSOCIATE-RQ, PS3.8 9.3.2
}


def stranger(opening: bytes, expected: str) -> str:
    """Return what a peer speaks that opens like this; empty: as expected, or it cannot be told."""
    for protocol, openings in _OPENINGS.items():
        if opening.startswith(openings):
            return "" if protocol == expected else protocol
    return ""
