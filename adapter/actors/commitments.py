"""Commitments: one, for storage commitment in both roles (PS3.4 J).

Consumes: requests and reports that come by associations, and what became of reports made on them.
Produces: answers, reports on associations of our own, hints to exporters. Owns: the requests that
are not reported yet, and their retries. Rebuilds from: the ledger. Restart policy: essential.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
import trio
from msgspec import UNSET, structs

from adapter.actors.committer import ReportRecorder
from adapter.channels import PAUSE_S_MIN, answer, notify
from adapter.domain.commitment import CommitmentReport, CommitmentRequest, ReportRules, judged
from adapter.domain.dimse_ports import Requestor
from adapter.domain.entities import Destination
from adapter.domain.events import Event, Publish
from adapter.domain.export_events import (
    CommitmentExpired,
    CommitmentFacts,
    CommitmentOutcome,
    CommitmentRefused,
    CommitmentReported,
    CommitmentRequested,
)
from adapter.domain.exporting import outage_pause_s
from adapter.domain.identifiers import NewId
from adapter.domain.messages import (
    CommitmentAnswer,
    CommitmentAsked,
    CommitmentQuestion,
    ReportEnded,
    ReportReceived,
    Wake,
)
from adapter.domain.ports import HeldInstances, Ledger, WallClock
from adapter.domain.records import Commitment
from adapter.domain.statuses import (
    DUPLICATE_TRANSACTION_UID,
    RESOURCE_LIMITATION,
    SUCCESS,
    is_transient,
    status_words,
)
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.commitments")

REFERENCES_MAX = 100_000
"""Instances in requests that are not reported yet: about 20 MB of memory."""
HERE_S = 60.0
"""How long a report may take on the association of its request; then one of our own is opened."""


@dataclass(slots=True, kw_only=True)
class Commitments:
    """Answers what is kept, and records what destinations keep."""

    requests: trio.MemoryReceiveChannel[CommitmentQuestion]
    notes: trio.MemoryReceiveChannel[ReportEnded]
    ledger: Ledger
    held: HeldInstances
    requestor: Requestor
    destinations: Sequence[Destination]
    exporter_wakes: Mapping[str, trio.MemorySendChannel[Wake]]
    recorder: ReportRecorder
    publish: Publish
    new_id: NewId
    now: WallClock
    rules: ReportRules
    look_s: float
    """How long a request's answer may wait for its report."""
    name: str = "commitments"
    _busy: set[str] = field(default_factory=set)
    """Destinations that are being reported to."""
    _away_until: dict[str, float] = field(default_factory=dict)
    """Wall time before which a requestor that was not reached is left alone, by AE Title."""
    _changed: trio.Event = field(default_factory=trio.Event)
    _looking: trio.Lock = field(default_factory=trio.Lock)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._busy, self._away_until, self._looking = set(), {}, trio.Lock()
        for commitment in await self.ledger.commitments.pending():  # nobody reports these any more
            await self._due(commitment)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_notes)
            nursery.start_soon(self._report_due, nursery)
            task_status.started()
            async for question in self.requests:
                nursery.start_soon(self._answer, question)
            nursery.cancel_scope.cancel()  # what is not reported is a row

    def close(self) -> None:
        """See `Actor.close`."""
        self.requests.close()
        self.notes.close()
        for wake in self.exporter_wakes.values():
            wake.close()

    async def _answer(self, question: CommitmentQuestion) -> None:
        with question.reply:
            match question:
                case ReportReceived(calling_ae_title=title, report=report, reply=reply):
                    answer(reply, await self._take(title, report))
                case CommitmentAsked(reply=promised):
                    answer(promised, await self._promise(question))

    # --- as SCU

    async def _take(self, calling_ae_title: str, report: CommitmentReport) -> int:
        names = {d.name for d in self.destinations if d.ae_title.strip() == calling_ae_title}
        status = await self.recorder.take(report, names)
        for name in names:
            if wake := self.exporter_wakes.get(name):  # else it was removed meanwhile
                notify(wake)
        return status

    # --- as SCP

    async def _promise(self, asked: CommitmentAsked) -> CommitmentAnswer:
        """Make a request durable; return its report too if that does not take long."""
        request = asked.request
        pending = await self.ledger.commitments.pending()
        if any(
            c.transaction_uid == request.transaction_uid
            and c.calling_ae_title == asked.calling_ae_title
            for c in pending
        ):
            return self._refused(asked, DUPLICATE_TRANSACTION_UID, "Transaction UID is in use")
        if sum(c.instances for c in pending) + len(request.references) > REFERENCES_MAX:
            return self._refused(asked, RESOURCE_LIMITATION, "too many instances, try again")
        commitment = Commitment(
            id=f"commitment-{self.new_id()}",
            transaction_uid=request.transaction_uid,
            ae_title=asked.ae_title,
            calling_ae_title=asked.calling_ae_title,
            instances=len(request.references),
            requested_at=self.now(),
            due_at=self.now() + HERE_S,
        )
        await self.ledger.commitments.open(commitment, request.references)
        self._changed.set()
        self._tell(CommitmentRequested, commitment)
        report = None
        try:
            with trio.move_on_after(self.look_s):
                report = (await self._reports([(commitment, request)]))[commitment.id]
        except UnavailableError as error:
            log.warning("commitment.waiting", commitment=commitment.id, why=str(error))
        if report is None:
            await self._due(commitment)
        return CommitmentAnswer(status=SUCCESS, commitment_id=commitment.id, report=report)

    def _refused(self, asked: CommitmentAsked, status: int, why: str) -> CommitmentAnswer:
        self.publish(
            CommitmentRefused(
                ae_title=asked.ae_title,
                data=CommitmentFacts(
                    role="SCP",
                    transaction_uid=asked.request.transaction_uid,
                    calling_ae_title=asked.calling_ae_title,
                    instances=len(asked.request.references),
                    error=why,
                ),
            )
        )
        return CommitmentAnswer(status=status, comment=why)

    async def _reports(
        self, asked: Iterable[tuple[Commitment, CommitmentRequest]]
    ) -> dict[str, CommitmentReport]:
        """Return what can be said now, by commitment; the folders are walked once for all."""
        asked = list(asked)
        uids = {r.sop_instance_uid for _, request in asked for r in request.references}
        async with self._looking:
            kept = await self.held.find(uids)
        for uid, classes in (await self.ledger.committed(uids)).items():
            kept.setdefault(uid, set()).update(classes)
        return {commitment.id: judged(request, kept) for commitment, request in asked}

    async def _take_notes(self) -> None:
        async for ended in self.notes:
            await self._ended(ended)

    async def _ended(self, ended: ReportEnded) -> None:
        """Take note of what became of a report on the association of its request."""
        for commitment in await self.ledger.commitments.pending():
            if commitment.id == ended.commitment_id:
                if ended.status is None:
                    await self._due(commitment)
                else:
                    await self._reported(commitment, ended.status)

    async def _reported(self, commitment: Commitment, status: int) -> None:
        """A report was answered: the transaction is over, unless the answer is "not now"."""
        if is_transient(status):
            await self._later(commitment, f"the report was answered {status_words(status)}")
            return
        await self.ledger.commitments.remove(commitment.id)
        self._tell(CommitmentReported, commitment, status)

    async def _due(self, commitment: Commitment) -> None:
        await self._put_off(structs.replace(commitment, due_at=self.now()))

    async def _later(self, commitment: Commitment, why: str) -> float:
        """Put a report off, longer with each try; return until when."""
        tries = commitment.tries + 1
        due_at = self.now() + outage_pause_s(tries, self.rules.retry_delay_s)
        log.warning("commitment.unreported", commitment=commitment.id, tries=tries, why=why)
        await self._put_off(structs.replace(commitment, tries=tries, due_at=due_at))
        return due_at

    async def _put_off(self, commitment: Commitment) -> None:
        await self.ledger.commitments.change(commitment)
        self._changed.set()

    # --- reports on associations of our own

    async def _report_due(self, nursery: trio.Nursery) -> None:
        while True:
            self._changed = trio.Event()
            now = self.now()
            due: dict[str, list[Commitment]] = {}
            next_due_at = float("inf")
            for commitment in await self.ledger.commitments.pending():
                if now - commitment.requested_at >= self.rules.deadline_s:
                    await self.ledger.commitments.remove(commitment.id)
                    self._tell(CommitmentExpired, commitment)
                elif (due_at := self._due_at(commitment)) > now:
                    next_due_at = min(next_due_at, due_at)
                elif commitment.calling_ae_title not in self._busy:
                    due.setdefault(commitment.calling_ae_title, []).append(commitment)
            for title, commitments in due.items():
                self._busy.add(title)
                nursery.start_soon(self._report_all, title, commitments)
            with trio.move_on_after(max(next_due_at - now, PAUSE_S_MIN)):
                await self._changed.wait()

    def _due_at(self, commitment: Commitment) -> float:
        return max(commitment.due_at, self._away_until.get(commitment.calling_ae_title, 0.0))

    async def _report_all(self, calling_ae_title: str, commitments: Sequence[Commitment]) -> None:
        """Report to one requestor what it asked for; the first failure puts the rest off."""
        try:
            destination = next(
                (d for d in self.destinations if d.ae_title.strip() == calling_ae_title), None
            )
            if destination is None:
                raise UnavailableError("no destination has the AE Title of the requestor")
            asked = [(c, await self._request(c)) for c in commitments]
            asked = [(c, request) for c, request in asked if request.references]
            reports = await self._reports(asked)
            for commitment, _ in asked:
                status = await self.requestor.report(
                    destination, reports[commitment.id], commitment.ae_title
                )
                self._away_until.pop(calling_ae_title, None)
                await self._reported(commitment, status)
        except UnavailableError as error:
            waiting = {c.id: c for c in await self.ledger.commitments.pending()}
            for commitment in commitments:
                if commitment.id in waiting:
                    due_at = await self._later(waiting[commitment.id], str(error))
                    away_until = max(due_at, self._away_until.get(calling_ae_title, 0.0))
                    self._away_until[calling_ae_title] = away_until
        finally:
            self._busy.discard(calling_ae_title)
            self._changed.set()

    async def _request(self, commitment: Commitment) -> CommitmentRequest:
        return CommitmentRequest(
            transaction_uid=commitment.transaction_uid,
            references=await self.ledger.commitments.references(commitment.id),
        )

    def _tell(self, kind: type[Event], commitment: Commitment, status: int | None = None) -> None:
        facts = CommitmentOutcome(
            role="SCP",
            transaction_uid=commitment.transaction_uid,
            calling_ae_title=commitment.calling_ae_title,
            instances=commitment.instances,
            status=UNSET if status is None else status,
        )
        self.publish(kind(ae_title=commitment.ae_title, data=facts))
