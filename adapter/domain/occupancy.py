"""What all listeners together have in hand: associations, connections without one, and counts.

Rules: a connection is half-open from accept until it has an association or is closed. There is room
for `half_open_max` of them; the next one does not wait, it takes the place of the oldest from the
address that has the most. So whoever asks at once gets in, and an address that only connects pushes
out its own.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from adapter.domain.rejections import Rejections

EVICTED = "evicted"
CONTEXTS_KEPT_MAX = 200
"""Associations, the latest, of which the presentation contexts are kept."""


@dataclass(eq=False, slots=True)
class HalfOpenConnection:
    """A connection that has no association, and how to be rid of it."""

    peer: str
    """Numeric address."""
    close: Callable[[], object]
    why: str = "artim"
    """How it ends if it never asks; empty once it has asked."""


class Abortable(Protocol):
    """See `PendingAssociation`."""

    contexts: Sequence[tuple[str, str]]

    def abort(self) -> None: ...


@dataclass(eq=False, slots=True)
class ServedAssociation:
    """An association that is being served, and how to be rid of it."""

    connection: Abortable
    over: trio.Event = field(default_factory=trio.Event)
    by_order: bool = False
    """Somebody wants it aborted."""

    def abort(self) -> None:
        """Have it aborted by order of an operator."""
        self.by_order = True
        self.connection.abort()


class Occupancy:
    """Read by everybody; changed by listeners, and by association threads through `leave`."""

    def __init__(self, associations_max: int, half_open_max: int) -> None:
        self.associations_max = associations_max
        self.half_open_max = half_open_max
        self.rejections = Counter[str]()
        """By rule, since the process began."""
        self.without_request = Counter[str]()
        """Connections that ended before an A-ASSOCIATE-RQ, by how."""
        self.rejected = Rejections()
        """Who was refused, and why."""
        self.rates: dict[str, int] = {}
        """Bytes of instances a second, lately, by open association."""
        self.served: dict[str, ServedAssociation] = {}
        self._contexts: dict[str, Sequence[tuple[str, str]]] = {}
        """Of associations that are over."""
        self._called: dict[str, str] = {}
        self._peers: dict[str, str] = {}
        self._half_open: dict[str, dict[HalfOpenConnection, None]] = {}
        self._half_open_count = 0

    def limit(self, associations_max: int, half_open_max: int) -> None:
        """Have other limits; who is in stays."""
        self.associations_max, self.half_open_max = associations_max, half_open_max

    # --- associations

    @property
    def associations(self) -> int:
        """Open ones."""
        return len(self._called)

    def with_ae_title(self, called_ae_title: str) -> int:
        """Return how many associations this AE Title has."""
        return list(self._called.values()).count(called_ae_title)

    def from_peer(self, peer: str) -> int:
        """Return how many associations come from this address."""
        return list(self._peers.values()).count(peer)

    def enter(self, association: str, called_ae_title: str, peer: str) -> None:
        """Take a place; whether there is one has been decided."""
        self._called[association] = called_ae_title
        self._peers[association] = peer

    def leave(self, association: str) -> None:
        """Give the place back; again is harmless. From any thread: each step is one of dict's own.

        Called before the peer can know that the association is over, so that one that comes back at
        once finds the place free.
        """
        self._called.pop(association, None)
        self._peers.pop(association, None)

    def begin(self, association: str, served: ServedAssociation) -> None:
        """Note how the association can be aborted from now on, until `end`."""
        self.served[association] = served

    def end(self, association: str) -> None:
        """Nobody serves it any more."""
        served = self.served.pop(association)
        served.over.set()
        self._contexts[association] = served.connection.contexts
        if len(self._contexts) > CONTEXTS_KEPT_MAX:
            del self._contexts[next(iter(self._contexts))]

    def contexts(self, association: str) -> Sequence[tuple[str, str]]:
        """Return abstract and transfer syntax of what it was accepted for, if that is known."""
        if served := self.served.get(association):
            return served.connection.contexts
        return self._contexts.get(association, ())

    # --- half-open connections

    @property
    def half_open(self) -> int:
        """Connections that have no association."""
        return self._half_open_count

    def add_half_open(self, connection: HalfOpenConnection) -> None:
        """Count the connection; if it is one too many, close another one."""
        self._half_open.setdefault(connection.peer, {})[connection] = None
        self._half_open_count += 1
        if self._half_open_count > self.half_open_max:
            self.evict()

    def evict(self) -> None:
        """Close the oldest half-open connection of the address that has the most, if there is one.

        Of addresses with equally many, the one that has been there longest.
        """
        if self._half_open:
            connections = max(self._half_open.values(), key=len)
            oldest = next(iter(connections))
            self.remove_half_open(oldest)
            oldest.why = oldest.why and EVICTED
            oldest.close()

    def remove_half_open(self, connection: HalfOpenConnection) -> None:
        """Count the connection no more; again is harmless."""
        mine = self._half_open.get(connection.peer, {})
        if connection in mine:
            del mine[connection]
            self._half_open_count -= 1
            if not mine:
                del self._half_open[connection.peer]
