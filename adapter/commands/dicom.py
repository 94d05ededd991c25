"""`echo`, `send`: this machine as a sender, without a running adapter."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from adapter.commands.options import AsJson, ConfigFile, Overrides, fail, load

if TYPE_CHECKING:
    from adapter.domain.entities import Destination
    from adapter.settings import Settings


def echo(
    destination: str,
    /,
    *,
    json: AsJson = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> int:
    """Verify a destination by C-ECHO: its NAME in the configuration, or AET@HOST:PORT.

    Says how long connection, association and answer took; or what was refused, and what to check.
    """
    from adapter.client.dicom import echo as run

    return run(*_destination(destination, config, overrides), as_json=json)


def send(
    destination: str,
    /,
    *paths: Path,
    associations: Annotated[
        int, Parameter(help="At once.", validator=validators.Number(gte=1, lte=100))
    ] = 1,
    verbose: Annotated[
        bool, Parameter(name=["-v", "--verbose"], help="Every file.", negative="")
    ] = False,
    json: AsJson = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> int:
    """Send files and folders by C-STORE to NAME or AET@HOST:PORT; exit 1 if any failed.

    What lies in a folder and is no DICOM instance is skipped. After a lost association the rest,
    and what had no answer yet, is sent on a new one.
    """
    if not paths:
        fail(["send: name at least one file or folder"])
    target, settings = _destination(destination, config, overrides)
    from adapter.client.send import Output
    from adapter.client.send import send as run

    output = Output.JSON if json else Output.EVERY_FILE if verbose else Output.FAILURES
    return run(target, settings, list(paths), associations=associations, output=output)


def _destination(
    text: str, config: Path | None, overrides: list[str] | None
) -> "tuple[Destination, Settings]":
    from adapter.client.dicom import UnknownDestinationError, parse_destination

    settings = load(config, overrides).settings
    try:
        return parse_destination(text, settings), settings
    except UnknownDestinationError as error:
        fail([str(error)])
