"""Who may open an association: one pure function, and the reason it gives is kept.

Results, sources and reasons are those of A-ASSOCIATE-RJ (PS3.8 9.3.4). `why` names the rule of
ours that decided; it is shown to the operator and never sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from adapter.domain.entities import Source, address_matches
from adapter.domain.identifiers import is_ae_title


@dataclass(frozen=True, slots=True, kw_only=True)
class UserIdentity:
    """Who the peer says it acts for (PS3.7 D.3.3.7); its fields are secrets and are never shown."""

    kind: int
    """1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JWT."""
    primary: bytes = field(repr=False)
    secondary: bytes = field(repr=False)
    response_requested: bool


class AssociationRequest(Struct, frozen=True, kw_only=True):
    """What a requestor asked for, decoded from A-ASSOCIATE-RQ (PS3.8 9.3.2).

    AE Titles are stripped of spaces; one that is not printable ASCII is an empty string.
    """

    called_ae_title: str
    calling_ae_title: str
    peer: str
    """Numeric address of the peer."""
    peer_port: int
    abstract_syntaxes: tuple[str, ...]
    """In the order proposed, without repetition."""
    application_context_known: bool = True
    protocol_version_known: bool = True
    user_identity: UserIdentity | None = None
    tls: str = ""
    """Protocol version of the encrypted transport, e.g. `TLSv1.3`; empty: there is none."""


class Rejection(Struct, frozen=True, kw_only=True):
    """A-ASSOCIATE-RJ and the rule behind it."""

    result: int
    source: int
    reason: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionPolicy:
    """What is configured about who may connect."""

    called_ae_titles: frozenset[str]
    reject_unknown_sources: bool
    sources: Sequence[Source]
    resolved: Mapping[str, frozenset[str]]
    """Numeric addresses of those source hosts that are names."""
    verification_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """How loaded the process is at this moment."""

    associations: int
    associations_max: int
    space_is_low: bool
    stopping: bool = False


VERIFICATION = "1.2.840.10008.1.1"  # PS3.4 A.4

PERMANENT, TRANSIENT = 1, 2
SERVICE_USER, ACSE, PRESENTATION = 1, 2, 3


def decide(
    request: AssociationRequest, policy: AdmissionPolicy, pressure: Pressure
) -> Rejection | None:
    """Return why the association is refused, or None if it is admitted.

    Order: what the peer can never get right by waiting comes first, so that a sender is told
    "wrong" rather than "later" when both hold.
    """
    only_verification = request.abstract_syntaxes == (VERIFICATION,)
    if not request.protocol_version_known:
        return Rejection(result=PERMANENT, source=ACSE, reason=2, why="protocol version")
    if not request.application_context_known:
        return Rejection(result=PERMANENT, source=SERVICE_USER, reason=2, why="application context")
    if request.called_ae_title not in policy.called_ae_titles:
        return Rejection(
            result=PERMANENT, source=SERVICE_USER, reason=7, why="called AE Title is not configured"
        )
    if not is_ae_title(request.calling_ae_title):
        return Rejection(
            result=PERMANENT, source=SERVICE_USER, reason=3, why="calling AE Title is malformed"
        )
    if policy.reject_unknown_sources and (why := _unknown_source(request, policy)):
        return Rejection(result=PERMANENT, source=SERVICE_USER, reason=3, why=why)
    if only_verification and not policy.verification_enabled:
        return Rejection(
            result=PERMANENT, source=SERVICE_USER, reason=2, why="verification is disabled"
        )
    if pressure.stopping:
        return Rejection(result=TRANSIENT, source=PRESENTATION, reason=1, why="shutting down")
    if pressure.associations >= pressure.associations_max:
        return Rejection(
            result=TRANSIENT, source=PRESENTATION, reason=2, why="dicom.scp.max_associations"
        )
    if pressure.space_is_low and not only_verification:
        return Rejection(
            result=TRANSIENT, source=PRESENTATION, reason=1, why="storage space is low"
        )
    return None


def _unknown_source(request: AssociationRequest, policy: AdmissionPolicy) -> str | None:
    named = [s for s in policy.sources if s.ae_title.strip() == request.calling_ae_title]
    if not named:
        return "calling AE Title is not among the sources"
    for source in named:
        for host in source.hosts:
            if address_matches(host, request.peer, policy.resolved.get(host, frozenset())):
                return None
    return "calling AE Title is a source, but not from this address"
