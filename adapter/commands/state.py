"""`status`, `watch`, `associations`, `groups`, `destinations`: what an adapter does, and orders."""

import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from adapter.commands.options import DEFAULT_ACCESS, Access, AsCsv, AsJson, fail, form

associations_app = App(
    name="associations", help="List associations of a running adapter; show, abort or allow one."
)
groups_app = App(name="groups", help="List open groups; close, hold or extend one.")
destinations_app = App(
    name="destinations", help="List destinations and what waits for them; hold or release one."
)


def status(
    *,
    once: Annotated[
        bool, Parameter(help="Print it and end, on a terminal too.", negative="")
    ] = False,
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Show on one screen what a running adapter is doing; exit 1 if it would take no new work.

    On a terminal it is kept up to date until Ctrl+C.
    """
    if sys.stdout.isatty() and not (once or json):
        from adapter.client.live_status import follow_status

        return follow_status(access)
    from adapter.client.status import show_status

    return show_status(access, as_json=json)


def watch(
    *,
    topics: Annotated[str, Parameter(help="Comma-separated, such as job,export.")] = "",
    since: Annotated[
        int | None,
        Parameter(help="Begin behind this sequence number.", validator=validators.Number(gte=0)),
    ] = None,
    json: Annotated[bool, Parameter(help="One JSON event a line.", negative="")] = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Tail the live events of a running adapter, through its restarts, until Ctrl+C."""
    from adapter.client.watch import watch_events
    from adapter.domain.event_types import TOPICS

    for topic in filter(None, topics.split(",")):
        if topic not in TOPICS:
            fail([f"--topics: {topic!r} is none of {', '.join(TOPICS)}"])
    return watch_events(access, topics, since, as_json=json)


@associations_app.default
def associations(
    *,
    state: Annotated[
        Literal["", "open", "closed", "accepted", "released", "aborted", "rejected"],
        Parameter(help="Only these."),
    ] = "",
    ae_title: Annotated[str, Parameter(help="Only those that called this one.")] = "",
    json: AsJson = False,
    csv: AsCsv = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """List open associations, those that ended lately, and those that were refused, with why."""
    from adapter.client.kinds import ASSOCIATIONS
    from adapter.client.rows import list_rows

    filters = {"state": state, "aeTitle": ae_title}
    return list_rows(access, ASSOCIATIONS, filters, form(json=json, csv=csv))


@associations_app.command(name="show")
def show_association(
    association_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS
) -> int:
    """Show one association: what it was for, why it was refused, what can be done."""
    from adapter.client.kinds import ASSOCIATIONS
    from adapter.client.rows import show_row

    return show_row(access, ASSOCIATIONS, association_id, form(json=json))


@associations_app.command(name="abort")
def abort_association(association_id: str, /, *, access: Access = DEFAULT_ACCESS) -> int:
    """Abort an open association; what was answered with success stays."""
    from adapter.client.kinds import ASSOCIATIONS
    from adapter.client.orders import delete_row

    return delete_row(access, ASSOCIATIONS, association_id, "aborted")


@associations_app.command(name="allow")
def allow_association(
    association_id: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS
) -> int:
    """Make a source of a caller that was refused as an unknown one; it is let in from now on."""
    from adapter.client.kinds import ASSOCIATIONS
    from adapter.client.orders import allow_row

    return allow_row(access, ASSOCIATIONS, association_id, form(json=json))


@groups_app.default
def groups(
    *,
    ae_title: Annotated[str, Parameter(help="Only those of this one.")] = "",
    json: AsJson = False,
    csv: AsCsv = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """List open groups and the time they have left."""
    from adapter.client.kinds import GROUPS
    from adapter.client.rows import list_rows

    return list_rows(access, GROUPS, {"aeTitle": ae_title}, form(json=json, csv=csv))


@groups_app.command(name="close")
def close_group(group_id: str, /, *, access: Access = DEFAULT_ACCESS) -> int:
    """Close an open group now; it becomes jobs."""
    from adapter.client.kinds import GROUPS
    from adapter.client.orders import tell_row

    return tell_row(access, GROUPS, (group_id, "close"), "closed")


@groups_app.command(name="hold")
def hold_group(group_id: str, /, *, access: Access = DEFAULT_ACCESS) -> int:
    """Keep a group open until it is closed or extended."""
    from adapter.client.kinds import GROUPS
    from adapter.client.orders import tell_row

    return tell_row(access, GROUPS, (group_id, "hold"), "held")


@groups_app.command(name="extend")
def extend_group(
    group_id: str,
    seconds: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=2_592_000))],
    /,
    *,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Keep a group open for so many seconds from now; 0: only not held any more."""
    from adapter.client.kinds import GROUPS
    from adapter.client.orders import tell_row

    return tell_row(access, GROUPS, (group_id, "extend"), "extended", {"seconds": seconds})


@destinations_app.default
def destinations(
    *, json: AsJson = False, csv: AsCsv = False, access: Access = DEFAULT_ACCESS
) -> int:
    """List destinations: up, down with why, or held; and how many exports wait for each."""
    from adapter.client.kinds import QUEUES
    from adapter.client.rows import list_rows

    return list_rows(access, QUEUES, {}, form(json=json, csv=csv))


@destinations_app.command(name="hold")
def hold_destination(
    name: str,
    /,
    *,
    why: Annotated[str, Parameter(help="For whoever finds it so.")] = "",
    json: AsJson = False,
    access: Access = DEFAULT_ACCESS,
) -> int:
    """Send nothing to a destination until it is released; its exports wait."""
    from adapter.client.kinds import QUEUES
    from adapter.client.rows import order_row

    return order_row(access, QUEUES, (name, "hold"), form(json=json), {"why": why})


@destinations_app.command(name="release")
def release_destination(
    name: str, /, *, json: AsJson = False, access: Access = DEFAULT_ACCESS
) -> int:
    """Go on sending to a destination that is held."""
    from adapter.client.kinds import QUEUES
    from adapter.client.rows import order_row

    return order_row(access, QUEUES, (name, "release"), form(json=json))
