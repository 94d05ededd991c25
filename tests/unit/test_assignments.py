"""The processors of an AE Title: one or several, each with the AE Title as it sees it."""

import pytest

from adapter.configuration import load
from adapter.domain.assignments import (
    attributes_of,
    contradictions,
    decided_by_settings,
    load_processors,
    owner_of,
    views_of,
)
from adapter.domain.entities import ApplicationEntity, OneProcessor
from adapter.errors import ConfigurationError

SERIES = "0020,000E"
ALLOWED = "timeout, jobRetryDelay, priority, groupBy, pipeline-<name>"
BY_STUDY = OneProcessor(name="by-study", processor="aetitle")
BY_SERIES = OneProcessor(
    name="by-series", processor="aetitle", grouping=SERIES, timeout_s=20.0,
    pipelines={"other": "p2"}, priority="higher", settings={"jobRetryDelay": 1000},
)  # fmt: skip


def entity(*processors, **changes):
    fields = {"name": "brain", "ae_title": "BRAIN", "pipelines": {"seg": "p1"}} | changes
    return ApplicationEntity(processors=list(processors), **fields)


def test_only_processor_is_a_list_of_one():
    (one,) = load_processors(entity())
    assert (one.name, one.label, one.entity) == ("aetitle", "AE Title Job Processor", entity())


def test_what_a_processor_does_not_say_the_ae_title_says():
    views = dict(views_of(entity(BY_STUDY, BY_SERIES, timeout_s=7.0)))
    assert list(views) == ["by-study", "by-series"]
    study, series = views.values()
    assert (study.grouping, study.timeout_s, study.pipelines, study.priority, study.settings) == (
        "0020,000D", 7.0, {"seg": "p1"}, "normal", {},
    )  # fmt: skip
    assert (series.grouping, series.timeout_s, series.pipelines, series.priority) == (
        SERIES, 20.0, {"other": "p2"}, "higher",
    )  # fmt: skip
    assert series.settings == {"jobRetryDelay": 1000}
    assert {view.ae_title for view in views.values()} == {"BRAIN"}


def test_plug_in_is_that_of_the_name_if_none_is_named():
    assert views_of(entity(OneProcessor(name="aetitle")))[0][1].processor == "aetitle"
    with pytest.raises(ValueError, match=r"^processors\[0\].processor: no plug-in named 'nobody'"):
        load_processors(entity(OneProcessor(name="nobody")))


FIELDS = ("grouping", "timeout_s", "priority")


@pytest.mark.parametrize(
    ("settings", "fields", "in_force"),
    [
        ({"timeout": "60"}, {"timeout_s": 120.0}, {"timeout_s": 60.0}),
        ({"timeout": 1}, {"timeout_s": 1.0}, {"timeout_s": 5.0}),
        ({"timeout": 60}, {"timeout_s": 60.0}, {}),
        ({"priority": "Higher"}, {"priority": "normal"}, {"priority": "higher"}),
        ({"priority": "Higher"}, {"priority": "higher"}, {}),
        ({"groupBy": SERIES}, {"grouping": "0020,000D"}, {"grouping": SERIES}),
        ({"groupBy": SERIES}, {"grouping": "0020,000e"}, {}),
        ({"groupBy": SERIES}, {"grouping": "association"}, {}),
        (
            {"groupBy": SERIES}, {"grouping": ["association", "0020,000D"]},
            {"grouping": ["association", SERIES]},
        ),
        ({"groupBy": SERIES}, {"grouping": ["association", SERIES]}, {}),
        ({"jobRetryDelay": 9}, {"timeout_s": 120.0}, {}),
        ({"timeout": "soon"}, {"timeout_s": 120.0}, {}),
    ],
)  # fmt: skip
def test_field_that_was_given_may_not_say_other_than_a_setting(settings, fields, in_force):
    both = entity(settings=settings, **fields)
    assert {one.field: one.in_force for one in contradictions(both, fields)} == in_force
    assert contradictions(both, ()) == []


def test_what_settings_decide_contradicts_nothing_when_it_is_said_by_the_fields():
    settings = {"timeout": "1", "priority": "LOWER", "groupBy": "0020,000e"}
    both = entity(settings=settings, grouping=["association", "0010,0020"])
    decided = decided_by_settings(both)
    assert decided == {
        "timeout_s": 5.0, "priority": "lower", "grouping": ["association", SERIES],
    }  # fmt: skip
    assert contradictions(entity(settings=settings, **decided), FIELDS) == []
    assert decided_by_settings(entity(BY_STUDY)) == {}


def test_several_processors_are_told_which_of_them_says_two_things():
    twice = OneProcessor(name="two", processor="aetitle", settings={"timeout": 9}, timeout_s=8.0)
    (one,) = contradictions(entity(BY_STUDY, twice), FIELDS)
    assert (one.where, one.field, one.says, one.in_force) == ("processors[1].", "timeout_s", 8, 9)


def test_several_are_named_by_what_the_ae_title_calls_them():
    labels = [one.label for one in load_processors(entity(BY_STUDY, BY_SERIES))]
    assert labels == ["by-study", "by-series"]


def test_attributes_are_those_that_one_of_them_reads():
    assert attributes_of(load_processors(entity(BY_STUDY, BY_SERIES))) == {"0020,000D", SERIES}


def test_group_of_nobody_is_the_first_ones():
    assert owner_of("b", ["a", "b"]) == "b"
    assert owner_of("", ["a", "b"]) == "a"
    assert owner_of("gone", ["a", "b"]) == "a"


def test_all_problems_are_told_at_once_with_their_keys(tmp_path):
    file = tmp_path / "adapter.toml"
    file.write_text("""
[[application_entities]]
name = "brain"
ae_title = "BRAIN"
processor = "modality-router"
settings = { timeout = 5 }
timeout_s = 0

[[application_entities.processors]]
name = "one"
processor = "aetitle"
settings = { colour = "red" }
timeout_s = 5

[[application_entities.processors]]
name = "one"
processor = "aetitle"
pipelines = { seg = "p1" }
""")
    with pytest.raises(ConfigurationError) as raised:
        load(file, {})
    here = f"{file}: application_entities[0]."
    assert raised.value.problems == [
        f"{here}processors: name 'one' is used twice",
        f"{here}processor: there are processors as well; it belongs among them",
        f"{here}settings: there are processors; each has settings of its own",
        f"{here}processors[0].settings.colour: unknown; allowed are {ALLOWED}",
        f"{here}processors[0].pipelines: at least one is needed, as name = id",
        f'{here}processors[1].timeout_s: 0 needs "association" in grouping',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{ name = "a b" }]', "application_entities[0].processors[0].name = 'a b'"),
        ('[{ processor = "aetitle" }]', "application_entities[0].processors[0].name: is missing"),
        ('[{ name = "a", timeot_s = 1 }]', "processors[0].timeot_s: unknown key; did you mean"),
        (str([{"name": f"p{n}"} for n in range(9)]).replace("'name':", "name ="), "length <= 8"),
    ],
)
def test_what_is_no_list_of_processors_is_refused(tmp_path, text, problem):
    file = tmp_path / "adapter.toml"
    file.write_text(f"""
[[application_entities]]
name = "brain"
ae_title = "BRAIN"
processors = {text}
""")
    with pytest.raises(ConfigurationError) as raised:
        load(file, {})
    assert problem in raised.value.problems[0]
    assert len(raised.value.problems) == 1
