"""The seam to what draws pictures of instances, for people who look at a study."""

from typing import Literal, Protocol

from msgspec import Struct

Obstacle = Literal["form", "size", "time", "busy"]
"""Why there is no picture: what the instance is, its size, that it took too long, or that others
are being drawn."""
OUTCOMES = ("drawn", "form", "size", "time", "busy")


class Instance(Struct, frozen=True, kw_only=True):
    """A file of a study, and where it lies."""

    series: str
    """The name of its folder: the Series Instance UID, or a digest of what is none."""
    name: str
    """Of its file, in the same way from the SOP Instance UID."""
    path: str
    size_bytes: int


class NoPicture(Struct, frozen=True, kw_only=True):
    """There is none."""

    why: Obstacle
    text: str
    """Free of patient data."""


class Previews(Protocol):
    """Draws pictures. They show patients."""

    @property
    def counts(self) -> dict[str, int]:
        """How often each of OUTCOMES has come."""

    async def picture(self, instance: Instance) -> bytes | NoPicture:
        """Return a picture as PNG. Cancel: whatever draws it is ended."""
