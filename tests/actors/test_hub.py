"""Hub: numbers without holes, gaps that are told, resuming, and the snapshot."""

import msgspec
import pytest
import trio
import trio.testing
from actor_ports import counting_ids, running, wall
from sample_events import sample

from adapter.actors.hub import COALESCE_S, FEED_MAX, FRAME_EVENTS_MAX, RING_MAX, Hub, Publisher
from adapter.channels import ask
from adapter.domain.association_events import InstanceStored, StoredFacts
from adapter.domain.events import NOTHING, Event
from adapter.domain.export_events import DestinationUp
from adapter.domain.snapshot import Snapshot
from adapter.domain.subscriptions import Subscribe
from adapter.domain.system_events import ActorCrashed
from adapter.supervision import ESSENTIAL, supervise


class Stage:
    """A hub and its two doors."""

    def __init__(self):
        self.events_in, events = trio.open_memory_channel(1 << 16)
        self.subscriptions_in, subscriptions = trio.open_memory_channel(0)
        self.publish = Publisher(self.events_in)
        self.counts = {}
        self.hub = Hub(
            events=events, subscriptions=subscriptions, new_id=counting_ids(), now=wall,
            snapshot=Snapshot(), counts=self.counts,
        )  # fmt: skip

    def tell(self, count=1, kind="job.state"):
        for _ in range(count):
            self.publish(sample(kind, job="job-1", data={"state": "Queued"}))

    async def subscribe(self, *topics, since=None, epoch=""):
        subscription = await ask(
            self.subscriptions_in,
            lambda reply: Subscribe(
                topics=frozenset(topics), since=since, epoch=epoch, reply=reply
            ),
            1.0,
        )
        return subscription, msgspec.json.decode(subscription.hello)


def decoded(frame):
    """Return the messages of a frame."""
    return msgspec.json.decode(b"[%b]" % frame.messages)


async def heard(subscription):
    """Return what has arrived until nothing is on its way, decoded."""
    await trio.sleep(2 * COALESCE_S)
    messages = []
    while True:
        try:
            messages += decoded(subscription.feed.receive_nowait())
        except trio.WouldBlock:
            return messages


def seqs(messages):
    return [message["seq"] for message in messages]


