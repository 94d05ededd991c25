"""`keys`: who may use the API of a running adapter; the first key is made while it is stopped."""

from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from adapter.commands.options import DEFAULT_ACCESS, Access, AsJson, ConfigFile, Overrides, load

keys_app = App(name="keys", help="Make, list and revoke keys of the API.")
RoleName = Literal["viewer", "operator", "administrator"]


@keys_app.command
def create(
    name: str,
    /,
    *,
    role: RoleName = "viewer",
    days: Annotated[
        int,
        Parameter(help="Until it expires; 0: never.", validator=validators.Number(gte=0, lte=3650)),
    ] = 365,
    offline: Annotated[
        bool,
        Parameter(help="Write it into the ledger of -c; the adapter must be stopped.", negative=""),
    ] = False,
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> int:
    """Make a key and print it, this once: only a digest of it is kept."""
    from adapter.client import keys

    if not offline:
        return keys.create(access, name, role, days, as_json=json)
    from adapter.offline import create_key

    made = create_key(load(config, overrides).settings, name=name, role=role, days=days)
    return keys.show_made(made, as_json=json)


@keys_app.command(name="list")
def list_keys(*, json: AsJson = False, access: Access = DEFAULT_ACCESS) -> int:
    """List the keys, oldest first."""
    from adapter.client.kinds import KEYS
    from adapter.client.rows import list_rows

    return list_rows(access, KEYS, {}, "json" if json else "table")


@keys_app.command
def revoke(key_id: str, /, *, access: Access = DEFAULT_ACCESS) -> int:
    """Have a key be of no use from now on."""
    from adapter.client import keys

    return keys.revoke(access, key_id)
