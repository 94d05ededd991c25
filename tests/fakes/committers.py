"""Fakes of both ends of storage commitment: an archive that commits, a modality that asks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from fakes.disk import Life
from fakes.instances import sop_class_of
from fakes.visits import Visit

from adapter.domain.commitment import (
    STORAGE_COMMITMENT,
    CommitmentReport,
    CommitmentRequest,
    Reference,
)
from adapter.domain.dimse_ports import AssociationReport, AssociationService
from adapter.domain.messages import CommitmentAnswer, ReportEnded


@dataclass(slots=True)
class Promises:
    """What was asked and told, noted from outside."""

    committed: set[str] = field(default_factory=set)
    """SOP Instance UIDs the archive has said to keep."""
    asked: set[str] = field(default_factory=set)
    """Transaction UIDs of requests to us that were answered 0x0000."""
    reported: set[str] = field(default_factory=set)
    """Those of them that we have reported."""
    wrongly_kept: list[str] = field(default_factory=list)
    """What we said to keep and were never sent."""
    lies_believed: list[str] = field(default_factory=list)
    """Reports of transactions nobody asked for that were answered with success."""


class Archive:
    """Commits what it is asked to: at once, later, in part, twice, under a wrong UID, or never."""

    def __init__(self, rng: Random, promises: Promises) -> None:
        self._rng = rng
        self._promises = promises
        self.outbox: list[CommitmentReport] = []
        """To be reported on associations of its own; it outlives the program."""

    def asked(self, request: CommitmentRequest, life: Life) -> CommitmentReport | None:
        """Take a request; return the report if it comes on the same association."""
        draw = self._rng.random
        lost = tuple(r for r in request.references if draw() < life.rates.unkept)
        report = CommitmentReport(
            transaction_uid=request.transaction_uid,
            committed=tuple(r for r in request.references if r not in lost),
            failed=tuple((reference, 0x0112) for reference in lost),
        )
        if draw() < life.rates.silent:
            return None
        if draw() < life.rates.unkept:
            self.outbox.append(CommitmentReport(transaction_uid="2.25.0", committed=()))
        if draw() < 0.3:
            return report
        self.outbox += [report] * (2 if draw() < 0.3 else 1)
        return None

    def told(self, report: CommitmentReport, status: int) -> None:
        """Note the answer to a report."""
        if report.transaction_uid == "2.25.0":
            if status == 0:
                self._promises.lies_believed.append(report.transaction_uid)
        elif status == 0x0110:
            self.outbox.append(report)  # the program could not take it: again

    def tell(self, report: CommitmentReport) -> CommitmentReport:
        """Say a report: from here on the archive is responsible."""
        self._promises.committed |= {r.sop_instance_uid for r in report.committed}
        return report


class ReportVisit(Visit):
    """The archive reports on an association of its own."""

    def __init__(self, archive: Archive, report: CommitmentReport, life: Life) -> None:
        super().__init__("ADAPTER", "ARCHIVE", (STORAGE_COMMITMENT,), life)
        self._archive = archive
        self._report = report
        self._status = 0x0110

    async def converse(self, association: str, service: AssociationService) -> AssociationReport:
        self._status = await service.report_received(self._archive.tell(self._report))
        return self.ended(0, released=True)

    def close(self) -> None:
        if not self.over.is_set():
            self._archive.told(self._report, self._status)
        super().close()


class AskVisit(Visit):
    """A modality asks whether what it sent is kept."""

    def __init__(
        self, called: str, transaction: str, uids: Sequence[str], promises: Promises, life: Life
    ) -> None:
        super().__init__(called, "CT1", (STORAGE_COMMITMENT,), life)
        self._asks = CommitmentRequest(
            transaction_uid=transaction,
            references=tuple(Reference(sop_class_of(uid), uid) for uid in uids),
        )
        self._promises = promises

    async def converse(self, association: str, service: AssociationService) -> AssociationReport:
        answer = await service.commitment_asked(self._asks)
        if answer.status == 0:
            self._promises.asked.add(self._asks.transaction_uid)
        if answer.report is not None:
            await self._take(answer, service)
        return self.ended(0, released=True)

    async def _take(self, answer: CommitmentAnswer, service: AssociationService) -> None:
        """Stay for the report, or leave."""
        await self.life.io()
        if self.life.rng.random() < 0.5:
            service.report_ended(ReportEnded(commitment_id=answer.commitment_id, status=None))
        else:
            self._promises.reported.add(self._asks.transaction_uid)
            service.report_ended(ReportEnded(commitment_id=answer.commitment_id, status=0))
