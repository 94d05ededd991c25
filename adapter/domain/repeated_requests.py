"""Answers to requests that may be repeated (draft-ietf-httpapi-idempotency-key-header).

Rules: a key belongs to the first request that came with it. The same request again gets the same
answer for `KEPT_S`; another request with the key is refused; so is the same one while the first is
being carried out. An answer that nothing was done (5xx) is not kept: the next one is a new try.

Answers outlive the process, but for those that say that nobody may store them (`no-store`, RFC 9111
5.2.2.5: secrets that are shown once) and very long ones. What was being carried out at a kill may
have been done and is a new try: orders about jobs and exports are safe beyond that, their keys are
in the ledger with what they did (`records.Order`); what else is repeated finds what it wanted as
done, or is refused as a duplicate.
"""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

KEPT_S = 86_400.0
KEYS_MAX = 1000
"""Answers that are kept; of more, the oldest goes."""
ANSWER_BYTES_MAX = 64 << 10
"""A longer one is not kept: the request is carried out again."""


class KeptAnswer(Struct, frozen=True, array_like=True):
    """What was answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Attempt(Struct, frozen=True, array_like=True):
    """A request that came with a key."""

    key: bytes
    """What tells this key of this caller from all others."""
    fingerprint: bytes
    """What tells this request from all others."""
    at: float
    """Wall time."""
    answer: KeptAnswer | None = None
    """None: it is being carried out."""

    @property
    def may_be_stored(self) -> bool:
        """Whether the answer may be written where it outlives the process."""
        return self.answer is not None and ("cache-control", "no-store") not in self.answer.headers


class AnswerRows(Protocol):
    """Attempts that were answered, over a restart. Errors as of `Ledger`."""

    def all(self) -> list[Attempt]:
        """Return them, the oldest first."""

    async def put(self, attempt: Attempt) -> None:
        """Keep one, and no more of them than `KEYS_MAX`; durable when it returns."""


class KeyIsAnotherRequestsError(Exception):
    """The key came first with another request."""


class StillRunningError(Exception):
    """The first request with the key has no answer yet."""


class RepeatedRequests:
    """What is known of keys."""

    def __init__(self, attempts: Iterable[Attempt] = (), keys_max: int = KEYS_MAX) -> None:
        """Know these already, the oldest first."""
        self._keys_max = keys_max
        self._attempts = {each.key: each for each in attempts}

    def begin(self, key: bytes, fingerprint: bytes, now: float) -> KeptAnswer | None:
        """Return the answer to a request that came before; None: carry it out, and `end` it.

        Args:
            key, fingerprint: See `Attempt`.
            now: Wall time.

        Raises:
            KeyIsAnotherRequestsError, StillRunningError: It must not be carried out.
        """
        self._forget(now)
        if attempt := self._attempts.get(key):
            if attempt.fingerprint != fingerprint:
                raise KeyIsAnotherRequestsError
            if attempt.answer is None:
                raise StillRunningError
            return attempt.answer
        self._attempts[key] = Attempt(key, fingerprint, now)
        return None

    def end(self, key: bytes, answer: KeptAnswer | None) -> Attempt | None:
        """Keep the answer to what `begin` let through; return what is known of it now.

        None: the next one is a new try.
        """
        attempt = self._attempts.get(key)
        if attempt is None:
            return None  # so many came meanwhile that it was forgotten
        if answer is None or answer.status >= 500 or len(answer.body) > ANSWER_BYTES_MAX:
            del self._attempts[key]
            return None
        self._attempts[key] = Attempt(key, attempt.fingerprint, attempt.at, answer)
        return self._attempts[key]

    def _forget(self, now: float) -> None:
        """Make room for one more; the first are the oldest."""
        for key in list(self._attempts):
            is_old = self._attempts[key].at <= now - KEPT_S
            if not is_old and len(self._attempts) < self._keys_max:
                return
            del self._attempts[key]
