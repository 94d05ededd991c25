"""A-ASSOCIATE-RQ and -AC (PS3.8 9.3.2, 9.3.3), both ways; the -RJ has four bytes, see `pdu`.

By hand since ADR 10: pynetdicom's codecs cost more than the rest of an association's set-up, refuse
items that the Standard says to ignore, and print what a peer sends. They are the peer in the tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapter.domain.dimse_ports import CONTEXTS_MAX
from adapter.domain.identifiers import is_ae_title, is_uid
from adapter.protocols.dimse import user_information
from adapter.protocols.dimse.items import (
    ABSTRACT_SYNTAX,
    APPLICATION_CONTEXT,
    PRESENTATION_CONTEXT_AC,
    PRESENTATION_CONTEXT_RQ,
    TRANSFER_SYNTAX,
    USER_INFORMATION,
    MalformedPDUError,
    item,
    items,
    uid_text,
)
from adapter.protocols.dimse.pdu import ASSOCIATE_AC, ASSOCIATE_RQ, HEADER
from adapter.protocols.dimse.user_information import Role, UserInformation

DICOM_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
PROTOCOL_VERSION = 1
_FIXED_BYTES = 74  # header and fixed fields, PS3.8 9.3.2
_TITLES = slice(10, 42)
_RESERVED = bytes(32)


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
    user: UserInformation


@dataclass(frozen=True, slots=True)
class ContextResult:
    """The answer to a proposed context: result 0 is acceptance (PS3.8 9.3.3.2)."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    result: int


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """A-ASSOCIATE-AC (PS3.8 9.3.3)."""

    contexts: Mapping[int, tuple[int, str]]
    """(result, transfer syntax) by context id."""
    user: UserInformation


def decode_associate_rq(pdu: bytes) -> AssociateRequest:
    """Decode a whole A-ASSOCIATE-RQ.

    AE Titles come without padding; one that is none is an empty string.

    Raises:
        MalformedPDUError: With a reason fit for a log.
    """
    if len(pdu) < _FIXED_BYTES:
        raise MalformedPDUError("A-ASSOCIATE-RQ is shorter than its fixed fields")
    contexts: dict[int, ProposedContext] = {}
    application_context, user = "", UserInformation()
    for kind, value in items(pdu[_FIXED_BYTES:]):
        if kind == PRESENTATION_CONTEXT_RQ:
            if value[:1] and value[0] in contexts:  # at once: a MiB of them is a second's work
                raise MalformedPDUError("a presentation context id is used twice")
            context = _proposed(value)
            contexts[context.id] = context
        elif kind == APPLICATION_CONTEXT:
            application_context = uid_text(value)
        elif kind == USER_INFORMATION:
            user = user_information.decode(value)
    if not contexts:
        raise MalformedPDUError("no presentation context")
    return AssociateRequest(
        called_ae_title=_ae_title(pdu[10:26]),
        calling_ae_title=_ae_title(pdu[26:42]),
        application_context=application_context,
        protocol_version=int.from_bytes(pdu[6:8], "big"),
        contexts=tuple(contexts.values()),
        user=user,
    )


def _proposed(value: bytes) -> ProposedContext:
    if len(value) < 4 or value[0] % 2 == 0:
        raise MalformedPDUError("an even presentation context id")
    abstract_syntax, syntaxes = "", []
    for kind, uid in items(value[4:]):
        if kind == ABSTRACT_SYNTAX:
            abstract_syntax = uid_text(uid)
        elif kind == TRANSFER_SYNTAX and is_uid(syntax := uid_text(uid)):
            syntaxes.append(syntax)
    if not is_uid(abstract_syntax):
        raise MalformedPDUError("an abstract syntax that is no UID")
    return ProposedContext(value[0], abstract_syntax, tuple(syntaxes))


def _ae_title(raw: bytes) -> str:
    text = raw.decode("ascii", "replace").strip(" ")
    return text if is_ae_title(text) else ""


def decode_associate_ac(pdu: bytes) -> AssociateAccept:
    """Decode a whole A-ASSOCIATE-AC.

    Raises:
        MalformedPDUError: With a reason fit for a log.
    """
    contexts: dict[int, tuple[int, str]] = {}
    user = UserInformation()
    for kind, value in items(pdu[_FIXED_BYTES:]):
        if kind == PRESENTATION_CONTEXT_AC and len(value) >= 4:
            syntax = next((uid for sub, uid in items(value[4:]) if sub == TRANSFER_SYNTAX), b"")
            contexts[value[0]] = (value[2], uid_text(syntax))
        elif kind == USER_INFORMATION:
            user = user_information.decode(value)
    if not contexts:
        raise MalformedPDUError("A-ASSOCIATE-AC without a presentation context")
    return AssociateAccept(contexts, user)


def encode_associate_rq(
    called: str,
    calling: str,
    contexts: Sequence[ProposedContext],
    max_pdu: int,
    roles: Mapping[str, Role] | None = None,
) -> bytes:
    """Return A-ASSOCIATE-RQ.

    Args:
        called: AE Title of the peer.
        calling: Our AE Title.
        contexts: At most 128.
        max_pdu: Longest P-DATA-TF we want to receive, in bytes.
        roles: Of those SOP classes in which we are not just SCU.
    """
    assert 0 < len(contexts) <= CONTEXTS_MAX
    titles = called.ljust(16).encode("ascii") + calling.ljust(16).encode("ascii")
    encoded = (_proposal(context) for context in contexts)
    user = user_information.encode_rq(max_pdu, roles or {})
    return _associate(ASSOCIATE_RQ, titles, b"".join(encoded), user)


def encode_associate_ac(request_pdu: bytes, results: Sequence[ContextResult], user: bytes) -> bytes:
    """Return A-ASSOCIATE-AC.

    Args:
        request_pdu: The A-ASSOCIATE-RQ it answers; AE Titles are sent back byte for byte.
        results: One for each proposed context.
        user: Sub-items of the user information, see `user_information.encode_ac`.
    """
    encoded = (_result(result) for result in results)
    return _associate(ASSOCIATE_AC, request_pdu[_TITLES], b"".join(encoded), user)


def _proposal(context: ProposedContext) -> bytes:
    names = [item(ABSTRACT_SYNTAX, context.abstract_syntax.encode("ascii"))]
    names += (item(TRANSFER_SYNTAX, uid.encode("ascii")) for uid in context.transfer_syntaxes)
    return item(PRESENTATION_CONTEXT_RQ, bytes((context.id, 0, 0, 0)) + b"".join(names))


def _result(result: ContextResult) -> bytes:
    syntax = item(TRANSFER_SYNTAX, result.transfer_syntax.encode("ascii"))
    return item(PRESENTATION_CONTEXT_AC, bytes((result.id, 0, result.result, 0)) + syntax)


def _associate(kind: int, titles: bytes, contexts: bytes, user: bytes) -> bytes:
    body = b"".join(
        (
            PROTOCOL_VERSION.to_bytes(2, "big"),
            bytes(2),
            titles,
            _RESERVED,
            item(APPLICATION_CONTEXT, DICOM_APPLICATION_CONTEXT.encode("ascii")),
            contexts,
            item(USER_INFORMATION, user),
        )
    )
    return HEADER.pack(kind, len(body)) + body
