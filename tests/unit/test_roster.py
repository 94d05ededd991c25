"""The roster: how actors are, and how long their mailboxes have not been empty."""

from dataclasses import dataclass

import trio
from sample_events import sample

from adapter.domain.roster import LOOK_S, Roster
from adapter.domain.snapshot import Snapshot
from adapter.supervision import ESSENTIAL, list_in, supervise, watch_mailboxes


def folded(*events):
    snapshot = Snapshot()
    for at, (verb, data) in enumerate(events):
        snapshot.apply(sample(f"actor.{verb}", data={"actor": "results"} | data), at)
    return snapshot.roster


CRASH = {"error": "KeyError", "crashes": 1}


def test_crashes_are_counted_but_not_what_never_ran():
    roster = folded(
        ("started", {}), ("crashed", CRASH), ("started", {}), ("parked", CRASH),
        ("parked", {"actor": "entity:x", "error": "no such destination"}),
    )  # fmt: skip
    assert roster.crashes == {"results": 2}
    assert roster.restarts["results"] == 1
    assert [row["name"] for row in roster.at_work()] == ["results", "entity:x"]


def test_what_was_stopped_is_not_at_work_and_its_next_start_is_no_restart():
    assert folded(("started", {}), ("stopped", {})).at_work() == []
    roster = folded(("started", {}), ("crashed", CRASH), ("stopped", {}), ("started", {}))
    assert roster.restarts["results"] == 0


@dataclass
class Taker:
    """Takes what is given to it when it is told to."""

    _given: trio.MemoryReceiveChannel[int]
    take: trio.Event
    name: str = "taker"

    async def run(self, *, task_status):
        task_status.started()
        await self.take.wait()
        async for _ in self._given:
            pass

    def close(self):
        self._given.close()


async def test_mailbox_tells_how_many_wait_and_since_when_it_was_not_seen_empty(autojump_clock):
    roster, stop = Roster({}), trio.Event()
    list_in(roster)
    give, given = trio.open_memory_channel[int](3)
    actor = Taker(given, trio.Event())
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, actor, ESSENTIAL, lambda event: None)
        nursery.start_soon(watch_mailboxes, roster, stop)
        await trio.sleep(10 * LOOK_S + 0.5)
        (mailbox,) = roster.mailboxes("taker").values()
        assert list(roster.mailboxes("taker")) == ["given"]
        assert (mailbox.waiting(), mailbox.capacity()) == (0, 3)
        assert mailbox.not_empty_s(trio.current_time()) == 0
        for number in range(3):
            give.send_nowait(number)
        nursery.start_soon(give.send, 3)
        await trio.sleep(20 * LOOK_S)
        assert mailbox.waiting() == 4
        waited = mailbox.not_empty_s(trio.current_time())
        assert 20 * LOOK_S <= waited <= 21 * LOOK_S
        actor.take.set()
        await trio.sleep(2 * LOOK_S)
        assert (mailbox.waiting(), mailbox.not_empty_s(trio.current_time())) == (0, 0)
        give.close()
        stop.set()
    assert roster.mailboxes("taker") == {}
