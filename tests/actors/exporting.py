"""An exporter on a stage: its ledger, its destination, and who watches it."""

import trio
from actor_ports import Outputs, Peer, a_job, an_export, counting_ids, new_ledger, wall

from adapter.actors.committer import Committer, ReportRecorder
from adapter.actors.export_places import ExportPlaces
from adapter.actors.exporter import Exporter
from adapter.channels import ask, notify
from adapter.domain.committing import CommitmentRules
from adapter.domain.entities import Destination
from adapter.domain.export_figures import ExportFigures
from adapter.domain.exporting import ExportRules
from adapter.domain.messages import ExportOrder


class Stage:
    """An exporter, its ledger, and its destination."""

    def __init__(
        self, files=3, max_retries=2, sop_classes=None, *, name="pacs", beside=None, places=None,
        giver=None, now=wall, **destination,
    ):  # fmt: skip
        self.ledger = beside.ledger if beside else new_ledger()
        self.peer, self.events = Peer(), []
        self.outputs = Outputs(files, sop_classes)
        self.wake, woken = trio.open_memory_channel(1)
        reclaimer_wake, self.reclaimer = trio.open_memory_channel(1)
        self.orders, orders = trio.open_memory_channel(0)
        self.figures = ExportFigures()
        self.actor = Exporter(
            destination=Destination(
                name=name, ae_title="PACS", host="10.0.0.9", port=104, **destination
            ),
            places=places or ExportPlaces(8, [name]), figures=self.figures, orders=orders,
            giver=giver and giver(self), draw=lambda: 0.0,
            ledger=self.ledger, source=self.outputs, requestor=self.peer,
            committer=Committer(
                ledger=self.ledger, publish=self.events.append, now=now, new_uid=counting_ids(),
                recorder=ReportRecorder(
                    ledger=self.ledger, publish=self.events.append, now=now
                ),
                rules=CommitmentRules(
                    wait_s=1.0, deadline_s=600.0, max_retries=1, max_instances=10
                ),
            ),
            wake=woken, leave=trio.Event(),
            reclaimer_wake=reclaimer_wake, publish=self.events.append, now=now,
            rules=ExportRules(max_retries=max_retries, retry_delay_s=60.0),
        )  # fmt: skip

    async def open(self, *exports):
        for export in exports or (an_export(),):
            await self.ledger.open_jobs([a_job(export.job_id)])
            results = await Outputs(sop_classes=self.outputs.sop_classes).results(export.job_id)
            await self.ledger.open_exports(export.job_id, [(export, results.files)])
        notify(self.wake)

    async def row(self, identifier="export-1"):
        return next(row for row in await self.ledger.exports() if row.id == identifier)

    def told(self, topic):
        return [event.type for event in self.events if event.topic == topic]

    async def retry(self, identifier="export-1", key="", instances=()):
        return await ask(
            self.orders,
            lambda reply: ExportOrder(
                export_id=identifier, instances=frozenset(instances), key=key, reply=reply
            ),
            10.0,
        )
