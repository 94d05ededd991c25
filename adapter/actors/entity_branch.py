"""Entity branch: what is of one kind of entity only; the entities actor has the rest.

Consumes: calls of the entities actor. Produces: what its kind does. Owns: what runs of its kind.
Rebuilds from: what is listed. Restart policy: none, it outlives crashes of the entities actor.
"""

from collections.abc import Sequence
from typing import Protocol

from adapter.domain.entity_rows import Configured, Kind, ListedEntity


class Branch(Protocol):
    """What is of one kind only; whatever is done here can be done again."""

    kind: Kind
    drains_unasked: bool
    """A removal waits for work without being told to; else a change takes it back."""

    def actor(self, name: str) -> str:
        """Return whose state says how one is."""

    def taken(self, wanted: ListedEntity, others: Sequence[ListedEntity]) -> list[str]:
        """Return what beside its name it has in common with others, and may not have."""

    def fixed(self, now: ListedEntity, wanted: Configured) -> str:
        """Return why it cannot be changed into this; empty: it can."""

    async def run(self, listed: ListedEntity) -> None:
        """Have it run as it is listed.

        Raises:
            UnavailableError: Not now.
        """

    def enter(self, listed: ListedEntity) -> None:
        """Let others have to do with it, or if it is to go, nobody new."""

    def is_parked(self, name: str) -> bool:
        """Return whether it runs no more, or something of it."""

    async def left(self, listed: ListedEntity) -> str:
        """Return what is left for it to do; empty: nothing."""

    async def end(self, listed: ListedEntity) -> None:
        """Have nothing of it run; it is not listed any more."""

    def close(self) -> None:
        """Start no more."""

    def let_end(self) -> None:
        """Let everything end with its work."""


class Rules(Protocol):
    """What the configuration file would say."""

    def own_problems(self, entity: Configured) -> list[str]:
        """Return what is wrong with one, whatever else there is: its files are read."""

    def problems(self, made: Sequence[Configured], wanted: Configured | None) -> list[str]:
        """Return what would be wrong between these and what is in the file.

        Args:
            made: Over REST.
            wanted: The last of them, whose keys have no prefix.
        """
