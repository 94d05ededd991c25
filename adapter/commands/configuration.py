"""`config`: check, show and convert the configuration; nothing of it needs a running adapter."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from adapter.commands.options import BAD_INPUT, DEFAULT_ACCESS, Access, AsJson, Overrides, load

config_app = App(name="config", help="Check, show and convert the configuration.")


@config_app.command
def check(config: Path, /, *, overrides: Overrides = None) -> int:
    """Validate a configuration file; exit 2 and say what is wrong if it is."""
    layered = load(config, overrides)
    from adapter.composition import tls_contexts, warnings

    tls_contexts(layered.settings)
    for line in warnings(layered.settings):
        print(f"warning: {line}", file=sys.stderr)
    count = len(layered.settings.application_entities)
    print(f"{config}: valid; {count} AE Title{'s' * (count != 1)}")
    return 0


@config_app.command
def show(
    config: Annotated[Path | None, Parameter(help="Configuration file.")] = None,
    /,
    *,
    origin: Annotated[
        bool, Parameter(help="Say where each value comes from.", negative="")
    ] = False,
    overrides: Overrides = None,
) -> int:
    """Show the effective values."""
    from adapter.configuration import effective_values

    for path, value, where in effective_values(load(config, overrides)):
        print(f"{path} = {value}" + (f"    # {where}" if origin else ""))
    return 0


@config_app.command
def convert(file: Path, /) -> int:
    """Print a configuration of Clara DICOM Adapter (appsettings.json, app.yaml) as one of ours.

    On stderr, a line each: what is not carried and why, and what to know of what is. Exit 2 if the
    result is not valid.
    """
    import tomlkit

    from adapter.clara.conversion import convert as convert_file

    converted = convert_file(file)
    print(tomlkit.dumps(converted.tree), end="")
    for line in (*converted.lines, *converted.problems):
        print(f"{file}: {line}", file=sys.stderr)
    return BAD_INPUT if converted.problems else 0


@config_app.command
def plan(
    file: Annotated[Path | None, Parameter(help="In place of the adapter's own.")] = None,
    /,
    *,
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Show what a running adapter would change if it read its configuration file again.

    With FILE: if its configuration file said what this one says.
    """
    from adapter.client.reload import PLAN, PLAN_DOCUMENT, reload_configuration

    if file is None:
        return reload_configuration(access, PLAN, as_json=json)
    from adapter.configuration import read_file

    return reload_configuration(access, PLAN_DOCUMENT, read_file(file), as_json=json)


@config_app.command
def reload(*, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """Have a running adapter read its configuration file again, as SIGHUP does."""
    from adapter.client.reload import RELOAD, reload_configuration

    return reload_configuration(access, RELOAD, as_json=json)


@config_app.command
def passcode() -> int:
    """Ask for a passcode and print the line that dicom.scp.user_identity.users keeps of it."""
    import getpass
    import secrets

    from adapter.domain.identity import SALT_BYTES, hash_passcode

    text = getpass.getpass("Passcode: ") if sys.stdin.isatty() else sys.stdin.readline()
    print(hash_passcode(text.rstrip("\n").encode(), secrets.token_bytes(SALT_BYTES)))
    return 0


@config_app.command
def schema() -> int:
    """Print the JSON Schema of the configuration file."""
    import json as json_module

    from adapter.configuration import json_schema

    print(json_module.dumps(json_schema(), indent=2))
    return 0
