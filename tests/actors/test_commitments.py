"""Commitments: what is promised, where it is reported, and what destinations' reports change."""

import pytest
import trio
import trio.testing
from actor_ports import CT, Peer, a_job, an_export, counting_ids, new_ledger, running, wall
from msgspec import structs

from adapter.actors.commitments import HERE_S, REFERENCES_MAX, Commitments
from adapter.actors.committer import ReportRecorder
from adapter.channels import ask
from adapter.domain.commitment import (
    CommitmentReport,
    CommitmentRequest,
    Reference,
    ReportRules,
)
from adapter.domain.entities import Destination
from adapter.domain.messages import CommitmentAsked, ReportEnded, ReportReceived, Wake
from adapter.domain.records import OutgoingInstance, Transaction
from adapter.errors import StorageFaultError

KEPT, LOST = Reference(CT, "1.2.1"), Reference(CT, "1.2.9")


class Held:
    """Instances in folders."""

    def __init__(self):
        self.instances = {"1.2.1": {CT}}
        self.walks = []
        self.walk_s = 0.0
        self.broken = False

    async def find(self, sop_instance_uids):
        await trio.sleep(self.walk_s)
        if self.broken:
            raise StorageFaultError("storage failed")
        self.walks.append(set(sop_instance_uids))
        return {uid: self.instances[uid] for uid in sop_instance_uids & self.instances.keys()}


def destination(name, title):
    return Destination(name=name, ae_title=title, host="10.0.0.9", port=104)


class Stage:
    """The actor, its ledger, and everybody around it."""

    def __init__(self):
        self.ledger, self.peer, self.held, self.events = new_ledger(), Peer(), Held(), []
        self.requests, requests = trio.open_memory_channel(0)
        self.notes, notes = trio.open_memory_channel(10)
        pacs, self.woken = trio.open_memory_channel(1)
        ct, _ = trio.open_memory_channel(1)
        self.actor = Commitments(
            requests=requests, notes=notes, ledger=self.ledger, held=self.held,
            requestor=self.peer,
            destinations=[destination("pacs", "PACS"), destination("ct", "CT1")],
            exporter_wakes={"pacs": pacs, "ct": ct},
            recorder=ReportRecorder(ledger=self.ledger, publish=self.events.append, now=wall),
            publish=self.events.append, new_id=counting_ids(), now=wall, look_s=5.0,
            rules=ReportRules(deadline_s=10_000.0, retry_delay_s=60.0),
        )  # fmt: skip

    async def ask(self, *references, transaction="2.25.1", title="CT1"):
        return await ask(
            self.requests,
            lambda reply: CommitmentAsked(
                ae_title="BRAIN", calling_ae_title=title, reply=reply,
                request=CommitmentRequest(transaction_uid=transaction, references=references),
            ),
            10.0,
        )  # fmt: skip

    async def pending(self):
        return await self.ledger.commitments.pending()

    def told(self):
        return [event.type for event in self.events]


