"""Which processors an AE Title has, each with the AE Title as it sees it.

One or several, all alike: `processor` in the configuration is a list of one. Each has groups of its
own, found by its name among them; whoever comes first also gets what belongs to nobody any more.
"""

from collections.abc import Collection, Sequence

import msgspec
from msgspec import Struct

from adapter.domain.entities import ApplicationEntity
from adapter.domain.plugins import load_processor
from adapter.domain.processors import Processor

_OVERRIDDEN = ("grouping", "timeout_s", "pipelines", "priority")
"""What one of several processors may say for itself."""


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


def owner_of(processor: str, names: Sequence[str]) -> str:
    """Return whose a group is that was opened for this processor, now that there are these."""
    return processor if processor in names else names[0]


def attributes_of(assignments: Collection[Assignment]) -> frozenset[str]:
    """Return the tags that at least one of the processors needs to see."""
    return frozenset().union(*(one.processor.attributes for one in assignments))
