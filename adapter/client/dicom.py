"""Destinations of `echo` and `send`, and `echo` itself."""

import re
import sys
from functools import partial

import msgspec
import trio
from msgspec import Struct, structs

from adapter.domain.dimse_ports import Requestor
from adapter.domain.entities import Destination, ListenerTls
from adapter.domain.refusals import Cause, Parties, advice
from adapter.domain.statuses import SUCCESS, status_words
from adapter.errors import PeerRefusalError
from adapter.protocols.dimse.tls_contexts import TlsContexts
from adapter.requestors import make_requestor
from adapter.settings import Settings

_ADDRESS = re.compile(r"(?P<aet>[^@]{1,16})@(?P<host>.+):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class UnknownDestinationError(Exception):
    """The text names no destination, or none that can be reached from here."""


def parse_destination(text: str, settings: Settings) -> Destination | None:
    """Return the configured destination of that name, or the one that AET@HOST:PORT spells.

    None: a running adapter may know one of that name.

    Raises:
        UnknownDestinationError: It is nothing of that.
    """
    for destination in settings.destinations:
        if destination.name == text:
            return destination
    if _NAME.fullmatch(text):
        return None
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
    asked_by: str = ""
    """The running adapter that did; empty: this machine."""
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
        return print_echo(refused, f"{destination.label}: {error}\n  {hint}", as_json=as_json)
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
    return print_echo(answered, f"{destination.label}: {sentence(answered)}", as_json=as_json)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def sentence(report: EchoReport) -> str:
    """Return what was answered, for people."""
    steps = {
        "connect": report.connect_ms, "associate": report.associate_ms, "echo": report.echo_ms,
    }  # fmt: skip
    each = ", ".join(f"{step} {ms or 0:.1f}" for step, ms in steps.items())
    total = sum(ms or 0 for ms in steps.values())
    return f"status {report.status_text} in {total:.1f} ms ({each})"


def print_echo(report: EchoReport, text: str, *, as_json: bool) -> int:
    """Print it, as JSON or as this text; return the exit code."""
    if as_json:
        text = msgspec.json.encode(report).decode()
    out = sys.stdout if as_json or report.ok else sys.stderr
    out.write(text + "\n")
    return 0 if report.ok else 1
