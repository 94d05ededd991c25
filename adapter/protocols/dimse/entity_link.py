"""The application entity as an association's thread reaches it.

Asking another thread or process costs more than receiving a small instance, so it is done as seldom
as the rules allow. A placement comes with a lease: instances of the same kind go to the same group
without a question until it runs out. What became of them is told in batches, at the latest after
`BATCH_S`, or as soon as the peer is quiet.
"""

import time
from collections.abc import Collection

import msgspec

from adapter.domain.identifiers import path_part
from adapter.domain.messages import InstanceSettled, Placement, ReceivedInstance, StoreAnswer
from adapter.protocols.dimse.service_link import ServiceLink

BATCH_S = 0.05
"""The delay of live events and quiet timers; both count in larger units."""
STUDY, SERIES = "0020,000D", "0020,000E"

_LeaseKey = tuple[str, ...]


class EntityLink:
    """Asks and tells; used by one association thread."""

    def __init__(self, link: ServiceLink, grouping: Collection[str]) -> None:
        """Ask over this link; `grouping` is that of the `AssociationService`."""
        self._link = link
        self._grouping = sorted(grouping)
        self._lease: Placement | None = None
        self._lease_key: _LeaseKey = ()
        self._lease_ends = 0.0
        self._settled: list[InstanceSettled] = []
        self._flush_at = 0.0
        self._staged = False

    def place(self, instance: ReceivedInstance) -> StoreAnswer:
        """Return where the instance goes, by lease or by asking."""
        key = self._key(instance)
        lease = self._lease
        if lease is not None and key == self._lease_key and time.monotonic() < self._lease_ends:
            return msgspec.structs.replace(
                lease,
                study=path_part(instance.attributes.get(STUDY, "")),
                series=path_part(instance.attributes.get(SERIES, "")),
                instance=path_part(instance.sop_instance_uid),
            )
        return self.ask(instance)

    def ask(self, instance: ReceivedInstance) -> StoreAnswer:
        """Return where the instance goes, as the entity says now."""
        self.flush()  # what it is told about earlier instances comes first
        answer = self._link.place(instance)
        self._lease = answer if isinstance(answer, Placement) else None
        self._staged = self._staged or bool(self._lease and self._lease.association)
        if self._lease is not None:
            self._lease_key = self._key(instance)
            self._lease_ends = time.monotonic() + self._lease.lease_s
        return answer

    def _key(self, instance: ReceivedInstance) -> _LeaseKey:
        attributes = instance.attributes
        return instance.sop_class_uid, *(attributes.get(tag, "") for tag in self._grouping)

    def settled(self, settled: InstanceSettled) -> None:
        """Tell what became of a placed instance, soon."""
        now = time.monotonic()
        if not self._settled:
            self._flush_at = now + BATCH_S
        self._settled.append(settled)
        if now >= self._flush_at:
            self.flush()

    @property
    def has_news(self) -> bool:
        """Whether something is waiting to be told."""
        return bool(self._settled)

    def flush(self) -> None:
        """Tell what is waiting to be told; not waited for, and in order."""
        if self._settled:
            batch, self._settled = tuple(self._settled), []
            self._link.settled(batch)

    def released(self) -> bool:
        """Have what was staged taken into its groups; False: it cannot be."""
        self.flush()
        return not self._staged or self._link.released()

    def ended(self) -> None:
        """Give the association's place back; again is harmless."""
        self._link.ended()
