"""Answers to requests that may be repeated (draft-ietf-httpapi-idempotency-key-header).

Rules: a key belongs to the first request that came with it. The same request again gets the same
answer for `KEPT_S`; another request with the key is refused; so is the same one while the first is
being carried out. An answer that nothing was done (5xx) is not kept: the next one is a new try.

In memory: after a restart a key is new. Orders about jobs and exports are safe beyond that, their
keys are in the ledger (`records.Order`); what else is repeated finds what it wanted as done, or is
refused as a duplicate.
"""

from dataclasses import dataclass

KEPT_S = 86_400.0
KEYS_MAX = 1000
"""Answers that are kept; of more, the oldest goes."""
ANSWER_BYTES_MAX = 64 << 10
"""A longer one is not kept: the request is carried out again."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What was answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(slots=True)
class _Attempt:
    fingerprint: bytes
    at: float
    answer: KeptAnswer | None = None
    """None: it is being carried out."""


class KeyIsAnotherRequestsError(Exception):
    """The key came first with another request."""


class StillRunningError(Exception):
    """The first request with the key has no answer yet."""


class RepeatedRequests:
    """What is known of keys."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._attempts: dict[bytes, _Attempt] = {}

    def begin(self, key: bytes, fingerprint: bytes, now: float) -> KeptAnswer | None:
        """Return the answer to a request that came before; None: carry it out, and `end` it.

        Args:
            key: What tells this key of this caller from all others.
            fingerprint: What tells this request from all others.
            now: Clock time, in seconds.

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
        self._attempts[key] = _Attempt(fingerprint, now)
        return None

    def end(self, key: bytes, answer: KeptAnswer | None) -> None:
        """Keep the answer to what `begin` let through; None: the next one is a new try."""
        attempt = self._attempts.get(key)
        if attempt is None:
            return  # so many came meanwhile that it was forgotten
        if answer is None or answer.status >= 500 or len(answer.body) > ANSWER_BYTES_MAX:
            del self._attempts[key]
        else:
            attempt.answer = answer

    def _forget(self, now: float) -> None:
        """Make room for one more; the first are the oldest."""
        for key in list(self._attempts):
            is_old = self._attempts[key].at <= now - KEPT_S
            if not is_old and len(self._attempts) < self._keys_max:
                return
            del self._attempts[key]
