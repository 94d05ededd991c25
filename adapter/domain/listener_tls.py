"""TLS of the listening ports: what must hold between its keys."""

from collections.abc import Iterator

from adapter.domain.entities import ListenerTls


def listener_problems(tls: ListenerTls) -> Iterator[str]:
    """Yield what is wrong with `dicom.scp.tls`."""
    if tls.mode == "off":
        return
    if not tls.certificate:
        yield f"dicom.scp.tls.certificate: mode {tls.mode!r} needs a certificate"
    if tls.client_certificates != "none" and not tls.ca:
        yield (
            f"dicom.scp.tls.ca: client_certificates = {tls.client_certificates!r} needs to know "
            "who signs them"
        )
