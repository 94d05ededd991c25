"""`GET /api/actors`: the tree of supervision, and what waits for each actor."""

from typing import Any, Literal

import trio
from litestar import get
from msgspec import Struct

from adapter.domain.roster import Roster
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import VIEWER

_UNDER = {"processor": "entity", "entity": "entities", "receiver": "receivers",
          "exporter": "exporters"}  # fmt: skip
"""By the first word of a name, under whom it is shown."""


class MailboxNow(Struct, frozen=True, kw_only=True, rename="camel"):
    """A channel an actor receives from."""

    name: str
    waiting: int
    """Messages in it, and askers that wait to put one in."""
    capacity: int
    """0: whoever asks waits until it is taken."""
    not_empty_s: float
    """Since it was last seen empty, by a look each second; nothing in it has waited longer."""


class ActorNode(Struct, frozen=True, kw_only=True, rename="camel"):
    """An actor, or a name for several of them."""

    name: str
    state: Literal["started", "crashed", "parked"] | None = None
    """Null: it is only a name."""
    changed_at: str | None = None
    essential: bool | None = None
    """Whether the process ends when it crashes too often; others are parked."""
    restarts: int = 0
    crashes: int = 0
    """Since the process began."""
    error: str = ""
    """Why it crashed last."""
    mailboxes: list[MailboxNow] = []
    children: list["ActorNode"] = []


def _node(roster: Roster, row: dict[str, Any]) -> ActorNode:
    name, now = row["name"], trio.current_time()
    return ActorNode(
        name=name,
        state=row["state"],
        changed_at=row["changedAt"],
        essential=row.get("essential", False),
        restarts=roster.restarts[name],
        crashes=roster.crashes[name],
        error=row.get("error", ""),
        mailboxes=[
            MailboxNow(
                name=key,
                waiting=one.waiting(),
                capacity=one.capacity(),
                not_empty_s=round(one.not_empty_s(now), 1),
            )
            for key, one in roster.mailboxes(name).items()
        ],
        children=[],
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
    roster = web.snapshot.roster
    nodes = {row["name"]: _node(roster, row) for row in roster.at_work()}
    root = ActorNode(name="gateway", children=[])
    for name, node in list(nodes.items()):
        parent = _parent(name, nodes)
        if parent and parent not in nodes:
            nodes[parent] = ActorNode(name=parent, children=[])
            root.children.append(nodes[parent])
        (nodes[parent] if parent else root).children.append(node)
    return root


ACTORS = [actors]
