"""Edges that both the adapter and its command-line clients make from the settings."""

import trio

from adapter.protocols.dimse.requestor import DicomRequestor
from adapter.protocols.dimse.scu import ScuOptions
from adapter.protocols.dimse.tls_contexts import TlsContexts
from adapter.settings import Settings


def make_requestor(settings: Settings, tls: TlsContexts) -> DicomRequestor:
    """Return a requestor with the configured AE Title, limits and deadlines."""
    scp, scu = settings.dicom.scp, settings.dicom.scu
    options = ScuOptions(
        ae_title=scu.ae_title,
        max_pdu=scp.max_pdu,
        connect_s=scu.connect_s,
        acse_s=scu.acse_s,
        dimse_s=scu.dimse_s,
    )
    return DicomRequestor(options, trio.CapacityLimiter(scu.max_associations), tls)
