"""Sources by name: what is known of them when name servers are slow, wrong or gone."""

import trio
from actor_ports import running

from adapter.actors.sources import BOOT_S, REFRESH_S, RETRY_S, SourceAddresses
from adapter.channels import notify
from adapter.errors import UnavailableError


class Names:
    """A name server as the test says; a name it does not have is unknown, None never answers."""

    def __init__(self, **hosts):
        self.hosts = hosts
        self.asked = []

    async def __call__(self, host):
        self.asked.append(host)
        await trio.lowlevel.checkpoint()
        found = self.hosts.get(host, ())
        if found is None:
            await trio.sleep_forever()
        if not found:
            raise UnavailableError("no such name")
        return frozenset(found)


def actor(names, *hosts):
    _, woken = trio.open_memory_channel(1)
    return SourceAddresses(hosts=lambda: hosts, resolver=names, wake=woken, stop=trio.Event())


async def test_names_are_known_when_it_has_started(autojump_clock):
    names = Names(ct1=["10.0.0.1", "2001:db8::1"], ct2=["10.0.0.2"])
    sources = actor(names, "ct1", "10.0.0.9", "10.1.0.0/16", "::1", "fe80::1%eth0", "ct2", "ct1")
    async with running(sources):
        assert sources.addresses == {
            "ct1": {"10.0.0.1", "2001:db8::1"},
            "ct2": {"10.0.0.2"},
        }
    assert sorted(names.asked) == ["ct1", "ct2"]


async def test_addresses_follow_the_name_server(autojump_clock):
    names = Names(ct1=["10.0.0.1"])
    sources = actor(names, "ct1")
    async with running(sources):
        names.hosts["ct1"] = ["10.0.0.2"]
        await trio.sleep(REFRESH_S + 1)
        assert sources.addresses == {"ct1": {"10.0.0.2"}}


async def test_name_server_that_fails_locks_nobody_out(autojump_clock, logged):
    names = Names(ct1=["10.0.0.1"])
    sources = actor(names, "ct1")
    async with running(sources):
        del names.hosts["ct1"]
        await trio.sleep(10 * REFRESH_S)
        assert sources.addresses == {"ct1": {"10.0.0.1"}}
        assert logged[0]["event"] == "source.unresolved"
        assert logged[0]["host"] == "ct1"


async def test_name_that_never_resolved_is_tried_again_soon(autojump_clock):
    names = Names()
    sources = actor(names, "ct1")
    async with running(sources):
        assert sources.addresses == {}
        names.hosts["ct1"] = ["10.0.0.1"]
        await trio.sleep(RETRY_S + 1)
        assert sources.addresses == {"ct1": {"10.0.0.1"}}


async def test_name_server_that_hangs_delays_neither_the_start_nor_other_names(autojump_clock):
    names = Names(ct1=None, ct2=["10.0.0.2"])
    sources = actor(names, "ct1", "ct2")
    begin = trio.current_time()
    async with running(sources):
        assert trio.current_time() - begin == BOOT_S
        assert sources.addresses == {"ct2": {"10.0.0.2"}}


async def test_sources_end_at_a_stop(autojump_clock):
    sources = actor(Names(ct1=None), "ct1")
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: sources.run(task_status=task_status))
        sources.stop.set()


async def test_names_come_and_go_with_the_sources(autojump_clock):
    names = Names(ct1=["10.0.0.1"], ct2=["10.0.0.2"])
    wake, woken = trio.open_memory_channel(1)
    hosts = ["ct1"]
    sources = SourceAddresses(hosts=lambda: hosts, resolver=names, wake=woken, stop=trio.Event())
    async with running(sources):
        hosts[:] = ["ct2", "10.0.0.3"]
        notify(wake)
        await trio.sleep(0.1)
        assert sources.addresses == {"ct2": {"10.0.0.2"}}
        await trio.sleep(REFRESH_S)
        assert names.asked.count("ct1") == 1
        assert names.asked.count("ct2") == 2
