"""Exporter: one per destination.

Consumes: hints to look again; orders of operators. Produces: associations to its destination,
outcomes and export states, hints to the reclaimer and to the exporter of its fallback. Owns: its
queue (rows of the ledger), its breaker, its pace, its lanes: tasks that take one export after the
other, as many as it may have associations. Rebuilds from: the ledger. Restart policy: replica.

Theory: whoever changes what can be done next - a lane that ends, an outage, a probe, an order, a
hint - lets the actor look again; what is due then starts lanes. While the breaker is open there are
no lanes, and so no places are held, until a probe was answered.
"""

from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import structlog
import trio
from msgspec import structs

from adapter.actors.committer import Committer
from adapter.actors.destination_watch import DestinationWatch
from adapter.actors.export_orders import ExportOrders
from adapter.actors.export_places import ExportPlaces
from adapter.actors.fallback_giver import FallbackGiver
from adapter.actors.sender import LostError, Sender, tell_change
from adapter.channels import notify, wait_woken
from adapter.domain.breaker import Breaker, BreakerState
from adapter.domain.dimse_ports import Requestor
from adapter.domain.entities import Destination
from adapter.domain.events import Publish
from adapter.domain.export_figures import ExportFigures
from adapter.domain.export_queue import ExportQueue
from adapter.domain.exporter_orders import ExporterOrder
from adapter.domain.exporting import Attempt, ExportRules, verdict
from adapter.domain.messages import Wake
from adapter.domain.pacing import Pace
from adapter.domain.ports import Ledger, ResultSource, WallClock
from adapter.domain.queueing import Draw
from adapter.domain.records import Export, Order
from adapter.domain.tables import EXPORT_WAITING, EXPORT_WORKING, ExportState, StepEvent
from adapter.errors import RowNotFoundError, UnavailableError

log = structlog.get_logger("adapter.exporter")

POLL_S = 5.0
RECLAIM_HINT_S = 1.0
"""Between two hints to the reclaimer, who looks at everything, while exports end one by one."""


