"""Storage commitment by destinations (PS3.4 J, as SCU): what is asked, and what follows.

A Transaction UID names one question about at most `CommitmentRules.max_instances` instances. A
report is believed for the instances of its own transaction, from the destination that was asked;
that an instance is committed is believed however late it is told, that it is not only while the
question is open. Pure rules; times come in.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct, structs

from adapter.domain.commitment import CommitmentReport
from adapter.domain.exporting import RetryRules, summary
from adapter.domain.records import Export, Outcome, Transaction
from adapter.domain.statuses import (
    DUPLICATE_TRANSACTION_UID,
    NO_SUCH_INSTANCE,
    is_transient,
    status_words,
)
from adapter.domain.tables import StepEvent


class CommitmentRules(Struct, kw_only=True):
    """`dicom.scu.commitment.*`, times in seconds."""

    wait_s: float
    """How long the association stays open for the report."""
    deadline_s: float
    """For a report; then the destination is asked anew."""
    max_retries: int
    """New questions after the first one, before the export is held."""
    max_instances: int
    """In one transaction."""


def questions(outcomes: Sequence[Outcome], rules: CommitmentRules) -> Iterator[list[Outcome]]:
    """Yield the instances of one transaction after the other: delivered and not committed."""
    asked = [outcome for outcome in outcomes if outcome.delivered and not outcome.committed]
    for first in range(0, len(asked), rules.max_instances):
        yield asked[first : first + rules.max_instances]


def asked_in(outcomes: Sequence[Outcome], transaction: Transaction) -> list[Outcome]:
    """Return the outcomes as part of this transaction."""
    return [structs.replace(o, transaction_uid=transaction.uid) for o in outcomes]


def after_report(
    outcomes: Sequence[Outcome], transaction: Transaction, report: CommitmentReport, at: float
) -> list[Outcome]:
    """Return those outcomes of the transaction's export that the report changes."""
    committed = {reference.sop_instance_uid for reference in report.committed}
    reasons = {reference.sop_instance_uid: reason for reference, reason in report.failed}
    changed = []
    for outcome in outcomes:
        if outcome.committed or not outcome.delivered:
            continue
        uid = outcome.sop_instance_uid
        if uid in reasons:
            if not transaction.over and outcome.transaction_uid == transaction.uid:
                changed.append(_after_refusal(outcome, reasons[uid], at))
        elif uid in committed:
            changed.append(structs.replace(outcome, committed=True, error="", at=at))
    return changed


def _after_refusal(outcome: Outcome, reason: int, at: float) -> Outcome:
    """Return the outcome of an instance that the destination did not commit.

    0131 is about the question. What the destination does not have, or could not look up, is sent
    again; a SOP class it does not take, or takes for another, stays that way.
    """
    error = f"not committed: {status_words(reason)}"
    if reason == DUPLICATE_TRANSACTION_UID:
        return structs.replace(outcome, transaction_uid="", error=error, at=at)
    return structs.replace(
        outcome,
        delivered=False,
        permanent=not (is_transient(reason) or reason == NO_SUCH_INSTANCE),
        transaction_uid="",
        status=reason,
        error=error,
        at=at,
    )


def open_transactions(transactions: Sequence[Transaction], now: float) -> list[Transaction]:
    """Return those that a report is still expected for."""
    return [t for t in transactions if not t.over and now < t.deadline_at]


def expired(transaction: Transaction) -> Transaction:
    """Return a transaction that nobody has reported in time."""
    waited_s = transaction.deadline_at - transaction.requested_at
    return structs.replace(transaction, over=True, error=f"no report within {waited_s:g} s")


def commitment_verdict(
    export: Export,
    outcomes: Sequence[Outcome],
    why: str,
    retry: RetryRules,
    rules: CommitmentRules,
    now: float,
) -> tuple[StepEvent, dict[str, object]]:
    """Return the event that ends `Committing` when no transaction is open, and what changes.

    Args:
        export: In state `Committing`.
        outcomes: All of the export.
        why: What is told of instances about which nothing is known.
        retry: For what has to be sent again.
        rules: For what has to be asked again.
        now: Wall time.
    """
    held = [o for o in outcomes if o.permanent]
    again = [o for o in outcomes if o.waits]
    changes: dict[str, object] = {
        "sent": sum(o.delivered for o in outcomes),
        "committed": sum(o.committed for o in outcomes),
        "failed": len(held),
        "error": "",
    }
    if all(o.committed or o.given_to for o in outcomes):
        return StepEvent.SUCCEED, changes
    changes["error"] = summary(outcomes, otherwise=why)
    if again and export.try_count < retry.max_retries:
        changes |= {"try_count": export.try_count + 1, "due_at": now + retry.retry_delay_s}
        return StepEvent.REPEAT, changes
    if not again and not held and export.commitment_tries < rules.max_retries:
        changes |= {
            "commitment_tries": export.commitment_tries + 1,
            "due_at": now + retry.retry_delay_s,
        }
        return StepEvent.FAIL, changes
    changes["failed"] = sum(not (o.committed or o.given_to) for o in outcomes)
    return StepEvent.GIVE_UP, changes
