"""The seam to received instances and their groups: what entities and processors need of `store/`.

See `adapter.domain.ports` for the rules all ports keep.
"""

from typing import Protocol

from adapter.domain.entities import SameInstance
from adapter.domain.records import GroupHold, GroupRecord, Merged, StoredGroup


class InstanceStore(Protocol):
    """Received instances, grouped in folders: the directory is the record."""

    async def recover(self) -> None:
        """Put the folders in order after a kill. Once, before anything else."""

    async def open_group(self, record: GroupRecord) -> None:
        """Make the group's folder, durably."""

    async def open_groups(self, ae_title: str) -> list[StoredGroup]:
        """Return the open groups of this AE Title as found on disk."""

    async def add_sender(self, group_id: str, calling_ae_title: str) -> None:
        """Add to the record of an open group who sends to it, durably; again is harmless."""

    async def hold_group(self, group_id: str, hold: GroupHold) -> None:
        """Record what keeps the group open, durably, in place of what was recorded before."""

    async def release_staged(self, group_id: str, association: str) -> None:
        """Make the association's staged instances a part of the group; again is harmless.

        From then on they are, whatever happens; if it fails, nobody knows.
        """

    async def merge_released(
        self, group_id: str, association: str, same_instance: SameInstance, merged: Merged
    ) -> None:
        """Take the association's released instances into the group; again is harmless.

        Args:
            merged: Is added to as it goes, also if it fails: then another call adds the rest.
        """

    async def drop_staged(self, group_id: str, association: str) -> None:
        """Delete the association's staged instances; again is harmless."""

    async def remember_closed(self, record: GroupRecord, at: float, until_at: float) -> None:
        """Remember, durably and until then, that a group of its processor and key has closed.

        Of a group that supplements another one, the other one is remembered.
        """

    async def closed_before(self, ae_title: str, processor: str, key: str, now: float) -> str:
        """Return the id of the group that is remembered for this key; empty: none."""

    async def close_group(self, group_id: str) -> None:
        """Close the group for ever, in one step: a commit into it fails from here on."""

    async def closed_groups(self, ae_title: str) -> list[StoredGroup]:
        """Return the groups that closed and did not yet become jobs, oldest first."""

    async def remove_group(self, group_id: str) -> int:
        """Delete a closed group's folder and return the bytes that were only there."""
