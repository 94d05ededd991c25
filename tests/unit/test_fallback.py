"""What is given to another destination, and which fallbacks are refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.entities import ApplicationEntity, Destination
from adapter.domain.fallback import fallback_problems, handed_over
from adapter.domain.records import Export, Outcome
from adapter.relations import relations
from adapter.settings import Settings

KINDS = {
    "waits": {},
    "delivered": {"delivered": True, "status": 0},
    "held": {"permanent": True, "status": 0xC000},
}


@given(st.lists(st.sampled_from(list(KINDS)), min_size=1))
def test_every_instance_stays_or_is_given_and_none_is_both(kinds):
    export = Export(
        id="export-1", job_id="job-1", destination="pacs", priority="higher", opened_at=1.0,
        changed_at=2.0, instances=len(kinds), try_count=2,
    )  # fmt: skip
    outcomes = [
        Outcome(export_id="export-1", index=n, file=f"{n}.dcm", sop_instance_uid=f"1.{n}",
                attempts=1, **KINDS[kind])
        for n, kind in enumerate(kinds)
    ]  # fmt: skip
    (given_, changed), (taken, its) = handed_over(export, outcomes, "other", 9.0)
    waiting = [o for o in outcomes if o.waits]
    assert [(o.file, o.sop_instance_uid) for o in its] == [
        (o.file, o.sop_instance_uid) for o in waiting
    ]
    assert [o.index for o in its] == list(range(len(its)))
    assert [(o.index, o.given_to, o.waits) for o in changed] == [
        (o.index, "other", False) for o in waiting
    ]
    assert (given_.given, given_.given_to, given_.id) == (len(waiting), "other", "export-1")
    assert (taken.destination, taken.instead_of, taken.instances) == ("other", "pacs", len(waiting))
    assert (taken.priority, taken.opened_at, taken.try_count) == ("higher", 1.0, 0)
    assert taken.id != export.id


def problems(**fallbacks):
    return list(fallback_problems([
        Destination(name=name, ae_title="X", host="h", port=104, fallback=fallback)
        for name, fallback in fallbacks.items()
    ]))  # fmt: skip


@pytest.mark.parametrize(("fallbacks", "wrong"), [
    ({"a": "b", "b": "c", "c": ""}, []),
    ({"a": "nobody"}, [0]),
    ({"a": "a"}, [0]),
    ({"a": "b", "b": "a"}, [0, 1]),
    ({"a": "b", "b": "c", "c": "b", "d": "x"}, [1, 2, 3]),
])  # fmt: skip
def test_every_fallback_that_leads_nowhere_or_in_a_circle_is_named(fallbacks, wrong):
    lines = problems(**fallbacks)
    assert [line.partition(".")[0] for line in lines] == [f"destinations[{n}]" for n in wrong]


def test_window_that_never_opens_is_named():
    one = Destination(name="a", ae_title="X", host="h", port=104, window="06:00-06:00")
    assert "never opens" in "".join(fallback_problems([one]))


def test_all_of_it_is_told_with_everything_else_that_is_wrong():
    settings = Settings(
        destinations=[
            Destination(name="a", ae_title="X", host="h", port=104, fallback="a"),
            Destination(name="b", ae_title="X", host="h", port=104, window="06:00-06:00"),
        ],
        application_entities=[
            ApplicationEntity(name="m", ae_title="M", pipelines={"p": "p"}, destinations=["c"])
        ],
    )
    found = "\n".join(relations(settings))
    for part in ("destinations[0].fallback", "destinations[1].window", "'c' is not among"):
        assert part in found


@pytest.mark.parametrize("window", ["22:00", "24:00-06:00", "22:00-06:60", "22-6", "x"])
def test_window_that_is_none_is_refused(window):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {"name": "a", "ae_title": "X", "host": "h", "port": 104, "window": window}, Destination
        )
