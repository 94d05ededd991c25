"""Protocol Data Units of fixed length, and the headers of all (PS3.8 9.3)."""

from struct import Struct

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

HEADER = Struct(">BxI")
P_DATA_HEADER = Struct(">BxIIBB")
"""PDU type and length, then length, context id and control header of the first PDV."""

ASSOCIATE_LENGTH_MAX = 1 << 20
"""Ceiling of an A-ASSOCIATE PDU in bytes; 128 contexts with 20 syntaxes each need about 90 kB."""

# PS3.8 9.3.8: sources of A-ABORT and reasons of the service provider
BY_USER, BY_PROVIDER = 0, 2
UNRECOGNIZED_PDU, UNEXPECTED_PDU = 1, 2
UNEXPECTED_PARAMETER, INVALID_PARAMETER = 5, 6

RELEASE_RQ_PDU = HEADER.pack(RELEASE_RQ, 4) + bytes(4)
RELEASE_RP_PDU = HEADER.pack(RELEASE_RP, 4) + bytes(4)


def abort(source: int, reason: int) -> bytes:
    """Return A-ABORT (PS3.8 9.3.8)."""
    return HEADER.pack(ABORT, 4) + bytes((0, 0, source, reason))


def associate_rj(result: int, source: int, reason: int) -> bytes:
    """Return A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return HEADER.pack(ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))
