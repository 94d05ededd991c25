"""What follows from an attempt to deliver an export: pure rules.

A retry sends only what is not delivered. An attempt that did not reach the destination costs no
retry: everything for it waits, ever longer up to a limit, for as long as it takes. An instance the
destination refuses for good is held, never dropped, and never sent in a loop.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import TypeVar

from msgspec import Struct, structs

from adapter.domain.dimse_ports import CONTEXTS_MAX, Context, SendResult
from adapter.domain.records import Export, Outcome
from adapter.domain.statuses import is_success, status_words
from adapter.domain.tables import EXPORT_TERMINAL, StepEvent

T = TypeVar("T")

OUTAGE_PAUSE_S_MIN = 1.0
"""Shortest one, also with retry_delay_s = 0: nobody is hammered."""
OUTAGE_PAUSE_S_MAX = 900.0
"""Longest pause between two tries to reach a destination that is down."""
OUTAGE_DOUBLINGS_MAX = 16


def outage_pause_s(outages: int, retry_delay_s: float) -> float:
    """Return the pause before the next try after so many in a row did not get through."""
    first = max(retry_delay_s, OUTAGE_PAUSE_S_MIN)
    doubled = first * 2.0 ** min(outages - 1, OUTAGE_DOUBLINGS_MAX)
    return min(doubled, max(OUTAGE_PAUSE_S_MAX, retry_delay_s))


class RetryRules(Struct):
    """How often what failed is tried again: `platform.*` for the steps of a job."""

    max_retries: int
    retry_delay_s: float


class ExportRules(RetryRules):
    """`dicom.scu.export.*`."""

    failure_threshold: float = 0.5
    """Above it an export has failed as a whole; see `report_of`."""


class Attempt(Struct, frozen=True, kw_only=True):
    """How an attempt went as a whole."""

    unreachable: str = ""
    """Why the destination could not be reached; empty: it was."""
    commits: bool = False
    """The destination is to commit what was delivered."""
    stopped: bool = False
    """The process stops, or the destination's window closes; the rest is sent later."""


def association_loads(
    pending: Sequence[T], context_of: Callable[[T], Context], beside: Sequence[Context] = ()
) -> Iterator[tuple[list[Context], list[T]]]:
    """Split what is to be sent into what one association each can carry.

    Yields:
        Presentation contexts to propose, at most `CONTEXTS_MAX`, in order of appearance; and what
        goes through them, in the order given. Each association proposes `beside` as well.
    """
    contexts = list(dict.fromkeys(map(context_of, pending)))
    room = CONTEXTS_MAX - len(beside)
    for first in range(0, len(contexts), room):
        proposed = contexts[first : first + room]
        carried = frozenset(proposed)
        yield [*proposed, *beside], [one for one in pending if context_of(one) in carried]


def outcome_after(
    outcome: Outcome, result: SendResult | None, at: float, warnings: str = "delivered"
) -> Outcome:
    """Return the outcome of an instance after it was sent, or (result None) its file had gone.

    Args:
        outcome: Before.
        result: What the destination answered.
        at: Wall time.
        warnings: `destinations[].warnings`. One that fails is held: to send the same bytes again
            would earn the same warning.
    """
    if result is None:
        result = SendResult(status=None, error="the result file is missing", permanent=True)
    delivered = result.status is not None and is_success(result.status)
    if delivered and result.status and warnings == "failed":
        words = status_words(result.status)
        result, delivered = structs.replace(result, error=words, permanent=True), False
    attempts, error = outcome.attempts + 1, result.error
    if outcome.attempts and outcome.status is None is result.status and not result.permanent:
        error = f"no answer again, at attempt {attempts}: {error}"
    return structs.replace(
        outcome,
        status=result.status,
        delivered=delivered,
        permanent=result.permanent,
        transcoded=result.transcoded,
        attempts=attempts,
        error="" if delivered else error,
        at=at,
    )


AS_NEW: Mapping[str, object] = {
    "try_count": 0, "commitment_tries": 0, "failed": 0, "due_at": 0.0, "error": "",
}  # fmt: skip
"""What changes in the row of an export that is sent again by order."""


def resubmitted(outcomes: Sequence[Outcome], wanted: Set[str] = frozenset()) -> list[Outcome]:
    """Return those outcomes that change when an operator wants these instances sent again.

    Args:
        outcomes: All of an export.
        wanted: SOP Instance UIDs; empty: all. What is not wanted is held.
    """
    return [
        structs.replace(o, permanent=held)
        for o in outcomes
        if (held := bool(wanted) and o.sop_instance_uid not in wanted) != o.permanent
        and (o.permanent or o.waits)
    ]


def verdict(
    export: Export, outcomes: Sequence[Outcome], attempt: Attempt, rules: RetryRules, now: float
) -> tuple[StepEvent, dict[str, object]]:
    """Return the event that ends the attempt and the fields that change with it."""
    sent = sum(outcome.delivered for outcome in outcomes)
    held = sum(outcome.permanent for outcome in outcomes)
    left = sum(outcome.waits for outcome in outcomes)
    changes: dict[str, object] = {
        "sent": sent,
        "committed": sum(outcome.committed for outcome in outcomes),
        "failed": held,
        "error": attempt.unreachable,
    }
    if attempt.unreachable or (attempt.stopped and left):
        return StepEvent.INTERRUPT, changes
    if not left and not held:
        return StepEvent.SUCCEED if attempt.commits and sent else StepEvent.COMPLETE, changes
    changes["error"] = summary(outcomes, otherwise="not delivered")
    changes["try_count"] = export.try_count + 1
    if left and export.try_count < rules.max_retries:
        changes["due_at"] = now + rules.retry_delay_s
        return StepEvent.FAIL, changes
    changes["failed"] = held + left
    return StepEvent.GIVE_UP, changes


def report_of(export: Export, failure_threshold: float) -> str:
    """Return what is reported of an export that has ended: `success` or `failure`; else nothing.

    More than this share of its instances has to be missing for a failure (Clara's rule). It changes
    nothing about the export itself: it stays Failed, with its files, while anything is missing.
    """
    if export.state not in EXPORT_TERMINAL:
        return ""
    missing = export.failed / export.instances if export.instances else 0.0
    return "failure" if missing > failure_threshold else "success"


def summary(outcomes: Sequence[Outcome], otherwise: str) -> str:
    """Return what went wrong, in one line."""
    errors = [outcome.error for outcome in outcomes if outcome.error]
    first = errors[0] if errors else otherwise
    return first if len(errors) < 2 else f"{first} (and {len(errors) - 1} more)"
