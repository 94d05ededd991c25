"""The simulation is worth something: bugs that are planted are found, within a few seeds."""

import itertools

import msgspec
import pytest
import trio
from fakes.folders import FakeStore
from test_gateway_simulation import picky, quiet, simulate
from trio._core import _run as trio_run
from trio.testing import MockClock

from adapter.actors import entity, processor, reclaimer
from adapter.store.group_commit import GroupCommit

SEEDS = 8
__all__ = ["picky", "quiet"]  # fixtures of every simulation


def ledger_that_forgets(patch: pytest.MonkeyPatch) -> None:
    """It says that rows are durable, and now and then writes nothing."""
    write, turns = GroupCommit.commit, itertools.count(1)

    async def commit(self, changes):
        if next(turns) % 5:
            await write(self, changes)
        else:
            await trio.lowlevel.checkpoint()

    patch.setattr(GroupCommit, "commit", commit)


def reclaimer_without_holds(patch: pytest.MonkeyPatch) -> None:
    """It deletes what has been delivered to nobody."""
    patch.setattr(reclaimer, "hold_of", lambda *_: None)


def job_ids_that_differ_each_time(patch: pytest.MonkeyPatch) -> None:
    """A group that becomes jobs again after a crash has them twice."""
    numbers = itertools.count(1)
    patch.setattr(processor, "job_id", lambda *_: f"job-{next(numbers):020}")


def entity_that_keeps_the_first(patch: pytest.MonkeyPatch) -> None:
    """It has the first of two instances kept, whatever its AE Title says."""
    place = entity.placement

    def placement(*args):
        return msgspec.structs.replace(place(*args), same_instance="keep-first")

    patch.setattr(entity, "placement", placement)


def entity_that_takes_everything(patch: pytest.MonkeyPatch) -> None:
    """It stores what its AE Title is to refuse or ignore."""
    patch.setattr(entity, "objection", lambda *_, **__: None)


def release_that_keeps_the_last(patch: pytest.MonkeyPatch) -> None:
    """What was staged takes the place of what is there, whatever the AE Title says."""
    release = FakeStore.release_staged

    async def release_staged(self, group_id, association, same_instance):
        return await release(self, group_id, association, "replace")

    patch.setattr(FakeStore, "release_staged", release_staged)


def judged(error: BaseException) -> bool:
    """Return whether a check has said so, and not a crash of what was planted."""
    if isinstance(error, BaseExceptionGroup):
        return all(judged(each) for each in error.exceptions)
    return isinstance(error, AssertionError)


@pytest.mark.parametrize(
    "plant",
    [
        ledger_that_forgets,
        reclaimer_without_holds,
        job_ids_that_differ_each_time,
        entity_that_keeps_the_first,
        entity_that_takes_everything,
        release_that_keeps_the_last,
    ],
)
def test_planted_fault_is_found(plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    assert any(fails(seed) for seed in range(SEEDS)), "not found"


def fails(seed: int) -> bool:
    """Return whether the simulation of this seed fails by a check; a crash is none."""
    trio_run._r.seed(seed)
    try:
        trio.run(simulate, seed, clock=MockClock(autojump_threshold=0.0))
    except BaseException as error:
        if judged(error):
            return True
        raise
    return False
