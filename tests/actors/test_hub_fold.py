"""The snapshot a newcomer gets is the fold of all events before, as somebody heard them."""

from datetime import datetime

import msgspec
import trio
import trio.testing
from actor_ports import running
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hub import Stage, heard

from adapter.domain.events import TOPICS, Event
from adapter.domain.snapshot import Snapshot

IDS = st.sampled_from(["1", "2", "3"])
FIELDS = {field.encode_name: field.name for field in msgspec.structs.fields(Event)}


def data_of(topic, number, word):
    """Return what events of a topic are told with, at least."""
    return {
        "group": {"instances": 0, "bytes": 0, "timeoutS": 5.0, "leftS": 3.0, "ageLeftS": 60.0},
        "instance": {"bytes": 7},
        "job": {"state": word},
        "export": {"state": word, "instances": 3, "delivered": 1},
        "task": {"task": number, "state": word},
        "commitment": {"transactionUid": number},
        "actor": {"actor": number, "crashes": 1},
        "storage": {"bytes": 5},
    }.get(topic, {"why": word})


@st.composite
def happenings(draw):
    topic = draw(st.sampled_from(sorted(TOPICS)))
    verb = draw(st.sampled_from(TOPICS[topic]))
    number = draw(IDS)
    word = draw(st.sampled_from(["Queued", "Completed", "Failed", "Faulted"]))
    return Event(
        type=f"{topic}.{verb}", ae_title="BRAIN", association=number, group=number, job=number,
        export=number, destination=number, data=data_of(topic, number, word),
    )  # fmt: skip


@given(before=st.lists(happenings(), max_size=30), after=st.lists(happenings(), max_size=30))
@settings(max_examples=60, deadline=None)
def test_snapshot_of_a_newcomer_is_the_fold_of_what_others_heard(before, after):
    trio.run(_compare, before, after, clock=trio.testing.MockClock(autojump_threshold=0))


async def _compare(before, after):
    stage, fold = Stage(), Snapshot()
    async with running(stage.hub):
        first, hello = await stage.subscribe()
        assert hello["snapshot"]["jobs"] == []
        for events in (before, after):
            for event in events:
                stage.publish(event)
            for message in await heard(first):
                at = datetime.fromisoformat(message["time"]).timestamp()
                known = {FIELDS[key]: value for key, value in message.items() if key in FIELDS}
                fold.apply(Event(**known), at)
            _, told = await stage.subscribe()
            snapshot = told["snapshot"]
            assert {key: snapshot[key] for key in fold.as_dict()} == fold.as_dict()


async def test_newcomer_hears_the_latest_and_the_throughput(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        stage.publish(Event(type="job.opened", job="job-1"))
        for _ in range(3):
            stage.publish(Event(type="instance.stored", data={"bytes": 10}))
        await trio.testing.wait_all_tasks_blocked()
        _, hello = await stage.subscribe()
    snapshot = hello["snapshot"]
    assert [event["type"] for event in snapshot["latest"]] == ["job.opened"]
    assert [counts[1:] for counts in snapshot["throughput"]["buckets"]] == [[3, 30]]


async def test_number_of_another_epoch_gets_a_snapshot(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        _, hello = await stage.subscribe()
        stage.tell(3)
        await trio.testing.wait_all_tasks_blocked()
        _, same = await stage.subscribe(since=1, epoch=hello["epoch"])
        _, other = await stage.subscribe(since=1, epoch="another life")
    assert "snapshot" not in same
    assert "snapshot" in other
