"""Whether a destination is worth an association now: its circuit breaker. Pure; times come in.

Closed: exports go there. It opens when an association could not be made, or when several in a row
broke before the destination had answered anything, each on another instance: one that breaks every
association says something about itself, and nothing about a destination that is there. Open:
nothing is sent, and the destination is probed at the end of a pause that doubles each time.
Half-open: it has answered a probe, so one association tries whether it takes instances as well;
only an answer to one closes the breaker, so a destination that accepts associations and then hangs
does not start over with short pauses.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from adapter.domain.queueing import Draw, retry_pause_s

FRUITLESS_MAX = 3
"""Instances on which associations in a row broke without an answer; a few may be their fault."""


class BreakerState(Enum):
    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


@dataclass(slots=True, kw_only=True)
class Breaker:
    """What one destination has done lately."""

    retry_delay_s: float
    draw: Draw
    state: BreakerState = BreakerState.CLOSED
    why: str = ""
    tries: int = 0
    """Tries in a row that did not reach it."""
    down_since: float | None = None
    """Wall time; None: it is not down."""
    again_at: float = 0.0
    """Wall time before which it is left alone."""
    suspects: set[str] = field(default_factory=set)
    """Instances on which associations broke since it answered last."""

    def recall(self, why: str, since: float) -> None:
        """Go on with an outage that began earlier: the next association tries whether it lasts."""
        if self.down_since is None:
            self.state, self.why, self.down_since = BreakerState.HALF_OPEN, why, since

    def unreached(self, why: str, now: float) -> bool:
        """Note that it could not be reached; return False if that is known already.

        Associations that were made at the same time fail at the same time: that is one outage.
        """
        if self.state is BreakerState.OPEN and now < self.again_at:
            return False
        self.state, self.why = BreakerState.OPEN, why
        self.tries += 1
        self.again_at = now + retry_pause_s(self.tries, self.retry_delay_s, self.draw)
        if self.down_since is None:
            self.down_since = now
        return True

    def lost(self, why: str, instance: str, now: float) -> bool:
        """Note that an association broke without an answer; return whether that is an outage.

        That the instance breaks associations is known if one broke on it before: nothing new.
        """
        if instance in self.suspects:
            return False
        self.suspects.add(instance)
        if self.tries == 0 and len(self.suspects) < FRUITLESS_MAX:
            return False
        return self.unreached(why, now)

    def probed(self) -> None:
        """Note that it has answered a probe."""
        self.state = BreakerState.HALF_OPEN

    def answered(self) -> None:
        """Note that it has answered for an instance, or that nothing has to be sent to it."""
        self.state, self.why = BreakerState.CLOSED, ""
        self.tries, self.down_since = 0, None
        self.suspects.clear()

    def down_for(self, now: float) -> float:
        """Return for how long it has been down, in seconds."""
        return 0.0 if self.down_since is None else now - self.down_since
