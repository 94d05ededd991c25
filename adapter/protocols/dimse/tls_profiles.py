"""TLS contexts from the configuration: one for a listener, one for each destination with TLS."""

import ssl

from adapter.domain.entities import Destination, DestinationTls, ListenerTls
from adapter.protocols.dimse.tls import CIPHERS_1_2, TlsContext

_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_CERTIFICATES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


def listener_context(tls: ListenerTls) -> TlsContext:
    """Return the context of a listener.

    Raises:
        ConfigurationError: The files cannot be used.
    """

    def build() -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_SERVER, tls.minimum_version)
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        context.num_tickets = 0  # sessions are not resumed: each association shows its certificate
        _load_identity(context, tls.certificate, tls.key)
        if tls.ca:
            context.load_verify_locations(tls.ca)
        context.verify_mode = _CLIENT_CERTIFICATES[tls.client_certificates]
        return context

    return TlsContext("dicom.scp.tls", _files(tls), build)


def destination_context(name: str, tls: DestinationTls) -> TlsContext:
    """Return the context for associations to a destination.

    Raises:
        ConfigurationError: The files cannot be used.
    """

    def build() -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_CLIENT, tls.minimum_version)
        context.check_hostname = tls.verify_host_name
        if tls.ca:
            context.load_verify_locations(tls.ca)
        else:
            context.load_default_certs()
        if tls.certificate:
            _load_identity(context, tls.certificate, tls.key)
        return context

    return TlsContext(f"destinations: {name!r}: tls", _files(tls), build)


def _context(protocol: int, minimum_version: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = _MINIMUM[minimum_version]
    context.set_ciphers(CIPHERS_1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _load_identity(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # Without the empty password an encrypted key would make OpenSSL ask on the terminal.
    context.load_cert_chain(certificate, key or None, password="")


def _files(tls: ListenerTls | DestinationTls) -> list[str]:
    return [path for path in (tls.certificate, tls.key, tls.ca) if path]


class TlsContexts:
    """The contexts of destinations; each is made when it is first asked for."""

    def __init__(self) -> None:
        self._contexts: dict[str, tuple[DestinationTls, TlsContext]] = {}

    def of(self, destination: Destination) -> TlsContext | None:
        """Return the context for a destination; None: it has no TLS.

        Raises:
            ConfigurationError: Its files cannot be used.
        """
        if destination.tls is None:
            return None
        tls, context = self._contexts.get(destination.name, (None, None))
        if context is None or tls != destination.tls:
            context = destination_context(destination.name, destination.tls)
            self._contexts[destination.name] = (destination.tls, context)
        return context
