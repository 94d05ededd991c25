"""Sender: the part of an exporter that takes one export after the other to its destination.

Consumes: exports that are due. Produces: associations, outcomes in the ledger. Owns: the
association that is open, kept for the next export as long as that fits its presentation contexts.
Rebuilds from: nothing; an outcome is a row as soon as it is known. Restart policy: that of its
exporter.

Theory of a lost association: what was answered is answered. If it was answered anything since it
was made, its end says nothing against what comes next, which goes on a new one at once; so a peer
that ends associations after some instances, or that has tired of one that is kept, costs no try. If
it was not, the attempt is over. Each new association answers at least once or ends the attempt.
"""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import trio
from msgspec import structs

from adapter.actors.committer import Committer
from adapter.channels import aborted_on_cancel
from adapter.domain.commitment import COMMITMENT_CONTEXT
from adapter.domain.dimse_ports import Context, OutboundAssociation, Requestor, SendResult
from adapter.domain.entities import DIMSE_PRIORITY, Destination
from adapter.domain.events import Publish
from adapter.domain.export_events import (
    ExportChanged,
    ExportCompleted,
    ExportEvent,
    ExportFailed,
    ExportSent,
    SentFacts,
    standing,
)
from adapter.domain.export_figures import ExportFigures
from adapter.domain.exporting import association_loads, outcome_after, report_of
from adapter.domain.pacing import Pace
from adapter.domain.ports import Ledger, WallClock
from adapter.domain.records import Export, Outcome, OutgoingInstance
from adapter.domain.tables import ExportState
from adapter.errors import GatewayError

HELD_S_MAX = 5.0
"""A longer pause of ours is not spent on an open association: its peer may have an idle timer."""
Pair = tuple[Outcome, OutgoingInstance]


class LostError(GatewayError):
    """The association broke before it was answered anything."""

    def __init__(self, why: str, path: str) -> None:
        """Say why, and which file was being sent."""
        super().__init__(why)
        self.path = path


