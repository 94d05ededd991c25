"""Which processors an AE Title has, each with the AE Title as it sees it.

One or several, all alike: `processor` in the configuration is a list of one. Each has groups of its
own, found by its name among them; whoever comes first also gets what belongs to nobody any more.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from adapter.domain.entities import ApplicationEntity, Priority
from adapter.domain.group_keys import ASSOCIATION, grouping_tags, is_by_association
from adapter.domain.plugins import load_processor
from adapter.domain.processors import DEFAULT, AETitleProcessor, Processor

_OVERRIDDEN = ("grouping", "timeout_s", "pipelines", "priority")
"""What one of several processors may say for itself."""
DECIDED_BY = {"grouping": "groupBy", "timeout_s": "timeout", "priority": "priority"}
"""Fields of an AE Title, by the setting of the default processor that wins over each."""


class Assignment(Struct, frozen=True, kw_only=True):
    """A processor of an AE Title."""

    name: str
    """Among those of the AE Title; its groups are recorded under it."""
    entity: ApplicationEntity
    """The AE Title as this processor sees it."""
    processor: Processor
    label: str
    """For people; jobs name it as their source."""


def views_of(entity: ApplicationEntity) -> list[tuple[str, ApplicationEntity]]:
    """Return the AE Title as each of its processors sees it, by the processors' names."""
    if not entity.processors:
        return [(entity.processor, entity)]
    views = []
    for one in entity.processors:
        own = {key: value for key in _OVERRIDDEN if (value := getattr(one, key)) is not None}
        view = msgspec.structs.replace(
            entity, processor=one.processor or one.name, settings=one.settings, processors=[], **own
        )
        views.append((one.name, view))
    return views


def load_processors(entity: ApplicationEntity) -> tuple[Assignment, ...]:
    """Return the entity's processors; the first one gets what is left of others.

    Raises:
        ValueError: Something is wrong with the entity; one line a problem, keys as in the file.
    """
    problems = _form_problems(entity)
    assignments = []
    for index, (name, view) in enumerate(views_of(entity)):
        try:
            processor = load_processor(view)
        except ValueError as error:
            here = f"processors[{index}]." if entity.processors else ""
            problems += [f"{here}{line}" for line in str(error).splitlines()]
        else:
            label = name if entity.processors else processor.name
            assignments.append(Assignment(name=name, entity=view, processor=processor, label=label))
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(assignments)


def _form_problems(entity: ApplicationEntity) -> list[str]:
    if not entity.processors:
        return []
    problems = []
    names = [one.name for one in entity.processors]
    problems += [
        f"processors: name {name!r} is used twice"
        for name in sorted({*names})
        if names.count(name) > 1
    ]
    if entity.processor != "aetitle":
        problems.append("processor: there are processors as well; it belongs among them")
    if entity.settings:
        problems.append("settings: there are processors; each has settings of its own")
    return problems


class Processing(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a processor goes by, whether the AE Title says it or the processor's settings."""

    processor: str
    """Its name among those of the AE Title."""
    group_by: list[str]
    timeout_s: float
    priority: Priority
    pipelines: dict[str, str]
    """Ids by name."""


def processing_of(entity: ApplicationEntity) -> list[Processing]:
    """Return what each processor of an AE Title that is right goes by.

    Of a plug-in what the AE Title says: what it makes of its settings is its own affair.
    """
    found = []
    for name, view in views_of(entity):
        own = AETitleProcessor(view) if view.processor == DEFAULT else None
        by_association = [ASSOCIATION] if is_by_association(view) else []
        found.append(Processing(
            processor=name,
            group_by=[*by_association, *(own.tags if own else grouping_tags(view))],
            timeout_s=own.timeout_s if own else view.timeout_s,
            priority=own.priority if own else view.priority,
            pipelines=own.pipelines if own else view.pipelines,
        ))  # fmt: skip
    return found


def decided_by_settings(entity: ApplicationEntity) -> dict[str, Any]:
    """Return the fields that settings decide, each with what is in force.

    Pipelines are not among them: those of field and settings add up, and no name is in both.

    Raises:
        ValueError: Something is wrong with the settings; `load_processors` tells what.
    """
    if entity.processors or entity.processor != DEFAULT:
        return {}
    (now,) = processing_of(entity)
    grouping = now.group_by[0] if len(now.group_by) == 1 else now.group_by
    in_force = {"grouping": grouping, "timeout_s": now.timeout_s, "priority": now.priority}
    return {
        field: value for field, value in in_force.items() if DECIDED_BY[field] in entity.settings
    }


class Contradiction(Struct, frozen=True, kw_only=True):
    """A field that says other than the setting which decides."""

    where: str
    """Whose field, as a beginning of its key: empty, or `processors[0].`."""
    field: str
    says: Any
    in_force: Any


def contradictions(entity: ApplicationEntity, given: Collection[str]) -> list[Contradiction]:
    """Return where an AE Title says two things.

    Args:
        entity: The AE Title; what is wrong with its settings is not looked at.
        given: Its fields that were said; the others have defaults, which contradict nothing.
    """
    found = []
    for index, (_, view) in enumerate(views_of(entity)):
        own = entity.processors[index] if entity.processors else None
        said = given if own is None else [f for f in _OVERRIDDEN if getattr(own, f) is not None]
        try:
            decided = decided_by_settings(view)
        except ValueError:
            continue
        found += [
            Contradiction(
                where=f"processors[{index}]." if own else "", field=field,
                says=getattr(view, field), in_force=in_force,
            )
            for field, in_force in decided.items()
            if field in said and not _says(view, field, in_force)
        ]  # fmt: skip
    return found


def _says(entity: ApplicationEntity, field: str, value: Any) -> bool:
    """Return whether a field of an AE Title means this; `groupBy` leaves `association` alone."""
    if field != "grouping":
        return bool(getattr(entity, field) == value)
    tags, wanted = grouping_tags(entity), [value] if isinstance(value, str) else value
    return not tags or tags == [one for one in wanted if one != ASSOCIATION]


def owner_of(processor: str, names: Sequence[str]) -> str:
    """Return whose a group is that was opened for this processor, now that there are these."""
    return processor if processor in names else names[0]


def attributes_of(assignments: Collection[Assignment]) -> frozenset[str]:
    """Return the tags that at least one of the processors needs to see."""
    return frozenset().union(*(one.processor.attributes for one in assignments))
