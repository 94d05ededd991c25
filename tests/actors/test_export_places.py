"""Places for associations: nobody takes another's first one."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from adapter.actors.export_places import ExportPlaces


class Guests:
    def __init__(self, places, nursery):
        self.places, self.nursery = places, nursery
        self.inside, self.leave = [], []

    async def come(self, name):
        gone = trio.Event()

        async def stay():
            async with self.places.one(name):
                self.inside.append(name)
                self.leave.append((name, gone))
                await gone.wait()
                self.inside.remove(name)

        self.nursery.start_soon(stay)
        await wait_all_tasks_blocked()

    async def go(self, name):
        entry = next(one for one in self.leave if one[0] == name)
        self.leave.remove(entry)
        entry[1].set()
        await wait_all_tasks_blocked()


async def test_one_place_is_kept_for_each_destination_that_has_none():
    async with trio.open_nursery() as nursery:
        guests = Guests(ExportPlaces(4, ["a", "b", "c"]), nursery)
        for _ in range(5):
            await guests.come("a")
        assert guests.inside == ["a", "a"]
        await guests.come("b")
        await guests.come("c")
        assert guests.inside == ["a", "a", "b", "c"]
        nursery.cancel_scope.cancel()


async def test_places_beyond_the_first_even_out():
    async with trio.open_nursery() as nursery:
        places = ExportPlaces(6, ["a", "b"])
        guests = Guests(places, nursery)
        for name in "aaaaabbbb":
            await guests.come(name)
        assert guests.inside.count("a") == 5
        while places.is_wanted_back("a"):
            await guests.go("a")
        assert (guests.inside.count("a"), guests.inside.count("b")) == (3, 3)
        assert not places.is_wanted_back("b")
        nursery.cancel_scope.cancel()


async def test_fewer_places_than_destinations_go_round():
    async with trio.open_nursery() as nursery:
        places = ExportPlaces(1, ["a", "b"])
        guests = Guests(places, nursery)
        await guests.come("a")
        assert not places.is_wanted_back("a")
        await guests.come("a")
        await guests.come("b")
        assert places.is_wanted_back("a")
        await guests.go("a")
        assert guests.inside == ["b"], "who has none goes before who has one"
        nursery.cancel_scope.cancel()


async def test_who_stops_waiting_leaves_no_trace():
    places = ExportPlaces(1, ["a", "b"])
    async with trio.open_nursery() as nursery:
        guests = Guests(places, nursery)
        await guests.come("a")
        with trio.CancelScope() as scope:
            scope.cancel()
            async with places.one("b"):
                pytest.fail("there is no place")
        assert not places.is_wanted_back("a")
        await guests.go("a")
        await guests.come("b")
        assert guests.inside == ["b"]
        nursery.cancel_scope.cancel()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.lists(st.integers(0, 9), max_size=40))
def test_sum_is_kept_and_nobody_waits_for_a_first_place_that_is_his(total, destinations, moves):
    names = [f"d{n}" for n in range(destinations)]

    async def main():
        async with trio.open_nursery() as nursery:
            places = ExportPlaces(total, names)
            guests = Guests(places, nursery)
            wanted = dict.fromkeys(names, 0)
            for move in moves:
                name = names[move % destinations]
                if move < 7 or name not in guests.inside:
                    await guests.come(name)
                    wanted[name] += 1
                else:
                    await guests.go(name)
                    wanted[name] -= 1
                assert len(guests.inside) <= total
                if destinations <= total:
                    assert all(name in guests.inside for name in names if wanted[name])
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_destination_that_comes_gets_its_place_and_one_that_goes_gives_it_back():
    async with trio.open_nursery() as nursery:
        places = ExportPlaces(3)
        guests = Guests(places, nursery)
        places.add("a")
        for _ in range(4):
            await guests.come("a")
        assert guests.inside == ["a"] * 3
        places.add("b")
        assert not places.is_wanted_back("a")
        await guests.come("b")
        assert places.is_wanted_back("a")
        await guests.go("a")
        assert guests.inside.count("b") == 1
        await guests.go("b")
        places.remove("b")
        await wait_all_tasks_blocked()
        assert guests.inside == ["a"] * 3
        nursery.cancel_scope.cancel()