async def test_events_are_numbered_without_holes(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        subscription, hello = await stage.subscribe()
        assert hello["seq"] == 0
        stage.tell(100)
        assert seqs(await heard(subscription)) == list(range(1, 101))


async def test_event_is_encoded_as_documented(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        subscription, _ = await stage.subscribe()
        stage.publish(DestinationUp(destination="pacs"))
        facts = StoredFacts(sop_instance_uid="1.2", payload_bytes=7)
        stage.publish(InstanceStored(ae_title="BRAIN", association="a-1", data=facts))
        assert await heard(subscription) == [
            {"seq": 1, "time": "2023-11-14T22:13:20.000Z", "type": "destination.up",
             "destination": "pacs"},
            {"seq": 2, "time": "2023-11-14T22:13:20.000Z", "type": "instance.stored",
             "aeTitle": "BRAIN", "association": "a-1",
             "data": {"sopInstanceUid": "1.2", "bytes": 7}},
        ]  # fmt: skip


async def test_newcomer_gets_a_snapshot_and_then_every_event(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        stage.tell(3)
        await trio.testing.wait_all_tasks_blocked()
        subscription, hello = await stage.subscribe()
        stage.tell(2)
        assert hello["seq"] == 3
        assert [job["id"] for job in hello["snapshot"]["jobs"]] == ["job-1"]
        assert subscription.backlog.count == 0
        assert seqs(await heard(subscription)) == [4, 5]


async def test_subscriber_resumes_where_it_was(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        stage.tell(10)
        await trio.testing.wait_all_tasks_blocked()
        subscription, hello = await stage.subscribe(since=7)
        stage.tell(1)
        assert "snapshot" not in hello
        assert seqs(decoded(subscription.backlog)) == [8, 9, 10]
        assert seqs(await heard(subscription)) == [11]


async def test_subscriber_that_missed_nothing_resumes_with_nothing(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        stage.tell(10)
        await trio.testing.wait_all_tasks_blocked()
        for since in (0, 10):
            subscription, hello = await stage.subscribe(since=since)
            assert "snapshot" not in hello
            assert subscription.backlog.count == 10 - since


@pytest.mark.parametrize("since", [11, 10_000, -1])
async def test_number_that_was_never_given_out_gets_a_snapshot(autojump_clock, since):
    stage = Stage()
    async with running(stage.hub):
        stage.tell(10)
        await trio.testing.wait_all_tasks_blocked()
        subscription, hello = await stage.subscribe(since=since)
        assert "snapshot" in hello
        assert subscription.backlog.count == 0


async def test_number_that_is_forgotten_gets_a_snapshot(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        stage.tell(RING_MAX + 5)
        await trio.testing.wait_all_tasks_blocked()
        _, hello = await stage.subscribe(since=4)
        assert "snapshot" in hello
        subscription, hello = await stage.subscribe(since=5)
        assert "snapshot" not in hello
        assert subscription.backlog.count == RING_MAX


async def test_subscriber_gets_only_its_topics(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        subscription, _ = await stage.subscribe("export", "storage")
        for kind in ("job.state", "export.state", "storage.low", "export.sent"):
            stage.publish(sample(kind, job="j", export="e", data={}))
        types = [message["type"] for message in await heard(subscription)]
        assert types == ["export.state", "storage.low", "export.sent"]
        resumed, _ = await stage.subscribe("storage", since=0)
        assert seqs(decoded(resumed.backlog)) == [3]


async def test_slow_subscriber_is_told_what_it_missed(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        subscription, _ = await stage.subscribe()
        stage.tell(FEED_MAX + 50)
        delivered = await heard(subscription)
        stage.tell(1)
        after = await heard(subscription)
        assert seqs(delivered) == list(range(1, FEED_MAX + 1))
        assert after[0] == {"type": "gap", "from": FEED_MAX + 1, "to": FEED_MAX + 50}
        assert seqs(after[1:]) == [FEED_MAX + 51]


async def test_every_number_is_delivered_or_in_a_gap(autojump_clock):
    """Also when there is room for some of a burst only."""
    stage = Stage()
    async with running(stage.hub):
        subscription, _ = await stage.subscribe()
        messages = []
        bursts = ((FEED_MAX + 3, 1), (FRAME_EVENTS_MAX, 2), (4, 1), (2, 1), (9, 0), (FEED_MAX, 3))
        for burst, drained in bursts:
            stage.tell(burst)
            await trio.sleep(2 * COALESCE_S)
            for _ in range(drained):
                messages += decoded(subscription.feed.receive_nowait())
        messages += await heard(subscription)
        stage.tell(1)
        messages += await heard(subscription)
        known, gaps = [], 0
        for message in messages:
            if message["type"] == "gap":
                known += range(message["from"], message["to"] + 1)
                gaps += 1
            else:
                known.append(message["seq"])
        assert known == list(range(1, sum(burst for burst, _ in bursts) + 2))
        assert gaps >= 2


async def test_those_who_want_the_same_share_a_frame(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        one, _ = await stage.subscribe("job")
        other, _ = await stage.subscribe("job")
        stage.tell(3)
        frame = await one.feed.receive()
        assert await other.feed.receive() is frame
        assert seqs(decoded(frame)) == [1, 2, 3]


async def test_newcomer_is_not_told_again_what_its_greeting_has(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        first, _ = await stage.subscribe()
        stage.tell(3)
        await trio.testing.wait_all_tasks_blocked()
        newcomer, hello = await stage.subscribe()
        assert hello["seq"] == 3
        stage.tell(1)
        assert seqs(await heard(newcomer)) == [4]
        assert seqs(await heard(first)) == [1, 2, 3, 4]


async def test_slow_subscriber_holds_up_nobody(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        await stage.subscribe()
        quick, _ = await stage.subscribe()
        for _ in range(3):
            stage.tell(FEED_MAX)
            assert len(await heard(quick)) == FEED_MAX
        assert stage.publish.lost == 0


async def test_closed_feed_is_forgotten(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        gone, _ = await stage.subscribe()
        stays, _ = await stage.subscribe()
        gone.feed.close()
        stage.tell(2)
        assert seqs(await heard(stays)) == [1, 2]
        assert gone.feed.statistics().open_send_channels == 0


async def test_feeds_end_with_the_hub(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        subscription, _ = await stage.subscribe()
        stage.tell(1)
        stage.events_in.close()
        assert seqs(decoded(await subscription.feed.receive())) == [1]
        with pytest.raises(trio.EndOfChannel):
            await subscription.feed.receive()


async def test_events_are_counted_by_type(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        stage.tell(3)
        stage.tell(2, "job.faulted")
        await trio.testing.wait_all_tasks_blocked()
        assert stage.counts == {"job.state": 3, "job.faulted": 2}


async def test_subscriber_of_a_hub_that_crashed_starts_anew(autojump_clock):
    """Numbers begin again in a new epoch: without a new snapshot they would mean nothing."""
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervise, stage.hub, ESSENTIAL, lambda event: None)
        subscription, hello = await stage.subscribe()
        stage.tell(3)
        assert seqs(await heard(subscription)) == [1, 2, 3]
        stage.publish(ActorCrashed(data=NOTHING))  # names no actor: a bug of the publisher
        await trio.sleep(2)
        stage.tell(1)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.EndOfChannel):
            subscription.feed.receive_nowait()
        _, again = await stage.subscribe()
        assert again["epoch"] != hello["epoch"]
        assert "snapshot" in again
        nursery.cancel_scope.cancel()


async def test_publisher_never_waits_and_counts_what_it_loses(autojump_clock):
    events_in, events = trio.open_memory_channel(2)
    publish = Publisher(events_in)
    for _ in range(5):
        publish(sample("job.state"))
    assert publish.lost == 3
    events.close()
    publish(sample("job.state"))
    assert publish.lost == 4


async def test_undocumented_event_is_a_bug():
    class JobExploded(Event, frozen=True, tag="job.exploded"):
        """Nobody has heard of it."""

    events_in, _events = trio.open_memory_channel(2)
    with pytest.raises(AssertionError, match=r"job\.exploded"):
        Publisher(events_in)(JobExploded())
