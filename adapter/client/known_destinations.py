"""Destinations that only a running adapter knows: `echo` has it ask them, `send` their address."""

from http import HTTPStatus

import msgspec

from adapter.client.api import Access, ApiError, call
from adapter.client.dicom import EchoReport, UnknownDestinationError, print_echo, sentence
from adapter.client.kinds import DESTINATIONS
from adapter.client.rows import Row
from adapter.domain.entities import Destination

ECHO_S = 600.0
"""For the adapter's answer: it has deadlines of its own, of its configuration."""
ADDRESS = {"aeTitle": "", "host": "", "port": 0}
"""What a destination has that is reached by C-STORE; in place of it with others."""


def known_destination(access: Access, name: str) -> Row:
    """Return what a running adapter says of a destination.

    Raises:
        UnknownDestinationError: It knows none of that name, or there is no adapter.
        ApiError: It does not say.
    """
    try:
        row: Row = call(access, "GET", DESTINATIONS.path(name))
    except ApiError as error:
        nothing = f"{name!r} is neither a configured destination nor AET@HOST:PORT"
        if error.status is None:
            raise UnknownDestinationError(f"{nothing}; {error}") from None
        if error.status == HTTPStatus.NOT_FOUND:
            raise UnknownDestinationError(f"{nothing}, and {access.url} knows none") from None
        raise
    return row


def reachable_destination(access: Access, name: str) -> Destination:
    """Return a destination that a running adapter knows, to be reached by C-STORE from here.

    Raises:
        UnknownDestinationError: As of `known_destination`; or it is no AE Title at an address, or
            takes only TLS, for which this machine needs files of its own.
        ApiError: The adapter does not say.
    """
    row = known_destination(access, name)
    kind = row.get("type", "dicom")
    if kind != "dicom" or row.get("tls") is not None:
        what = "over TLS" if kind == "dicom" else f"of type {kind!r}"
        raise UnknownDestinationError(
            f"{name!r} is {what}: to send there from here, it has to be in a configuration file"
        )
    return Destination(name=name, ae_title=row["aeTitle"], host=row["host"], port=row["port"])


def echo_by_adapter(access: Access, name: str, *, as_json: bool) -> int:
    """Have a running adapter verify a destination; print the outcome and return the exit code.

    Raises:
        UnknownDestinationError, ApiError: As of `known_destination`.
    """
    row = known_destination(access, name)
    label = f"{row.get('aeTitle') or name}, asked by {access.url}"
    address = {key: row.get(key, empty) for key, empty in ADDRESS.items()}
    try:
        answer = call(access, "POST", f"{DESTINATIONS.path(name)}/echo", timeout_s=ECHO_S)
    except ApiError as error:
        if error.status != HTTPStatus.BAD_GATEWAY:
            raise
        answer = {"ok": False, "error": str(error)}
    report = msgspec.convert(address | {"ok": True, "askedBy": access.url} | answer, EchoReport)
    words = sentence(report) if report.ok else report.error
    return print_echo(report, f"{label}: {words}", as_json=as_json)
