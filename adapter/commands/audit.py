"""`audit`: who changed what, and who has logged in; whether the trail is what it was."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from adapter.commands.options import DEFAULT_ACCESS, Access, AsCsv, AsJson, form

audit_app = App(name="audit", help="List, export and verify the audit trail.")


@audit_app.default
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
    from adapter.client.kinds import AUDIT
    from adapter.client.rows import list_rows

    filters = {"since": since, "who": who, "kind": kind}
    return list_rows(access, AUDIT, filters, form(json=json, csv=csv))


@audit_app.command
def verify(
    export: Annotated[Path | None, Parameter(help="What `audit --json` has written.")] = None,
    /,
    *,
    expect: Annotated[
        list[str] | None,
        Parameter(help="SEQ:HASH that was kept elsewhere; it has to be there.", negative=""),
    ] = None,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Verify the chain of hashes of a running adapter's audit trail, or of an export of it.

    Exit 1, and one line that names the first broken entry.
    """
    from adapter.client.audit import verify_export, verify_running

    if export is not None:
        return verify_export(export, expect or ())
    return verify_running(access, expect or ())
