"""Operators that give orders about open groups, sensible and not, beside those about jobs."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio
from fakes.disk import Life
from fakes.job_operator import FakeOperator

from adapter.channels import UNANSWERED, ask
from adapter.domain.messages import GroupOrdered, OrderOutcome
from adapter.domain.views import Views

ANSWER_S = 10.0


@dataclass
class GroupOperator:
    """Closes what is held for too long; in troubled lives also holds and extends."""

    views: Views
    life: Life
    jobs: FakeOperator
    beside: Sequence[Callable[[], Awaitable[None]]] = ()
    """What others do until the web stops."""
    name: str = "web"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            for work in (self._work, *self.beside):
                nursery.start_soon(work)
            await self.jobs.run(task_status=task_status)  # until the web stops
            nursery.cancel_scope.cancel()

    async def _work(self) -> None:
        rng = self.life.rng
        while True:
            await trio.sleep(rng.expovariate(0.3))
            rows = sorted(self.views.snapshot.sections["groups"].values(), key=lambda r: r["id"])
            held = [row for row in rows if row["held"]]
            if held:
                await self._order(rng.choice(held), rng.choice(("close", "extend")), 0.0)
            elif rows and rng.random() < self.life.rates.operator:
                what = rng.choice(("close", "hold", "extend"))
                await self._order(rng.choice(rows), what, rng.uniform(0, 30))

    async def _order(self, row: dict[str, str], what: str, seconds: float) -> None:
        try:
            outcome: OrderOutcome = await ask(
                self.views.entities[row["aeTitle"]],
                lambda reply: GroupOrdered(
                    group_id=row["id"], order=what, seconds=seconds, reply=reply
                ),
                ANSWER_S,
            )
        except UNANSWERED:
            return
        assert outcome in OrderOutcome

    def close(self) -> None:
        """See `Actor.close`."""
