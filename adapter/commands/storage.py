"""`storage`: what lies on the storage of a running adapter, and what keeps it there."""

from typing import Annotated

from cyclopts import Parameter

from adapter.commands.options import DEFAULT_ACCESS, Access, AsCsv, AsJson, form


def storage(
    *,
    goes: Annotated[
        str, Parameter(help='Only what goes "now", "when space is low", "later", or "no".')
    ] = "",
    json: AsJson = False,
    csv: AsCsv = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """List jobs, open groups and what was put aside: when each is deleted, or why not."""
    from adapter.client.kinds import STORAGE
    from adapter.client.rows import list_rows

    return list_rows(access, STORAGE, {"goes": goes}, form(json=json, csv=csv))
