"""User information of A-ASSOCIATE-RQ and -AC (PS3.8 D, PS3.7 D.3.3): what two AEs agree on besides
their presentation contexts.

Rules: operations are synchronous, so an asynchronous window is answered 1/1. Every instance is kept
as it came, so the answer to extended negotiation of storage classes is level 2 without coercion. An
identity is decoded for the admission policy and shown to nobody.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from adapter.domain.admission import UserIdentity
from adapter.domain.identifiers import is_uid
from adapter.protocols.dimse.items import (
    ASYNCHRONOUS_OPERATIONS_WINDOW,
    EXTENDED_NEGOTIATION,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    MAXIMUM_LENGTH,
    ROLE_SELECTION,
    USER_IDENTITY_AC,
    USER_IDENTITY_RQ,
    MalformedPDUError,
    counted,
    item,
    items,
    take_counted,
    uid_text,
)

OUR_CLASS_UID = "2.25.190438765120933581279246171504268203391"
OUR_VERSION_NAME = "DICOM_ADAPTER_01"

Role = tuple[bool, bool]
"""Whether the association requestor acts as (SCU, SCP) of a SOP class (PS3.7 D.3.3.4)."""

FULL_STORAGE = bytes((2, 0, 3, 0, 0, 0))
"""Level 2 (all attributes), digital signatures kept (level 3), no coercion (PS3.4 B.3.1)."""
_SYNCHRONOUS = bytes((0, 1, 0, 1))
_EMPTY_SERVER_RESPONSE = bytes(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInformation:
    """What a peer said about itself."""

    max_length: int = 0
    """Longest P-DATA-TF it wants to receive, in bytes; 0: no limit."""
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    asynchronous: bool = False
    """It proposed an asynchronous operations window."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """By SOP class, as proposed (RQ) or as agreed (AC)."""
    extended: frozenset[str] = frozenset()
    """SOP classes it negotiates extended behaviour for."""
    identity: UserIdentity | None = None


def decode(value: bytes) -> UserInformation:
    """Decode the value of the user information item.

    Raises:
        MalformedPDUError: A sub-item that lies about its length, or a length nobody can send in.
    """
    sub_items = list(items(value))
    by_kind = dict(reversed(sub_items))  # the first of several counts
    max_length = int.from_bytes(by_kind.get(MAXIMUM_LENGTH, b""), "big")
    if 0 < max_length < 8 or max_length >> 32:
        raise MalformedPDUError("maximum length leaves no room for a fragment")
    identity = by_kind.get(USER_IDENTITY_RQ)
    return UserInformation(
        max_length=max_length,
        implementation_class_uid=_uid(by_kind.get(IMPLEMENTATION_CLASS_UID, b"")),
        implementation_version_name=_name(by_kind.get(IMPLEMENTATION_VERSION_NAME, b"")),
        asynchronous=ASYNCHRONOUS_OPERATIONS_WINDOW in by_kind,
        roles=dict(_role(data) for kind, data in sub_items if kind == ROLE_SELECTION),
        extended=frozenset(
            _uid(take_counted(data, 0)[0])
            for kind, data in sub_items
            if kind == EXTENDED_NEGOTIATION
        ),
        identity=None if identity is None else _identity(identity),
    )


def _uid(raw: bytes) -> str:
    text = uid_text(raw)
    return text if is_uid(text) else ""


def _name(raw: bytes) -> str:
    text = raw[:16].decode("ascii", "replace").strip()
    return text if text.isprintable() else ""


def _role(data: bytes) -> tuple[str, Role]:
    uid, position = take_counted(data, 0)
    if len(data) < position + 2:
        raise MalformedPDUError("role selection without roles")
    return _uid(uid), (data[position] == 1, data[position + 1] == 1)


def _identity(data: bytes) -> UserIdentity:
    if len(data) < 2:
        raise MalformedPDUError("user identity without its kind")
    primary, position = take_counted(data, 2)
    secondary, _ = take_counted(data, position)
    return UserIdentity(
        kind=data[0], primary=primary, secondary=secondary, response_requested=data[1] == 1
    )


def encode_rq(max_length: int, roles: Mapping[str, Role]) -> bytes:
    """Return the sub-items of a request of ours.

    Args:
        max_length: Longest P-DATA-TF we want to receive, in bytes.
        roles: Of those SOP classes in which we are not just SCU.
    """
    return b"".join((*_about_us(max_length), *_roles(roles)))


def encode_ac(
    max_length: int, request: UserInformation, roles: Mapping[str, Role], extended: frozenset[str]
) -> bytes:
    """Return the sub-items that answer a request.

    Args:
        max_length: Longest P-DATA-TF we want to receive, in bytes.
        request: What the peer said.
        roles: What we agree to, of what it proposed.
        extended: Storage classes among those it negotiates extended behaviour for.
    """
    answer = [*_about_us(max_length), *_roles(roles)]
    if request.asynchronous:
        answer.append(item(ASYNCHRONOUS_OPERATIONS_WINDOW, _SYNCHRONOUS))
    answer += (
        item(EXTENDED_NEGOTIATION, counted(uid.encode("ascii")) + FULL_STORAGE)
        for uid in sorted(extended)
    )
    if request.identity is not None and request.identity.response_requested:
        answer.append(item(USER_IDENTITY_AC, _EMPTY_SERVER_RESPONSE))
    return b"".join(answer)


def _about_us(max_length: int) -> Iterator[bytes]:
    yield item(MAXIMUM_LENGTH, max_length.to_bytes(4, "big"))
    yield item(IMPLEMENTATION_CLASS_UID, OUR_CLASS_UID.encode("ascii"))
    yield item(IMPLEMENTATION_VERSION_NAME, OUR_VERSION_NAME.encode("ascii"))


def _roles(roles: Mapping[str, Role]) -> Iterator[bytes]:
    for uid, role in roles.items():
        yield item(ROLE_SELECTION, counted(uid.encode("ascii")) + bytes(role))
