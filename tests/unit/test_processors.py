"""Processors: Clara's settings, group keys, jobs, plug-ins."""

import msgspec
import pytest

from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import ReceivedInstance
from adapter.domain.processors import AETitleProcessor
from adapter.domain.records import GroupRecord, StoredGroup


def entity(**changes):
    return ApplicationEntity(
        **{"name": "brain", "ae_title": "BRAIN", "pipelines": {"seg": "p1"}} | changes
    )


def instance(**attributes):
    return ReceivedInstance(
        association="a-1", calling_ae_title="CT1", sop_class_uid="1.2", sop_instance_uid="1.3",
        transfer_syntax_uid="1.4", attributes=attributes, payload_bytes=1,
    )  # fmt: skip


CLOSED = StoredGroup(
    record=GroupRecord(id="group-1", ae_title="BRAIN", key="1", opened_at=0.0),
    instances=1, payload_bytes=1, last_arrival_at=0.0,
)  # fmt: skip


def specs(processor):
    return [(s.pipeline, s.pipeline_id, s.priority) for s in processor.jobs(CLOSED)]


def test_fields_of_the_entity_are_the_defaults():
    processor = AETitleProcessor(
        entity(
            grouping="0020,000e", timeout_s=2.5, priority="higher", pipelines={"a": "1", "b": "2"}
        )
    )
    assert processor.attributes == {"0020,000E"}
    assert processor.timeout_s == 2.5
    assert specs(processor) == [("a", "1", "higher"), ("b", "2", "higher")]


def test_defaults_are_claras():
    """T-026: five seconds, by study, normal; the pipeline's name is in the key."""
    processor = AETitleProcessor(entity(pipelines={}, settings={"pipeline-lung": "p2"}))
    assert processor.timeout_s == 5.0
    assert processor.attributes == {"0020,000D"}
    assert specs(processor) == [("lung", "p2", "normal")]


@pytest.mark.parametrize("wrong", [{"ae_title": " "}, {"ae_title": ""}, {"settings": None}])
def test_blank_ae_title_and_null_settings_are_refused(wrong):
    """T-033, T-034: by their types, before the processor is asked."""
    fields = {"name": "brain", "ae_title": "BRAIN", "pipelines": {"seg": "p1"}} | wrong
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, ApplicationEntity)


def test_claras_settings_win():
    """T-026, T-041."""
    settings = {
        "timeout": "60", "jobRetryDelay": 5000, "priority": "Lower", "groupBy": "0010,0020",
        "pipeline-lung": "p2",
    }  # fmt: skip
    processor = AETitleProcessor(entity(settings=settings))
    assert processor.attributes == {"0010,0020"}
    assert processor.timeout_s == 60.0
    assert specs(processor) == [("seg", "p1", "lower"), ("lung", "p2", "lower")]


@pytest.mark.parametrize(("timeout", "seconds"), [(0, 5.0), (4, 5.0), (5, 5.0), ("6", 6.0)])
def test_timeout_below_five_seconds_becomes_five(timeout, seconds):
    assert AETitleProcessor(entity(settings={"timeout": timeout})).timeout_s == seconds


def test_instances_are_grouped_by_the_attribute():
    processor = AETitleProcessor(entity())
    assert processor.group_key(instance(**{"0020,000D": "1.2.3"})) == "1.2.3"


def test_instance_without_the_attribute_joins_a_group_of_its_kind():
    """T-029: Clara only logged it, and never cleaned up."""
    assert AETitleProcessor(entity()).group_key(instance()) == ""


def test_every_problem_of_the_settings_is_told():
    """T-035 to T-038, T-040; W-55: also what Clara let pass."""
    settings = {
        "timeout": "soon", "jobRetryDelay": -1, "priority": 2, "groupBy": "StudyInstanceUID",
        "pipeline-": "x", "pipeline-lung": 7, "PIPELINE-liver": " ", "colour": "red",
    }  # fmt: skip
    with pytest.raises(ValueError, match="timeout") as raised:
        AETitleProcessor(entity(settings=settings))
    lines = str(raised.value).splitlines()
    assert [line.partition(":")[0].removeprefix("settings.") for line in lines] == list(settings)


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0.0), ("250", 0.25), (86_400_000, 86_400.0)])
def test_job_retry_delay_is_in_milliseconds(delay, seconds):
    processor = AETitleProcessor(entity(settings={"jobRetryDelay": delay}))
    assert [spec.retry_delay_s for spec in processor.jobs(None)] == [seconds]


@pytest.mark.parametrize("key", ["timeout", "jobRetryDelay"])
@pytest.mark.parametrize("value", [-1, "-1", 1.5, "1.5", True, None, "", " 5", "\u0665", 10**9])
def test_only_whole_numbers_in_range_are_numbers(key, value):
    with pytest.raises(ValueError, match=f"settings.{key}: .* is not a whole number from 0 to"):
        AETitleProcessor(entity(settings={key: value}))


@pytest.mark.parametrize("value", ["urgent", "2", 2, "", None, ["normal"]])
def test_only_names_are_priorities(value):
    with pytest.raises(ValueError, match="is none of immediate, higher, normal, lower"):
        AETitleProcessor(entity(settings={"priority": value}))


@pytest.mark.parametrize(
    "pipelines", [{"": "p1"}, {" a": "p1"}, {"a": ""}, {"a": "  "}, {"a\n": "p"}, {"a" * 65: "p"}]
)
def test_pipelines_need_a_name_and_an_id(pipelines):
    with pytest.raises(ValueError, match=r"^pipelines\..*is not 1-(64|128) characters"):
        AETitleProcessor(entity(pipelines=pipelines))


def test_pipeline_is_named_once():
    settings = {"pipeline-seg": "p2", "pipeline-a": "p3", "PIPELINE-a": "p4"}
    with pytest.raises(ValueError, match="already") as raised:
        AETitleProcessor(entity(settings=settings))
    assert str(raised.value).splitlines() == [
        "settings.pipeline-seg: there is a pipeline 'seg' already",
        "settings.PIPELINE-a: there is a pipeline 'a' already",
    ]


def test_entity_needs_a_pipeline():
    """T-027, T-039."""
    with pytest.raises(ValueError, match="pipelines: at least one is needed"):
        AETitleProcessor(entity(pipelines={}))
