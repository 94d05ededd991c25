"""Edges that both the adapter and its command-line clients make from the settings."""

import trio

from adapter.protocols.dimse.requestor import DicomRequestor
from adapter.protocols.dimse.scu import ScuOptions
from adapter.protocols.dimse.tls_contexts import TlsContexts
from adapter.protocols.dimse.transcript import Transcription
from adapter.settings import Scp, Scu, Settings


def transcription(role: Scp | Scu) -> Transcription:
    """Return what is to be written to the log of the associations of a role."""
    return Transcription(messages=role.log_dimse_datasets, pdus=role.log_data_pdus)


def make_requestor(settings: Settings, tls: TlsContexts) -> DicomRequestor:
    """Return a requestor with the configured AE Title, limits and deadlines."""
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
    return DicomRequestor(options, trio.CapacityLimiter(threads), tls)
