"""Rows of open groups: the time they are told to have left is the time the entity gives them."""

from sample_events import sample

from adapter.domain.snapshot import Snapshot
from adapter.domain.wall_time import rfc3339

AT = 1_700_000_000.0


class Rows:
    """A snapshot at a time that goes on by hand."""

    def __init__(self, **data):
        self.snapshot, self.at = Snapshot(), AT
        facts = {"instances": 0, "bytes": 0, "timeoutS": 5.0, "ageLeftS": 60.0, "leftS": 5.0,
                 "held": False}  # fmt: skip
        self.facts = facts | data
        self.group("opened")

    def group(self, verb, **data):
        self.snapshot.apply(
            sample(f"group.{verb}", ae_title="BRAIN", group="g-1", data=self.facts | data),
            self.at,
        )

    def instance(self, verb="stored", association="a-1", **data):
        self.snapshot.apply(
            sample(f"instance.{verb}", ae_title="BRAIN", association=association, group="g-1",
                  data={"bytes": 10, **data}),
            self.at,
        )  # fmt: skip

    def ended(self, association="a-1", verb="released"):
        event = sample(f"association.{verb}", association=association)
        self.snapshot.apply(event, self.at)

    @property
    def row(self):
        (row,) = self.snapshot.sections["groups"].values()
        return row

    def due_in(self):
        if self.row["dueAt"] is None:
            return None
        return next(s for s in range(4000) if self.row["dueAt"] == rfc3339(self.at + s))


def test_arrival_moves_the_due_time_up_to_the_maximum_age():
    rows = Rows()
    rows.at += 3
    rows.instance()
    assert rows.due_in() == 5
    rows.at = AT + 58
    rows.instance()
    assert rows.due_in() == 2
    assert rows.row["latestAt"] == rfc3339(AT + 60)


def test_extended_group_is_not_due_before():
    rows = Rows()
    rows.group("extended", leftS=100.0, notBeforeS=100.0)
    assert (rows.due_in(), rows.row["state"]) == (100, "extended")
    rows.instance()
    assert rows.due_in() == 100


def test_held_group_is_not_due_at_all():
    rows = Rows()
    rows.group("held", held=True, why="operator", leftS=None)
    rows.instance()
    assert (rows.due_in(), rows.row["why"]) == (None, "operator")
    assert rows.row["openedAt"] == rfc3339(AT)


def test_group_of_an_association_is_due_after_its_end():
    rows = Rows(ofAssociation="a-1", leftS=None)
    rows.instance()
    assert (rows.due_in(), rows.row["associations"]) == (None, ["a-1"])
    rows.at += 30
    rows.ended()
    assert (rows.due_in(), rows.row["associations"]) == (5, [])


def test_group_with_staged_instances_is_due_after_the_last_end():
    rows = Rows(onAbort="drop")
    rows.instance()
    rows.instance(association="a-2")
    rows.ended("a-1")
    assert (rows.due_in(), rows.row["associations"]) == (None, ["a-2"])
    rows.ended("a-2", "aborted")
    assert rows.due_in() == 5


def test_end_of_an_association_moves_nothing_where_it_means_nothing():
    rows = Rows()
    rows.instance()
    rows.at += 3
    rows.ended()
    assert rows.due_in() == 2


def test_dropped_instances_are_not_counted():
    rows = Rows(onAbort="drop")
    for _ in range(3):
        rows.instance()
    rows.snapshot.apply(
        sample("group.dropped", group="g-1", data={"instances": 2, "bytes": 20}), rows.at
    )
    assert (rows.row["instances"], rows.row["bytes"]) == (1, 10)


def test_duplicate_counts_only_if_both_are_kept():
    rows = Rows()
    rows.instance()
    rows.instance("duplicate", differs=True, kept="first")
    rows.instance("duplicate", differs=True, kept="last")
    assert rows.row["instances"] == 1
    rows.instance("duplicate", differs=True, kept="both")
    assert rows.row["instances"] == 2


def test_instance_of_several_groups_counts_in_each():
    rows = Rows()
    event = sample("group.opened", group="g-2", data=rows.facts)
    rows.snapshot.apply(event, rows.at)
    rows.instance(groups=["g-1", "g-2", "g-gone"])
    rows.instance("duplicate", differs=True, kept="both")
    counts = {row["id"]: row["instances"] for row in rows.snapshot.sections["groups"].values()}
    assert counts == {"g-1": 2, "g-2": 1}
    rows.ended()
    assert [row["associations"] for row in rows.snapshot.sections["groups"].values()] == [[], []]


def test_association_that_ends_after_its_group_closed_does_no_harm():
    rows = Rows()
    rows.instance()
    rows.group("closed")
    rows.ended()
    assert rows.snapshot.sections["groups"] == {}
