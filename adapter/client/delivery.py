"""Delivers instances to a destination: over several associations, and again after a lost one.

Rules: an instance that was answered is never sent again. One whose answer never came, because the
association broke, is sent again up to `TRIES_MAX` times; it may be what breaks the peer. After
`LOSSES_MAX` rounds in a row without any answer the rest is given up, and at once if the destination
takes no association at all: nobody waits at a terminal for a host that is switched off.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import trio

from adapter.channels import aborted_on_cancel
from adapter.domain.dimse_ports import Context, Requestor, SendResult
from adapter.domain.entities import Destination
from adapter.domain.exporting import association_loads
from adapter.domain.records import OutgoingInstance
from adapter.errors import PeerRefusalError

BATCH = 16
BATCH_BYTES_MAX = 32 << 20
"""So much is handed to an association's thread at once: progress and Ctrl+C wait for no more."""
TRIES_MAX = 3
LOSSES_MAX = 3
PAUSE_S = 1.0
"""Before associating again with a peer that broke off: it may be starting anew."""

Told = Callable[[OutgoingInstance, SendResult], None]


class Delivery:
    """One delivery to one destination."""

    def __init__(self, requestor: Requestor, destination: Destination, associations: int) -> None:
        """Prepare it.

        Args:
            requestor: Opens associations.
            destination: Where to.
            associations: How many to have open at once, at the most.
        """
        self._requestor = requestor
        self._destination = destination
        self._associations = associations
        self.refusal: PeerRefusalError | None = None
        """The last one, if it is why something was given up."""
        self._answers = 0
        self._told: set[int] = set()
        self._losses: Counter[int] = Counter()
        """Instances go by identity: a file may be named twice."""
        self._why = ""

    async def run(self, instances: Sequence[OutgoingInstance], told: Told) -> None:
        """Deliver all instances; tell the result of each, once, as it comes."""

        def tell(instance: OutgoingInstance, result: SendResult) -> None:
            self._told.add(id(instance))
            told(instance, result)

        for contexts, load in association_loads(instances, lambda instance: instance.context):
            await self._deliver(contexts, deque(load), tell)

    def untold(self, instances: Iterable[OutgoingInstance]) -> list[OutgoingInstance]:
        """Return the instances without a result, after `run` was cancelled."""
        return [instance for instance in instances if id(instance) not in self._told]

    async def _deliver(
        self, contexts: Sequence[Context], load: deque[OutgoingInstance], tell: Told
    ) -> None:
        losses = 0
        while load:
            before, self.refusal = self._answers, None
            async with trio.open_nursery() as nursery:
                for _ in range(min(self._associations, -(-len(load) // BATCH))):
                    nursery.start_soon(self._associate, contexts, load, tell)
            if not load:
                break
            losses = 0 if self._answers > before else losses + 1
            if losses == LOSSES_MAX or (self.refusal and not self._answers):
                while load:
                    tell(load.popleft(), SendResult(status=None, error=self._why))
                return
            await trio.sleep(PAUSE_S)
        self.refusal = None

    async def _associate(
        self, contexts: Sequence[Context], load: deque[OutgoingInstance], tell: Told
    ) -> None:
        """Send what is left on one association, as long as it lasts."""
        try:
            async with (
                self._requestor.associate(self._destination, contexts) as association,
                aborted_on_cancel(association),
            ):
                while batch := _take(load):
                    try:
                        results = await association.store(batch)
                    except PeerRefusalError:
                        load.extendleft(reversed(batch))
                        raise
                    if not self._settle(batch, results, load, tell):
                        return
        except PeerRefusalError as error:
            self.refusal, self._why = error, str(error)

    def _settle(
        self,
        batch: Sequence[OutgoingInstance],
        results: Sequence[SendResult],
        load: deque[OutgoingInstance],
        tell: Told,
    ) -> bool:
        """Tell the answers; put back what has none. False: the association is lost."""
        pairs = deque(zip(batch, results, strict=True))
        while pairs and (pairs[0][1].status is not None or pairs[0][1].permanent):
            self._answers += 1
            tell(*pairs.popleft())
        if not pairs:
            return True
        broke, result = pairs.popleft()  # it was on its way; those behind it never were
        self._why = result.error
        self._losses[id(broke)] += 1
        load.extendleft(instance for instance, _ in reversed(pairs))
        if self._losses[id(broke)] < TRIES_MAX:
            load.append(broke)  # the others first
        else:
            tell(broke, result)
        return False


def _take(load: deque[OutgoingInstance]) -> list[OutgoingInstance]:
    """Take the next batch; at least one instance, however long, if there is any."""
    count = total = 0
    for instance in islice(load, BATCH):
        total += instance.data_set_bytes
        if count and total > BATCH_BYTES_MAX:
            break
        count += 1
    return [load.popleft() for _ in range(count)]
