"""What one instance costs while so many groups are open: python -m benchmarks.open_groups

Entity, timers, part files and group folders are real, in one process and without a network. Each
instance is for another group than the one before, so no lease helps: this is the worst case.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from adapter.actors.entity import ApplicationEntityActor
from adapter.channels import ask
from adapter.domain.assignments import load_processors
from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import (
    Arrival,
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
from adapter.domain.ports import SpaceReading
from adapter.store.files import DiskThreads
from adapter.store.group_commit import Change
from adapter.store.instances import FolderInstanceStore
from adapter.store.layout import Layout
from adapter.store.own_results import OwnResultRows
from adapter.store.parts import PartFiles

OPEN_GROUPS = (10, 100, 1000, 10_000)
INSTANCES, ROUNDS = 10_000, 3
OF_ASSOCIATION = 100
"""Instances that come by one association."""
PAYLOAD = bytes(1024)
CT, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


async def _commit_nothing(_: Sequence[Change]) -> None:
    """Nothing has been made here yet."""


class _Space:
    low = False
    fault = ""

    async def measure(self) -> SpaceReading:
        return SpaceReading(total_bytes=1, free_bytes=1, reserved_bytes=0)


class Bench:
    """One entity on an empty storage root."""

    def __init__(self, folder: Path) -> None:
        layout = Layout(folder)
        self.parts = PartFiles(layout, "os")
        self.store = FolderInstanceStore(layout, "os", DiskThreads(trio.CapacityLimiter(1)))
        self.number = 0
        self.asking_s = self.storing_s = 0.0
        self._ids = iter(range(10**9))
        self._questions, self._asked = trio.open_memory_channel[EntityQuestion](0)
        self._notes, self._noted = trio.open_memory_channel[EntityNote](1000)
        self._wake, self._woken = trio.open_memory_channel[Wake](1)

    async def measure(self, open_groups: int, instances: int, rounds: int) -> dict[str, float]:
        """Return microseconds for an instance, of the best round."""
        entity = ApplicationEntity(
            name="bench", ae_title="BENCH", timeout_s=86_400, pipelines={"one": "one"}
        )
        await self.store.recover()
        actor = ApplicationEntityActor(
            entity=entity, assignments=load_processors(entity), store=self.store, space=_Space(),
            requests=self._asked, notes=self._noted, wakes={entity.processor: self._wake},
            publish=lambda _: None, new_id=lambda: f"{next(self._ids):08}", now=time.time,
            own_results=OwnResultRows(_commit_nothing),
        )  # fmt: skip
        best: dict[str, float] = {}
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: actor.run(task_status=task_status))
            await self._receive(open_groups, open_groups)
            for _ in range(rounds):
                self.asking_s = self.storing_s = 0.0
                await self._receive(open_groups, instances)
                figures = {
                    "asking_us": 1e6 * self.asking_s / instances,
                    "storing_us": 1e6 * self.storing_s / instances,
                }
                for name, value in figures.items():
                    best[name] = min(best.get(name, value), value)
            nursery.cancel_scope.cancel()
        return best

    async def _ask(self, instance: ReceivedInstance) -> StoreAnswer:
        def question(reply: trio.MemorySendChannel[StoreAnswer]) -> StoreRequest:
            return StoreRequest(instance=instance, reply=reply)

        return await ask(self._questions, question, 60.0)

    async def _receive(self, open_groups: int, instances: int) -> None:
        settled: list[InstanceSettled] = []
        for _ in range(instances):
            self.number += 1
            association = f"a-{self.number // OF_ASSOCIATION}"
            study = f"1.2.{self.number % open_groups}"
            instance = ReceivedInstance(
                association=association, calling_ae_title="CT1", sop_class_uid=CT,
                sop_instance_uid=f"1.2.3.{self.number}", transfer_syntax_uid=SYNTAX,
                attributes={"0020,000D": study, "0020,000E": study},
                payload_bytes=len(PAYLOAD),
            )  # fmt: skip
            begin = time.perf_counter()
            answer = await self._ask(instance)
            asked = time.perf_counter()
            assert isinstance(answer, Placement)
            part = self.parts.open()
            part.write([PAYLOAD])
            (group_id,) = answer.groups.values()
            part.commit(answer, group_id)
            part.discard()
            stored = time.perf_counter()
            arrivals = (Arrival(group_id=group_id),)
            settled.append(InstanceSettled(instance=instance, stored=True, arrivals=arrivals))
            if len(settled) == OF_ASSOCIATION:
                await self._notes.send(InstancesSettled(settled=settled))
                await self._notes.send(AssociationEnded(association=association))
                settled = []
            self.asking_s += asked - begin + time.perf_counter() - stored
            self.storing_s += stored - asked


def run(open_groups: int, instances: int, rounds: int) -> dict[str, float]:
    """Return what an instance costs with so many groups open."""
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(Bench(Path(folder)).measure, open_groups, instances, rounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table, and write JSON if that is wanted."""
    parser = argparse.ArgumentParser(prog="benchmarks.open_groups", description=__doc__)
    parser.add_argument("--groups", type=int, nargs="+", default=OPEN_GROUPS)
    parser.add_argument("--instances", type=int, default=INSTANCES, help="in each round")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    rows = []
    print("open groups   entity us   storage us   entity, to the first")
    for count in asked.groups:
        figures = run(count, asked.instances, asked.rounds)
        rows.append({"open_groups": count, **figures})
        ratio = figures["asking_us"] / rows[0]["asking_us"]
        asking, storing = figures["asking_us"], figures["storing_us"]
        print(f"{count:11}   {asking:9.1f}   {storing:10.1f}   {ratio:.2f}")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
