"""Occupancy: who is in, and who has to go when there are too many connections."""

from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.occupancy import HalfOpenConnection, Occupancy


class Hall:
    """An occupancy, and the connections it has closed."""

    def __init__(self, half_open_max):
        self.occupancy = Occupancy(10, half_open_max)
        self.closed = []

    def connect(self, peer):
        connection = HalfOpenConnection(peer, lambda: self.closed.append(connection))
        self.occupancy.add_half_open(connection)
        return connection


def test_association_has_its_place_until_it_leaves():
    occupancy = Occupancy(10, 10)
    occupancy.enter("a-1", "BRAIN", "10.0.0.1")
    occupancy.enter("a-2", "LUNG", "10.0.0.1")
    occupancy.enter("a-3", "LUNG", "10.0.0.2")
    assert occupancy.associations == 3
    assert [occupancy.with_ae_title(title) for title in ("BRAIN", "LUNG", "NONE")] == [1, 2, 0]
    assert [occupancy.from_peer(f"10.0.0.{n}") for n in (1, 2, 3)] == [2, 1, 0]
    for _ in range(2):  # again is harmless
        occupancy.leave("a-2")
    assert occupancy.associations == 2
    assert occupancy.with_ae_title("LUNG") == 1
    assert occupancy.from_peer("10.0.0.1") == 1


def test_connections_up_to_the_limit_stay():
    hall = Hall(3)
    for _ in range(3):
        hall.connect("10.0.0.1")
    assert hall.closed == []
    assert hall.occupancy.half_open == 3


def test_connection_too_many_closes_the_oldest_of_the_address_that_has_most():
    hall = Hall(4)
    guest = hall.connect("10.0.0.9")
    crowd = [hall.connect("10.0.0.1") for _ in range(3)]
    newcomer = hall.connect("10.0.0.2")
    assert hall.closed == crowd[:1]
    assert crowd[0].why == "evicted"
    crowd.append(hall.connect("10.0.0.1"))
    assert hall.closed == crowd[:2]
    assert {guest.why, newcomer.why} == {"artim"}
    assert hall.occupancy.half_open == 4


def test_of_addresses_with_equally_many_the_first_one_pays():
    hall = Hall(2)
    first, second = hall.connect("10.0.0.1"), hall.connect("10.0.0.2")
    hall.connect("10.0.0.3")
    assert hall.closed == [first]
    hall.connect("10.0.0.4")
    assert hall.closed == [first, second]


def test_connection_that_went_by_itself_makes_room():
    hall = Hall(2)
    first, second = hall.connect("10.0.0.1"), hall.connect("10.0.0.1")
    hall.occupancy.remove_half_open(first)
    hall.occupancy.remove_half_open(first)
    hall.connect("10.0.0.1")
    assert hall.closed == []
    hall.connect("10.0.0.1")
    assert hall.closed == [second]


def test_connection_that_has_asked_keeps_its_end_when_it_is_evicted():
    hall = Hall(1)
    connection = hall.connect("10.0.0.1")
    connection.why = ""
    hall.connect("10.0.0.1")
    assert hall.closed == [connection]
    assert connection.why == ""


def test_eviction_of_nobody_is_harmless():
    Occupancy(1, 1).evict()


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
def test_newcomer_always_gets_in_and_the_limit_holds(limit, steps):
    hall, waiting = Hall(limit), []
    for number, leaves in steps:
        if leaves and waiting:
            hall.occupancy.remove_half_open(waiting.pop(number % len(waiting)))
            continue
        newcomer = hall.connect(f"10.0.0.{number}")
        assert newcomer not in hall.closed
        waiting = [c for c in (*waiting, newcomer) if c not in hall.closed]
        assert hall.occupancy.half_open == len(waiting) <= limit
