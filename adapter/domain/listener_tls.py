"""TLS where we listen: what must hold between its keys."""

from collections.abc import Iterator

from msgspec import Struct

from adapter.domain.entities import FilePath, ListenerTls, TlsVersion


class ApiTls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS of the API; files are PEM."""

    certificate: FilePath = ""
    """With its chain; empty: there is no TLS."""
    key: FilePath = ""
    """Empty: in the same file as the certificate."""
    minimum_version: TlsVersion = "1.2"


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
