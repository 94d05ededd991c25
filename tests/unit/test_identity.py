"""User identities: who is believed, what it costs, and that nothing of it shows."""

import re

import pytest
import trio
import trio.testing

from adapter.domain.admission import UserIdentity
from adapter.domain.identity import SALT_BYTES, hash_passcode, is_known, objection
from adapter.protocols import identities
from adapter.protocols.identities import WAITING_MAX, UserCheck, accept_any

SALT = bytes(range(SALT_BYTES))
USERS = {"ct1": hash_passcode(b"sesame", SALT), "müller": hash_passcode(b"", SALT)}
UNKNOWN = (1, 1, 1, "user identity is not known")


def presented(name=b"ct1", passcode=b"sesame", kind=2):
    return UserIdentity(kind=kind, primary=name, secondary=passcode, response_requested=False)


def told(rejection):
    return rejection.result, rejection.source, rejection.reason, rejection.why


@pytest.fixture
def check():
    return UserCheck(USERS, trio.CapacityLimiter(1)).check


def test_hash_has_the_form_the_configuration_asks_for():
    assert re.fullmatch(r"scrypt\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=", USERS["ct1"])
    assert b"sesame".hex() not in USERS["ct1"]


def test_salt_makes_equal_passcodes_differ():
    assert hash_passcode(b"sesame", bytes(SALT_BYTES)) != USERS["ct1"]


@pytest.mark.parametrize(
    ("name", "passcode", "known"),
    [
        (b"ct1", b"sesame", True),
        (b"ct1", b"Sesame", False),
        (b"ct1", b"", False),
        (b"ct1 ", b"sesame", False),
        (b"ct2", b"sesame", False),
        (b"", b"", False),
        (b"\xff\xfe", b"\0" * 60_000, False),
        ("müller".encode(), b"", True),
    ],
)
def test_user_is_known_by_name_and_passcode(name, passcode, known):
    assert is_known(presented(name, passcode), USERS) is known


@pytest.mark.parametrize("kind", [1, 3, 4, 5])
def test_kind_without_a_passcode_cannot_be_checked(kind):
    """PS3.7 D.3.3.7.1: name alone, Kerberos, SAML, JWT."""
    assert objection(presented(kind=kind)) == "user identity is not a name with a passcode"


async def test_whoever_is_not_believed_is_rejected_for_good(check):
    assert await check(presented()) is None
    assert told(await check(None)) == (1, 1, 1, "no user identity")
    assert told(await check(presented(kind=4)))[:3] == (1, 1, 1)
    assert told(await check(presented(passcode=b"guess"))) == UNKNOWN
    assert told(await check(presented(name=b"nobody"))) == UNKNOWN


async def test_name_and_passcode_that_only_look_like_a_proven_pair_are_rejected(check):
    assert await check(presented()) is None
    assert told(await check(presented(b"ct1s", b"esame"))) == UNKNOWN


async def test_too_many_at_once_are_told_to_come_back():
    threads = trio.CapacityLimiter(1)
    check = UserCheck(USERS, threads).check
    answers = []

    async def guess(number):
        answers.append(told(await check(presented(passcode=b"%d" % number))))

    await threads.acquire_on_behalf_of("somebody slow")
    async with trio.open_nursery() as nursery:
        for number in range(WAITING_MAX + 3):
            nursery.start_soon(guess, number)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == [(2, 3, 1, "too many user identities to check")] * 3
        threads.release_on_behalf_of("somebody slow")
    assert answers[3:] == [UNKNOWN] * WAITING_MAX


async def test_user_who_is_known_waits_behind_nobody():
    threads = trio.CapacityLimiter(1)
    check = UserCheck(USERS, threads).check
    assert await check(presented()) is None
    await threads.acquire_on_behalf_of("guesses")
    assert await check(presented()) is None


async def test_everybody_is_believed_where_nothing_is_verified():
    assert await accept_any(None) is None
    assert await accept_any(presented(passcode=b"wrong")) is None


async def test_nothing_of_it_is_logged(check, logged):
    await check(presented(passcode=b"guess"))
    await check(presented())
    assert logged == []
    assert "sesame" not in repr(vars(identities))
