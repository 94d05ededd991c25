"""Keys of repeated requests: whose they are, how long, and how many."""

import pytest

from adapter.domain.repeated_requests import (
    ANSWER_BYTES_MAX,
    KEPT_S,
    KeptAnswer,
    KeyIsAnotherRequestsError,
    RepeatedRequests,
    StillRunningError,
)

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
