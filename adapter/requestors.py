"""Edges that both the adapter and its command-line clients make from the settings."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import trio

from adapter.domain.commitment import CommitmentReport
from adapter.domain.dimse_ports import Context, EchoResult, OutboundAssociation, Requestor
from adapter.domain.entities import Carrier, Destination
from adapter.errors import ConfigurationError, UnavailableError
from adapter.protocols.dimse.requestor import DicomRequestor
from adapter.protocols.dimse.scu import ScuOptions
from adapter.protocols.dimse.tls_contexts import TlsContexts, check_files
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

    def __init__(self, by_type: Mapping[Carrier, Requestor], web: Callable[[], Requestor]) -> None:
        """Some are there; `web` makes the one for services when there is a destination for it."""
        self._by_type = dict(by_type)
        self._web = web

    def _of(self, destination: Destination) -> Requestor:
        if destination.type == "dicomweb" and destination.type not in self._by_type:
            self._by_type[destination.type] = self._web()
        return self._by_type[destination.type]

    def associate(
        self, destination: Destination, contexts: Sequence[Context]
    ) -> AbstractAsyncContextManager[OutboundAssociation]:
        """See `Requestor.associate`."""
        return self._of(destination).associate(destination, contexts)

    async def report(
        self, destination: Destination, report: CommitmentReport, calling_ae_title: str
    ) -> int:
        """See `Requestor.report`."""
        return await self._of(destination).report(destination, report, calling_ae_title)

    async def echo(self, destination: Destination) -> EchoResult:
        """See `Requestor.echo`."""
        return await self._of(destination).echo(destination)


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
    as_stored = DicomRequestor(options, trio.CapacityLimiter(scu.max_associations), tls)
    limits = DecodingLimits(
        memory_bytes=int(scu.transcoding.memory_gb * GB), deadline_s=scu.transcoding.deadline_s
    )
    carriers: dict[Carrier, Requestor] = {
        "dicom": TranscodingRequestor(as_stored, limits, scratch),
        "folder": FolderRequestor(scu.dimse_s),
    }
    problems = [line for one in settings.destinations for line in _secret_problems(one)]
    if problems:
        raise ConfigurationError(problems)
    return Carriers(carriers, lambda: _dicomweb(tls, scu.connect_s))


def _dicomweb(tls: TlsContexts, connect_s: float) -> Requestor:
    """Return what reaches web services (its library is loaded here: the others do without)."""
    from adapter.protocols.dicomweb.requestor import DicomWebRequestor

    return DicomWebRequestor(tls, connect_s)


def _secret_problems(destination: Destination) -> list[str]:
    if destination.type != "dicomweb":
        return []
    from adapter.protocols.dicomweb.requestor import authorization

    try:
        authorization(destination)
    except UnavailableError as error:
        return [str(error)]
    return []


@dataclass(frozen=True, slots=True)
class FilesOfDestinations:
    """Reads what destinations name (port `DestinationFiles`); each file is small."""

    tls: TlsContexts

    def problems(self, destination: Destination) -> list[str]:
        """See `DestinationFiles.problems`."""
        prefix = f"destinations.{destination.name}."
        problems = [line.removeprefix(prefix) for line in _secret_problems(destination)]
        try:
            check_files(destination)
        except ConfigurationError as error:
            problems += error.problems
        return problems

    def forget(self, name: str) -> None:
        """See `DestinationFiles.forget`."""
        self.tls.forget(name)
