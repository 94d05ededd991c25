"""Edges that both the adapter and its command-line clients make from the settings."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio

from adapter.domain.commitment import CommitmentReport
from adapter.domain.dimse_ports import Context, EchoResult, OutboundAssociation, Requestor
from adapter.domain.entities import Carrier, Destination
from adapter.errors import ConfigurationError, UnavailableError
from adapter.protocols.dimse.requestor import DicomRequestor
from adapter.protocols.dimse.scu import ScuOptions
from adapter.protocols.dimse.tls_contexts import TlsContexts
from adapter.protocols.dimse.transcript import Transcription
from adapter.protocols.folder_drop.requestor import FolderRequestor
from adapter.protocols.transcoding.decoder_process import DecodingLimits
from adapter.protocols.transcoding.requestor import TranscodingRequestor
from adapter.settings import Scp, Scu, Settings

GB = 10**9


def transcription(role: Scp | Scu) -> Transcription:
    """Return what is to be written to the log of the associations of a role."""
    return Transcription(messages=role.log_dimse_datasets, pdus=role.log_data_pdus)


class Carriers:
    """Reaches destinations of every type (port `Requestor`)."""

    def __init__(self, by_type: Mapping[Carrier, Requestor]) -> None:
        self._by_type = by_type

    def associate(
        self, destination: Destination, contexts: Sequence[Context]
    ) -> AbstractAsyncContextManager[OutboundAssociation]:
        """See `Requestor.associate`."""
        return self._by_type[destination.type].associate(destination, contexts)

    async def report(
        self, destination: Destination, report: CommitmentReport, calling_ae_title: str
    ) -> int:
        """See `Requestor.report`."""
        requestor = self._by_type[destination.type]
        return await requestor.report(destination, report, calling_ae_title)

    async def echo(self, destination: Destination) -> EchoResult:
        """See `Requestor.echo`."""
        return await self._by_type[destination.type].echo(destination)


def make_requestor(settings: Settings, tls: TlsContexts, scratch: Path | None = None) -> Requestor:
    """Return what reaches destinations, with the configured AE Title, limits and deadlines.

    Args:
        settings: The configuration.
        tls: Contexts of destinations.
        scratch: A folder for copies of instances; None: that of the system.

    Raises:
        ConfigurationError: The secret of a destination cannot be read.
    """
    scp, scu = settings.dicom.scp, settings.dicom.scu
    options = ScuOptions(
        ae_title=scu.ae_title,
        max_pdu=scp.max_pdu,
        connect_s=scu.connect_s,
        acse_s=scu.acse_s,
        dimse_s=scu.dimse_s,
        transcription=transcription(scu),
    )
    # Exporters count their associations themselves. Probes and reports come on top, one of each for
    # a destination, so that one that hangs keeps no thread from the others.
    threads = scu.max_associations + 2 * len(settings.destinations)
    as_stored = DicomRequestor(options, trio.CapacityLimiter(threads), tls)
    limits = DecodingLimits(
        memory_bytes=int(scu.transcoding.memory_gb * GB), deadline_s=scu.transcoding.deadline_s
    )
    carriers: dict[Carrier, Requestor] = {
        "dicom": TranscodingRequestor(as_stored, limits, scratch),
        "folder": FolderRequestor(scu.dimse_s),
    }
    if services := [one for one in settings.destinations if one.type == "dicomweb"]:
        carriers["dicomweb"] = _dicomweb(services, tls, scu.connect_s)
    return Carriers(carriers)


def _dicomweb(services: Sequence[Destination], tls: TlsContexts, connect_s: float) -> Requestor:
    """Return what reaches web services (its library is loaded here: the others do without)."""
    from adapter.protocols.dicomweb.requestor import DicomWebRequestor, authorization

    problems = []
    for destination in services:
        try:
            authorization(destination)
        except UnavailableError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError(problems)
    return DicomWebRequestor(tls, connect_s)
