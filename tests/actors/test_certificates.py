"""Certificates that are about to expire."""

import structlog
import trio
from actor_ports import running

from adapter.actors.certificates import DAY_S, LOOK_S, Certificates

NOW = 1_800_000_000.0


class Clock:
    """Wall time that follows Trio's."""

    def __call__(self):
        return NOW + trio.current_time()


async def lines(expiries, *moments):
    """Return what has been logged at these moments, one list each."""
    found = []
    start = trio.current_time()
    with structlog.testing.capture_logs() as logged:
        actor = Certificates(
            expiries=lambda: expiries, troubles=dict, publish=lambda _: None,
            now=Clock(), stop=trio.Event(),
        )  # fmt: skip
        async with running(actor):
            for moment in moments:
                await trio.sleep_until(start + moment)
                found.append([(e["event"], e["key"], e["days"]) for e in logged])
                logged.clear()
            actor.stop.set()
    return found


async def test_warning_comes_30_days_ahead_and_once_a_day(autojump_clock):
    expiries = {"soon": NOW + 30.5 * DAY_S, "later": NOW + 300 * DAY_S}
    before, first, same_day, next_day = await lines(
        expiries, 0.4 * DAY_S, 0.6 * DAY_S, 1.4 * DAY_S, 1.6 * DAY_S
    )
    assert before == same_day == []
    assert first == [("certificate.expires", "soon", 30.0)]
    assert next_day == [("certificate.expires", "soon", 29.0)]


async def test_certificate_that_has_expired_is_an_error(autojump_clock):
    ((only,),) = await lines({"old": NOW - 2 * DAY_S}, 1.0)
    assert only == ("certificate.expired", "old", 2.0)


async def test_renewed_certificate_is_quiet(autojump_clock):
    expiries = {"soon": NOW + DAY_S}
    with structlog.testing.capture_logs() as logged:
        actor = Certificates(
            expiries=lambda: expiries, troubles=dict, publish=lambda _: None,
            now=Clock(), stop=trio.Event(),
        )  # fmt: skip
        async with running(actor):
            await trio.sleep(1.0)
            expiries["soon"] = NOW + 300 * DAY_S
            await trio.sleep(3 * DAY_S)
            actor.stop.set()
    assert [e["event"] for e in logged] == ["certificate.expires"]


async def test_stop_ends_it_at_once(autojump_clock):
    actor = Certificates(
        expiries=dict, troubles=dict, publish=print, now=Clock(), stop=trio.Event()
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await trio.sleep(LOOK_S / 2)
        begin = trio.current_time()
        actor.stop.set()
    assert trio.current_time() == begin


async def test_file_that_cannot_be_used_is_told_once_a_day(autojump_clock):
    events = []
    actor = Certificates(
        expiries=dict, troubles=lambda: {"api.tls": "broken"}, publish=events.append,
        now=Clock(), stop=trio.Event(),
    )  # fmt: skip
    async with running(actor):
        await trio.sleep(0.5 * DAY_S)
        (only,) = events
        await trio.sleep(DAY_S)
        actor.stop.set()
    assert (only.type, only.facts["name"], only.facts["why"]) == (
        "config.refused",
        "api.tls",
        "broken",
    )
    assert len(events) == 2
