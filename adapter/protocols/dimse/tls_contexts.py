"""TLS contexts that follow their files: of the listening ports, of the API, of each destination.

Rules (PS3.15 B.12, BCP 195): TLS 1.2 at least, forward secrecy and authenticated encryption only.
Files are looked at again for new associations, so a renewed certificate is used without a restart;
one that cannot be used changes nothing but the log, and the last good one stays. Associations keep
the context they began with.
"""

import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from adapter.domain.carriers import is_encrypted
from adapter.domain.entities import Destination, DestinationTls, ListenerTls
from adapter.domain.listener_tls import ApiTls
from adapter.errors import ConfigurationError
from adapter.protocols.dimse.certificates import (
    PemError,
    expires_at,
    load_authorities,
    load_identity,
    read,
)

log = structlog.get_logger("adapter.tls")

CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2 (RFC 9325 4.2; finite-field DHE is not recommended); all suites of 1.3 are good."""
LOOK_AGAIN_S = 1.0
"""At the most so often, however many associations come."""
LISTENER_KEY = "dicom.scp.tls"
API_KEY = "api.tls"
_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_CERTIFICATES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}

Version = tuple[int, ...] | None


class TlsContext:
    """A context that is built anew when one of its files has changed."""

    def __init__(
        self,
        key: str,
        tls: ListenerTls | DestinationTls | ApiTls,
        build: Callable[[], ssl.SSLContext],
    ) -> None:
        """Build it for the first time.

        Args:
            key: Of the configuration, for messages.
            tls: Names the files.
            build: Reads them.

        Raises:
            ConfigurationError: The files cannot be used.
        """
        self._key = key
        self._tls = tls
        self._build = build
        self._seen = self._versions()
        self._looked_at = time.monotonic()
        self._complaint: tuple[object, str] | None = None
        self.certificate_expires_at: float | None = None
        """POSIX seconds, of the first one in the chain; None: there is no certificate of ours."""
        try:
            self._context = self._built()
        except PemError as error:
            raise ConfigurationError([self._problem(error)]) from error

    def _built(self) -> ssl.SSLContext:
        context = self._build()
        if self._tls.certificate:
            try:
                text = read("certificate", self._tls.certificate)
                self.certificate_expires_at = expires_at(text)
            except (PemError, ValueError):  # replaced since, or written as only OpenSSL can read
                self.certificate_expires_at = None
        return context

    def _problem(self, error: PemError) -> str:
        return f"{self._key}.{error.field}: {error.path}: {error.why}"

    def _versions(self) -> list[Version]:
        ca = "" if isinstance(self._tls, ApiTls) else self._tls.ca
        files = (self._tls.certificate, self._tls.key, ca)
        return [_version(path) for path in files if path]

    @property
    def trouble(self) -> str:
        """Why files that have changed are not used; empty: they are."""
        return self._complaint[1] if self._complaint else ""

    def current(self) -> ssl.SSLContext:
        """Return the context for a new association."""
        if time.monotonic() - self._looked_at >= LOOK_AGAIN_S:
            self._looked_at = time.monotonic()
            seen = self._versions()
            if seen != self._seen:
                self._rebuild(seen)
        return self._context

    def _rebuild(self, seen: list[Version]) -> None:
        try:
            self._context = self._built()
        except PemError as error:
            # Perhaps half of the files are new. It is tried again, but told once.
            complaint = (seen, self._problem(error))
            if complaint != self._complaint:
                self._complaint = complaint
                log.error("tls.reload_failed", why=self._problem(error))
            return
        self._seen = seen
        self._complaint = None
        log.info("tls.reloaded", key=self._key)


def _version(path: str) -> Version:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _server(tls: ListenerTls | ApiTls) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls.minimum_version)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    load_identity(context, tls.certificate, tls.key)
    return context


def listener_context(tls: ListenerTls) -> TlsContext:
    """Return the context of the listening ports.

    Raises:
        ConfigurationError: The files cannot be used.
    """

    def build() -> ssl.SSLContext:
        context = _server(tls)
        context.num_tickets = 0  # of TLS 1.3: two round trips of bytes that no peer comes back with
        if tls.ca:
            load_authorities(context, tls.ca)
        context.verify_mode = _CLIENT_CERTIFICATES[tls.client_certificates]
        return context

    return TlsContext(LISTENER_KEY, tls, build)


def api_context(tls: ApiTls) -> TlsContext:
    """Return the context of the API.

    Raises:
        ConfigurationError: The files cannot be used.
    """

    def build() -> ssl.SSLContext:
        context = _server(tls)
        context.set_alpn_protocols(["http/1.1"])
        return context

    return TlsContext(API_KEY, tls, build)


def destination_context(key: str, tls: DestinationTls) -> TlsContext:
    """Return the context for what is connected to; key: of the configuration.

    Raises:
        ConfigurationError: The files cannot be used.
    """

    def build() -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_CLIENT, tls.minimum_version)
        context.check_hostname = tls.verify_host_name
        if tls.ca:
            load_authorities(context, tls.ca)
        else:
            context.load_default_certs()
        if tls.certificate:
            load_identity(context, tls.certificate, tls.key)
        return context

    return TlsContext(key, tls, build)


def _context(protocol: int, minimum_version: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = _MINIMUM[minimum_version]
    context.set_ciphers(CIPHERS_1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def check_files(destination: Destination) -> None:
    """Read the files for the TLS of a destination.

    Raises:
        ConfigurationError: They cannot be used; the key is `tls` and that of the file.
    """
    if wanted := _wanted(destination):
        destination_context("tls", wanted)


def _wanted(destination: Destination) -> DestinationTls | None:
    return destination.tls or (DestinationTls() if is_encrypted(destination) else None)


class TlsContexts:
    """All contexts of a process."""

    def __init__(
        self,
        listener: ListenerTls,
        destinations: Sequence[Destination],
        api: ApiTls | None = None,
    ) -> None:
        """Build those that are configured.

        Raises:
            ConfigurationError: Files cannot be used; with every problem found.
        """
        self.listener: TlsContext | None = None
        self.api: TlsContext | None = None
        self._destinations: dict[str, tuple[DestinationTls, TlsContext]] = {}
        problems: list[str] = []
        if listener.mode != "off":
            try:
                self.listener = listener_context(listener)
            except ConfigurationError as error:
                problems += error.problems
        if api is not None and api.certificate:
            try:
                self.api = api_context(api)
            except ConfigurationError as error:
                problems += error.problems
        for destination in destinations:
            try:
                self.of(destination)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)

    def of(self, destination: Destination) -> TlsContext | None:
        """Return the context for a destination; None: it has no TLS.

        Raises:
            ConfigurationError: Its files cannot be used.
        """
        wanted = _wanted(destination)
        if wanted is None:
            return None
        tls, context = self._destinations.get(destination.name, (None, None))
        if context is None or tls != wanted:
            context = destination_context(f"destinations.{destination.name}.tls", wanted)
            self._destinations[destination.name] = (wanted, context)
        return context

    def forget(self, destination: str) -> None:
        """Keep no context of a destination that has changed, or is gone."""
        self._destinations.pop(destination, None)

    def expiries(self) -> Mapping[str, float]:
        """See `CertificateExpiries`; looks at the files again."""
        return {
            f"{key}.certificate": context.certificate_expires_at
            for key, context in self._looked_at()
            if context.certificate_expires_at is not None
        }

    def troubles(self) -> Mapping[str, str]:
        """See `CertificateTroubles`; looks at the files again."""
        return {key: context.trouble for key, context in self._looked_at() if context.trouble}

    def _looked_at(self) -> Iterator[tuple[str, TlsContext]]:
        contexts = {f"destinations.{n}.tls": c for n, (_, c) in self._destinations.items()}
        own = {LISTENER_KEY: self.listener, API_KEY: self.api}
        contexts |= {key: context for key, context in own.items() if context is not None}
        for key, context in contexts.items():
            context.current()
            yield key, context
