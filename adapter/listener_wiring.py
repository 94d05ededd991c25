"""Who lets associations in: the listeners, and what they share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from adapter.actors.association_meter import AssociationMeter
from adapter.actors.certificates import Certificates
from adapter.actors.entity_directory import EntityDirectory
from adapter.actors.listener import Listener, ListenerDeadlines
from adapter.actors.rejection_keeper import RejectionKeeper
from adapter.channels import CommitmentDoor
from adapter.domain.admission import AdmissionPolicy
from adapter.domain.events import Publish
from adapter.domain.messages import Wake
from adapter.domain.occupancy import Occupancy
from adapter.edges import Edges
from adapter.live_settings import LiveSettings
from adapter.relations import ListeningPort, listening_ports
from adapter.settings import Settings
from adapter.supervision import ESSENTIAL, REPLICA, Actor, RestartPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerStaff:
    """Starts a listener for each port."""

    live: LiveSettings
    edges: Edges
    publish: Publish
    occupancy: Occupancy
    directory: EntityDirectory
    addresses: Mapping[str, frozenset[str]]
    """Of those sources that are names."""
    rows: Mapping[str, Mapping[str, Any]]
    """Associations of the snapshot."""
    stop: trio.Event
    start: Callable[[Actor, RestartPolicy], Awaitable[None]]

    async def start_all(self, commitments: CommitmentDoor) -> None:
        """Start who listens, and who looks after what they have; this end is closed by them."""
        edges, expiries = self.edges, self.edges.certificate_expiries
        if expiries():
            certificates = Certificates(
                expiries, edges.certificate_troubles, self.publish, edges.now, self.stop
            )
            await self.start(certificates, REPLICA)
        meter_wake, woken = trio.open_memory_channel[Wake](1)
        meter = AssociationMeter(rows=self.rows, occupancy=self.occupancy, woken=woken)
        await self.start(meter, REPLICA)
        keeper_wake, refused = trio.open_memory_channel[Wake](1)
        keeper = RejectionKeeper(
            rejected=self.occupancy.rejected, ledger=edges.rejections, woken=refused
        )
        await self.start(keeper, REPLICA)
        for port in listening_ports(self.live.settings):
            wakes = meter_wake.clone(), keeper_wake.clone()
            await self._listener(port, commitments.clone(), wakes)
        commitments.close()
        meter_wake.close()
        keeper_wake.close()

    async def _listener(
        self,
        port: ListeningPort,
        commitments: CommitmentDoor,
        wakes: tuple[trio.MemorySendChannel[Wake], trio.MemorySendChannel[Wake]],
    ) -> None:
        meter_wake, keeper_wake = wakes
        settings, edges, scp = self.live.settings, self.edges, self.live.settings.dicom.scp
        hall = self.directory.halls[port.serves]

        def policy(settings: Settings) -> AdmissionPolicy:
            scp = settings.dicom.scp
            return AdmissionPolicy(
                called_ae_titles=hall.limits,
                reject_unknown_sources=scp.reject_unknown_sources,
                sources=self.directory.sources, resolved=self.addresses,
                verification_enabled=scp.verification.enabled,
                associations_max=scp.max_associations,
                per_source_max=scp.max_associations_per_source,
                reports_ae_title=settings.dicom.scu.ae_title.strip(),
                reporters=self.directory.reporters,
            )  # fmt: skip

        listener = Listener(
            dimse=edges.listeners[port.key], policy=self.live.kept(policy),
            occupancy=self.occupancy, doors=hall.doors, commitments=commitments,
            meter_wake=meter_wake, keeper_wake=keeper_wake,
            space=edges.space, identify=edges.identify, publish=self.publish, new_id=edges.new_id,
            now=edges.now, stop=self.stop, answer_s=scp.answer_s,
            deadlines=self.live.kept(_deadlines_of),
            association_grace_s=settings.shutdown.association_grace_s,
            name="listener" if port.key == "dicom.scp.port" else f"listener:{port.port}",
        )  # fmt: skip
        await self.start(listener, ESSENTIAL)


def _deadlines_of(settings: Settings) -> ListenerDeadlines:
    return ListenerDeadlines(artim_s=settings.dicom.scp.artim_s)
