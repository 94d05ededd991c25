"""`GET /api/actors`: the tree of supervision, and what waits for each actor."""

from typing import Literal

import trio
from litestar import get
from msgspec import Struct

from adapter.domain.roster import RosterEntry
from adapter.domain.views import Views
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import VIEWER

_UNDER = {"processor": "entity", "entity": "entities", "receiver": "receivers",
          "exporter": "exporters"}  # fmt: skip
"""By the first word of a name, under whom it is shown."""


class Mailbox(Struct, frozen=True, kw_only=True, rename="camel"):
    """A channel an actor receives from."""

    name: str
    waiting: int
    """Messages in it, and askers that wait to put one in."""
    capacity: int
    """0: whoever asks waits until it is taken."""


class ActorNode(Struct, frozen=True, kw_only=True, rename="camel"):
    """An actor, or a name for several of them."""

    name: str
    state: Literal["started", "crashed", "parked", "stopped", "unknown"] | None = None
    """Null: it is only a name."""
    changed_at: str | None = None
    essential: bool | None = None
    """Whether the process ends when it crashes too often; others are parked."""
    restarts: int = 0
    error: str = ""
    """Why it crashed last."""
    mailboxes: list[Mailbox] = []
    children: list["ActorNode"] = []


def _node(web: Views, entry: RosterEntry) -> ActorNode:
    row = web.snapshot.sections["actors"].get(entry.name, {})
    return ActorNode(
        name=entry.name,
        state=row.get("state", "unknown"),
        changed_at=row.get("changedAt"),
        essential=entry.essential,
        restarts=max(entry.starts - 1, 0),
        error=entry.last_crash,
        mailboxes=[_mailbox(name, channel) for name, channel in entry.mailboxes.items()],
        children=[],
    )


def _mailbox(name: str, channel: "trio.MemoryReceiveChannel[object]") -> Mailbox:
    figures = channel.statistics()
    return Mailbox(
        name=name.strip("_"),
        waiting=figures.current_buffer_used + figures.tasks_waiting_send,
        capacity=int(figures.max_buffer_size),
    )


def _parent(name: str, nodes: dict[str, ActorNode]) -> str:
    """Return under whom an actor is shown; empty: the root."""
    kind, _, rest = name.partition(":")
    under = _UNDER.get(kind) if rest else None
    if under is None:
        return ""
    own = f"{under}:{rest.partition(':')[0]}"
    return own if own in nodes else under


@get("/api/actors", opt=VIEWER, summary="Actors, and what waits for them")
async def actors(web: State) -> ActorNode:
    """Return the tree of supervision; the root is the process."""
    nodes = {entry.name: _node(web, entry) for entry in web.roster.entries.values()}
    root = ActorNode(name="gateway", children=[])
    for name, node in list(nodes.items()):
        parent = _parent(name, nodes)
        if parent and parent not in nodes:
            nodes[parent] = ActorNode(name=parent, children=[])
            root.children.append(nodes[parent])
        (nodes[parent] if parent else root).children.append(node)
    return root


ACTORS = [actors]
