"""Senders: one visit of one, with what it has to send."""

from collections.abc import Set
from dataclasses import dataclass, field

import msgspec
import trio
from fakes.folders import FakeStore
from fakes.instances import CT, MR, SYNTAX, attributes_of, sop_class_of
from fakes.oracle import Oracle, Sending, Sent
from fakes.visits import Visit

from adapter.domain.admission import AssociationRequest
from adapter.domain.dimse_ports import AssociationReport, AssociationService
from adapter.domain.messages import (
    Arrival,
    Ignored,
    InstanceSettled,
    Placement,
    ReceivedInstance,
    Refused,
    StoreAnswer,
)
from adapter.domain.statuses import OUT_OF_RESOURCES, PROCESSING_FAILURE
from adapter.errors import GroupClosedError, UnavailableError

PASSING = (OUT_OF_RESOURCES, PROCESSING_FAILURE)
"""What is answered then may be answered otherwise the next time."""


class FakeAssociation(Visit):
    """Port PendingAssociation: one sender's visit."""

    def __init__(
        self,
        titles: tuple[str, str],
        instances: list[Sending],
        store: FakeStore,
        oracle: Oracle,
        start_at: float,
        shut: Set[str] = frozenset(),
    ) -> None:
        """`titles`: called, calling; `shut`: called ones that let nobody in."""
        called, self.calling = titles
        super().__init__(called, self.calling, (CT, MR), store.life)
        self._shut = shut
        self._was_shut = False
        self.instances = instances
        self.store = store
        self.oracle = oracle
        self._wall = start_at
        self.called = called

    async def request(self) -> AssociationRequest:
        request = await super().request()
        self._was_shut = self.called in self._shut
        return request

    async def converse(self, association: str, service: AssociationService) -> AssociationReport:
        if self._was_shut and self.called in self._shut:
            self.oracle.let_in.append(self.called)
        stored = 0
        self._staged: list[tuple[str, Sending, Sent]] = []
        for sending in self.instances:
            if self.aborted or self.store.life.rng.random() < self.store.life.rates.abort / 10:
                return self.ended(stored, released=False)
            stored += await self._store(association, service, sending)
        asked_at = next(self.oracle.ticks)
        if self._staged and not await service.released():
            return self.ended(stored, released=False)
        if self.store.life.dead:
            await trio.sleep_forever()
        for group, sending, sent in self._staged:
            sent.visible_from, sent.visible_by = asked_at, next(self.oracle.ticks)
            self.oracle.promised(group, sending, sent)
        return self.ended(stored, released=True)

    async def _store(self, association: str, service: AssociationService, sending: Sending) -> bool:
        study, uid = sending.study, sending.uid
        instance = ReceivedInstance(
            association=association, calling_ae_title=self.calling, sop_class_uid=sop_class_of(uid),
            sop_instance_uid=uid, transfer_syntax_uid=SYNTAX, payload_bytes=1,
            attributes=attributes_of(study, uid),
        )  # fmt: skip
        answer = await self._place(service, instance)
        storing, done = _Storing(association, sending), False
        try:
            if isinstance(answer, Placement):
                try:
                    await self._commit(answer, storing, may_pretend=True)
                except GroupClosedError:
                    again = msgspec.structs.replace(instance, joined=tuple(storing.joined))
                    answer = await self._place(service, again)
                    if isinstance(answer, Placement):
                        await self._commit(answer, storing)
            done = bool(storing.joined) and not isinstance(answer, Refused)
        except UnavailableError:
            pass  # answered 0xA700
        finally:
            if arrivals := tuple(storing.arrivals):
                settled = InstanceSettled(instance=instance, stored=done, arrivals=arrivals)
                service.settled([settled])
        if isinstance(answer, Ignored) and not storing.joined:
            self.oracle.ignored.append((self.called, answer.why, uid))
            self.oracle.pending.discard((study, uid))
        if isinstance(answer, Refused) and answer.status not in PASSING:
            self.oracle.refused.append((self.called, sending, answer.status))
            if not storing.joined:
                self.oracle.pending.discard((study, uid))
        if done:
            self._acknowledge(storing)
        return done

    async def _place(self, service: AssociationService, instance: ReceivedInstance) -> StoreAnswer:
        begin = trio.current_time()
        answer = await service.place(instance)
        waited = trio.current_time() - begin
        self.oracle.slowest_answer_s = max(self.oracle.slowest_answer_s, waited)
        return answer

    async def _commit(
        self, placement: Placement, storing: "_Storing", *, may_pretend: bool = False
    ) -> None:
        """Commit into each group; in between it may die, or find a group closed, or pretend so."""
        left, joined, arrivals = dict(placement.groups), storing.joined, storing.arrivals
        try:
            for processor, group_id in placement.groups.items():
                await trio.sleep(self.store.life.rng.uniform(0, 0.02))
                if self.store.life.dead:
                    await trio.sleep_forever()
                if may_pretend and joined and self.store.life.rng.random() < 0.2:
                    raise GroupClosedError("as it may be under a lease")
                if processor in joined:
                    self.oracle.placed_twice.append(group_id)
                at, content = self._wall + trio.current_time(), storing.sending.content
                duplicate = self.store.commit(placement, group_id, at, content)
                arrivals.append(Arrival(group_id=group_id, duplicate=duplicate))
                sent = self.oracle.stored(group_id, placement, storing.association, content)
                joined[processor] = left.pop(processor), sent
        finally:
            arrivals += [Arrival(group_id=group_id, stored=False) for group_id in left.values()]

    def _acknowledge(self, storing: "_Storing") -> None:
        self.oracle.joined.append((self.called, storing.sending.study, frozenset(storing.joined)))
        for processor, (group, _) in storing.joined.items():
            self.oracle.processor_of[group] = self.called, processor
        for group, sent in storing.joined.values():
            if sent.is_staged:
                self._staged.append((group, storing.sending, sent))
            else:
                self.oracle.promised(group, storing.sending, sent)


@dataclass(slots=True)
class _Storing:
    """An instance on its way."""

    association: str
    sending: Sending
    arrivals: list[Arrival] = field(default_factory=list)
    joined: dict[str, tuple[str, Sent]] = field(default_factory=dict)
    """Its groups, by processor."""
