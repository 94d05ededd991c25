"""A simulated day of one AE Title: 10 000 groups are open at once, and each closes in time.

Entity, timers, processor and ledger are real, the disk is a fake without delays.
"""

from random import Random

import trio
from fakes.disk import FakeDisk, FakeEngine, FakeSpace, FakeWriter, Life, Rates
from fakes.folders import FakeStore
from fakes.placements import ONLY, first_group, settled
from trio.testing import MockClock

from adapter.actors.entity import ApplicationEntityActor
from adapter.actors.processor import ProcessorActor
from adapter.channels import ask
from adapter.domain.assignments import load_processors
from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import (
    AssociationEnded,
    EntityNote,
    EntityQuestion,
    InstanceSettled,
    InstancesSettled,
    Placement,
    ReceivedInstance,
    StoreAnswer,
    StoreRequest,
    Wake,
)
from adapter.store.ledger import RowLedger

GROUPS = 10_000
INSTANCES_EACH = 10
OF_ASSOCIATION = 50
"""Instances that come by one association, of as many studies."""
DAY_S, QUIET_S = 86_400.0, 4 * 3600.0
EPOCH = 1_800_000_000.0
CT, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


class AtOnce(Life):
    """A disk without delays: the day is long enough."""

    async def io(self, longest_s: float = 0.0) -> None:
        await trio.lowlevel.checkpoint()


class Day:
    """Studies whose instances come spread over the day, by many associations."""

    def __init__(self) -> None:
        self.disk, life = FakeDisk(), AtOnce(Random(1), Rates())
        self.store = FakeStore(self.disk, life)
        self.ledger = RowLedger(FakeEngine(self.disk), FakeWriter(life), self.now)
        self.entity = ApplicationEntity(
            name="ae1", ae_title="AE1", timeout_s=QUIET_S, max_age_s=DAY_S,
            late_arrivals="supplement", pipelines={"one": "one"},
        )  # fmt: skip
        self.ids = 0
        self.most_open = self.most_tasks = 0
        self.space = FakeSpace(life)

    def now(self) -> float:
        return EPOCH + trio.current_time()

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:06}"

    def associations(self) -> list[tuple[float, list[tuple[str, int]]]]:
        """Return when each association comes, and study and number of each of its instances."""
        rng = Random(2)
        found = []
        for number in range(GROUPS):
            at = rng.uniform(0, QUIET_S / 4)
            for each in range(INSTANCES_EACH):
                found.append((at, f"1.2.{number}", each))
                at += rng.uniform(0, QUIET_S / 2)
        found.sort()
        return [
            (
                found[first][0],
                [(study, each) for _, study, each in found[first : first + OF_ASSOCIATION]],
            )
            for first in range(0, len(found), OF_ASSOCIATION)
        ]

    async def run(self) -> None:
        """Receive everything, and see every group off."""
        (assignment,) = load_processors(self.entity)
        questions_in, questions = trio.open_memory_channel[EntityQuestion](0)
        notes_in, notes = trio.open_memory_channel[EntityNote](100)
        wake, woken = trio.open_memory_channel[Wake](1)
        submitter_wake, _ = trio.open_memory_channel[Wake](1)
        entity = ApplicationEntityActor(
            entity=self.entity, assignments=[assignment], store=self.store, space=self.space,
            requests=questions, notes=notes, wakes={ONLY: wake}, publish=lambda event: None,
            new_id=self.new_id, now=self.now, own_results=self.ledger.own_results,
        )  # fmt: skip
        maker = ProcessorActor(
            assignment=assignment, names=[ONLY], name="processor:ae1",
            store=self.store, payloads=self.store,
            ledger=self.ledger, wake=woken, submitter_wake=submitter_wake,
            publish=lambda event: None, now=self.now,
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: maker.run(task_status=task_status))
            await nursery.start(lambda task_status: entity.run(task_status=task_status))
            nursery.start_soon(self.reclaim)
            await self.send(questions_in, notes_in)
            await trio.sleep(QUIET_S + 60)
            nursery.cancel_scope.cancel()

    async def send(
        self,
        questions: trio.MemorySendChannel[EntityQuestion],
        notes: trio.MemorySendChannel[EntityNote],
    ) -> None:
        """Have every association come at its time."""
        for count, (at, instances) in enumerate(self.associations()):
            await trio.sleep_until(at)
            association = f"a-{count}"
            stored = [
                await self.store_one(questions, association, study, number)
                for study, number in instances
            ]
            await notes.send(InstancesSettled(settled=stored))
            await notes.send(AssociationEnded(association=association))
            self.most_open = max(self.most_open, len(self.disk.open_groups))
            tasks = trio.lowlevel.current_statistics().tasks_living
            self.most_tasks = max(self.most_tasks, tasks)

    async def store_one(
        self,
        questions: trio.MemorySendChannel[EntityQuestion],
        association: str,
        study: str,
        number: int,
    ) -> InstanceSettled:
        """Bring one instance, as a C-STORE-RQ does."""
        instance = ReceivedInstance(
            association=association, calling_ae_title="CT1", sop_class_uid=CT,
            sop_instance_uid=f"{study}.{number}", transfer_syntax_uid=SYNTAX, payload_bytes=1,
            attributes={"0020,000D": study, "0020,000E": f"{study}.1"},
        )  # fmt: skip
        answer: StoreAnswer = await ask(
            questions, lambda reply: StoreRequest(instance=instance, reply=reply), 10.0
        )
        assert isinstance(answer, Placement)
        self.store.commit(answer, first_group(answer), self.now())
        return settled(instance, answer)

    async def reclaim(self) -> None:
        """Jobs are somebody else's matter: forget them once they are open."""
        while True:
            await trio.sleep(60)
            for job in await self.ledger.jobs():
                await self.ledger.remove_job(job.id)


def test_day_with_ten_thousand_open_groups_loses_nothing() -> None:
    day = Day()
    trio.run(day.run, clock=MockClock(autojump_threshold=0.0))
    assert day.most_open > GROUPS * 0.9
    assert day.most_tasks < GROUPS + 20, "one timer for each open group, and nothing else"
    assert not day.disk.open_groups
    assert not day.disk.closed_groups
    jobs = [payload.job for payload in day.disk.history.values()]
    assert len(jobs) == GROUPS
    assert {len(payload.files) for payload in day.disk.history.values()} == {INSTANCES_EACH}
    last = {study: EPOCH + at for at, came in day.associations() for study, _ in came}
    for payload in day.disk.history.values():
        study = next(iter(payload.files)).partition("/")[0]
        assert abs(payload.job.opened_at - last[study] - QUIET_S) < 1, "too early or too late"
