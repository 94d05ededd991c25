"""Where orders are given and taken: every channel from the web side to the actors."""

from contextlib import ExitStack

import trio

from adapter.channels import ExportDesk
from adapter.domain.entity_orders import EntityOrder
from adapter.domain.messages import JobOrder
from adapter.domain.reconfiguration import EntitiesProposed, ReloadOrder
from adapter.domain.subscriptions import Subscribe
from adapter.domain.tasks import TaskOrder


class OrderDesk:
    """Channels without capacity: whoever gives an order waits for its actor.

    To be entered by who gives to the last; leaving closes what is given here. Whoever else gives
    orders does so by a clone, and an actor ends its taking when all of them are closed.
    """

    def __init__(self) -> None:
        self.subscriptions, self.subscriptions_taken = trio.open_memory_channel[Subscribe](0)
        self.jobs, self.jobs_taken = trio.open_memory_channel[JobOrder](0)
        self.tasks, self.tasks_taken = trio.open_memory_channel[TaskOrder](0)
        self.entities, self.entities_taken = trio.open_memory_channel[
            EntityOrder | EntitiesProposed
        ](0)
        self.reloads, self.reloads_taken = trio.open_memory_channel[ReloadOrder](0)
        self.exports = ExportDesk()
        self._open = ExitStack()

    def __enter__(self) -> "OrderDesk":
        for given in (self.subscriptions, self.jobs, self.tasks, self.entities, self.reloads):
            self._open.enter_context(given)
        self._open.enter_context(self.exports)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
