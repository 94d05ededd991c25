"""What was promised to the outside, noted from outside."""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from adapter.domain.messages import Placement


class Sending(NamedTuple):
    """What a sender has to send."""

    study: str
    uid: str
    content: int = 0
    """Stands for the bytes of its data set."""


@dataclass(slots=True, kw_only=True)
class Sent:
    """An instance that was stored in a group, as its sender sees it; times only have an order."""

    content: int
    association: str
    is_staged: bool
    committed: int
    visible_from: int
    """Not earlier was it in the group."""
    visible_by: float = math.inf
    """Not later; infinite: it was staged, and nobody has said that it was taken in."""
    acknowledged: bool = False

    def precedes(self, other: "Sent") -> bool:
        """Return whether it was surely there before the other."""
        if self.is_staged and other.is_staged and self.association == other.association:
            return self.committed < other.committed
        return self.visible_by < other.visible_from


@dataclass(slots=True)
class Oracle:
    """What was promised to the outside, noted from outside."""

    acknowledged: set[tuple[str, str]] = field(default_factory=set)
    """(group, file) of every instance answered 0x0000."""
    pending: set[tuple[str, str]] = field(default_factory=set)
    """(study, instance) a sender still wants to deliver."""
    refused: list[tuple[str, Sending, int]] = field(default_factory=list)
    """AE Title and status of every instance it refused for what that is."""
    ignored: list[tuple[str, str, str]] = field(default_factory=list)
    """(AE Title, why, SOP Instance UID) of what was answered 0x0000 and not stored."""
    joined: list[tuple[str, str, frozenset[str]]] = field(default_factory=list)
    """(AE Title, study, processors) of every instance that was answered 0x0000 and stored."""
    placed_twice: list[str] = field(default_factory=list)
    """Groups of processors in whose groups the instance was already."""
    processor_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    """AE Title and processor by group."""
    delivered: set[tuple[str, str]] = field(default_factory=set)
    """(destination, SOP Instance UID) that a destination has answered 0x0000."""
    let_in: list[str] = field(default_factory=list)
    """AE Titles that were answered to be removed, and let an association in."""
    slowest_answer_s: float = 0.0
    sent: dict[str, dict[str, list[Sent]]] = field(default_factory=dict)
    """By group, and by file."""
    recent: deque[Sending] = field(default_factory=lambda: deque(maxlen=10))
    """What was answered 0x0000 last."""
    ticks: count = field(default_factory=count)

    def stored(self, group: str, placement: Placement, association: str, content: int) -> Sent:
        """Note that an instance was stored in a group, or staged."""
        name = f"{placement.study}/{placement.series}/{placement.instance}"
        tick, is_staged = next(self.ticks), bool(placement.association)
        sent = Sent(
            content=content, association=association, is_staged=is_staged, committed=tick,
            visible_from=tick, visible_by=math.inf if is_staged else tick,
        )  # fmt: skip
        self.sent.setdefault(group, {}).setdefault(name, []).append(sent)
        return sent

    def promised(self, group: str, sending: Sending, sent: Sent) -> None:
        """Note that an instance was answered 0x0000, and where it is."""
        sent.acknowledged = True
        self.acknowledged.add((group, f"{sending.study}/{sending.study}.1/{sending.uid}"))
        self.pending.discard((sending.study, sending.uid))
        self.recent.append(sending)

    def has(self, destination: str, uid: str) -> bool:
        """Return whether a destination has an instance, or its fallback."""
        return bool({(name, uid) for name in (destination, "spare")} & self.delivered)