@dataclass(slots=True, kw_only=True)
class Exporter:
    """Sends exports to one destination, and retries only what was not delivered."""

    destination: Destination
    ledger: Ledger
    source: ResultSource
    requestor: Requestor
    committer: Committer
    places: ExportPlaces
    figures: ExportFigures
    wake: trio.MemoryReceiveChannel[Wake]
    leave: trio.Event
    orders: trio.MemoryReceiveChannel[ExporterOrder]
    giver: FallbackGiver | None
    reclaimer_wake: trio.MemorySendChannel[Wake]
    publish: Publish
    now: WallClock
    draw: Draw
    rules: ExportRules
    name: str = ""
    _queue: ExportQueue = field(default_factory=ExportQueue)
    _in_hand: set[str] = field(default_factory=set)
    _lanes: int = 0
    _breaker: Breaker = field(init=False)
    _watch: DestinationWatch = field(init=False)
    _orders: ExportOrders = field(init=False)
    _pace: Pace = field(init=False)
    _stopped: trio.Event = field(default_factory=trio.Event)
    _nap: trio.CancelScope = field(default_factory=trio.CancelScope)
    _hinted_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.name = f"exporter:{self.destination.name}"
        self._breaker = Breaker(retry_delay_s=self.rules.retry_delay_s, draw=self.draw)
        self._watch = DestinationWatch(
            destination=self.destination, requestor=self.requestor, breaker=self._breaker,
            figures=self.figures, publish=self.publish, now=self.now, changed=self._look_again,
            holds=self.ledger.holds, outages=self.ledger.outages,
        )  # fmt: skip
        self._orders = ExportOrders(ledger=self.ledger, change=self._change, now=self.now,
                                    hold=self._watch.hold, probed=self._watch.probed)  # fmt: skip
        self._pace = Pace(self.destination.rate_mb_s, self.destination.batch_size)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._queue, self._in_hand, self._lanes = ExportQueue(), set(), 0
        self._watch.probing = False
        for export in await self._mine(EXPORT_WORKING):  # a crash of ours left these
            await self.ledger.change_export(export.id, StepEvent.INTERRUPT)
        self._watch.recall()
        task_status.started()
        async with trio.open_nursery() as beside:
            beside.start_soon(self._orders.serve, self.orders, self._look_again)
            async with trio.open_nursery() as lanes:
                await self._look_on(lanes, beside)
            beside.cancel_scope.cancel()
        notify(self.reclaimer_wake)

    def close(self) -> None:
        """See `Actor.close`."""
        self.wake.close()
        self.orders.close()
        self.reclaimer_wake.close()
        if self.giver is not None:
            self.giver.wake.close()

    # --- what is to be done

    async def _look_on(self, lanes: trio.Nursery, beside: trio.Nursery) -> None:
        while not self._stopping():
            self._nap = trio.CancelScope()
            next_due = await self._look(lanes, beside)
            with self._nap, suppress(trio.EndOfChannel):
                await wait_woken(self.wake, min(next_due, trio.current_time() + POLL_S))
        self._stopped.set()

    def _look_again(self) -> None:
        self._nap.cancel()

    async def _look(self, lanes: trio.Nursery, beside: trio.Nursery) -> float:
        """Start what can be done; return the clock time at which there may be more."""
        await self._watch.remember()
        report_due_at = await self._take_reported()
        waiting = await self._mine(EXPORT_WAITING)
        self._queue.add(export for export in waiting if export.id not in self._in_hand)
        now, breaker = self.now(), self._breaker
        breaker.retry_delay_s = self.rules.retry_delay_s
        opened_at = self._watch.opens_at(now)
        if breaker.state is BreakerState.OPEN and opened_at < float("inf"):
            next_at = await self._wait_out(beside, now)
        elif opened_at > now:
            next_at = opened_at
        else:
            due = self._queue.due(now)
            if breaker.state is BreakerState.HALF_OPEN and not due and not self._lanes:
                self._watch.answered()  # nothing to try it with
            for _ in range(min(self._watch.room() - self._lanes, due)):
                self._lanes += 1
                lanes.start_soon(self._lane)
            next_at = self._queue.next_due_at()
        return trio.current_time() + min(next_at, report_due_at) - now

    async def _mine(self, states: frozenset[ExportState]) -> list[Export]:
        return await self.ledger.exports(states, self.destination.name)

    def _stopping(self) -> bool:
        return self.leave.is_set() or self.wake.statistics().open_send_channels == 0

    def _halted(self) -> bool:
        """Whether what is in hand is to be left for later."""
        now = self.now()
        return self._stopping() or self._watch.opens_at(now) > now

    async def _lane(self) -> None:
        """Take one export after the other as long as there is something to send."""
        name = self.destination.name
        try:
            async with self.places.one(name), AsyncExitStack() as association:
                sender = self._sender(association)
                while (export := self._next()) is not None:
                    await self._work(export, sender)
                    if self.places.is_wanted_back(name):
                        return
        finally:  # also on a crash
            self._lanes -= 1
            self._look_again()

    def _sender(self, association: AsyncExitStack) -> Sender:
        return Sender(
            destination=self.destination, ledger=self.ledger, requestor=self.requestor,
            committer=self.committer, pace=self._pace, figures=self.figures, publish=self.publish,
            now=self.now, answered=self._watch.answered, halted=self._halted,
            stopped=self._stopped, open=association,
        )  # fmt: skip

    def _next(self) -> Export | None:
        state, queue = self._breaker.state, self._queue
        if self._halted() or state is BreakerState.OPEN or self._lanes > self._watch.room():
            return None
        is_trial = state is BreakerState.HALF_OPEN  # then what broke an association comes last
        return queue.take_least_tried(self.now()) if is_trial else queue.take(self.now())

    async def _work(self, export: Export, sender: Sender) -> None:
        self._in_hand.add(export.id)
        step = {ExportState.QUEUED: self._send, ExportState.SENT: self._commit}
        try:
            export = await self.ledger.export(export.id)  # as it is now
            if do := step.get(export.state):
                await do(await self._change(export, StepEvent.BEGIN), sender)
            left = await self.ledger.export(export.id)
        except RowNotFoundError:  # removed with its job
            return
        finally:
            self._in_hand.discard(export.id)
        if left.state in EXPORT_WAITING:
            self._queue.add([left])
        elif left.state is ExportState.COMMITTING:
            self._look_again()  # perhaps all is reported already

    async def _send(self, export: Export, sender: Sender) -> None:
        try:
            results = await self.source.results(export.job_id)
        except UnavailableError as error:  # our own disk: nothing against the destination
            due_at = self.now() + self.rules.retry_delay_s
            await self._end(export, StepEvent.INTERRUPT, error=str(error), due_at=due_at)
            return
        attempt = Attempt(commits=self.destination.storage_commitment)
        try:
            await sender.send(export, results.files)
            attempt = structs.replace(attempt, stopped=self._halted())
        except LostError as lost:
            self._watch.lost(str(lost), lost.path)
        except UnavailableError as error:
            await sender.release()
            self._watch.unreached(str(error))
            attempt = structs.replace(attempt, unreachable=str(error))
        await self._conclude(export, attempt)

    async def _conclude(self, export: Export, attempt: Attempt) -> None:
        """Decide what follows an attempt: done, again later, or held for an operator."""
        outcomes = await self.ledger.outcomes(export.id)
        event, changes = verdict(export, outcomes, attempt, self.rules, self.now())
        if event is StepEvent.FAIL:
            self.figures.retries[self.destination.name] += 1
        await self._end(export, event, **changes)

    async def _commit(self, export: Export, sender: Sender) -> None:
        """Ask for storage commitment, unless that has been done."""
        if not self.destination.storage_commitment:  # not wanted any more
            await self._end(export, StepEvent.SUCCEED)
            return
        try:
            await sender.commit(export)
        except UnavailableError as error:
            self._watch.unreached(str(error))
            await self._end(export, StepEvent.INTERRUPT, error=str(error))

    async def _take_reported(self) -> float:
        """Decide what follows where no report is due any more; return when the next one is."""
        next_due_at = float("inf")
        for export in await self._mine(frozenset({ExportState.COMMITTING})):
            if export.id in self._in_hand:
                continue  # it is just being asked about
            follows = await self.committer.verdict(export, self.rules)
            if isinstance(follows, float):
                next_due_at = min(next_due_at, follows)
            else:
                await self._end(export, follows[0], **follows[1])
        return next_due_at

    async def _end(self, export: Export, event: StepEvent, **changes: object) -> None:
        """End a step of an export, and let the reclaimer look what that sets free."""
        changed = await self._change(export, event, **changes)
        if changed.error:
            log.warning("export.undelivered", export=export.id, destination=self.destination.name,
                        state=changed.state, error=changed.error)  # fmt: skip
        now = trio.current_time()
        if now - self._hinted_at >= RECLAIM_HINT_S or not len(self._queue):
            self._hinted_at = now
            notify(self.reclaimer_wake)

    async def _change(
        self, export: Export, event: StepEvent, order: Order | None = None, /, **changes: object
    ) -> Export:
        changed = await self.ledger.change_export(export.id, event, order, **changes)
        tell_change(self.publish, changed, self.rules.failure_threshold)
        return changed

    async def _wait_out(self, beside: trio.Nursery, now: float) -> float:
        """Use the pause of an outage; return the wall time when there is more to do."""
        given_at = float("inf")
        if self.giver is not None:
            given_at = now - self._breaker.down_for(now) + self.giver.after_s
            if given_at <= now:
                await self._give_away(self.giver)
                given_at = float("inf")
        if self._watch.probing:
            return given_at
        if now >= self._breaker.again_at:
            self._watch.probing = True
            beside.start_soon(self._watch.probe)
        return min(given_at, max(self._breaker.again_at, now))

    async def _give_away(self, giver: FallbackGiver) -> None:
        """Give what waits to the fallback; what stays is read from the ledger at the next look."""
        for export in self._queue.take_all():
            if await giver.give(export):
                begun = await self._change(export, StepEvent.BEGIN)
                await self._conclude(begun, Attempt(commits=self.destination.storage_commitment))