@dataclass(slots=True, kw_only=True)
class Sender:
    """Sends, on one association at a time; one for each that a destination may have at once.

    Raises (send, commit):
        UnavailableError: The destination could not be reached.
        LostError: The association broke before anything was answered.
    """

    destination: Destination
    ledger: Ledger
    requestor: Requestor
    committer: Committer
    pace: Pace
    figures: ExportFigures
    publish: Publish
    now: WallClock
    answered: Callable[[], None]
    """Called when the destination has answered for something."""
    halted: Callable[[], bool]
    """Whether to leave the rest for later."""
    stopped: trio.Event
    """A pause ends with it."""
    open: AsyncExitStack
    """Ends the association that is open, if there is one; again and again."""
    _association: OutboundAssociation | None = None
    _carries: frozenset[Context] = frozenset()
    _answered: bool = False
    """It has answered something on this association."""

    # --- the association

    async def _to(self, contexts: Sequence[Context]) -> OutboundAssociation:
        """Return an association that has proposed these; the one there is, if it has."""
        if self._association is None or not self._carries.issuperset(contexts):
            await self.release()
            association = await self.open.enter_async_context(
                self.requestor.associate(self.destination, contexts)
            )
            self.figures.associations[self.destination.name] += 1
            self.open.callback(self._closed)
            await self.open.enter_async_context(aborted_on_cancel(association))
            self._association, self._carries, self._answered = (
                association, frozenset(contexts), False,
            )  # fmt: skip
        return self._association

    def _closed(self) -> None:
        self.figures.associations[self.destination.name] -= 1

    async def release(self) -> None:
        """Release the association, if there is one."""
        self._association = None
        await self.open.aclose()

    # --- an export

    async def send(self, export: Export, files: dict[str, OutgoingInstance]) -> None:
        """Send what waits, what has been tried least first; ask for commitment if all is there."""
        waiting = [o for o in await self.ledger.outcomes(export.id) if o.waits]
        missing = [o for o in waiting if o.file not in files]
        await self._record(export, [outcome_after(o, None, self.now()) for o in missing])
        priority = DIMSE_PRIORITY[export.priority]
        left = [
            (o, structs.replace(files[o.file], priority=priority))
            for o in sorted(waiting, key=lambda o: o.attempts)
            if o.file in files
        ]
        beside = [COMMITMENT_CONTEXT] if self.destination.storage_commitment else []
        for contexts, load in association_loads(left, lambda pair: pair[1].context, beside):
            await self._carry(export, contexts, load)
            if self.halted():
                return
        if left and beside:
            await self._ask(export)

    async def _ask(self, export: Export) -> None:
        outcomes = await self.ledger.outcomes(export.id)
        if any(o.waits or o.permanent for o in outcomes) or self._association is None:
            return
        if self._association.accepted(COMMITMENT_CONTEXT):
            await self.committer.ask(export, self._association, self.halted)

    async def commit(self, export: Export) -> None:
        """Ask for storage commitment of an export that was sent before, unless that was done."""
        outcomes = await self.ledger.outcomes(export.id)
        if not any(o.delivered and not o.committed for o in outcomes):
            return
        if await self.committer.open_transactions(export):
            return
        if self._association and not self._association.accepted(COMMITMENT_CONTEXT):
            await self.release()  # some take it only on an association of its own
        association = await self._to([COMMITMENT_CONTEXT])
        await self.committer.ask(export, association, self.halted)
        self._has_answered()

    async def _carry(
        self, export: Export, contexts: Sequence[Context], load: Sequence[Pair]
    ) -> None:
        """Send one association's load, on as many associations as break under it."""
        left = list(load)
        while left:
            for batch in self.pace.batches(left, lambda pair: pair[1].data_set_bytes):
                await self._wait_for_turn(batch)
                if self.halted():
                    return
                lost = await self._send_batch(export, contexts, batch)
                left = [*lost, *left[len(batch) :]]
                if lost:
                    break

    async def _wait_for_turn(self, batch: Sequence[Pair]) -> None:
        pause_s = self.pace.pause_s(sum(i.data_set_bytes for _, i in batch), trio.current_time())
        if pause_s > HELD_S_MAX:
            await self.release()
        with trio.move_on_after(pause_s):
            await self.stopped.wait()

    async def _send_batch(
        self, export: Export, contexts: Sequence[Context], batch: Sequence[Pair]
    ) -> list[Pair]:
        """Send a batch; return what is to be sent again on another association.

        Raises:
            LostError: The association broke, and had not been answered anything.
            UnavailableError: The destination takes nothing now.
        """
        association = await self._to(contexts)
        results = await association.store([instance for _, instance in batch])
        at, warnings = self.now(), self.destination.warnings
        outcomes = [
            outcome_after(outcome, result, at, warnings)
            for (outcome, _), result in zip(batch, results, strict=True)
        ]
        if any(map(_is_answer, results)):
            self._has_answered()
        broken = [index for index, result in enumerate(results) if not _is_answer(result)]
        for index in broken[1:]:
            outcomes[index] = batch[index][0]  # it was not even tried
        await self._record(export, [o for i, o in enumerate(outcomes) if i not in broken[1:]])
        if not broken:
            return []
        answered = self._answered
        await self.release()
        if not answered:
            first = broken[0]
            raise LostError(results[first].error, batch[first][1].path)
        return [(outcomes[index], batch[index][1]) for index in broken]

    def _has_answered(self) -> None:
        self._answered = True
        self.answered()

    async def _record(self, export: Export, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        await self.ledger.record_outcomes(outcomes)
        delivered = sum(o.delivered for o in outcomes)
        self.figures.sent[self.destination.name] += delivered
        facts = SentFacts(
            delivered=delivered,
            failed=len(outcomes) - delivered,
            errors=sorted({o.error for o in outcomes if o.error})[:3],
            transcoded=sorted({o.transcoded for o in outcomes if o.transcoded}),
        )
        self.publish(
            ExportSent(
                job=export.job_id, export=export.id, destination=export.destination, data=facts
            )
        )


def _is_answer(result: SendResult) -> bool:
    """Return whether the destination, or its presentation contexts, said something about it."""
    return result.status is not None or result.permanent


def tell_change(publish: Publish, export: Export, failure_threshold: float) -> None:
    """Publish that an export is in another state."""
    ended = {ExportState.COMPLETED: ExportCompleted, ExportState.FAILED: ExportFailed}
    report = report_of(export, failure_threshold)
    tell_export(publish, ended.get(export.state, ExportChanged), export, report)


def tell_export(
    publish: Publish, kind: type[ExportEvent], export: Export, report: str = ""
) -> None:
    """Publish what happened to an export."""
    publish(
        kind(
            job=export.job_id, export=export.id, destination=export.destination,
            data=standing(export, report),
        )
    )  # fmt: skip
