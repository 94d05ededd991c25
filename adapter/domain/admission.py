"""Who may open an association: one pure function, and the reason it gives is kept.

Results, sources and reasons are those of A-ASSOCIATE-RJ (PS3.8 9.3.4). `why` names the rule of
ours that decided; it is shown to the operator and never sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from adapter.domain.addresses import address_matches
from adapter.domain.commitment import STORAGE_COMMITMENT
from adapter.domain.entities import Source
from adapter.domain.identifiers import is_ae_title
from adapter.domain.rejections import Why


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
    why: Why
    detail: str = ""
    """For the operator, what the rule met; never sent."""


@dataclass(slots=True, kw_only=True)
class AdmissionPolicy:
    """What is configured about who may connect. A limit of 0 is none."""

    called_ae_titles: Mapping[str, int]
    """Those that answer on this port, and how many associations each takes at once."""
    reject_unknown_sources: bool
    sources: Sequence[Source]
    resolved: Mapping[str, frozenset[str]]
    """Numeric addresses of those source hosts that are names."""
    verification_enabled: bool
    associations_max: int
    per_source_max: int = 0
    reports_ae_title: str = ""
    """Ours as a requestor: destinations call it to report storage commitment (PS3.4 J.3.3)."""
    reporters: Sequence[Source] = ()
    """Those destinations; none: nobody calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """How loaded the process is at this moment; numbers are of open associations."""

    associations: int
    of_ae_title: int
    """With the called AE Title."""
    of_source: int
    """From the peer's address."""
    space_is_low: bool
    entity_is_down: bool = False
    """The called AE Title is configured, but nobody is behind it."""
    stopping: bool = False


VERIFICATION = "1.2.840.10008.1.1"  # PS3.4 A.4

_NEED_NO_SPACE = frozenset({VERIFICATION, STORAGE_COMMITMENT})
PERMANENT, TRANSIENT = 1, 2
SERVICE_USER, ACSE, PRESENTATION = 1, 2, 3
CONGESTION, LOCAL_LIMIT = 1, 2


def decide(
    request: AssociationRequest, policy: AdmissionPolicy, pressure: Pressure
) -> Rejection | None:
    """Return why the association is refused, or None if it is admitted.

    Order: what the peer can never get right by waiting comes first, so that a sender is told
    "wrong" rather than "later" when both hold.
    """
    return _wrong(request, policy) or _later(request, policy, pressure)


def _wrong(request: AssociationRequest, policy: AdmissionPolicy) -> Rejection | None:
    if not request.protocol_version_known:
        return Rejection(result=PERMANENT, source=ACSE, reason=2, why=Why.PROTOCOL_VERSION)
    if not request.application_context_known:
        return Rejection(
            result=PERMANENT, source=SERVICE_USER, reason=2, why=Why.APPLICATION_CONTEXT
        )
    to_entity = request.called_ae_title in policy.called_ae_titles
    to_requestor = policy.reporters and request.called_ae_title == policy.reports_ae_title
    if not to_entity and not to_requestor:
        return Rejection(
            result=PERMANENT, source=SERVICE_USER, reason=7, why=Why.CALLED_UNKNOWN,
            detail=_listed("on this port answer", policy.called_ae_titles),
        )  # fmt: skip
    if not is_ae_title(request.calling_ae_title):
        return Rejection(result=PERMANENT, source=SERVICE_USER, reason=3, why=Why.CALLING_MALFORMED)
    if not is_reporter(request, policy) and (why := _unknown(request, policy)):
        return Rejection(
            result=PERMANENT, source=SERVICE_USER, reason=3, why=why,
            detail=_known_hosts(request, policy) if why is Why.SOURCE_ELSEWHERE else "",
        )  # fmt: skip
    if _only_verification(request) and not policy.verification_enabled:
        return Rejection(
            result=PERMANENT, source=SERVICE_USER, reason=2, why=Why.VERIFICATION_DISABLED
        )
    return None


def _later(
    request: AssociationRequest, policy: AdmissionPolicy, pressure: Pressure
) -> Rejection | None:
    if pressure.stopping:
        return _transient(CONGESTION, Why.STOPPING)
    if pressure.entity_is_down:
        return _transient(CONGESTION, Why.ENTITY_DOWN)
    for number, limit, why in (
        (pressure.associations, policy.associations_max, Why.LIMIT),
        (pressure.of_source, policy.per_source_max, Why.SOURCE_LIMIT),
        (
            pressure.of_ae_title,
            policy.called_ae_titles.get(request.called_ae_title, 0),
            Why.ENTITY_LIMIT,
        ),
    ):
        if 0 < limit <= number:
            return _transient(LOCAL_LIMIT, why, f"{number} open, {limit} allowed")
    if pressure.space_is_low and not _NEED_NO_SPACE.issuperset(request.abstract_syntaxes):
        return _transient(CONGESTION, Why.SPACE_LOW)
    return None


def _transient(reason: int, why: Why, detail: str = "") -> Rejection:
    return Rejection(result=TRANSIENT, source=PRESENTATION, reason=reason, why=why, detail=detail)


def _listed(what: str, names: Iterable[str]) -> str:
    return f"{what} {', '.join(sorted(names)) or 'none'}"


def _known_hosts(request: AssociationRequest, policy: AdmissionPolicy) -> str:
    named = (s for s in policy.sources if s.ae_title.strip() == request.calling_ae_title)
    return _listed("it may call from", {host for source in named for host in source.hosts})


def _only_verification(request: AssociationRequest) -> bool:
    return request.abstract_syntaxes == (VERIFICATION,)


def is_reporter(request: AssociationRequest, policy: AdmissionPolicy) -> bool:
    """Return whether this is a destination that may report storage commitment."""
    return (
        request.called_ae_title == policy.reports_ae_title
        and _unknown_source(request, policy.reporters, policy.resolved) is None
    )


def _unknown(request: AssociationRequest, policy: AdmissionPolicy) -> Why | None:
    if request.called_ae_title not in policy.called_ae_titles:
        return Why.REPORTS_ONLY
    if policy.reject_unknown_sources:
        return _unknown_source(request, policy.sources, policy.resolved)
    return None


def _unknown_source(
    request: AssociationRequest, sources: Sequence[Source], resolved: Mapping[str, frozenset[str]]
) -> Why | None:
    named = [s for s in sources if s.ae_title.strip() == request.calling_ae_title]
    if not named:
        return Why.SOURCE_UNKNOWN
    for source in named:
        for host in source.hosts:
            if address_matches(host, request.peer, resolved.get(host, frozenset())):
                return None
    return Why.SOURCE_ELSEWHERE
