"""Turns at receiving in bulk: who has one, who gets it next, who goes on without."""

import threading

import pytest

from adapter.protocols.dimse import turns
from adapter.protocols.dimse.turns import BUFFER_BYTES, TURN_BYTES, Turn, Turns


@pytest.fixture
def no_time(monkeypatch):
    """Every turn is over at once."""
    monkeypatch.setattr(turns, "TURN_S", -1.0)


def test_turn_is_given_back():
    shared = Turns(1)
    one, other = Turn(shared), Turn(shared)
    one.take()
    assert one.taken
    one.give()
    other.take()
    assert (one.taken, other.taken) == (False, True)


def test_turn_comes_with_a_buffer_that_goes_on_with_it():
    shared = Turns(1)
    one, other = Turn(shared), Turn(shared)
    buffer = one.take()
    assert len(buffer) == BUFFER_BYTES
    one.give()
    assert other.take() is buffer


def test_turn_is_lent_while_the_peer_is_quiet_and_taken_again():
    shared = Turns(1)
    one, other = Turn(shared), Turn(shared)
    one.take()
    one.lend()
    assert one.lent
    other.take()
    other.give()
    one.take()
    assert one.taken


def test_peer_that_brings_little_in_a_turn_goes_on_without(no_time):
    one = Turn(Turns(1))
    one.take()
    assert one.is_over
    one.received(TURN_BYTES - 1)
    one.lend()
    assert not one.lent


def test_peer_that_brings_much_waits_for_its_next_turn(no_time):
    one = Turn(Turns(1))
    one.take()
    one.received(TURN_BYTES)
    one.lend()
    assert one.lent


def test_turn_that_is_due_is_not_taken_yet():
    shared = Turns(1)
    one, other = Turn(shared), Turn(shared)
    one.want()
    assert one.due
    other.take()
    other.give()
    one.take()
    assert (one.due, one.taken) == (False, True)


def test_turn_is_not_over_at_once():
    one = Turn(Turns(1))
    assert not one.is_over
    one.take()
    assert not one.is_over


def test_giving_without_a_turn_is_harmless():
    shared = Turns(1)
    Turn(shared).give()
    one = Turn(shared)
    one.take()
    late = threading.Thread(target=Turn(shared).take, daemon=True)
    late.start()
    late.join(0.05)
    assert late.is_alive()  # there is still one turn only
    one.give()
    late.join(5)
    assert not late.is_alive()


def test_who_waits_longest_is_next():
    shared, order, threads = Turns(1), [], []
    first = Turn(shared)
    first.take()

    def take(number):
        mine = Turn(shared)
        mine.take()
        order.append(number)
        mine.give()

    for number in range(5):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        threads[-1].join(0.02)  # time to get in line
    first.give()
    for thread in threads:
        thread.join(5)
    assert order == [0, 1, 2, 3, 4]
