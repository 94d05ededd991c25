"""Certificates on disk, right and wrong ones, and TLS around `wire.Wire`; made by trustme, so that
nothing of the adapter vouches for itself.
"""

import datetime
import os
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from wire import SILENCE_S, Wire

HOST = "127.0.0.1"
VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1, "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    def replace(self, other: "Identity") -> None:
        """Become another identity, file by file, as a tool for renewal does it."""
        for mine, its in ((self.certificate, other.certificate), (self.key, other.key)):
            fresh = mine.with_suffix(".new")
            fresh.write_bytes(its.read_bytes())
            os.replace(fresh, mine)


class Files:
    """A hospital's certificates, and some that are none of its."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._authority = trustme.CA()
        stranger = trustme.CA()
        self.ca, self.other_ca = folder / "ca.pem", folder / "other-ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)
        stranger.cert_pem.write_to_path(self.other_ca)
        past = datetime.datetime(2020, 1, 1), datetime.datetime(2020, 2, 1)
        self.adapter = self.issue("adapter")
        self.renewed = self.issue("renewed")
        self.sender = self.issue("sender")
        self.expired = self.issue("expired", not_before=past[0], not_after=past[1])
        self.elsewhere = self.issue("elsewhere", host="elsewhere.example")
        self.foreign = self._write("foreign", stranger.issue_cert(HOST))
        own = folder / "self-signed.pem"
        own.write_bytes(stranger.private_key_pem.bytes() + stranger.cert_pem.bytes())
        self.self_signed = Identity(own, own)

    def issue(self, name: str, host: str = HOST, **more: Any) -> Identity:
        """Return a new identity for a host."""
        return self._write(name, self._authority.issue_cert(host, **more))

    def _write(self, name: str, leaf: trustme.LeafCert) -> Identity:
        identity = Identity(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        identity.certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(identity.key)
        return identity

    def client(
        self, identity: Identity | None = None, version: str = "TLSv1.3", *, ca: Path | None = None
    ) -> ssl.SSLContext:
        """Return the context of a sender; without an identity it has no certificate."""
        context = ssl.create_default_context(cafile=str(ca or self.ca))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions are on purpose
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = VERSIONS[version]
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        return context

    def server(self, identity: Identity, *, client_certificates: bool = False) -> ssl.SSLContext:
        """Return the context of a destination."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.load_cert_chain(identity.certificate, identity.key)
        if client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def listener(self, mode: str = "beside", **changes: Any) -> dict[str, Any]:
        """Return `dicom.scp.tls`."""
        return {
            "mode": mode, "port": 0, "certificate": str(self.adapter.certificate),
            "key": str(self.adapter.key), "ca": str(self.ca), **changes,
        }  # fmt: skip


class TlsWire(Wire):
    """A DICOM conversation inside TLS; shaken hands on return."""

    def __init__(self, port: int, context: ssl.SSLContext, timeout_s: float = SILENCE_S) -> None:
        super().__init__(port, timeout_s=timeout_s)
        try:
            self.sock: ssl.SSLSocket = context.wrap_socket(
                self.sock, server_hostname=HOST, suppress_ragged_eofs=False
            )
        except BaseException:
            self.sock.close()
            raise


def answer_or_alert(port: int, context: ssl.SSLContext, request: bytes) -> str:
    """Return the first word of the answer, or the reason for which there is no TLS."""
    try:
        with TlsWire(port, context) as wire:
            wire.send(request)
            return str(wire.answer()[0])
    except ssl.SSLError as error:
        return str(error.reason)
