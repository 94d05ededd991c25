"""Open groups: when they are due, and which key finds them."""

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.grouping import OpenGroup, OpenGroups
from adapter.domain.records import GroupRecord


def group(identifier="group-1", key="1.2", quiet_s=5.0, age_s=60.0, at=0.0):
    record = GroupRecord(id=identifier, ae_title="BRAIN", key=key, opened_at=0.0)
    return OpenGroup(record=record, quiet_s=quiet_s, age_s=age_s, opened=at, last_arrival=at)


def test_group_is_due_when_it_has_been_quiet():
    assert group(at=10.0).due() == 15.0


def test_arrival_moves_the_due_time():
    one = group()
    one.placed("a")
    one.settled("a", 3.0)
    assert one.due() == 8.0


def test_group_with_an_instance_on_its_way_is_not_due():
    one = group()
    one.placed("a")
    one.placed("a")
    one.settled("a", 1.0)
    assert one.due() == math.inf


def test_group_is_due_at_its_maximum_age_at_the_latest():
    one = group()
    one.placed("a")
    one.settled("a", 58.0)
    assert one.due() == 60.0


def test_ended_association_has_nothing_on_its_way():
    one = group()
    one.placed("a")
    one.placed("a")
    one.placed("b")
    one.forget("a", 1.0)
    assert one.due() == math.inf
    one.forget("b", 1.0)
    assert one.due() == 5.0


def test_forgotten_association_that_settles_late_does_no_harm():
    one = group()
    one.placed("a")
    one.forget("a", 1.0)
    one.settled("a", 2.0)
    assert one.in_flight == {}
    assert one.due() == 7.0


steps = st.lists(st.tuples(st.sampled_from("psf"), st.sampled_from("abc")), max_size=30)


@given(steps)
def test_group_is_due_exactly_when_nothing_is_on_its_way(walk):
    one = group()
    left = dict.fromkeys("abc", 0)
    for now, (step, association) in enumerate(walk):
        match step:
            case "p":
                one.placed(association)
                left[association] += 1
            case "s" if left[association]:
                one.settled(association, float(now))
                left[association] -= 1
            case "f":
                one.forget(association, float(now))
                left[association] = 0
        assert (one.due() == math.inf) == any(left.values())
        assert one.due() == math.inf or one.due() <= one.opened + one.age_s


def test_same_key_of_another_processor_is_another_group():
    groups = OpenGroups()
    for number, processor in enumerate(("one", "two")):
        each = group(f"group-{number}")
        each.record = msgspec.structs.replace(each.record, processor=processor)
        groups.add(each)
    assert groups.by_key("one", "1.2") is groups.by_id("group-0")
    assert groups.by_key("two", "1.2") is groups.by_id("group-1")
    groups.seal(groups.by_id("group-0"))
    assert groups.by_key("one", "1.2") is None
    assert groups.by_key("two", "1.2") is groups.by_id("group-1")


def test_open_group_is_found_by_key_and_id():
    groups, one = OpenGroups(), group()
    groups.add(one)
    assert groups.by_key("", "1.2") is one
    assert groups.by_id("group-1") is one
    assert (list(groups), len(groups)) == ([one], 1)


def test_removed_group_is_found_no_more():
    groups, one = OpenGroups(), group()
    groups.add(one)
    groups.remove(one)
    assert groups.by_key("", "1.2") is None
    assert groups.by_id("group-1") is None
    assert len(groups) == 0


def test_second_recovered_group_of_a_key_takes_no_instances():
    groups, first, second = OpenGroups(), group("group-1"), group("group-2")
    groups.add(first)
    groups.add(second)
    assert groups.by_key("", "1.2") is first
    groups.remove(second)
    assert groups.by_key("", "1.2") is first


def test_groups_may_be_removed_while_they_are_walked():
    groups = OpenGroups()
    for number in range(3):
        groups.add(group(f"group-{number}", key=str(number)))
    for each in groups:
        groups.remove(each)
    assert len(groups) == 0
