"""Destinations of every type: what must hold between their keys."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Protocol

from adapter.domain.entities import Destination
from adapter.domain.http_endpoint import is_endpoint
from adapter.domain.made_destination import MadeDestination


class DestinationFiles(Protocol):
    """The files that destinations name: certificates, keys, secrets."""

    def problems(self, destination: Destination) -> list[str]:
        """Return why those of a destination cannot be used; keys as in the file."""

    def forget(self, name: str) -> None:
        """Keep nothing any more of what was read for a destination."""


def carrier_problems(destinations: Sequence[Destination], root: str) -> Iterator[str]:
    """Yield what is wrong with destinations.

    Args:
        destinations: All of them.
        root: `storage.root`, absolute.
    """
    for index, destination in enumerate(destinations):
        for problem in _problems(destination, root):
            yield f"destinations[{index}].{problem}"


def _problems(destination: Destination, root: str) -> Iterator[str]:
    if destination.tls is not None and destination.tls.key and not destination.tls.certificate:
        yield "tls.key: a key needs its certificate"
    match destination.type:
        case "dicom":
            pass
        case "dicomweb":
            yield from _dicomweb(destination)
        case "folder":
            yield from _folder(destination, root)


def _folder(destination: Destination, root: str) -> Iterator[str]:
    path = PurePath(destination.path)
    if not path.is_absolute():
        yield f"path: {destination.path!r} does not begin with /"
    elif path.is_relative_to(root) or PurePath(root).is_relative_to(path):
        yield f"path: {destination.path!r} and storage.root are within one another"


_SECRETS = {
    "basic": ("password_file", "password_environment"),
    "bearer": ("token_file", "token_environment"),
}
"""Where the secret of an authentication may be; in one of them."""
_SECRETS_MADE = {"basic": ("password",), "bearer": ("token",)}
"""The same of destinations that were made over REST: it names no file and variable of ours, or it
would have their contents sent to wherever it says."""


def _dicomweb(destination: Destination) -> Iterator[str]:
    how, tls = destination.authentication, destination.tls
    if not is_endpoint(destination.url):
        yield (
            "url: is no address such as https://pacs.example.org/dicom-web, "
            "without user, query and fragment"
        )
    elif tls is not None and not is_encrypted(destination):
        yield "tls: url is without TLS"
    if how == "mtls" and not (tls and tls.certificate):
        yield 'tls.certificate: authentication "mtls" needs it'
    if how == "mtls" and destination.url.startswith("http:"):
        yield 'url: authentication "mtls" needs https'
    if bool(destination.user) != (how == "basic"):
        yield f'user: authentication "{how}" {"needs it" if how == "basic" else "has none"}'
    is_made = isinstance(destination, MadeDestination)
    for other, keys in (_SECRETS_MADE if is_made else _SECRETS).items():
        given = [key for key in keys if getattr(destination, key)]
        if other != how:
            yield from (f'{key}: authentication "{how}" has no use for it' for key in given)
        elif len(given) != 1:
            yield " ".join([
                f'{keys[0]}: authentication "{how}" needs',
                f"either it or {keys[1]}" if len(keys) > 1 else "it",
            ])  # fmt: skip
    if is_made:
        for key in (key for keys in _SECRETS.values() for key in keys):
            if getattr(destination, key):
                yield f"{key}: is for the configuration file only"


def is_encrypted(destination: Destination) -> bool:
    """Return whether what goes to a destination of type dicomweb is encrypted."""
    return destination.url.lower().startswith("https:")


def careless_destinations(destinations: Sequence[Destination]) -> Iterator[str]:
    """Yield destinations whose secret others on the way can read."""
    for index, destination in enumerate(destinations):
        how = destination.authentication
        if how in _SECRETS and not is_encrypted(destination):
            yield f'destinations[{index}].url: authentication "{how}" without https is readable'
