"""`echo`, `send`: this machine as a sender; without a running adapter, unless only that knows where
to.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from adapter.commands.options import (
    DEFAULT_ACCESS,
    Access,
    AsJson,
    ConfigFile,
    Overrides,
    fail,
    load,
)


def echo(
    destination: str,
    /,
    *,
    json: AsJson = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Verify a destination by C-ECHO: its NAME in the configuration, or AET@HOST:PORT.

    A NAME that is not in the configuration file is verified by the running adapter, if that has it.
    Says how long connection, association and answer took; or what was refused, and what to check.
    """
    settings = load(config, overrides).settings
    from adapter.client.dicom import echo as run
    from adapter.client.dicom import parse_destination
    from adapter.client.known_destinations import echo_by_adapter

    with _told():
        target = parse_destination(destination, settings)
        if target is None:
            return echo_by_adapter(access, destination, as_json=json)
    return run(target, settings, as_json=json)


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
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Send files and folders by C-STORE to NAME or AET@HOST:PORT; exit 1 if any failed.

    The address of a NAME that is not in the configuration file is asked of the running adapter.
    What lies in a folder and is no DICOM instance is skipped. After a lost association the rest,
    and what had no answer yet, is sent on a new one.
    """
    if not paths:
        fail(["send: name at least one file or folder"])
    settings = load(config, overrides).settings
    from adapter.client.dicom import parse_destination
    from adapter.client.known_destinations import reachable_destination
    from adapter.client.send import Output
    from adapter.client.send import send as run

    with _told():
        target = parse_destination(destination, settings) or reachable_destination(
            access, destination
        )
    output = Output.JSON if json else Output.EVERY_FILE if verbose else Output.FAILURES
    return run(target, settings, list(paths), associations=associations, output=output)


@contextmanager
def _told() -> Iterator[None]:
    """Say in one line why there is no destination; exit."""
    from adapter.client.api import ApiError
    from adapter.client.dicom import UnknownDestinationError

    try:
        yield
    except UnknownDestinationError as error:
        fail([str(error)])
    except ApiError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
