"""`config`: check and show the configuration; nothing of it needs a running adapter."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from adapter.commands.options import Overrides, load

config_app = App(name="config", help="Check and show the configuration.")


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
