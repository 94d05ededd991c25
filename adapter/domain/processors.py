"""Processor plug-ins: which group an instance joins, and which jobs a closed group becomes.

A processor is pure: it gets values and returns values. It never handles files, threads or timers.
Third-party processors register under the entry-point group `dicom_adapter.processors`; the value
is a callable `(ApplicationEntity) -> Processor` that raises ValueError, with one line a problem,
when the entity's settings cannot be used.
"""

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Protocol

from msgspec import Struct

from adapter.domain.entities import PRIORITY_ORDER, ApplicationEntity, Priority
from adapter.domain.messages import ReceivedInstance
from adapter.domain.records import StoredGroup

ENTRY_POINT_GROUP = "dicom_adapter.processors"
WHOLE_NUMBER_MAX = 86_400_000
"""Of `timeout` in s and `jobRetryDelay` in ms."""
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

        It may depend on `attributes`, SOP class and calling AE Title only: instances of one
        association that agree in these are not all asked about.
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
        self._tag = str(settings.get("groupBy", entity.grouping)).upper()
        self._priority: Priority = str(settings.get("priority", entity.priority)).lower()  # type: ignore[assignment]
        self._pipelines = dict(entity.pipelines)
        for key, value in settings.items():
            if key.lower().startswith("pipeline-"):
                self._pipelines[key[len("pipeline-") :]] = value
        self._retry_delay_s: float | None = None
        if "jobRetryDelay" in settings:
            self._retry_delay_s = int(settings["jobRetryDelay"]) / 1000
        self.attributes = frozenset({self._tag})
        self.timeout_s = entity.timeout_s
        if "timeout" in settings:
            self.timeout_s = float(max(int(settings["timeout"]), TIMEOUT_S_MIN_CLARA))

    def group_key(self, instance: ReceivedInstance) -> str:
        # An instance without the attribute is not lost: it joins a group of its own kind.
        return instance.attributes.get(self._tag, "")

    def jobs(self, group: StoredGroup) -> list[JobSpec]:  # noqa: ARG002 - every group alike
        return [
            JobSpec(
                pipeline=name,
                pipeline_id=pipeline_id,
                priority=self._priority,
                retry_delay_s=self._retry_delay_s,
            )
            for name, pipeline_id in self._pipelines.items()
        ]


def _settings_problems(entity: ApplicationEntity) -> list[str]:
    problems = []
    pipelines = len(entity.pipelines)
    for key, value in entity.settings.items():
        match key:
            case "timeout" | "jobRetryDelay":
                if not str(value).isdecimal():
                    problems.append(f"settings.{key}: {value!r} is not a whole number >= 0")
                elif int(value) > WHOLE_NUMBER_MAX:
                    problems.append(f"settings.{key}: {value!r} is more than {WHOLE_NUMBER_MAX}")
            case "priority":
                if str(value).lower() not in PRIORITY_ORDER:
                    problems.append(
                        f"settings.priority: {value!r} is none of {', '.join(PRIORITY_ORDER)}"
                    )
            case "groupBy":
                if not re.fullmatch(r"[0-9A-Fa-f]{4},[0-9A-Fa-f]{4}", str(value)):
                    problems.append(f"settings.groupBy: {value!r} is not a tag such as 0020,000D")
            case _ if key.lower().startswith("pipeline-"):
                pipelines += 1
                if not isinstance(value, str) or not value or len(key) == len("pipeline-"):
                    problems.append(f"settings.{key}: needs a name and a pipeline id")
            case _:
                problems.append(
                    f"settings.{key}: unknown; allowed are timeout, jobRetryDelay, priority, "
                    "groupBy, pipeline-<name>"
                )
    if not pipelines:
        problems.append("pipelines: at least one is needed, as name = id")
    return problems


def load_processor(entity: ApplicationEntity) -> Processor:
    """Return the entity's processor.

    Raises:
        ValueError: No such processor, or its settings are wrong; one line a problem.
    """
    if entity.processor == "aetitle":
        return AETitleProcessor(entity)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == entity.processor:
            factory: Callable[[ApplicationEntity], Processor] = entry.load()
            return factory(entity)
    raise ValueError(f"processor: no plug-in named {entity.processor!r} is installed")
