"""What is worth a line in the log only now and then: a peer that is wrong is wrong every second."""

from collections.abc import Hashable


class Repetition:
    """Remembers what was said lately; pure."""

    def __init__(self, period_s: float, keys_max: int) -> None:
        """The same is news again after period_s; of more than keys_max the oldest is forgotten."""
        self._period_s = period_s
        self._keys_max = keys_max
        self._said_at: dict[Hashable, float] = {}

    def is_news(self, key: Hashable, now: float) -> bool:
        """Return whether this has not been said for a while; it counts as said now."""
        said_at = self._said_at.get(key)
        if said_at is not None and now - said_at < self._period_s:
            return False
        self._said_at.pop(key, None)
        self._said_at[key] = now
        if len(self._said_at) > self._keys_max:
            del self._said_at[next(iter(self._said_at))]
        return True
