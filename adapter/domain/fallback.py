"""Another destination for what one could not be given for long (`destinations[].fallback`). Pure.

What was delivered stays where it is; what the destination refused for good is held for an operator
as ever. The rest becomes an export of its own to the fallback, in one transaction, so it is never
lost and never in two hands.
"""

from collections.abc import Iterator, Sequence

from msgspec import structs

from adapter.domain.delivery_window import window_times
from adapter.domain.entities import Destination
from adapter.domain.identifiers import export_id
from adapter.domain.records import Export, Outcome

Kept = tuple[Export, list[Outcome]]


def handed_over(
    export: Export, outcomes: Sequence[Outcome], to: str, now: float
) -> tuple[Kept, Kept]:
    """Return the export without what waits, and what waits as an export to the fallback."""
    waiting = [outcome for outcome in outcomes if outcome.waits]
    given = structs.replace(export, given=export.given + len(waiting), given_to=to)
    taken = Export(
        id=export_id(export.id, to),  # a job may have several exports to one destination
        job_id=export.job_id,
        destination=to,
        priority=export.priority,
        opened_at=export.opened_at,
        changed_at=now,
        instances=len(waiting),
        instead_of=export.destination,
    )
    its = [
        Outcome(
            export_id=taken.id,
            index=index,
            file=outcome.file,
            sop_class_uid=outcome.sop_class_uid,
            sop_instance_uid=outcome.sop_instance_uid,
        )
        for index, outcome in enumerate(waiting)
    ]
    return (given, [structs.replace(o, given_to=to, at=now) for o in waiting]), (taken, its)


def fallback_problems(destinations: Sequence[Destination]) -> Iterator[str]:
    """Yield what is wrong with the fallbacks and windows, one line a problem."""
    by_name = {destination.name: destination for destination in destinations}
    for index, destination in enumerate(destinations):
        here, name = f"destinations[{index}]", destination.fallback
        if destination.window and len(set(window_times(destination.window))) == 1:
            yield f"{here}.window: {destination.window!r} never opens; absent: at any time"
        if name and name not in by_name:
            yield f"{here}.fallback: {name!r} is not among the destinations"
        elif name and destination.name in _line(destination, by_name):
            yield f"{here}.fallback: {name!r} leads back to {destination.name!r}"


def _line(first: Destination, by_name: dict[str, Destination]) -> list[str]:
    """Return who comes after a destination, each once."""
    line: list[str] = []
    one: Destination | None = first
    while one is not None and one.fallback in by_name and one.fallback not in line:
        line.append(one.fallback)
        one = by_name[one.fallback]
    return line
