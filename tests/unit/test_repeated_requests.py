"""Keys of repeated requests: whose they are, how long, and how many."""

import pytest
from fakes.rows import KeptRows

from adapter.domain.repeated_requests import (
    ANSWER_BYTES_MAX,
    KEPT_S,
    Attempt,
    KeptAnswer,
    KeyIsAnotherRequestsError,
    RepeatedRequests,
    StillRunningError,
)
from adapter.store.kept_answers import ROW_BYTES_MAX, KeptAnswerRows

DONE = KeptAnswer(200, (("content-type", "application/json"),), b"{}")


def test_same_request_gets_the_same_answer_for_a_day():
    known = RepeatedRequests()
    assert known.begin(b"k", b"r", 0.0) is None
    known.end(b"k", DONE)
    assert known.begin(b"k", b"r", KEPT_S - 1) == DONE
    assert known.begin(b"k", b"r", KEPT_S) is None


def test_key_of_another_request_is_refused():
    known = RepeatedRequests()
    known.begin(b"k", b"r", 0.0)
    with pytest.raises(KeyIsAnotherRequestsError):
        known.begin(b"k", b"other", 1.0)


def test_request_that_is_running_is_not_run_again():
    known = RepeatedRequests()
    known.begin(b"k", b"r", 0.0)
    with pytest.raises(StillRunningError):
        known.begin(b"k", b"r", 1.0)


@pytest.mark.parametrize(
    "answer",
    [None, KeptAnswer(503, (), b"{}"), KeptAnswer(200, (), bytes(ANSWER_BYTES_MAX + 1))],
    ids=["none", "nothing was done", "too long"],
)
def test_request_without_an_answer_to_keep_is_carried_out_again(answer):
    known = RepeatedRequests()
    known.begin(b"k", b"r", 0.0)
    known.end(b"k", answer)
    assert known.begin(b"k", b"r", 1.0) is None


def test_refusal_is_an_answer_too():
    known = RepeatedRequests()
    known.begin(b"k", b"r", 0.0)
    refusal = KeptAnswer(404, (), b"{}")
    known.end(b"k", refusal)
    assert known.begin(b"k", b"r", 1.0) == refusal


def test_of_too_many_the_oldest_is_forgotten():
    known = RepeatedRequests(keys_max=3)
    for number in range(10):
        known.begin(b"%d" % number, b"r", float(number))
        known.end(b"%d" % number, DONE)
    assert known.begin(b"9", b"r", 10.0) == DONE
    assert known.begin(b"0", b"r", 11.0) is None
    known.end(b"1", DONE)  # it was forgotten; harmless


# --- over a restart


def attempt(number, *, at=None, answer=DONE):
    return Attempt(b"%03d" % number, b"r", float(number) if at is None else at, answer)


async def test_answer_outlives_the_process():
    engine = KeptRows(KeptAnswerRows)
    await engine.open().put(attempt(1))
    known = RepeatedRequests(engine.open().all())
    assert known.begin(b"001", b"r", 2.0) == DONE
    with pytest.raises(KeyIsAnotherRequestsError):
        known.begin(b"001", b"other", 2.0)
    assert known.begin(b"001", b"r", 1.0 + KEPT_S) is None


async def test_of_too_many_rows_the_oldest_goes_also_after_a_restart():
    engine = KeptRows(KeptAnswerRows)
    for number in range(10):
        await engine.open(3).put(attempt(number))
    assert [each.key for each in engine.open().all()] == [b"007", b"008", b"009"]


async def test_row_goes_with_the_first_that_comes_when_its_time_is_over():
    engine = KeptRows(KeptAnswerRows)
    rows = engine.open()
    for number in range(3):
        await rows.put(attempt(number))
    await rows.put(attempt(3, at=1.0 + KEPT_S))
    assert [each.key for each in engine.open().all()] == [b"002", b"003"]


async def test_answer_too_long_for_a_row_is_not_written():
    engine = KeptRows(KeptAnswerRows)
    await engine.open().put(attempt(1, answer=KeptAnswer(200, (), bytes(ROW_BYTES_MAX))))
    assert engine.rows == {}


def test_secret_that_is_shown_once_may_not_be_stored():
    assert attempt(1).may_be_stored
    secret = KeptAnswer(201, (("cache-control", "no-store"),), b'{"key": "s"}')
    assert not attempt(1, answer=secret).may_be_stored
