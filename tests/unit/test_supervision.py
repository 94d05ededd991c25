"""Restart policies."""

import pytest
import trio

from adapter.errors import LedgerError
from adapter.supervision import RestartPolicy, supervise

ESSENTIAL = RestartPolicy(essential=True, restarts_max=2, period_s=60.0, backoff_s=1.0)
REPLICA = RestartPolicy(essential=False, restarts_max=2, period_s=60.0, backoff_s=1.0)


class Scripted:
    """An actor that does, run by run, what its script says."""

    name = "scripted"

    def __init__(self, *script, boots=True):
        self.script = list(script)
        self.boots = boots
        self.began = []
        self.closed = 0

    async def run(self, *, task_status):
        self.began.append(trio.current_time())
        if self.boots:
            task_status.started()
        step = self.script.pop(0)
        await trio.sleep(step.pop("for_s", 0))
        if error := step.get("error"):
            raise error

    def close(self):
        self.closed += 1


def crash(for_s=0.0):
    return {"error": RuntimeError("a bug"), "for_s": for_s}


def told(events):
    return [event.type.removeprefix("actor.") for event in events]


async def test_actor_that_returns_is_not_started_again(autojump_clock):
    actor, events = Scripted({}), []
    await supervise(actor, ESSENTIAL, events.append)
    assert told(events) == ["started", "stopped"]
    assert (actor.began, actor.closed) == ([0.0], 1)


async def test_crashed_actor_is_started_again_after_a_pause(autojump_clock):
    actor, events = Scripted(crash(), crash(), {}), []
    await supervise(actor, ESSENTIAL, events.append)
    assert actor.began == [0.0, 1.0, 2.0]
    assert told(events) == ["started", "crashed", "started", "crashed", "started", "stopped"]
    assert events[3].facts == {"actor": "scripted", "error": "RuntimeError", "crashes": 2}
    assert actor.closed == 1


async def test_essential_actor_over_budget_raises(autojump_clock):
    actor, events = Scripted(crash(), crash(), crash()), []
    with pytest.raises(RuntimeError, match="a bug"):
        await supervise(actor, ESSENTIAL, events.append)
    assert len(actor.began) == 3
    assert actor.closed == 1


async def test_replica_over_budget_is_parked(autojump_clock):
    actor, events = Scripted(crash(), crash(), crash()), []
    await supervise(actor, REPLICA, events.append)
    assert told(events)[-1] == "parked"
    assert (len(actor.began), actor.closed) == (3, 1)


@pytest.mark.parametrize(
    "failure",
    [
        LedgerError("disk I/O error"),
        ExceptionGroup("nursery", [ExceptionGroup("lanes", [LedgerError("disk I/O error")])]),
    ],
)
async def test_ledger_that_failed_ends_the_process_whoever_met_it(autojump_clock, failure):
    """Memory is ahead of the disk then: a replica that went on would show what never happened."""
    actor = Scripted({"error": failure})
    with pytest.raises((LedgerError, ExceptionGroup)) as raised:
        await supervise(actor, REPLICA, [].append)
    assert raised.value is failure
    assert len(actor.began) == 1


async def test_old_crashes_are_forgiven(autojump_clock):
    actor, events = Scripted(*[crash(for_s=40.0) for _ in range(6)], {}), []
    await supervise(actor, ESSENTIAL, events.append)
    assert len(actor.began) == 7
    assert told(events)[-1] == "stopped"


@pytest.mark.parametrize("policy", [ESSENTIAL, REPLICA])
async def test_failed_boot_is_not_tried_again(autojump_clock, policy):
    actor = Scripted(crash(), {}, boots=False)
    with pytest.raises(RuntimeError, match="a bug"):
        await supervise(actor, policy, lambda event: None)
    assert (len(actor.began), actor.closed) == (1, 1)


async def test_starter_waits_for_the_first_start_only(autojump_clock):
    actor = Scripted(crash(for_s=3.0), {})
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, actor, ESSENTIAL, lambda event: None)
        assert trio.current_time() == 0.0
    assert actor.began == [0.0, 4.0]


async def test_cancelled_actor_is_closed_and_not_started_again(autojump_clock):
    actor, events = Scripted({"for_s": 100.0}), []
    with trio.move_on_after(5):
        await supervise(actor, ESSENTIAL, events.append)
    assert told(events) == ["started"]
    assert (actor.began, actor.closed) == ([0.0], 1)


async def test_crash_is_logged_with_its_trace(autojump_clock, logged):
    await supervise(Scripted(crash(), {}), ESSENTIAL, lambda event: None)
    (entry,) = [entry for entry in logged if entry["event"] == "actor.crashed"]
    assert (entry["actor"], entry["gave_up"], entry["exc_info"]) == ("scripted", False, True)
