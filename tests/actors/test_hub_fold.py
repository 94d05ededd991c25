"""The snapshot a newcomer gets is the fold of all events before, as somebody heard them."""

import enum
import typing
from datetime import datetime

import msgspec
import trio
import trio.testing
from actor_ports import running
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_events import sample
from test_hub import Stage, heard

from adapter.domain.event_types import ANY_EVENT, EVENTS
from adapter.domain.snapshot import Snapshot

IDS = st.sampled_from(["1", "2", "3"])


def values(kind):
    """Return a strategy for what a field of this type can say, as JSON."""
    if kind is str:
        return IDS
    if kind in (int, float):
        return st.integers(0, 99)
    if kind in (bool, type(None)):
        return st.sampled_from([False, True] if kind is bool else [None])
    if typing.get_origin(kind) is dict:
        return st.dictionaries(IDS, values(typing.get_args(kind)[1]), max_size=3)
    if typing.get_origin(kind) is list:
        return st.lists(IDS, max_size=3)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from([member.value for member in kind])
    if typing.get_origin(kind) is typing.Literal:
        return st.sampled_from(typing.get_args(kind))
    return st.one_of([values(one) for one in typing.get_args(kind) if one is not msgspec.UnsetType])


@st.composite
def happenings(draw):
    kind = EVENTS[draw(st.sampled_from(sorted(EVENTS)))]
    number = draw(IDS)
    (told,) = (f.type for f in msgspec.structs.fields(kind) if f.name == "data")
    fields = msgspec.structs.fields(told)
    said = [field for field in fields if field.required or draw(st.booleans())]
    data = {field.encode_name: draw(values(field.type)) for field in said}
    return kind(
        ae_title="BRAIN", association=number, group=number, job=number, export=number,
        destination=number, data=msgspec.convert(data, told),
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
                fold.apply(msgspec.convert(message, ANY_EVENT), at)
            _, told = await stage.subscribe()
            snapshot = told["snapshot"]
            assert {key: snapshot[key] for key in fold.as_dict()} == fold.as_dict()


async def test_newcomer_hears_the_latest_and_the_throughput(autojump_clock):
    stage = Stage()
    async with running(stage.hub):
        stage.publish(sample("job.opened", job="job-1"))
        for _ in range(3):
            stage.publish(sample("instance.stored", data={"bytes": 10}))
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