async def test_request_is_durable_and_its_report_ready(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        answer = await stage.ask(KEPT, LOST)
        assert answer.status == 0x0000
        assert answer.report == CommitmentReport(
            transaction_uid="2.25.1", committed=(KEPT,), failed=((LOST, 0x0112),)
        )
        (row,) = await stage.pending()
        assert (row.calling_ae_title, row.ae_title, row.instances) == ("CT1", "BRAIN", 2)
        assert await stage.ledger.commitments.references(row.id) == (KEPT, LOST)
        assert stage.told() == ["commitment.requested"]


async def test_report_that_was_taken_ends_the_transaction(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        answer = await stage.ask(KEPT)
        await stage.notes.send(ReportEnded(commitment_id=answer.commitment_id, status=0))
        await trio.sleep(1000)
        assert await stage.pending() == []
        assert stage.peer.reported == []
        assert stage.told() == ["commitment.requested", "commitment.reported"]


async def test_report_that_was_not_taken_is_made_on_another_association(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        answer = await stage.ask(KEPT)
        await stage.notes.send(ReportEnded(commitment_id=answer.commitment_id, status=None))
        await trio.sleep(1)
        assert stage.peer.reported == [("ct", answer.report)]
        assert await stage.pending() == []


async def test_association_that_says_nothing_is_not_waited_for_for_ever(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.ask(KEPT)
        await trio.sleep(HERE_S - 1)
        assert stage.peer.reported == []
        await trio.sleep(2)
        assert len(stage.peer.reported) == 1


async def test_slow_walk_delays_no_answer(autojump_clock):
    stage = Stage()
    stage.held.walk_s = 7.0
    async with running(stage.actor):
        answer = await stage.ask(KEPT)
        assert (answer.status, answer.report, trio.current_time()) == (0x0000, None, 5.0)
        await trio.sleep(10)
        assert len(stage.peer.reported) == 1


async def test_storage_that_fails_delays_the_report(autojump_clock):
    stage = Stage()
    stage.held.broken = True
    async with running(stage.actor):
        answer = await stage.ask(KEPT)
        assert (answer.status, answer.report) == (0x0000, None)
        await trio.sleep(10)
        assert stage.peer.reported == []
        stage.held.broken = False
        await trio.sleep(120)
        assert len(stage.peer.reported) == 1


async def test_requestor_that_is_away_is_tried_with_growing_pauses(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with running(stage.actor):
        for number in range(3):
            answer = await stage.ask(KEPT, transaction=f"2.25.{number}")
            await stage.notes.send(ReportEnded(commitment_id=answer.commitment_id, status=None))
        await trio.sleep(59)
        assert len(stage.peer.tries) == 1, "one failure puts off all for this requestor"
        await trio.sleep(60 + 120 + 5)
        assert len(stage.peer.tries) == 3
        stage.peer.up = True
        await trio.sleep(300)
        assert len(stage.peer.reported) == 3
        assert await stage.pending() == []


async def test_report_nobody_takes_expires(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        answer = await stage.ask(KEPT, title="STRANGER")
        await stage.notes.send(ReportEnded(commitment_id=answer.commitment_id, status=None))
        await trio.sleep(12_000)
        assert await stage.pending() == []
        assert stage.peer.tries == []
        assert stage.told()[-1] == "commitment.expired"


async def test_requests_of_an_earlier_life_are_reported_by_one_walk(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.ask(KEPT, transaction="2.25.1")
        await stage.ask(LOST, transaction="2.25.2")
    stage.held.walks.clear()
    async with running(stage.actor):
        await trio.sleep(1)
        assert [report.transaction_uid for _, report in stage.peer.reported] == ["2.25.1", "2.25.2"]
        assert stage.held.walks == [{"1.2.1", "1.2.9"}]


async def test_transient_answer_is_tried_again_and_any_other_ends_it(autojump_clock):
    stage = Stage()
    stage.peer.report_answers = [0x0110, 0x0115]
    async with running(stage.actor):
        answer = await stage.ask(KEPT)
        await stage.notes.send(ReportEnded(commitment_id=answer.commitment_id, status=None))
        await trio.sleep(1)
        assert len(await stage.pending()) == 1
        await trio.sleep(100)
        assert await stage.pending() == []
        assert len(stage.peer.reported) == 2


async def test_transaction_uid_in_use_is_refused(autojump_clock):
    stage = Stage()
    async with running(stage.actor):
        await stage.ask(KEPT)
        assert (await stage.ask(LOST)).status == 0x0131
        assert (await stage.ask(LOST, title="PACS")).status == 0x0000, "another AE's own"
        assert stage.told().count("commitment.refused") == 1


async def test_too_many_instances_are_refused(autojump_clock):
    stage = Stage()
    many = [KEPT] * (REFERENCES_MAX // 2 + 1)
    async with running(stage.actor):
        assert (await stage.ask(*many, transaction="2.25.1")).status == 0x0000
        assert (await stage.ask(*many, transaction="2.25.2")).status == 0x0213
        assert len(await stage.pending()) == 1


async def test_what_a_destination_has_committed_is_committed(autojump_clock):
    stage = Stage()
    await sent(stage, committed=True)
    async with running(stage.actor):
        answer = await stage.ask(Reference(CT, "1.2.0"))
        assert answer.report.committed == (Reference(CT, "1.2.0"),)


# --- reports of destinations


async def sent(stage, *, committed=False):
    """An export of one instance to the PACS, asked about in transaction 2.25.7."""
    await stage.ledger.open_jobs([a_job()])
    file = OutgoingInstance(
        path="/0.dcm", sop_class_uid=CT, sop_instance_uid="1.2.0", transfer_syntax_uid="1.2",
        data_set_offset=0, data_set_bytes=1,
    )  # fmt: skip
    await stage.ledger.open_exports("job-1", [(an_export(), {"0.dcm": file})])
    (outcome,) = await stage.ledger.outcomes("export-1")
    outcome = structs.replace(
        outcome, delivered=True, committed=committed, transaction_uid="2.25.7"
    )
    transaction = Transaction(
        uid="2.25.7", export_id="export-1", destination="pacs", instances=1, requested_at=wall(),
        deadline_at=wall() + 600,
    )  # fmt: skip
    await stage.ledger.record_transactions([transaction], [outcome])


async def report(stage, title="PACS", uid="2.25.7", failed=()):
    said = CommitmentReport(
        transaction_uid=uid,
        committed=() if failed else (Reference(CT, "1.2.0"),),
        failed=tuple((Reference(CT, "1.2.0"), reason) for reason in failed),
    )
    return await ask(
        stage.requests,
        lambda reply: ReportReceived(calling_ae_title=title, report=said, reply=reply),
        10.0,
    )


async def test_report_is_recorded_and_the_exporter_woken(autojump_clock):
    stage = Stage()
    await sent(stage)
    async with running(stage.actor):
        assert await report(stage) == 0x0000
        (outcome,) = await stage.ledger.outcomes("export-1")
        assert outcome.committed
        assert (await stage.ledger.transaction("2.25.7")).over
        assert stage.woken.receive_nowait() is Wake.LOOK_AGAIN
        assert stage.told() == ["commitment.reported"]


async def test_report_of_a_destination_that_is_being_removed_is_recorded(autojump_clock):
    stage = Stage()
    await sent(stage)
    del stage.actor.exporter_wakes["pacs"]
    async with running(stage.actor):
        assert await report(stage) == 0x0000
        assert stage.told() == ["commitment.reported"]


async def test_report_that_comes_twice_is_answered_alike_and_told_once(autojump_clock):
    stage = Stage()
    await sent(stage)
    async with running(stage.actor):
        assert [await report(stage), await report(stage, failed=[0x0112])] == [0, 0]
        (outcome,) = await stage.ledger.outcomes("export-1")
        assert outcome.committed
        assert stage.told() == ["commitment.reported"]


@pytest.mark.parametrize("changes", [{"uid": "2.25.8"}, {"title": "CT1"}, {"title": "NOBODY"}])
async def test_report_nobody_asked_for_changes_nothing(autojump_clock, changes):
    stage = Stage()
    await sent(stage)
    async with running(stage.actor):
        assert await report(stage, **changes) == 0x0115
        (outcome,) = await stage.ledger.outcomes("export-1")
        assert not outcome.committed
        assert stage.told() == []


async def test_stop_ends_at_once_and_keeps_what_is_not_reported(autojump_clock):
    stage = Stage()
    stage.peer.up = False
    async with running(stage.actor) as nursery:
        answer = await stage.ask(KEPT)
        await stage.notes.send(ReportEnded(commitment_id=answer.commitment_id, status=None))
        await trio.sleep(1)
        stage.requests.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        assert len(await stage.pending()) == 1
