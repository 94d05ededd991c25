"""When a stream has to end with the key it was opened with (adapter/protocols/web/access.py)."""

import trio
from msgspec.structs import replace
from test_access import NOW, Keys, made

from adapter.domain.access import Caller, Role
from adapter.protocols.web.access import KEY_LOOK_S, Access


def guarding(keys):
    return Access(keys=keys, trail=None, now=lambda: NOW + trio.current_time())


def caller(key):
    return Caller(name=key.name, role=key.role, address="10.0.0.7", key_id=key.id)


async def test_expired_key_ends_its_streams_soon(autojump_clock):
    keys = Keys()
    key, _ = made(keys, days=1)
    access, begun_at = guarding(keys), trio.current_time()
    keys.rows[key.id] = replace(key, expires_at=access.now() + 100)
    assert await access.ended(caller(key)) == "the key has expired"
    assert 100 <= trio.current_time() - begun_at <= 100 + KEY_LOOK_S


async def test_key_that_was_forgotten_meanwhile_ends_them_too():
    keys = Keys()
    key, _ = made(keys)
    del keys.rows[key.id]
    assert await guarding(keys).ended(caller(key)) == "the key was revoked"


async def test_who_was_let_in_without_a_key_may_stay(autojump_clock):
    with trio.move_on_after(1000) as scope:
        await guarding(Keys()).ended(Caller(name="anybody", role=Role.ADMINISTRATOR, address=""))
    assert scope.cancelled_caught
