"""Protocol Data Units (PS3.8 9.3): the headers by hand, association items by pynetdicom's codecs.

What happens once per association goes through pynetdicom; P-DATA-TF is read in `upper_layer`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext

from adapter.domain.identifiers import is_ae_title, is_uid
from adapter.protocols.dimse.items import (
    MAXIMUM_LENGTH,
    PRESENTATION_CONTEXT_AC,
    TRANSFER_SYNTAX,
    USER_INFORMATION,
    MalformedPDUError,
    items,
    uid_text,
    understood,
)

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

HEADER = Struct(">BxI")
P_DATA_HEADER = Struct(">BxIIBB")
"""PDU type and length, then length, context id and control header of the first PDV."""

ASSOCIATE_LENGTH_MAX = 1 << 20
"""Ceiling of an A-ASSOCIATE PDU in bytes; 128 contexts with 20 syntaxes each need about 90 kB."""
CONTEXTS_MAX = 128  # odd ids of one byte, PS3.8 9.3.2.2

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
IMPLEMENTATION_CLASS_UID = "2.25.190438765120933581279246171504268203391"
IMPLEMENTATION_VERSION_NAME = "DICOM_ADAPTER_01"

# PS3.8 9.3.8: sources of A-ABORT and reasons of the service provider
BY_USER, BY_PROVIDER = 0, 2
UNRECOGNIZED_PDU, UNEXPECTED_PDU = 1, 2
UNEXPECTED_PARAMETER, INVALID_PARAMETER = 5, 6

RELEASE_RQ_PDU = HEADER.pack(RELEASE_RQ, 4) + bytes(4)
RELEASE_RP_PDU = HEADER.pack(RELEASE_RP, 4) + bytes(4)


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context of A-ASSOCIATE-RQ (PS3.8 9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2)."""

    called_ae_title: str
    calling_ae_title: str
    application_context: str
    protocol_version: int
    contexts: tuple[ProposedContext, ...]
    max_length: int
    """Longest P-DATA-TF the peer wants to receive, in bytes; 0: no limit."""


@dataclass(frozen=True, slots=True)
class ContextResult:
    """The answer to a proposed context: result 0 is acceptance (PS3.8 9.3.3.2)."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    result: int


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """A-ASSOCIATE-AC (PS3.8 9.3.3), as far as a requestor needs it."""

    contexts: dict[int, tuple[int, str]]
    """(result, transfer syntax) by context id."""
    max_length: int


def abort(source: int, reason: int) -> bytes:
    """Return A-ABORT (PS3.8 9.3.8)."""
    return HEADER.pack(ABORT, 4) + bytes((0, 0, source, reason))


def associate_rj(result: int, source: int, reason: int) -> bytes:
    """Return A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return HEADER.pack(ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))


def decode_associate_rq(pdu: bytes) -> AssociateRequest:
    """Decode a whole A-ASSOCIATE-RQ.

    Unknown user information items and all bits of the protocol version but the lowest are ignored,
    as PS3.8 9.3.2 asks.

    Raises:
        MalformedPDUError: With a reason fit for a log.
    """
    if len(pdu) < 74:
        raise MalformedPDUError("A-ASSOCIATE-RQ is shorter than its fixed fields")
    titles = [_ae_title(pdu[10:26]), _ae_title(pdu[26:42])]
    neutral = pdu[:10] + b"NEUTRAL".ljust(16) * 2 + understood(pdu[42:])
    try:
        decoded = A_ASSOCIATE_RQ()
        decoded.decode(HEADER.pack(ASSOCIATE_RQ, len(neutral) - 6) + neutral[6:])
        contexts = tuple(
            ProposedContext(
                item.presentation_context_id or 0,
                str(item.abstract_syntax or ""),
                tuple(str(uid) for uid in item.transfer_syntax),
            )
            for item in decoded.presentation_context
        )
        user = decoded.user_information
        max_length = (user.maximum_length if user else 0) or 0
        application_context = str(decoded.application_context_name or "")
    except Exception as error:  # pynetdicom raises whatever its parsing meets
        raise MalformedPDUError(f"A-ASSOCIATE-RQ: {type(error).__name__}") from error
    _check_contexts(contexts)
    if 0 < max_length < 8:
        raise MalformedPDUError("maximum length leaves no room for a fragment")
    return AssociateRequest(
        called_ae_title=titles[0],
        calling_ae_title=titles[1],
        application_context=application_context,
        protocol_version=int.from_bytes(pdu[6:8], "big"),
        contexts=contexts,
        max_length=max_length,
    )


