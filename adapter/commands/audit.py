"""`audit`: who changed what, and who has logged in."""

from typing import Annotated, Literal

from cyclopts import Parameter

from adapter.commands.options import DEFAULT_ACCESS, Access, AsCsv, AsJson, form


def audit(
    *,
    since: Annotated[str, Parameter(help="Such as 2026-01-31T09:30:00Z.")] = "",
    who: Annotated[str, Parameter(help="Name of a key.")] = "",
    kind: Literal["", "configuration", "order", "login"] = "",
    json: AsJson = False,
    csv: AsCsv = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """List or export the audit trail of a running adapter, oldest first."""
    from adapter.client.rows import AUDIT, list_rows

    filters = {"since": since, "who": who, "kind": kind}
    return list_rows(access, AUDIT, filters, form(json=json, csv=csv))
