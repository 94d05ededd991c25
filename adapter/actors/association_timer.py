"""Association timer: one per open group, an actor of its application entity.

Consumes: nothing; its deadline is moved by `restart`. Produces: its return, when the group is due.
Owns: one quiet deadline and one maximum age. Rebuilds from: the group folder, through its entity.
Restart policy: none, it shares the fate of its entity.
"""

import trio

from adapter.domain.grouping import OpenGroup


class AssociationTimer:
    """Waits until a group has been quiet for long enough, or is too old."""

    def __init__(self, group: OpenGroup) -> None:
        self._group = group
        self._scope = trio.CancelScope(deadline=group.due())

    def restart(self) -> None:
        """The group has changed: look at its due time again."""
        self._scope.deadline = self._group.due()

    async def wait_due(self) -> None:
        """Return when the group is due. Nothing runs between the due time and the return."""
        while True:
            with self._scope:
                await trio.sleep_forever()
            if not self._scope.cancelled_caught:
                return
            if self._group.due() <= trio.current_time():
                return
            self._scope = trio.CancelScope(deadline=self._group.due())
