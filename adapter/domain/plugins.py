"""Processors of other packages: how they are found, and what is asked of them (docs/plugins.md).

They register under the entry-point group `dicom_adapter.processors`; the value is a callable
`(ApplicationEntity) -> Processor` that raises ValueError, with one line a problem, when the
entity's settings cannot be used. What one of them answers is checked before it is used: nonsense
would be found out much later, by a group or a job that cannot be read.
"""

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from adapter.domain.entities import PRIORITY_ORDER, ApplicationEntity
from adapter.domain.group_keys import grouping_problems
from adapter.domain.messages import ReceivedInstance
from adapter.domain.processors import (
    DEFAULT,
    TIMEOUT_S_MAX,
    AETitleProcessor,
    JobSpec,
    Processor,
    is_of_clara,
    pipeline_problems,
)
from adapter.domain.records import StoredGroup

ENTRY_POINT_GROUP = "dicom_adapter.processors"
NAME_LENGTH_MAX = 64
_TAG = re.compile(r"[0-9A-F]{4},[0-9A-F]{4}", re.ASCII)


class ContractError(Exception):
    """A plug-in answered what it must not: a bug of it, which parks its AE Title."""


class CheckedProcessor:
    """A processor of another package; what it says is what `Processor` promises."""

    def __init__(self, processor: Any) -> None:
        problems = list(_contract_problems(processor))
        if problems:
            raise ContractError("; ".join(problems))
        self._processor = processor
        self.name: str = processor.name
        self.attributes: frozenset[str] = frozenset(processor.attributes)
        self.timeout_s = float(processor.timeout_s)

    def group_key(self, instance: ReceivedInstance) -> str | None:
        """See `Processor.group_key`."""
        key = self._processor.group_key(instance)
        if key is None or isinstance(key, str):
            return key
        raise ContractError(f"{self.name}: group_key returned {type(key).__name__}, no text")

    def jobs(self, group: StoredGroup) -> list[JobSpec]:
        """See `Processor.jobs`."""
        specs = self._processor.jobs(group)
        if not isinstance(specs, list) or not all(isinstance(spec, JobSpec) for spec in specs):
            raise ContractError(f"{self.name}: jobs returned no list of JobSpec")
        names = [spec.pipeline for spec in specs]
        problems = [f"pipeline {name!r} twice" for name in {*names} if names.count(name) > 1]
        for spec in specs:
            problems += pipeline_problems("pipeline", spec.pipeline, spec.pipeline_id)
            if spec.priority not in PRIORITY_ORDER:
                problems.append(f"priority {spec.priority!r}")
            if spec.retry_delay_s is not None and not _is_seconds(spec.retry_delay_s):
                problems.append(f"retry_delay_s {spec.retry_delay_s!r}")
        if problems:
            raise ContractError(f"{self.name}: jobs returned {'; '.join(problems)}")
        return specs


def _contract_problems(processor: Any) -> list[str]:
    """Return what a processor lacks of `Processor`."""
    problems = []
    name = getattr(processor, "name", None)
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= NAME_LENGTH_MAX:
        problems.append(f"its name is no text of 1-{NAME_LENGTH_MAX} characters")
    tags = getattr(processor, "attributes", None)
    if not isinstance(tags, frozenset | set) or not all(
        isinstance(tag, str) and _TAG.fullmatch(tag) for tag in tags
    ):
        problems.append("its attributes are no set of tags such as 0020,000D")
    if not _is_seconds(getattr(processor, "timeout_s", None)):
        problems.append(f"its timeout_s is no number from 0 to {TIMEOUT_S_MAX}")
    problems += [
        f"it has no {method}"
        for method in ("group_key", "jobs")
        if not callable(getattr(processor, method, None))
    ]
    return problems


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= TIMEOUT_S_MAX  # neither holds for NaN


def load_processor(entity: ApplicationEntity) -> Processor:
    """Return the entity's processor.

    Raises:
        ValueError: No such processor, or something is wrong with the entity; one line a problem.
    """
    problems = grouping_problems(entity)
    try:
        processor = _made_by_its_factory(entity)
    except ValueError as error:
        problems += str(error).splitlines()
    if problems:
        raise ValueError("\n".join(problems))
    return processor


def in_our_words(processor: str) -> str:
    """Return the name under which a processor is known here; that of Clara's own is the default's.

    A plug-in that is called the same is meant by it.
    """
    if not is_of_clara(processor) or processor in entry_points(group=ENTRY_POINT_GROUP).names:
        return processor
    return DEFAULT


def _made_by_its_factory(entity: ApplicationEntity) -> Processor:
    if entity.processor == DEFAULT:
        return AETitleProcessor(entity)
    found = list(entry_points(group=ENTRY_POINT_GROUP, name=entity.processor))
    if not found:
        known = ", ".join(sorted({DEFAULT, *entry_points(group=ENTRY_POINT_GROUP).names}))
        raise ValueError(
            f"processor: no plug-in named {entity.processor!r} is installed; there are: {known}"
        )
    if len(found) > 1:
        packages = " and ".join(sorted(map(_package, found)))
        raise ValueError(f"processor: {entity.processor!r} is registered by {packages}")
    try:
        factory: Callable[[ApplicationEntity], Any] = found[0].load()
        return CheckedProcessor(factory(entity))
    except ValueError as error:  # the entity's settings
        raise ValueError(str(error) or "settings: refused without a reason") from error
    except Exception as error:  # a package of somebody else: its bugs are told like a bad setting
        raise ValueError(
            f"processor: {entity.processor!r} of {_package(found[0])} cannot be used: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
