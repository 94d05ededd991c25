"""Checks user identities in a thread (port `IdentityCheck`).

Rules: one hash takes a core for a while, and peers choose how many are asked for. So there are few
threads and a short queue, whoever comes on top is told to come back; and a user who has once proved
to be one is known by a keyed digest from then on, so that nobody who guesses passcodes keeps out
those who know them.
"""

import hashlib
import secrets
from collections.abc import Mapping

import trio

from adapter.domain.admission import (
    CONGESTION,
    PERMANENT,
    PRESENTATION,
    SERVICE_USER,
    TRANSIENT,
    Rejection,
    UserIdentity,
)
from adapter.domain.identity import is_known, objection
from adapter.domain.rejections import Why

WAITING_MAX = 16
"""Identities to check; about a second's worth."""


async def accept_any(_identity: UserIdentity | None, /) -> None:
    """Believe everybody; nothing is looked at."""


class UserCheck:
    """Knows users by their passcodes."""

    def __init__(self, users: Mapping[str, str], threads: trio.CapacityLimiter) -> None:
        self._users = users
        self._threads = threads
        self._key = secrets.token_bytes(32)
        self._proven = set[bytes]()

    async def check(self, identity: UserIdentity | None, /) -> Rejection | None:
        """See `IdentityCheck`."""
        why = objection(identity)
        if why is not None:
            return _rejected(why)
        assert identity is not None
        digest = self._digest(identity)
        if digest in self._proven:
            return None
        if self._threads.statistics().tasks_waiting >= WAITING_MAX:
            return Rejection(
                result=TRANSIENT, source=PRESENTATION, reason=CONGESTION,
                why=Why.IDENTITIES_BUSY,
            )  # fmt: skip
        if not await trio.to_thread.run_sync(
            is_known, identity, self._users, limiter=self._threads, abandon_on_cancel=True
        ):
            return _rejected(Why.IDENTITY_UNKNOWN)
        self._proven.add(digest)
        return None

    def _digest(self, identity: UserIdentity) -> bytes:
        length = len(identity.primary).to_bytes(4, "big")  # where the name ends
        text = length + identity.primary + identity.secondary
        return hashlib.blake2b(text, key=self._key).digest()


def _rejected(why: Why) -> Rejection:
    return Rejection(result=PERMANENT, source=SERVICE_USER, reason=1, why=why)
