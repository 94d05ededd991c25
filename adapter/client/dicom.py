"""Destinations of `echo` and `send`, and `echo` itself."""

import re
import sys
from functools import partial

import msgspec
import trio
from msgspec import Struct, structs

from adapter.domain.dimse_ports import EchoResult, Requestor
from adapter.domain.entities import Destination, ListenerTls
from adapter.domain.refusals import Cause, Parties, advice
from adapter.domain.statuses import SUCCESS, status_words
from adapter.errors import PeerRefusalError
from adapter.protocols.dimse.tls_contexts import TlsContexts
from adapter.requestors import make_requestor
from adapter.settings import Settings

_ADDRESS = re.compile(r"(?P<aet>[^@]{1,16})@(?P<host>.+):(?P<port>[0-9]{1,5})")


class UnknownDestinationError(Exception):
    """The text names no destination."""


def parse_destination(text: str, settings: Settings) -> Destination:
    """Return the configured destination of that name, or the one that AET@HOST:PORT spells.

    Raises:
        UnknownDestinationError: It is neither.
    """
    for destination in settings.destinations:
        if destination.name == text:
            return destination
    match = _ADDRESS.fullmatch(text)
    if not match or not 0 < int(match["port"]) < 65536:
        raise UnknownDestinationError(
            f"{text!r} is neither a configured destination nor AET@HOST:PORT"
        )
    return Destination(
        name="command-line",
        ae_title=match["aet"],
        host=match["host"].strip("[]"),
        port=int(match["port"]),
    )


def requestor_to(destination: Destination, settings: Settings) -> Requestor:
    """Raises ConfigurationError: the files for its TLS, or its secret, cannot be used."""
    only = structs.replace(settings, destinations=[destination])
    return make_requestor(only, TlsContexts(ListenerTls(), [destination]))


def advice_for(error: PeerRefusalError, destination: Destination, settings: Settings) -> str:
    """Return what to check after a refusal."""
    parties = Parties(
        settings.dicom.scu.ae_title, destination.ae_title, destination.host, destination.port
    )
    return advice(Cause(error.cause), error.codes, parties)


class EchoReport(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`echo --json`."""

    ae_title: str
    host: str
    port: int
    ok: bool
    status: int | None = None
    status_text: str = ""
    connect_ms: float | None = None
    associate_ms: float | None = None
    echo_ms: float | None = None
    error: str = ""
    cause: str = ""
    codes: tuple[int, ...] = ()
    advice: str = ""


def echo(destination: Destination, settings: Settings, *, as_json: bool) -> int:
    """C-ECHO; print the outcome and return the exit code."""
    report = partial(
        EchoReport, ae_title=destination.ae_title, host=destination.host, port=destination.port
    )
    try:
        result = trio.run(requestor_to(destination, settings).echo, destination)
    except PeerRefusalError as error:
        hint = advice_for(error, destination, settings)
        refused = report(
            ok=False, error=str(error), cause=error.cause, codes=error.codes, advice=hint
        )
        return _print(refused, f"{destination.label}: {error}\n  {hint}", as_json=as_json)
    ok = result.status == SUCCESS
    answered = report(
        ok=ok,
        status=result.status,
        status_text=status_words(result.status),
        connect_ms=_ms(result.connect_s),
        associate_ms=_ms(result.associate_s),
        echo_ms=_ms(result.echo_s),
        error="" if ok else status_words(result.status),
    )
    return _print(answered, f"{destination.label}: {_sentence(result)}", as_json=as_json)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _sentence(result: EchoResult) -> str:
    total = result.connect_s + result.associate_s + result.echo_s
    return (
        f"status {status_words(result.status)} in {total * 1000:.1f} ms "
        f"(connect {result.connect_s * 1000:.1f}, associate {result.associate_s * 1000:.1f}, "
        f"echo {result.echo_s * 1000:.1f})"
    )


def _print(report: EchoReport, text: str, *, as_json: bool) -> int:
    if as_json:
        text = msgspec.json.encode(report).decode()
    out = sys.stdout if as_json or report.ok else sys.stderr
    out.write(text + "\n")
    return 0 if report.ok else 1
