"""Committer: the part of an exporter that asks its destination for storage commitment.

Consumes: exports that were delivered. Produces: N-ACTION requests, transactions and their reports
in the ledger. Owns: nothing; a transaction is a row before it is asked. Rebuilds from: the ledger.
Restart policy: that of its exporter.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Literal, TypedDict

import structlog
import trio
from msgspec import structs

from adapter.domain.commitment import CommitmentReport, CommitmentRequest, Reference
from adapter.domain.committing import (
    CommitmentRules,
    after_report,
    asked_in,
    commitment_verdict,
    expired,
    open_transactions,
    questions,
)
from adapter.domain.dimse_ports import OutboundAssociation
from adapter.domain.events import Publish
from adapter.domain.export_events import (
    CommitmentEvent,
    CommitmentExpired,
    CommitmentFacts,
    CommitmentOutcome,
    CommitmentRefused,
    CommitmentReported,
    CommitmentRequested,
)
from adapter.domain.exporting import RetryRules
from adapter.domain.identifiers import NewUid
from adapter.domain.ports import Ledger, WallClock
from adapter.domain.records import Export, Outcome, Transaction
from adapter.domain.statuses import INVALID_ARGUMENT_VALUE, SUCCESS
from adapter.domain.tables import StepEvent
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.committer")

LOOK_S = 1.0
"""How long a thread waits for a report at a time: so late it hears of a stop."""


@dataclass(slots=True, kw_only=True)
class ReportRecorder:
    """Records what destinations report, by whichever association it came."""

    ledger: Ledger
    publish: Publish
    now: WallClock

    async def take(self, report: CommitmentReport, destinations: Set[str]) -> int:
        """Record a report durably and return the status to answer it with.

        A report of a transaction that nobody asked of these destinations changes nothing. One that
        comes twice is answered like the first time: its sender has not heard us.
        """
        transaction = await self.ledger.transaction(report.transaction_uid)
        if transaction is None or transaction.destination not in destinations:
            log.warning("commitment.unknown", transaction=report.transaction_uid)
            return INVALID_ARGUMENT_VALUE
        outcomes = await self.ledger.outcomes(transaction.export_id)
        changed = after_report(outcomes, transaction, report, self.now())
        if changed or not transaction.over:
            answered = [transaction]
            if sum(o.committed for o in (*outcomes, *changed)) == len(outcomes):
                answered = await self.ledger.transactions(transaction.export_id)  # nothing is open
            over = [structs.replace(each, over=True) for each in answered]
            await self.ledger.record_transactions(over, changed)
            facts = CommitmentOutcome(
                **_known(transaction),
                committed=len(report.committed),
                failed=len(report.failed),
            )
            self.publish(
                CommitmentReported(
                    export=transaction.export_id, destination=transaction.destination, data=facts
                )
            )
        return SUCCESS


@dataclass(slots=True, kw_only=True)
class Committer:
    """Asks one destination, and waits a little for its answer."""

    ledger: Ledger
    recorder: ReportRecorder
    publish: Publish
    new_uid: NewUid
    now: WallClock
    rules: CommitmentRules

    async def ask(
        self,
        export: Export,
        association: OutboundAssociation,
        stopping: Callable[[], bool],
    ) -> None:
        """Ask about everything delivered, and take the reports that come on this association."""
        for asked in questions(await self.ledger.outcomes(export.id), self.rules):
            if stopping() or not await self._ask(export, asked, association):
                return
        until = trio.current_time() + self.rules.wait_s
        try:
            while (left := until - trio.current_time()) > 0 and not stopping():
                if not await self.open_transactions(export):
                    return
                report = await association.next_report(min(left, LOOK_S))
                if report is not None:
                    status = await self.recorder.take(report, {export.destination})
                    await association.answer_report(status)
        except UnavailableError:
            return  # the destination has ended the association: it reports on one of its own

    async def _ask(
        self, export: Export, asked: list[Outcome], association: OutboundAssociation
    ) -> bool:
        now = self.now()
        transaction = Transaction(
            uid=self.new_uid(),
            export_id=export.id,
            destination=export.destination,
            instances=len(asked),
            requested_at=now,
            deadline_at=now + self.rules.deadline_s,
        )
        await self.ledger.record_transactions([transaction], asked_in(asked, transaction))
        references = tuple(Reference(o.sop_class_uid, o.sop_instance_uid) for o in asked)
        result = await association.request_commitment(
            CommitmentRequest(transaction_uid=transaction.uid, references=references)
        )
        if result.status == SUCCESS:
            _tell(self.publish, CommitmentRequested, transaction)
            return True
        failed = structs.replace(transaction, over=True, error=result.error)
        await self.ledger.record_transactions([failed])
        _tell(self.publish, CommitmentRefused, failed)
        return False

    async def open_transactions(self, export: Export) -> list[Transaction]:
        """Return the transactions of the export that a report is still expected for."""
        return open_transactions(await self.ledger.transactions(export.id), self.now())

    async def verdict(
        self, export: Export, retry: RetryRules
    ) -> tuple[StepEvent, dict[str, object]] | float:
        """Return what ends the step, and the fields that change; or when the next report is due."""
        if is_open := await self.open_transactions(export):
            return min(transaction.deadline_at for transaction in is_open)
        why = await self._close_transactions(export)
        outcomes = await self.ledger.outcomes(export.id)
        return commitment_verdict(export, outcomes, why, retry, self.rules, self.now())

    async def _close_transactions(self, export: Export) -> str:
        """End what is not reported yet; return why instances may be unanswered."""
        transactions = await self.ledger.transactions(export.id)
        late = [expired(transaction) for transaction in transactions if not transaction.over]
        if late:
            await self.ledger.record_transactions(late)
        for transaction in late:
            _tell(self.publish, CommitmentExpired, transaction)
        latest = max((*transactions, *late), key=lambda t: (t.requested_at, t.over), default=None)
        return latest.error if latest and latest.error else "not all instances were reported"


def _tell(publish: Publish, kind: type[CommitmentEvent], transaction: Transaction) -> None:
    """Publish what happened to a transaction of ours."""
    facts = CommitmentFacts(**_known(transaction))
    publish(kind(export=transaction.export_id, destination=transaction.destination, data=facts))


class _Known(TypedDict):
    role: Literal["SCU"]
    transaction_uid: str
    instances: int
    error: str


def _known(transaction: Transaction) -> _Known:
    return {
        "role": "SCU",
        "transaction_uid": transaction.uid,
        "instances": transaction.instances,
        "error": transaction.error,
    }
