"""Known sources: the branch of the entities actor for who may send.

Consumes: calls of the entities actor. Produces: hints to the sources actor, which looks up names.
Owns: nothing; admission reads the directory. Rebuilds from: nothing. Restart policy: that of the
entities actor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from adapter.channels import notify
from adapter.domain.entity_rows import Configured, Kind, ListedEntity
from adapter.domain.messages import Wake


@dataclass(slots=True, kw_only=True)
class KnownSources:
    """Has sources admitted as they are listed: with the next A-ASSOCIATE-RQ."""

    resolver_wake: trio.MemorySendChannel[Wake]
    kind: Kind = "source"
    drains_unasked: bool = False

    def actor(self, name: str) -> str:
        """See `Branch.actor`."""
        return f"source:{name}"

    def taken(self, wanted: ListedEntity, others: Sequence[ListedEntity]) -> list[str]:  # noqa: ARG002
        """See `Branch.taken`: one AE Title may be at several places."""
        return []

    def fixed(self, now: ListedEntity, wanted: Configured) -> str:  # noqa: ARG002
        """See `Branch.fixed`."""
        return ""

    async def run(self, listed: ListedEntity) -> None:
        """See `Branch.run`."""

    def enter(self, listed: ListedEntity) -> None:  # noqa: ARG002 - all names are looked through
        """See `Branch.enter`."""
        notify(self.resolver_wake)

    def is_parked(self, name: str) -> bool:  # noqa: ARG002 - nothing runs
        """See `Branch.is_parked`."""
        return False

    async def left(self, listed: ListedEntity) -> str:  # noqa: ARG002 - associations stay
        """See `Branch.left`."""
        return ""

    async def end(self, listed: ListedEntity) -> None:  # noqa: ARG002 - as of `enter`
        """See `Branch.end`."""
        notify(self.resolver_wake)

    def close(self) -> None:
        """See `Branch.close`."""
        self.resolver_wake.close()

    def let_end(self) -> None:
        """See `Branch.let_end`."""
