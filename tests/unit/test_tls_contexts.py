"""Files of certificates and keys: read at the start, followed while the process runs."""

import calendar
import datetime
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import PrivateFormat

from adapter.domain.entities import Destination, DestinationTls, ListenerTls
from adapter.errors import ConfigurationError
from adapter.protocols.dimse import tls_contexts
from adapter.protocols.dimse.certificates import expires_at
from adapter.protocols.dimse.tls_contexts import TlsContexts

AUTHORITY = trustme.CA()


def issue(**more: Any) -> trustme.LeafCert:
    return AUTHORITY.issue_cert("localhost", **more)


class Files:
    """Certificate, key and authorities in a folder."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key, self.ca = (
            folder / name for name in ("certificate.pem", "key.pem", "ca.pem")
        )
        self.put(issue())
        AUTHORITY.cert_pem.write_to_path(self.ca)

    def put(self, identity: trustme.LeafCert) -> None:
        """Replace certificate and key, as a tool for renewal does."""
        self.put_certificate(identity)
        self.put_key(identity)

    def put_certificate(self, identity: trustme.LeafCert) -> None:
        replace(self.certificate, b"".join(b.bytes() for b in identity.cert_chain_pems))

    def put_key(self, identity: trustme.LeafCert) -> None:
        replace(self.key, identity.private_key_pem.bytes())

    def listener(self, **changes: Any) -> ListenerTls:
        paths = {n: str(getattr(self, n)) for n in ("certificate", "key", "ca")}
        return ListenerTls(mode="only", **{**paths, **changes})


def replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_contexts, "LOOK_AGAIN_S", 0.0)


def events(logged: list[Any]) -> list[str]:
    return [entry["event"] for entry in logged]


def test_context_stays_while_its_files_do(files: Files, logged: list[Any]) -> None:
    context = TlsContexts(files.listener(), []).listener
    assert context is not None
    first = context.current()
    assert first.minimum_version == ssl.TLSVersion.TLSv1_2
    assert first.verify_mode == ssl.CERT_REQUIRED
    assert context.current() is first
    assert logged == []


def test_suites_are_forward_secret_and_authenticated(files: Files) -> None:
    context = TlsContexts(files.listener(), []).listener
    assert context is not None
    suites = context.current().get_ciphers()
    assert len(suites) >= 6
    assert all(suite["aead"] for suite in suites)
    assert {s["kea"] for s in suites} == {"kx-any", "kx-ecdhe"}


def test_files_that_change_make_a_new_context(files: Files, logged: list[Any]) -> None:
    context = TlsContexts(files.listener(), []).listener
    assert context is not None
    first = context.current()
    files.put(issue())
    second = context.current()
    assert second is not first
    other = trustme.CA()
    replace(files.ca, other.cert_pem.bytes())
    third = context.current()
    assert third is not second
    assert [c["serialNumber"] for c in third.get_ca_certs()] != [
        c["serialNumber"] for c in first.get_ca_certs()
    ]
    assert events(logged) == ["tls.reloaded", "tls.reloaded"]


def test_half_replaced_files_keep_the_last_good_context(files: Files, logged: list[Any]) -> None:
    context = TlsContexts(files.listener(), []).listener
    assert context is not None
    first = context.current()
    renewed = issue()
    files.put_certificate(renewed)
    assert context.current() is first
    assert context.current() is first
    assert events(logged) == ["tls.reload_failed"], "told once"
    assert logged[0]["why"] == f"dicom.scp.tls.key: {files.key}: the key is not the certificate's"
    files.put_key(renewed)
    assert context.current() is not first
    assert events(logged) == ["tls.reload_failed", "tls.reloaded"]


def test_file_that_is_away_or_broken_keeps_the_last_good_context(
    files: Files, logged: list[Any]
) -> None:
    context = TlsContexts(files.listener(), []).listener
    assert context is not None
    first = context.current()
    whole = files.certificate.read_bytes()
    for content in (b"", b"junk", whole[: len(whole) // 2]):
        files.certificate.write_bytes(content)
        assert context.current() is first
    files.certificate.unlink()
    assert context.current() is first
    files.certificate.write_bytes(whole)
    assert context.current() is not first
    assert set(events(logged[:-1])) == {"tls.reload_failed"}
    assert logged[-1]["event"] == "tls.reloaded"


def test_files_are_looked_at_once_a_second_at_the_most(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_contexts, "LOOK_AGAIN_S", 3600.0)
    context = TlsContexts(files.listener(), []).listener
    assert context is not None
    first = context.current()
    files.put(issue())
    assert context.current() is first


# --- what is wrong with a file


def encrypted(key: bytes, form: PrivateFormat) -> bytes:
    found = serialization.load_pem_private_key(key, None)
    return found.private_bytes(
        serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"x")
    )


def problem(listener: ListenerTls) -> str:
    with pytest.raises(ConfigurationError) as error:
        TlsContexts(listener, [])
    (line,) = error.value.problems
    return line


@pytest.mark.parametrize("field", ["certificate", "key", "ca"])
def test_file_that_cannot_be_read_is_named_with_its_key(files: Files, field: str) -> None:
    missing = files.listener(**{field: "/nowhere/file.pem"})
    assert problem(missing) == (
        f"dicom.scp.tls.{field}: /nowhere/file.pem: No such file or directory"
    )
    folder = files.listener(**{field: "/"})
    assert problem(folder) == f"dicom.scp.tls.{field}: /: Is a directory"


@pytest.mark.parametrize(
    ("field", "content", "why"),
    [
        ("certificate", b"", "holds no certificate in PEM"),
        ("certificate", b"\x30\x82\x01\x0a", "holds no certificate in PEM"),
        ("certificate", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
         "a certificate cannot be understood"),
        ("key", b"", "holds no private key in PEM"),
        ("key", b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
         "the key cannot be understood"),
        ("ca", b"junk", "holds no certificate in PEM"),
    ],
)  # fmt: skip
def test_file_that_is_no_pem_is_named(files: Files, field: str, content: bytes, why: str) -> None:
    path: Path = getattr(files, field)
    path.write_bytes(content)
    assert problem(files.listener()) == f"dicom.scp.tls.{field}: {path}: {why}"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_encrypted_key_is_refused_without_asking(files: Files, form: PrivateFormat) -> None:
    files.key.write_bytes(encrypted(issue().private_key_pem.bytes(), form))
    assert problem(files.listener()) == (
        f"dicom.scp.tls.key: {files.key}: the key is encrypted; it must not be"
    )


def test_key_may_be_in_the_file_of_the_certificate(files: Files, tmp_path: Path) -> None:
    identity = issue()
    both = tmp_path / "both.pem"
    identity.private_key_and_cert_chain_pem.write_to_path(both)
    assert TlsContexts(files.listener(certificate=str(both), key=""), []).listener
    assert problem(files.listener(key="")) == (
        f"dicom.scp.tls.certificate: {files.certificate}: holds no private key in PEM"
    )


def test_every_problem_is_told_at_once(files: Files) -> None:
    def destination(name: str, **tls: Any) -> Destination:
        return Destination(name=name, ae_title="A", host="a", port=1, tls=DestinationTls(**tls))

    with pytest.raises(ConfigurationError) as error:
        TlsContexts(
            files.listener(key="/nowhere"),
            [destination("one", ca="/nowhere"), destination("two", ca=str(files.ca)),
             destination("three", certificate="/nowhere")],
        )  # fmt: skip
    assert [line.partition(":")[0] for line in error.value.problems] == [
        "dicom.scp.tls.key", "destinations.one.tls.ca", "destinations.three.tls.certificate",
    ]  # fmt: skip


# --- when it expires


def at(*moment: int) -> datetime.datetime:
    return datetime.datetime(*moment)


@pytest.mark.parametrize(
    "moment",
    [at(2026, 5, 6, 7, 8, 9), at(2049, 12, 31, 23, 59, 59), at(2050, 1, 1), at(9999, 12, 31)],
)
def test_expiry_is_read_from_the_certificate(moment: datetime.datetime) -> None:
    """UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5)."""
    identity = issue(not_before=at(2020, 1, 1), not_after=moment)
    assert expires_at(identity.cert_chain_pems[0].bytes().decode()) == calendar.timegm(
        moment.timetuple()
    )


def test_expiry_of_a_chain_is_that_of_the_first_to_expire() -> None:
    sooner, later = (
        issue(not_after=at(year, 1, 1)).cert_chain_pems[0].bytes().decode() for year in (2031, 2032)
    )
    assert expires_at(later + sooner) == expires_at(sooner) < expires_at(later)


@pytest.mark.parametrize(
    "text",
    ["", "junk", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
     "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"],
)  # fmt: skip
def test_expiry_of_what_is_no_certificate_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        expires_at(text)


def test_expiries_are_told_by_key_and_follow_the_files(files: Files) -> None:
    files.put(issue(not_after=at(2031, 1, 1)))
    ours = DestinationTls(certificate=str(files.certificate), key=str(files.key))
    contexts = TlsContexts(
        files.listener(),
        [Destination(name="pacs", ae_title="A", host="a", port=1, tls=ours),
         Destination(name="no-certificate", ae_title="A", host="a", port=1, tls=DestinationTls()),
         Destination(name="plain", ae_title="A", host="a", port=1)],
    )  # fmt: skip
    first = calendar.timegm((2031, 1, 1, 0, 0, 0))
    keys = ("dicom.scp.tls.certificate", "destinations.pacs.tls.certificate")
    assert contexts.expiries() == dict.fromkeys(keys, first)
    files.put(issue(not_after=at(2032, 1, 1)))
    assert contexts.expiries() == dict.fromkeys(keys, calendar.timegm((2032, 1, 1, 0, 0, 0)))
