"""The seam to what lies in the folders, for those who ask where something is and what holds it."""

from typing import Protocol

from msgspec import Struct

from adapter.domain.ports import SpaceReading
from adapter.domain.previews import Instance
from adapter.domain.records import GroupRecord


class StudyPlaces(Struct, frozen=True, kw_only=True):
    """Where instances of a study lie."""

    groups: tuple[GroupRecord, ...]
    """Open ones, and closed ones that are no jobs yet."""
    jobs: tuple[str, ...]


class FolderFigures(Struct, frozen=True, kw_only=True):
    """What lies in a folder of groups."""

    groups: int
    payload_bytes: int
    complete: bool
    """There was not too much to look at."""


class Survey(Protocol):
    """Looks into the folders; never changes anything.

    Raises (all methods):
        UnavailableError: They cannot be read now.
    """

    async def study(self, study_instance_uid: str) -> StudyPlaces:
        """Return where instances of a study lie; a folder is looked up for each job."""

    async def studies(self, job_id: str) -> tuple[str, ...]:
        """Return the Study Instance UIDs of what a job received; of very many the first."""

    async def instances(self, study_instance_uid: str) -> tuple[Instance, ...]:
        """Return what was received of a study and is held, by series; of much of it the first."""

    async def closed(self) -> FolderFigures:
        """Return what has closed and is no job yet."""

    async def space(self) -> SpaceReading:
        """Return what is free, and decide nothing."""

    async def quarantined(self) -> int:
        """Return how many folders there are that were not understood."""
