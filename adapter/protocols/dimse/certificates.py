"""PEM files of certificates and keys: what is wrong with one, and when a certificate expires.

Python's `ssl` says "PEM lib" of every broken file, and shows nothing of a certificate of our own;
so the files are looked at here (RFC 7468), and the one field that is needed is read from the
certificate's encoding (RFC 5280 4.1).
"""

import calendar
import re
import ssl
import time
from collections.abc import Iterator

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_ENCRYPTED = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")
_TAG_VERSION, _TAG_UTC_TIME = 0xA0, 0x17


class PemError(Exception):
    """A file that cannot be used.

    Attributes:
        field: Of the configuration: certificate, key or ca.
        path: The file.
        why: For people.
    """

    def __init__(self, field: str, path: str, why: str) -> None:
        super().__init__(field, path, why)
        self.field, self.path, self.why = field, path, why


def read(field: str, path: str) -> str:
    """Return what the file of a field holds.

    Raises:
        PemError: It cannot be read.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise PemError(field, path, error.strerror or type(error).__name__) from error


def load_authorities(context: ssl.SSLContext, path: str) -> None:
    """Trust the certificates of a file.

    Raises:
        PemError: There are none, or one is broken.
    """
    text = read("ca", path)
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise PemError("ca", path, _wrong_with_certificates(text)) from error


def load_identity(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Use a certificate with its chain, and its key; key "": it is in the certificate's file.

    Raises:
        PemError: They cannot be used.
    """
    certificate_text = read("certificate", certificate)
    key_text = read("key", key) if key else certificate_text
    key_field, key_path = ("key", key) if key else ("certificate", certificate)
    if _ENCRYPTED.search(key_text):
        # With a password OpenSSL would ask for it on the terminal, or who restarts us could not.
        raise PemError(key_field, key_path, "the key is encrypted; it must not be")
    if not _KEY.search(key_text):
        raise PemError(key_field, key_path, "holds no private key in PEM")
    try:
        context.load_cert_chain(certificate, key or None, password="")
    except (OSError, ssl.SSLError) as error:
        if getattr(error, "reason", None) in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise PemError(key_field, key_path, "the key is not the certificate's") from error
        if _are_sound(certificate):
            raise PemError(key_field, key_path, "the key cannot be understood") from error
        why = _wrong_with_certificates(certificate_text)
        raise PemError("certificate", certificate, why) from error


def _are_sound(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ssl.SSLError):
        return False
    return True


def _wrong_with_certificates(text: str) -> str:
    if _CERTIFICATE.search(text):
        return "a certificate cannot be understood"
    return "holds no certificate in PEM"


def expires_at(text: str) -> float:
    """Return when the first of the certificates in a PEM text expires, in POSIX seconds.

    Raises:
        ValueError: There is none that can be understood.
    """
    try:
        return min(
            _not_after(ssl.PEM_cert_to_DER_cert(block)) for block in _CERTIFICATE.findall(text)
        )
    except (IndexError, TypeError) as error:
        raise ValueError("not a certificate") from error


def _not_after(certificate: bytes) -> float:
    """Return `notAfter` (RFC 5280 4.1; 4.1.2.5 for how times are written)."""
    ((_, whole),) = _elements(certificate)
    (_, to_be_signed), *_ = _elements(whole)
    fields = [value for tag, value in _elements(to_be_signed) if tag != _TAG_VERSION]
    _serial, _algorithm, _issuer, validity, *_ = fields
    _, (tag, value) = _elements(validity)
    text = value.decode("ascii")
    if tag == _TAG_UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


def _elements(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and value of each DER element."""
    position = 0
    while position < len(encoded):
        tag, length = encoded[position], encoded[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(encoded[position : position + size], "big")
            position += size
        yield tag, encoded[position : position + length]
        position += length
