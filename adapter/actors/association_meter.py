"""Association meter: how fast open associations bring instances.

Consumes: hints that an association has begun; what the snapshot says of it. Produces: the rates in
the occupancy. Owns: the latest samples. Rebuilds from: nothing, it measures anew. Restart policy:
replica.

Nothing is counted for each instance: what stands in the snapshot is looked at once a second, and
only while there are associations.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from adapter.channels import wait_woken
from adapter.domain.messages import Wake
from adapter.domain.occupancy import Occupancy

PERIOD_S = 1.0
WINDOW = 5
"""Periods that a rate is the mean of."""


@dataclass(slots=True, kw_only=True)
class AssociationMeter:
    """Measures the rates of associations."""

    rows: Mapping[str, Mapping[str, Any]]
    """Associations of the snapshot."""
    occupancy: Occupancy
    woken: trio.MemoryReceiveChannel[Wake]
    name: str = "association-meter"
    _samples: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)
    """Clock time and bytes so far, by association."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        task_status.started()
        try:
            while True:
                await self.woken.receive()
                await self._measure()
        except trio.EndOfChannel:
            return  # all listeners have gone

    def close(self) -> None:
        """See `Actor.close`."""
        self.woken.close()

    async def _measure(self) -> None:
        """Look once a second, until nobody is there."""
        while self.occupancy.served:
            self._look()
            end = trio.current_time() + PERIOD_S
            while trio.current_time() < end:
                await wait_woken(self.woken, end)
        self._samples.clear()
        self.occupancy.rates.clear()

    def _look(self) -> None:
        now = trio.current_time()
        for gone in self._samples.keys() - self.occupancy.served.keys():
            del self._samples[gone]
            self.occupancy.rates.pop(gone, None)
        for association in self.occupancy.served:
            row = self.rows.get(association)
            if row is None:
                continue  # the hub has not heard of it yet
            samples = self._samples.setdefault(association, deque(maxlen=WINDOW + 1))
            samples.append((now, row["bytes"]))
            (since, before), (_, current) = samples[0], samples[-1]
            rate = round((current - before) / (now - since)) if now > since else 0
            self.occupancy.rates[association] = rate
