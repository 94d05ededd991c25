"""Results of this adapter that come back in: they are known by their SOP Instance UIDs.

The guard against a loop: an instance that a pipeline has made does not start that pipeline again,
whoever sends it. What a pipeline only passes on, under the UID it came with, is no result of its
own here: a sender may send it again and mean it.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from msgspec import Struct

from adapter.domain.assignments import Assignment
from adapter.domain.processors import pipelines_of
from adapter.domain.records import Job, OutgoingInstance

OWN_RESULTS_MAX = 100_000
"""The latest; some 40 MB of memory."""
Guarded = tuple[str, str]
"""What must not start again: an AE Title, or a pipeline by its id."""


class Origin(Struct, frozen=True, array_like=True):
    """Whose result an instance is."""

    job_id: str
    ae_title: str
    pipeline_id: str

    def guarded(self) -> tuple[Guarded, Guarded]:
        """Return what made it."""
        return ("ae_title", self.ae_title), ("pipeline", self.pipeline_id)


class OwnResult(Struct, frozen=True, array_like=True):
    """A result that may come back."""

    sop_class_uid: str
    sop_instance_uid: str


class OwnResults(Protocol):
    """The latest results, durable before a method returns. Errors as of `Ledger`."""

    async def remember(self, origin: Origin, results: Sequence[OwnResult]) -> None:
        """Remember results of a job; again is harmless. The oldest are forgotten."""

    def origin(self, sop_instance_uid: str) -> Origin | None:
        """Return whose result this is; None: nobody's, as far as is known."""

    def come_of_class(self, guarded: Guarded, sop_class_uid: str) -> bool:
        """Return whether what is guarded has made instances of this SOP class."""


def guarded_by(assignments: Sequence[Assignment]) -> frozenset[Guarded]:
    """Return what the processors of an AE Title would start again; nothing if it was told to."""
    entities = [one.entity for one in assignments if one.entity.loop_guard]
    pipelines = {each for entity in entities for each in pipelines_of(entity).values()}
    return frozenset(
        [
            *(("ae_title", entity.ae_title) for entity in entities),
            *(("pipeline", pipeline_id) for pipeline_id in pipelines),
        ]
    )


def came_back(own: OwnResults, guarded: frozenset[Guarded], sop_instance_uid: str) -> Origin | None:
    """Return whose result an instance is if it would start again what has made it."""
    origin = own.origin(sop_instance_uid)
    return origin if origin and guarded.intersection(origin.guarded()) else None


def may_come_back(own: OwnResults, guarded: frozenset[Guarded], sop_class_uid: str) -> bool:
    """Return whether instances of this SOP class have to be looked at one by one."""
    return any(own.come_of_class(each, sop_class_uid) for each in guarded)


def made_by(
    job: Job, files: Mapping[str, OutgoingInstance], inputs: Set[str]
) -> tuple[Origin, list[OwnResult]]:
    """Return what a job has made: what is in its output and not in its input."""
    made = [
        OwnResult(each.sop_class_uid, each.sop_instance_uid)
        for each in files.values()
        if each.sop_instance_uid not in inputs
    ]
    return Origin(job.id, job.ae_title, job.pipeline_id), made
