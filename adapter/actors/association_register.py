"""Association register: what a listener tells of its associations, and of those it refused.

Consumes: calls of its listener. Produces: events, log lines, counts and rows of the occupancy,
hints to the rejection keeper. Owns: what was said lately. Rebuilds from: nothing. Restart policy:
none, it ends with its listener.
"""

from dataclasses import dataclass, field
from typing import TypedDict

import structlog
import trio

from adapter.channels import notify
from adapter.domain.admission import AssociationRequest, Rejection
from adapter.domain.association_events import (
    AssociationAborted,
    AssociationAccepted,
    AssociationEnd,
    AssociationFacts,
    AssociationRejected,
    AssociationRejection,
    AssociationReleased,
    AssociationRequested,
)
from adapter.domain.dimse_ports import AssociationReport, PendingAssociation, Unasked
from adapter.domain.events import Data, Event, Publish
from adapter.domain.messages import Wake
from adapter.domain.occupancy import EVICTED, Occupancy, ServedAssociation
from adapter.domain.ports import WallClock
from adapter.domain.rejections import Answer, Caller, Why
from adapter.domain.repetition import Repetition

log = structlog.get_logger("adapter.listener")

TOLD_AGAIN_S = 60.0
"""A peer that speaks something else is worth a warning so often; it is counted every time."""
TOLD_MAX = 1000
"""So many of these are remembered, however many addresses there are."""
BY_ORDER = "aborted by order of an operator"
_REFUSED_UNASKED = {
    Unasked.REFUSED.value: Why.NO_REQUEST,
    Unasked.TLS.value: Why.TLS,
    "artim": Why.ARTIM,
    EVICTED: Why.EVICTED,
}
"""Ends of connections without a request that are our doing."""
_MISCONFIGURED = (Why.NO_REQUEST, Why.TLS)


@dataclass(slots=True, kw_only=True)
class AssociationRegister:
    """Tells of associations from A-ASSOCIATE-RQ to their end."""

    listener: str
    occupancy: Occupancy
    refused: trio.MemorySendChannel[Wake]
    """Hints that a row of the occupancy has changed."""
    publish: Publish
    now: WallClock
    _told: Repetition = field(default_factory=lambda: Repetition(TOLD_AGAIN_S, TOLD_MAX))

    def requested(self, association: str, request: AssociationRequest) -> None:
        """A-ASSOCIATE-RQ has arrived."""
        facts = AssociationFacts(**_asked(request))
        self.publish(_event(AssociationRequested, association, request, facts))

    def rejected(self, association: str, request: AssociationRequest, rejection: Rejection) -> None:
        """It is not admitted."""
        self.occupancy.rejections[rejection.why] += 1
        row = self.occupancy.rejected.record(
            association,
            Caller(
                peer=request.peer,
                calling_ae_title=request.calling_ae_title,
                called_ae_title=request.called_ae_title,
                tls=request.tls,
            ),
            rejection.why,
            Answer(rejection.result, rejection.source, rejection.reason),
            rejection.detail,
            self.now(),
        )
        notify(self.refused)
        facts = AssociationRejection(
            **_asked(request), why=rejection.why, result=rejection.result,
            source=rejection.source, reason=rejection.reason, rule=row.why.rule, first=row.id,
            count=row.count,
        )  # fmt: skip
        log.info(
            "association.rejected", association=association, peer=request.peer, why=facts.why,
            result=facts.result, source=facts.source, reason=facts.reason,
        )  # fmt: skip
        self.publish(_event(AssociationRejected, association, request, facts))

    def unasked(self, association: str, connection: PendingAssociation, end: str) -> None:
        """A connection ended that brought no A-ASSOCIATE-RQ."""
        self.occupancy.without_request[end] += 1
        facts = {"actor": self.listener, "peer": connection.peer, "end": end,
                 "why": connection.why}  # fmt: skip
        why = _REFUSED_UNASKED.get(end)
        if why is None:  # it left by itself
            log.debug("connection.ended", **facts)
            return
        self.occupancy.rejected.record(
            association, Caller(peer=connection.peer), why, None, connection.why, self.now()
        )
        notify(self.refused)
        key = (connection.peer, connection.why)
        if why in _MISCONFIGURED and self._told.is_news(key, trio.current_time()):
            log.warning("connection.ended", **facts)
        else:
            log.debug("connection.ended", **facts)

    def accepted(self, association: str, request: AssociationRequest) -> None:
        """It is admitted."""
        facts = AssociationFacts(**_asked(request))
        self.publish(_event(AssociationAccepted, association, request, facts))

    def ended(
        self,
        association: str,
        request: AssociationRequest,
        report: AssociationReport,
        served: ServedAssociation,
    ) -> None:
        """It is over."""
        aborted_by_order = served.by_order and not report.released
        facts = AssociationEnd(
            **_asked(request),
            why=BY_ORDER if aborted_by_order else report.why,
            instances=report.instances,
            payload_bytes=report.payload_bytes,
            refused=report.refused,
        )
        kind = AssociationReleased if report.released else AssociationAborted
        event = _event(kind, association, request, facts)
        log.info(
            f"association.{event.verb}", association=association, peer=request.peer,
            tls=request.tls, why=facts.why, instances=facts.instances,
            bytes=facts.payload_bytes, refused=facts.refused,
        )  # fmt: skip
        self.publish(event)

    def crashed(self, association: str, peer: str, bug: Exception) -> None:
        """A bug of ours has ended it."""
        log.error("association.crashed", association=association, peer=peer, exc_info=bug)
        why = f"internal failure: {type(bug).__name__}"
        self.publish(AssociationAborted(association=association, data=AssociationEnd(why=why)))


def _event(kind: type[Event], association: str, request: AssociationRequest, data: Data) -> Event:
    return kind(ae_title=request.called_ae_title, association=association, data=data)


class _Asked(TypedDict):
    calling_ae_title: str
    peer: str
    tls: str
    contexts: int


def _asked(request: AssociationRequest) -> _Asked:
    return {
        "calling_ae_title": request.calling_ae_title,
        "peer": request.peer,
        "tls": request.tls,
        "contexts": len(request.abstract_syntaxes),
    }
