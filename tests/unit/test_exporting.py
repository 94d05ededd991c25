"""What follows from an attempt to deliver an export."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.dimse_ports import CONTEXTS_MAX, SendResult
from adapter.domain.exporting import (
    OUTAGE_PAUSE_S_MAX,
    Attempt,
    RetryRules,
    association_loads,
    outage_pause_s,
    outcome_after,
    verdict,
)
from adapter.domain.records import Export, Outcome
from adapter.domain.tables import EXPORT_TRANSITIONS, ExportState, StepEvent, next_state

RULES = RetryRules(max_retries=3, retry_delay_s=60.0)
NOW = 1_000_000.0


def export(**changes):
    fields = {
        "id": "export-1",
        "job_id": "job-1",
        "destination": "pacs",
        "state": ExportState.SENDING,
        "opened_at": 0.0,
        "changed_at": 0.0,
        "instances": 3,
    }
    return Export(**fields | changes)


def outcome(index=0, **changes):
    return Outcome(export_id="export-1", index=index, file=f"{index}.dcm", **changes)


DELIVERED = outcome(0, delivered=True, status=0)
HELD = outcome(1, permanent=True, status=0xC000, error="status 0xC000")
LEFT = outcome(2, status=0xA700, error="status 0xA700")


def test_all_delivered_completes():
    event, changes = verdict(export(), [DELIVERED], Attempt(), RULES, NOW)
    assert event is StepEvent.COMPLETE
    assert (changes["sent"], changes["failed"], changes["error"]) == (1, 0, "")


def test_empty_export_completes():
    assert verdict(export(), [], Attempt(), RULES, NOW)[0] is StepEvent.COMPLETE


def test_something_left_is_tried_again_after_the_delay():
    event, changes = verdict(export(), [DELIVERED, LEFT], Attempt(), RULES, NOW)
    assert event is StepEvent.FAIL
    assert changes["due_at"] == NOW + 60.0
    assert changes["try_count"] == 1
    assert changes["error"] == "status 0xA700"


def test_something_left_is_held_when_retries_are_used_up():
    event, changes = verdict(export(try_count=3), [DELIVERED, LEFT], Attempt(), RULES, NOW)
    assert event is StepEvent.GIVE_UP
    assert (changes["sent"], changes["failed"]) == (1, 1)


def test_permanent_refusal_is_held_without_a_retry():
    event, changes = verdict(export(), [DELIVERED, HELD], Attempt(), RULES, NOW)
    assert event is StepEvent.GIVE_UP
    assert changes["failed"] == 1
    assert "due_at" not in changes


def test_what_is_left_is_retried_although_something_is_held():
    event, changes = verdict(export(), [HELD, LEFT], Attempt(), RULES, NOW)
    assert event is StepEvent.FAIL
    assert changes["failed"] == 1
    assert changes["error"] == "status 0xC000 (and 1 more)"


def test_unreachable_destination_costs_no_retry():
    attempt = Attempt(unreachable="no connection")
    event, changes = verdict(export(try_count=3), [LEFT], attempt, RULES, NOW)
    assert event is StepEvent.INTERRUPT
    assert "try_count" not in changes
    assert changes["error"] == "no connection"


def test_stop_costs_no_retry():
    event, changes = verdict(export(), [DELIVERED, LEFT], Attempt(stopped=True), RULES, NOW)
    assert event is StepEvent.INTERRUPT
    assert "try_count" not in changes


def test_stop_after_the_last_instance_completes():
    event, _ = verdict(export(), [DELIVERED], Attempt(stopped=True), RULES, NOW)
    assert event is StepEvent.COMPLETE


outcomes = st.lists(st.sampled_from([DELIVERED, HELD, LEFT]), max_size=5)


@given(
    outcomes,
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from(["", "no connection"]),
    st.integers(0, 3),
)
def test_verdict_is_always_legal_and_counts_add_up(rows, tries, stopped, unreachable, retries):
    rules = RetryRules(max_retries=retries, retry_delay_s=1.0)
    attempt = Attempt(unreachable=unreachable, stopped=stopped)
    event, changes = verdict(export(try_count=tries), rows, attempt, rules, NOW)
    state = next_state(EXPORT_TRANSITIONS, ExportState.SENDING, event)
    assert changes["sent"] + changes["failed"] <= len(rows)
    if state is ExportState.COMPLETED:
        assert changes["sent"] == len(rows)
    if state is ExportState.FAILED:
        assert changes["sent"] + changes["failed"] == len(rows)
    assert msgspec.structs.replace(export(), **changes).state is ExportState.SENDING


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_always_failing_export_is_sent_once_and_retried_max_retries_times(retries):
    rules = RetryRules(max_retries=retries, retry_delay_s=1.0)
    row, attempts = export(), 0
    while row.state is ExportState.SENDING:
        attempts += 1
        event, changes = verdict(row, [LEFT], Attempt(), rules, NOW)
        row = msgspec.structs.replace(row, **changes)
        if event is StepEvent.GIVE_UP:
            break
    assert attempts == retries + 1


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB007, 0x0107])
def test_success_and_warning_deliver(status):
    after = outcome_after(outcome(error="before"), SendResult(status=status), NOW)
    assert after.delivered
    assert (after.status, after.attempts, after.error, after.at) == (status, 1, "", NOW)


def test_failure_keeps_its_reason():
    result = SendResult(status=0xA700, error="status 0xA700")
    after = outcome_after(outcome(attempts=2), result, NOW)
    assert not after.delivered
    assert not after.permanent
    assert (after.attempts, after.error) == (3, "status 0xA700")


def test_no_answer_delivers_nothing():
    after = outcome_after(outcome(), SendResult(status=None, error="lost"), NOW)
    assert (after.delivered, after.permanent, after.status) == (False, False, None)


def test_missing_file_is_held():
    after = outcome_after(outcome(), None, NOW)
    assert (after.delivered, after.permanent) == (False, True)
    assert after.error == "the result file is missing"


def test_contexts_are_distinct_and_in_order_of_appearance():
    pairs = [("1.2", "1.9"), ("1.1", "1.9"), ("1.2", "1.9"), ("1.2", "1.8")]
    ((contexts, load),) = association_loads(pairs, lambda pair: pair)
    assert contexts == [("1.2", "1.9"), ("1.1", "1.9"), ("1.2", "1.8")]
    assert load == pairs


@given(st.lists(st.integers(0, 400)))
def test_every_load_fits_one_association_and_nothing_is_lost(numbers):
    loads = list(association_loads(numbers, lambda n: (f"1.2.{n}", "1.9")))
    for contexts, load in loads:
        assert len(contexts) == len(set(contexts)) <= CONTEXTS_MAX
        assert {(f"1.2.{n}", "1.9") for n in load} == set(contexts)
    assert sorted(n for _, load in loads for n in load) == sorted(numbers)
    assert len(loads) == -(-len(set(numbers)) // CONTEXTS_MAX)


def test_outage_pause_doubles_up_to_its_limit():
    pauses = [outage_pause_s(outages, RULES.retry_delay_s) for outages in range(1, 8)]
    assert pauses == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]


def test_outage_pause_is_never_shorter_than_the_retry_delay():
    rules = RetryRules(max_retries=0, retry_delay_s=2 * OUTAGE_PAUSE_S_MAX)
    assert outage_pause_s(5, rules.retry_delay_s) == 2 * OUTAGE_PAUSE_S_MAX


@given(st.integers(1, 100_000))
def test_long_outage_does_not_overflow(outages):
    assert outage_pause_s(outages, 86_400.0) == 86_400.0


def test_unreachable_destination_is_left_alone_even_without_a_retry_delay():
    """dicom.scu.export.retry_delay_s may be 0; a destination that is down must not be hammered."""
    assert outage_pause_s(3, 0.0) > 0
