"""Webhook: tells one HTTP server of events.

Consumes: a subscription at the hub. Produces: signed POSTs. Owns: the number it has come to.
Rebuilds from: that number, as far as the hub still knows what followed; a `gap` is told otherwise.
Restart policy: replica.

One delivery is on its way at a time, so a server hears events in their order. Events wait at the
hub, a bounded number of them; whoever is away for longer is told which numbers it has missed.
"""

from dataclasses import dataclass

import structlog
import trio

from adapter.channels import UNANSWERED, ask
from adapter.domain.ports import WallClock
from adapter.domain.subscriptions import Frame, Subscribe, Subscription
from adapter.domain.webhooks import Hook
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.webhook")

ANSWER_S = 10.0
COALESCE_S = 0.25
EVENTS_MAX = 500
"""With so many a delivery waits for no more."""
GRACE_S = 2.0
"""For the last events at a stop."""
RETRY_S, RETRY_S_MAX = 1.0, 300.0
AGAIN = frozenset({408, 409, 425, 429})
"""Statuses of the 4xx that may be others later; 5xx as well."""


@dataclass(slots=True, kw_only=True)
class WebhookActor:
    """Delivers to one webhook."""

    hook: Hook
    subscriptions: trio.MemorySendChannel[Subscribe]
    now: WallClock
    stop: trio.Event
    """Set when everything else has ended."""
    name: str = ""
    _epoch: str = ""
    _seq: int | None = None

    def __post_init__(self) -> None:
        self.name = f"webhook:{self.hook.settings.name}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        try:
            subscription = await self._subscribed()
        except UNANSWERED:
            return  # the hub has ended
        task_status.started()
        backlog = subscription.backlog
        if self._seq is None or subscription.epoch != self._epoch:
            self._epoch, self._seq = subscription.epoch, backlog.last
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave, nursery.cancel_scope)
            with subscription.feed:
                delivery = [backlog] if backlog.count else await self._next(subscription.feed)
                while delivery:
                    await self._deliver(delivery)
                    delivery = await self._next(subscription.feed)
            await self.hook.client.close()
            nursery.cancel_scope.cancel()

    async def _leave(self, scope: trio.CancelScope) -> None:
        """Wait for nobody at a stop."""
        await self.stop.wait()
        await trio.sleep(GRACE_S)
        scope.cancel()

    async def _subscribed(self) -> Subscription:
        return await ask(
            self.subscriptions,
            lambda reply: Subscribe(
                topics=frozenset(self.hook.settings.topics), since=self._seq, epoch=self._epoch,
                reply=reply,
            ),
            ANSWER_S,
        )  # fmt: skip

    async def _next(self, feed: trio.MemoryReceiveChannel[Frame]) -> list[Frame]:
        """Return what comes next, with what comes soon after it; empty: the hub has ended."""
        frames: list[Frame] = []
        try:
            frames.append(await feed.receive())
            await trio.sleep(COALESCE_S)
            while _events(frames) < EVENTS_MAX:
                frames.append(feed.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass
        return frames

    async def _deliver(self, frames: list[Frame]) -> None:
        """Deliver, again until it is taken or given up. Cancel: it may arrive once more."""
        last = frames[-1].last
        identity, body = f"{self._epoch}:{last}", b"[%b]" % b",".join(f.messages for f in frames)
        figures, pause_s = self.hook.figures, RETRY_S
        for tries_left in range(self.hook.settings.max_retries, -1, -1):
            status, why = await self._post(identity, body)
            if why == "":
                figures.delivered += 1
                break
            if tries_left == 0 or (400 <= status < 500 and status not in AGAIN):
                figures.given_up += 1
                log.error("webhook.given_up", webhook=self.name, why=why, events=_events(frames))
                break
            figures.retried += 1
            figures.outage = why
            log.warning("webhook.failed", webhook=self.name, why=why, again_s=pause_s)
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_S_MAX)
        figures.outage = why
        self._seq = last

    async def _post(self, identity: str, body: bytes) -> tuple[int, str]:
        """Return the status, and what is wrong with it; 0: there is no answer."""
        try:
            status = await self.hook.client.post(identity, int(self.now()), body)
        except UnavailableError as error:
            return 0, str(error)
        return status, "" if 200 <= status < 300 else f"it answered {status}"

    def close(self) -> None:
        """See `Actor.close`."""
        self.subscriptions.close()


def _events(frames: list[Frame]) -> int:
    return sum(frame.count for frame in frames)
