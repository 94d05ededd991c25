"""Processor plug-ins: which group an instance joins, and which jobs a closed group becomes.

A processor is pure: it gets values and returns values. It never handles files, threads or timers.
Those of other packages are found and checked by `adapter.domain.plugins`.
"""

import re
from typing import Protocol

from msgspec import Struct

from adapter.domain.entities import PRIORITY_ORDER, ApplicationEntity, Priority
from adapter.domain.group_keys import (
    ASSOCIATION,
    grouping_tags,
    joined_values,
)
from adapter.domain.messages import ReceivedInstance
from adapter.domain.records import StoredGroup

PIPELINE = "pipeline-"
PIPELINE_NAME_LENGTH_MAX, PIPELINE_ID_LENGTH_MAX = 64, 128
TIMEOUT_S_MAX, RETRY_DELAY_MS_MAX = 86_400, 86_400_000
_TAG = re.compile(r"[0-9A-Fa-f]{4},[0-9A-Fa-f]{4}", re.ASCII)
DEFAULT = "aetitle"
"""What a configuration calls `AETitleProcessor`."""
_OF_CLARA = ("aetitlejobprocessor", "jobprocessor")
"""What Clara's own processors are called, whatever their assembly."""
TIMEOUT_S_MIN_CLARA = 5
"""Clara raised every `timeout` below 5 s to 5 s; kept when its setting name is used."""


class JobSpec(Struct, frozen=True, kw_only=True):
    """One job that a closed group becomes."""

    pipeline: str
    pipeline_id: str
    priority: Priority
    retry_delay_s: float | None = None
    """Before a failed step of it is tried again; None: `platform.retry_delay_s`."""


class Processor(Protocol):
    """What every processor offers."""

    name: str
    attributes: frozenset[str]
    """Tags `GGGG,EEEE` it needs to see of each instance."""
    timeout_s: float
    """A group closes when no instance has joined it for so long."""

    def group_key(self, instance: ReceivedInstance) -> str | None:
        """Return the key of the group the instance joins; None: not interested in it.

        Empty: the instance lacks what it would be grouped by, and joins a fallback group. Where the
        AE Title groups by association, a key holds for one association. It may depend on
        `attributes`, SOP class and calling AE Title only: instances of one association that agree
        in these are not all asked about.
        """

    def jobs(self, group: StoredGroup) -> list[JobSpec]:
        """Return the jobs of a closed group; pipeline names must differ."""


class AETitleProcessor:
    """Clara's AE Title Job Processor: group by one attribute, one job for each pipeline.

    Settings as in Clara: `timeout` (s), `jobRetryDelay` (ms), `priority`, `groupBy`, `pipeline-*`;
    they win over the fields of the AE Title.
    """

    name = "AE Title Job Processor"

    def __init__(self, entity: ApplicationEntity) -> None:
        problems = _settings_problems(entity)
        if problems:
            raise ValueError("\n".join(problems))
        settings = entity.settings
        self.tags = grouping_tags(entity)
        if "groupBy" in settings:  # Clara's: in place of the attributes, not of the association
            self.tags = [str(settings["groupBy"]).upper()]
        self.priority: Priority = str(settings.get("priority", entity.priority)).lower()  # type: ignore[assignment]
        self.pipelines = pipelines_of(entity)
        self._retry_delay_s: float | None = None
        if "jobRetryDelay" in settings:
            self._retry_delay_s = int(settings["jobRetryDelay"]) / 1000
        self.attributes = frozenset(self.tags)
        self.timeout_s = entity.timeout_s
        if "timeout" in settings:
            self.timeout_s = float(max(int(settings["timeout"]), TIMEOUT_S_MIN_CLARA))

    def group_key(self, instance: ReceivedInstance) -> str:
        return joined_values(instance, self.tags) if self.tags else ASSOCIATION

    def jobs(self, group: StoredGroup) -> list[JobSpec]:  # noqa: ARG002 - every group alike
        return [
            JobSpec(
                pipeline=name,
                pipeline_id=pipeline_id,
                priority=self.priority,
                retry_delay_s=self._retry_delay_s,
            )
            for name, pipeline_id in self.pipelines.items()
        ]


def is_of_clara(type_name: str) -> bool:
    """Return whether this is Clara's own processor as .NET names it: `Namespace.Type, Assembly`."""
    return type_name.partition(",")[0].rpartition(".")[2].strip().casefold() in _OF_CLARA


def pipelines_of(entity: ApplicationEntity) -> dict[str, str]:
    """Return the pipeline ids by name that an entity of the default processor names."""
    named = entity.settings.items()
    of_settings = {key[len(PIPELINE) :]: value for key, value in named
                   if key.lower().startswith(PIPELINE)}  # fmt: skip
    return {**entity.pipelines, **of_settings}


def _settings_problems(entity: ApplicationEntity) -> list[str]:
    problems = []
    pipelines = list(entity.pipelines)
    for name, pipeline_id in entity.pipelines.items():
        problems += pipeline_problems(f"pipelines.{name!r}", name, pipeline_id)
    for key, value in entity.settings.items():
        here = f"settings.{key}" if key.isprintable() else f"settings.{key!r}"
        match key:
            case "timeout":
                problems += _whole_number_problems(here, value, TIMEOUT_S_MAX)
            case "jobRetryDelay":
                problems += _whole_number_problems(here, value, RETRY_DELAY_MS_MAX)
            case "priority":
                if not isinstance(value, str) or value.lower() not in PRIORITY_ORDER:
                    problems.append(f"{here}: {value!r} is none of {', '.join(PRIORITY_ORDER)}")
            case "groupBy":
                if not isinstance(value, str) or not _TAG.fullmatch(value):
                    problems.append(f"{here}: {value!r} is not a tag such as 0020,000D")
            case _ if key.lower().startswith(PIPELINE):
                name = key[len(PIPELINE) :]
                problems += pipeline_problems(here, name, value)
                if name in pipelines:
                    problems.append(f"{here}: there is a pipeline {name!r} already")
                pipelines.append(name)
            case _:
                problems.append(
                    f"{here}: unknown; allowed are timeout, jobRetryDelay, priority, groupBy, "
                    "pipeline-<name>"
                )
    if not pipelines:
        problems.append("pipelines: at least one is needed, as name = id")
    return problems


def pipeline_problems(here: str, name: object, pipeline_id: object) -> list[str]:
    """Return what is wrong with the name and the id of a pipeline, one line a problem."""
    return [
        f"{here}: the {what} {text!r} is not 1-{longest} characters without space around"
        for what, text, longest in (
            ("name", name, PIPELINE_NAME_LENGTH_MAX),
            ("pipeline id", pipeline_id, PIPELINE_ID_LENGTH_MAX),
        )
        if not isinstance(text, str)
        or not text.isprintable()
        or text != text.strip()
        or not 0 < len(text) <= longest
    ]


def _whole_number_problems(here: str, value: object, largest: int) -> list[str]:
    """Return what is wrong with Clara's numbers, which may be written as text."""
    is_number = isinstance(value, int | str) and not isinstance(value, bool)
    if is_number and re.fullmatch(r"[0-9]{1,9}", str(value)) and int(str(value)) <= largest:
        return []
    return [f"{here}: {value!r} is not a whole number from 0 to {largest}"]
