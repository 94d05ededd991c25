"""Keys of the API and how often wrong ones may be tried (adapter/domain/access.py)."""

import itertools

import pytest
from msgspec.structs import replace

from adapter.domain import failed_logins
from adapter.domain.access import (
    DRAWN_BYTES,
    KEYS_MAX,
    NewKey,
    Role,
    key_of,
    make_key,
    superfluous,
)
from adapter.domain.failed_logins import FailedLogins

NOW = 1_700_000_000.0
DAY_S = 86_400.0


class Keys:
    """A key ledger in memory."""

    def __init__(self):
        self.rows = {}

    def find(self, key_id):
        return self.rows.get(key_id)

    def all(self):
        return sorted(self.rows.values(), key=lambda key: key.made_at)


numbers = itertools.count()


def made(keys, name="one", role="viewer", days=365, now=NOW):
    drawn = next(numbers).to_bytes(4, "big") + bytes(range(DRAWN_BYTES - 4))
    key, token = make_key(NewKey(name=name, role=role, days=days), keys, now, "test", drawn)
    keys.rows[key.id] = key
    return key, token


def test_token_is_known_and_not_kept():
    keys = Keys()
    key, token = made(keys)
    assert key_of(token, keys, NOW) == key
    assert token not in repr(key)
    assert token[12:] not in repr(key)


@pytest.mark.parametrize(
    "change",
    [lambda t: "", lambda t: t[:-1], lambda t: t + "x", lambda t: t[:-1] + "_", lambda t: t.upper(),
     lambda t: t[:3] + "ffffffff" + t[11:], lambda t: t[12:], lambda t: t + "\n", lambda t: "é"],
)  # fmt: skip
def test_anything_else_is_not(change):
    keys = Keys()
    _, token = made(keys)
    assert key_of(change(token), keys, NOW) is None


def test_key_expires():
    keys = Keys()
    _, token = made(keys, days=1)
    assert key_of(token, keys, NOW + DAY_S - 1)
    assert key_of(token, keys, NOW + DAY_S) is None


def test_key_without_days_does_not_expire():
    keys = Keys()
    _, token = made(keys, days=0)
    assert key_of(token, keys, NOW + 10_000 * DAY_S)


def test_revoked_key_is_of_no_use():
    keys = Keys()
    key, token = made(keys)
    keys.rows[key.id] = replace(key, revoked_at=NOW)
    assert key_of(token, keys, NOW) is None


def test_name_is_free_again_when_its_key_has_ended():
    keys = Keys()
    made(keys, days=1)
    with pytest.raises(ValueError, match="in use"):
        made(keys)
    made(keys, now=NOW + DAY_S)


def test_ended_keys_make_room_the_oldest_first():
    keys = Keys()
    for number in range(KEYS_MAX):
        made(keys, name=f"k{number}", days=1, now=NOW + number)
    made(keys, name="another", now=NOW + 2 * DAY_S)
    assert [key.name for key in superfluous(keys, NOW + 2 * DAY_S)] == ["k0"]


def test_usable_keys_are_limited():
    keys = Keys()
    for number in range(KEYS_MAX):
        made(keys, name=f"k{number}")
    with pytest.raises(ValueError, match="already"):
        made(keys, name="another")


def test_roles_include_the_ones_before_them():
    order = [Role.OPEN, Role.VIEWER, Role.OPERATOR, Role.ADMINISTRATOR]
    for (i, high), (j, low) in itertools.product(enumerate(order), enumerate(order)):
        assert high.includes(low) == (i >= j)


# --- wrong keys


def test_tries_of_an_address_run_out_and_come_back():
    failed = FailedLogins()
    assert [failed.wait_s("10.0.0.1", 0.0) for _ in range(failed_logins.ADDRESS_TRIES)] == [0] * 10
    wait_s = failed.wait_s("10.0.0.1", 0.0)
    assert wait_s == pytest.approx(6.0)
    assert failed.wait_s("10.0.0.2", 0.0) == 0
    assert failed.wait_s("10.0.0.1", wait_s + 0.001) == 0


def test_addresses_of_one_ipv6_network_share_their_tries():
    failed = FailedLogins()
    waits = [failed.wait_s(f"2001:db8:0:1::{n:x}", 0.0) for n in range(11)]
    assert waits[:10] == [0] * 10
    assert waits[10] > 0
    assert failed.wait_s("2001:db8:0:2::1", 0.0) == 0


def test_all_addresses_together_run_out():
    failed = FailedLogins()
    waits = [failed.wait_s(f"10.0.{n}.1", 0.0) for n in range(failed_logins.ALL_TRIES + 1)]
    assert not any(waits[:-1])
    assert waits[-1] > 0


def test_what_is_remembered_of_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(failed_logins, "ADDRESSES_MAX", 3)
    failed = FailedLogins()
    for n in range(50):
        failed.wait_s(f"10.0.{n}.1", 0.0)
    assert len(failed._addresses) == 3
