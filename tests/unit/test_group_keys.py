"""What instances are grouped by (Clara scenarios T-026, T-029, T-031, T-038)."""

import pytest

from adapter.domain.entities import ApplicationEntity
from adapter.domain.group_keys import (
    GroupKey,
    group_key,
    grouping_problems,
    lease_tags,
)
from adapter.domain.messages import ReceivedInstance
from adapter.domain.plugins import load_processor
from adapter.domain.processors import AETitleProcessor

STUDY = "0020,000D"


def entity(**changes):
    return ApplicationEntity(
        **{"name": "brain", "ae_title": "BRAIN", "pipelines": {"seg": "p1"}} | changes
    )


def instance(association="a-1", **attributes):
    return ReceivedInstance(
        association=association, calling_ae_title="CT1", sop_class_uid="1.2",
        sop_instance_uid="1.3", transfer_syntax_uid="1.4", attributes=attributes, payload_bytes=1,
    )  # fmt: skip


def key_of(grouping, association="a-1", **attributes):
    made = entity(grouping=grouping)
    one = instance(association, **attributes)
    return group_key(made, one, AETitleProcessor(made).group_key(one))


def test_a_tag_groups_across_associations():
    one = key_of(STUDY, "a-1", **{STUDY: "1.2.3"})
    assert one == key_of(STUDY, "a-2", **{STUDY: "1.2.3"}) == GroupKey(text="1.2.3")
    assert one != key_of(STUDY, "a-1", **{STUDY: "1.2.4"})


@pytest.mark.parametrize("tag", ["0010,0020", "0020,000e", "0009,1001", "7FE1,0010"])
def test_any_tag_of_the_main_data_set_can_be_used(tag):
    assert key_of(tag, **{tag.upper(): "value"}).text == "value"


def test_association_alone_keeps_everything_of_it_together():
    one = key_of("association", "a-1", **{STUDY: "1.2.3"})
    assert one == key_of("association", "a-1", **{STUDY: "1.2.4"})
    assert one.association == "a-1"
    assert one.text != key_of("association", "a-2", **{STUDY: "1.2.3"}).text


def test_association_and_tag_groups_by_tag_within_each_association():
    grouping = ["association", STUDY]
    keys = {
        key_of(grouping, association, **{STUDY: study}).text
        for association in ("a-1", "a-2")
        for study in ("1.2.3", "1.2.4")
    }
    assert len(keys) == 4


def test_several_tags_must_all_agree():
    grouping = ["0010,0020", "0008,0060"]
    ct = key_of(grouping, **{"0010,0020": "4711", "0008,0060": "CT"})
    assert ct == key_of(grouping, "a-2", **{"0010,0020": "4711", "0008,0060": "CT"})
    assert ct != key_of(grouping, **{"0010,0020": "4711", "0008,0060": "MR"})
    assert not ct.fallback


def test_values_cannot_be_shifted_from_one_tag_to_the_next():
    grouping = ["0010,0020", "0008,0060"]
    assert key_of(grouping, **{"0010,0020": 'A","B', "0008,0060": "C"}) != key_of(
        grouping, **{"0010,0020": "A", "0008,0060": 'B","C'}
    )


def test_instance_without_the_tag_falls_back_to_its_study():
    """T-029: Clara only logged an error, and the file stayed for ever."""
    one = key_of("0010,0020", "a-1", **{STUDY: "1.2.3"})
    assert one.fallback
    assert one == key_of("0010,0020", "a-2", **{STUDY: "1.2.3"})
    assert one != key_of("0010,0020", "a-1", **{STUDY: "1.2.4"})
    assert one.text != key_of("0010,0020", **{"0010,0020": "1.2.3", STUDY: "1.2.3"}).text


def test_instance_without_tag_and_study_falls_back_to_its_association():
    """Two patients without a study are never thrown together because both lack it."""
    one, other = key_of(STUDY, "a-1"), key_of(STUDY, "a-2")
    assert (one.fallback, one.association) == (True, "a-1")
    assert one.text != other.text


def test_one_of_several_tags_missing_is_a_fallback():
    assert key_of(["0010,0020", STUDY], **{STUDY: "1.2.3"}).fallback


def test_fallback_stays_in_its_association_where_groups_do():
    grouping = ["association", "0010,0020"]
    assert key_of(grouping, "a-1", **{STUDY: "1.2.3"}) != key_of(
        grouping, "a-2", **{STUDY: "1.2.3"}
    )


def test_claras_group_by_wins_over_the_tags():
    """T-026, T-031."""
    made = entity(grouping=STUDY, settings={"groupBy": "0010,0020"})
    assert AETitleProcessor(made).group_key(instance(**{"0010,0020": "4711"})) == "4711"


def test_no_value_can_pose_as_a_composed_key():
    composed = key_of(["0010,0020", "0008,0060"], **{"0010,0020": "A", "0008,0060": "B"})
    assert composed.text.startswith("\0")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grouping": "0040,0275[0].0040,1001"}, "is inside a sequence"),
        ({"grouping": "0040,0275.0040,1001"}, "is inside a sequence"),
        ({"grouping": "PatientID"}, "is no tag such as"),
        ({"grouping": "0002,0010"}, "is no attribute of a data set"),
        ({"grouping": ["association", "association"]}, "says the same twice"),
        ({"grouping": ["0010,0020", "xyz"]}, "'XYZ' is no tag"),
        ({"timeout_s": 0}, '0 needs "association"'),
        ({"timeout_s": 0.5}, "0.5 is below 1"),
        ({"timeout_s": 0.5, "grouping": "association"}, "0.5 is below 1"),
    ],
)
def test_grouping_that_cannot_be_is_refused_in_words(changes, words):
    (problem,) = grouping_problems(entity(**changes))
    assert words in problem
    with pytest.raises(ValueError, match=r"grouping|timeout_s"):
        load_processor(entity(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"grouping": "association", "timeout_s": 0},
        {"grouping": ["association", STUDY], "timeout_s": 0},
        {"grouping": "association", "timeout_s": 30},
        {"grouping": "0009,10ff"},
        {"timeout_s": 1},
    ],
)
def test_grouping_that_can_be_is_taken(changes):
    assert grouping_problems(entity(**changes)) == []


def test_leases_are_for_instances_that_agree_in_all_that_decides():
    made = entity(grouping="0010,0020", required_attributes=["0008,103e"])
    assert lease_tags(made, frozenset({"0010,0020"})) == {"0010,0020", STUDY, "0008,103E"}
