"""`status` on a terminal: the same screen, kept up to date, also while the adapter restarts."""

import sys
from collections.abc import Iterator

import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.styled import Styled
from rich.text import Text

from adapter.client.api import Access, ApiError
from adapter.client.figures import duration
from adapter.client.status import BAD, DULL, Document, screen, status_document

EVERY_S = 1.0


class LiveStatus:
    """What is known of an adapter."""

    def __init__(self, access: Access) -> None:
        """Look for the first time.

        Raises:
            ApiError: Nobody answers.
        """
        self._access = access
        self._looked_at = 0.0
        self._trouble = ""
        self.document: Document = status_document(access)

    def parts(self) -> list[RenderableType]:
        """Return what is seen."""
        return list(screen(self._access.url, self.document))

    async def follow(self, live: Live) -> None:
        """Look again and again."""
        self._looked_at = trio.current_time()
        while True:
            live.update(Group(*self._lines()), refresh=True)
            await trio.sleep(EVERY_S)
            try:
                self.document, self._trouble = status_document(self._access), ""
                self._looked_at = trio.current_time()
            except ApiError as error:
                self._trouble = str(error)

    def _lines(self) -> Iterator[RenderableType]:
        if self._trouble:
            since = duration(trio.current_time() - self._looked_at)
            yield Text(f"{self._trouble}; trying again for {since}", BAD)
            yield Styled(Group(*self.parts()), DULL)
        else:
            yield from self.parts()
        yield Text("Ctrl+C ends it", DULL)


def follow_status(access: Access) -> int:
    """Show it until Ctrl+C; leave what was seen last. Return 1 if no new work would be taken."""
    try:
        status = LiveStatus(access)
    except ApiError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    console = Console(highlight=False)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            trio.run(status.follow, live)
    except KeyboardInterrupt:
        pass  # that is how it ends
    console.print(*status.parts(), sep="\n")
    return 1 if status.document["health"]["unreadyBecause"] else 0
