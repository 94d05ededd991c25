"""Storage commitment: what is asked, what a report changes, and what follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.commitment import CommitmentReport, CommitmentRequest, Reference, judged
from adapter.domain.committing import (
    CommitmentRules,
    after_report,
    asked_in,
    commitment_verdict,
    expired,
    open_transactions,
    questions,
)
from adapter.domain.exporting import RetryRules
from adapter.domain.records import Export, Outcome, Transaction
from adapter.domain.tables import EXPORT_TRANSITIONS, ExportState, StepEvent, next_state

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
RETRY = RetryRules(max_retries=2, retry_delay_s=60.0)
RULES = CommitmentRules(wait_s=1.0, deadline_s=600.0, max_retries=1, max_instances=2)
NOW = 1_000_000.0


def outcome(index=0, **changes):
    fields = {"delivered": True, "sop_class_uid": CT, "transaction_uid": "2.25.1"}
    return Outcome(
        export_id="export-1", index=index, file=f"{index}.dcm", sop_instance_uid=f"1.2.{index}",
        **fields | changes,
    )  # fmt: skip


def export(**changes):
    fields = {
        "id": "export-1", "job_id": "job-1", "destination": "pacs", "opened_at": 0.0,
        "changed_at": 0.0, "instances": 3, "state": ExportState.COMMITTING,
    }  # fmt: skip
    return Export(**fields | changes)


def transaction(uid="2.25.1", **changes):
    fields = {
        "export_id": "export-1", "destination": "pacs", "instances": 3, "requested_at": NOW,
        "deadline_at": NOW + 600.0,
    }  # fmt: skip
    return Transaction(uid=uid, **fields | changes)


def said(committed=(), failed=(), uid="2.25.1"):
    return CommitmentReport(
        transaction_uid=uid,
        committed=tuple(Reference(CT, f"1.2.{index}") for index in committed),
        failed=tuple((Reference(CT, f"1.2.{index}"), reason) for index, reason in failed),
    )


# --- asking


def test_questions_are_about_what_is_delivered_and_not_committed():
    outcomes = [
        outcome(0), outcome(1, committed=True), outcome(2, delivered=False), outcome(3), outcome(4),
    ]  # fmt: skip
    assert [[o.index for o in asked] for asked in questions(outcomes, RULES)] == [[0, 3], [4]]


def test_an_outcome_knows_its_latest_question():
    (asked,) = asked_in([outcome(0)], transaction("2.25.9"))
    assert asked.transaction_uid == "2.25.9"


def test_transaction_is_open_until_it_is_over_or_late():
    both = [transaction("2.25.1"), transaction("2.25.2", over=True)]
    assert [t.uid for t in open_transactions(both, NOW + 599.9)] == ["2.25.1"]
    assert open_transactions(both, NOW + 600.0) == []


def test_expired_transaction_says_how_long_it_was_waited_for():
    late = expired(transaction())
    assert (late.over, late.error) == (True, "no report within 600 s")


# --- being told


def test_report_commits_what_it_names_and_nothing_else():
    changed = after_report([outcome(0), outcome(1)], transaction(), said([1, 7]), NOW)
    assert [(o.index, o.committed, o.at) for o in changed] == [(1, True, NOW)]


@pytest.mark.parametrize(
    ("reason", "delivered", "permanent"),
    [
        (0x0110, False, False), (0x0112, False, False), (0x0213, False, False),
        (0x0119, False, True), (0x0122, False, True), (0xA700 + 1, False, False),
        (0x0131, True, False),
    ],
)  # fmt: skip
def test_reason_decides_between_sending_again_asking_again_and_holding(
    reason, delivered, permanent
):
    (changed,) = after_report([outcome(0)], transaction(), said(failed=[(0, reason)]), NOW)
    assert (changed.delivered, changed.permanent) == (delivered, permanent)
    assert not changed.committed
    assert changed.transaction_uid == ""
    assert changed.error.startswith(f"not committed: 0x{reason:04X} ")


def test_refusal_of_a_question_that_is_over_is_not_believed():
    over = transaction(over=True)
    assert after_report([outcome(0)], over, said(failed=[(0, 0x0112)]), NOW) == []


def test_refusal_is_not_believed_for_what_was_asked_again_since():
    asked_again = outcome(0, transaction_uid="2.25.2")
    assert after_report([asked_again], transaction(), said(failed=[(0, 0x0112)]), NOW) == []


def test_commitment_is_believed_however_late():
    over = transaction(over=True)
    (changed,) = after_report([outcome(0, transaction_uid="2.25.2")], over, said([0]), NOW)
    assert changed.committed


def test_what_is_committed_stays_so():
    kept = outcome(0, committed=True)
    assert after_report([kept], transaction(), said(failed=[(0, 0x0122)]), NOW) == []


def test_instance_that_is_being_sent_again_is_not_committed_by_an_older_report():
    assert after_report([outcome(0, delivered=False)], transaction(), said([0]), NOW) == []


def test_instance_named_both_ways_is_not_committed():
    (changed,) = after_report([outcome(0)], transaction(), said([0], [(0, 0x0112)]), NOW)
    assert not changed.committed
    assert not changed.delivered


# --- what follows


def follows(outcomes, why="silence", **changes):
    return commitment_verdict(export(**changes), outcomes, why, RETRY, RULES, NOW)


def test_all_committed_completes():
    event, changes = follows([outcome(0, committed=True), outcome(1, committed=True)])
    assert event is StepEvent.SUCCEED
    assert (changes["committed"], changes["error"]) == (2, "")


def test_what_is_to_be_sent_again_goes_back_to_the_queue():
    lost = outcome(1, delivered=False, error="not committed: 0x0112")
    event, changes = follows([outcome(0, committed=True), lost], try_count=1)
    assert event is StepEvent.REPEAT
    assert (changes["try_count"], changes["due_at"], changes["sent"]) == (2, NOW + 60.0, 1)
    assert changes["error"] == "not committed: 0x0112"


def test_silence_is_asked_anew_then_held():
    event, changes = follows([outcome(0)])
    assert event is StepEvent.FAIL
    assert (changes["commitment_tries"], changes["error"]) == (1, "silence")
    event, changes = follows([outcome(0), outcome(1, committed=True)], commitment_tries=1)
    assert event is StepEvent.GIVE_UP
    assert (changes["failed"], changes["committed"]) == (1, 1)


def test_used_up_retries_hold():
    assert follows([outcome(0, delivered=False)], try_count=2)[0] is StepEvent.GIVE_UP


def test_refused_for_good_holds():
    held = outcome(0, delivered=False, permanent=True)
    assert follows([held, outcome(1, committed=True)])[0] is StepEvent.GIVE_UP


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=6),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_verdict_is_legal_and_completes_only_what_is_committed(marks, tries, asked):
    outcomes = [
        outcome(n, delivered=d, committed=c and d, permanent=p and not d)
        for n, (d, c, p) in enumerate(marks)
    ]
    row = export(try_count=tries, commitment_tries=asked)
    event, changes = commitment_verdict(row, outcomes, "why", RETRY, RULES, NOW)
    state = next_state(EXPORT_TRANSITIONS, row.state, event)
    assert (state is ExportState.COMPLETED) == all(o.committed for o in outcomes)
    assert changes["committed"] + changes["failed"] <= len(outcomes)


# --- what we say as SCP


def test_we_commit_what_is_kept_under_that_class():
    asked = [Reference(CT, "1.1"), Reference(MR, "1.1"), Reference(CT, "1.2"), Reference(CT, "1.3")]
    report = judged(
        CommitmentRequest(transaction_uid="2.25.1", references=tuple(asked)),
        {"1.1": {CT}, "1.2": {CT, MR}},
    )
    assert report.committed == (asked[0], asked[2])
    assert report.failed == ((asked[1], 0x0119), (asked[3], 0x0112))
    assert report.event_type == 2
    assert report.transaction_uid == "2.25.1"


def test_all_kept_is_event_type_1():
    request = CommitmentRequest(transaction_uid="2.25.1", references=(Reference(CT, "1.1"),))
    assert judged(request, {"1.1": {CT}}).event_type == 1