def _check_contexts(contexts: Sequence[ProposedContext]) -> None:
    if not contexts:
        raise MalformedPDUError("no presentation context")
    if len({context.id for context in contexts}) != len(contexts):
        raise MalformedPDUError("a presentation context id is used twice")
    for context in contexts:
        if context.id % 2 == 0:
            raise MalformedPDUError("an even presentation context id")
        if not is_uid(context.abstract_syntax):
            raise MalformedPDUError("an abstract syntax that is no UID")


def _ae_title(raw: bytes) -> str:
    """Return the title stripped of spaces, or an empty string if it is not one."""
    text = raw.decode("ascii", "replace").strip(" ")
    return text if is_ae_title(text) else ""


def _user_information(
    max_pdu: int,
) -> Iterator[
    MaximumLengthNotification
    | ImplementationClassUIDNotification
    | ImplementationVersionNameNotification
]:
    length = MaximumLengthNotification()
    length.maximum_length_received = max_pdu
    yield length
    uid = ImplementationClassUIDNotification()
    uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    yield uid
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    yield version


def encode_associate_ac(
    request_pdu: bytes, results: Sequence[ContextResult], max_pdu: int
) -> bytes:
    """Return A-ASSOCIATE-AC (PS3.8 9.3.3).

    Args:
        request_pdu: The A-ASSOCIATE-RQ it answers; AE Titles are sent back byte for byte.
        results: One for each proposed context.
        max_pdu: Longest P-DATA-TF we want to receive, in bytes.
    """
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title = primitive.called_ae_title = "NEUTRAL"
    primitive.result = 0
    primitive.result_source = 1
    primitive.presentation_context_definition_results_list = [_context(r) for r in results]
    primitive.user_information = [*_user_information(max_pdu)]
    encoded: bytes = A_ASSOCIATE_AC(primitive).encode()
    return encoded[:10] + request_pdu[10:42] + encoded[42:]


def _context(result: ContextResult) -> PresentationContext:
    context = PresentationContext()
    context.context_id = result.id
    context.abstract_syntax = result.abstract_syntax
    context.transfer_syntax = [result.transfer_syntax]
    context.result = result.result
    return context


def encode_associate_rq(
    called: str, calling: str, contexts: Sequence[tuple[int, str, Sequence[str]]], max_pdu: int
) -> bytes:
    """Return A-ASSOCIATE-RQ (PS3.8 9.3.2).

    Args:
        called: AE Title of the destination.
        calling: Our AE Title.
        contexts: (id, abstract syntax, transfer syntaxes), at most 128.
        max_pdu: Longest P-DATA-TF we want to receive, in bytes.
    """
    assert 0 < len(contexts) <= CONTEXTS_MAX
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    definitions = []
    for context_id, abstract_syntax, transfer_syntaxes in contexts:
        context = PresentationContext()
        context.context_id = context_id
        context.abstract_syntax = abstract_syntax
        context.transfer_syntax = list(transfer_syntaxes)
        definitions.append(context)
    primitive.presentation_context_definition_list = definitions
    primitive.user_information = [*_user_information(max_pdu)]
    encoded: bytes = A_ASSOCIATE_RQ(primitive).encode()
    return encoded


def decode_associate_ac(pdu: bytes) -> AssociateAccept:
    """Decode a whole A-ASSOCIATE-AC.

    Raises:
        MalformedPDUError: With a reason fit for a log.
    """
    contexts: dict[int, tuple[int, str]] = {}
    max_length = 0
    for kind, value, _ in items(pdu[74:]):
        if kind == PRESENTATION_CONTEXT_AC and len(value) >= 4:
            syntax = next((v for k, v, _ in items(value[4:]) if k == TRANSFER_SYNTAX), b"")
            contexts[value[0]] = (value[2], uid_text(syntax))
        elif kind == USER_INFORMATION:
            for sub, data, _ in items(value):
                if sub == MAXIMUM_LENGTH and len(data) == 4:
                    max_length = int.from_bytes(data, "big")
    if not contexts:
        raise MalformedPDUError("A-ASSOCIATE-AC without a presentation context")
    return AssociateAccept(contexts, max_length)
