"""A processor for dicom-adapter: groups studies by modality, one pipeline for each modality.

Instances of other modalities are not wanted. Groups sent by an urgent source become urgent jobs.

Settings of the AE Title:
    modality-XX     the id of the pipeline for modality XX; at least one
    urgent          calling AE Titles whose groups go before others; default none
"""

from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import ReceivedInstance
from adapter.domain.processors import JobSpec
from adapter.domain.records import StoredGroup

STUDY, MODALITY = "0020,000D", "0008,0060"
PREFIX = "modality-"


class ModalityRouter:
    """See the module; the contract is `adapter.domain.processors.Processor`."""

    name = "Modality Router"
    attributes = frozenset({STUDY, MODALITY})

    def __init__(self, entity: ApplicationEntity) -> None:
        problems = []
        self._pipelines: dict[str, str] = {}
        self._urgent: list[str] = []
        for key, value in entity.settings.items():
            if key.startswith(PREFIX) and isinstance(value, str) and value:
                self._pipelines[key.removeprefix(PREFIX).upper()] = value
            elif key.startswith(PREFIX):
                problems.append(f"settings.{key}: {value!r} is no pipeline id")
            elif key != "urgent":
                problems.append(f"settings.{key}: unknown; allowed are {PREFIX}XX, urgent")
            elif isinstance(value, list) and all(isinstance(title, str) for title in value):
                self._urgent = value
            else:
                problems.append(f"settings.urgent: {value!r} is no list of AE Titles")
        if not self._pipelines and not problems:
            problems.append(f"settings: at least one {PREFIX}XX is needed")
        if problems:
            raise ValueError("\n".join(problems))
        self.timeout_s = entity.timeout_s

    def group_key(self, instance: ReceivedInstance) -> str | None:
        """Return `MODALITY study`; None for a modality without a pipeline."""
        modality = instance.attributes.get(MODALITY, "")
        study = instance.attributes.get(STUDY, "")
        if not modality or not study:
            return ""  # never thrown away for what it lacks; see `jobs`
        return f"{modality} {study}" if modality in self._pipelines else None

    def jobs(self, group: StoredGroup) -> list[JobSpec]:
        """Return the job of the group's modality; all of them if nobody knows the modality."""
        modality = group.record.key.partition(" ")[0]
        urgent = any(title in self._urgent for title in group.record.calling_ae_titles)
        return [
            JobSpec(
                pipeline=name.lower(),
                pipeline_id=pipeline_id,
                priority="immediate" if urgent else "normal",
            )
            for name, pipeline_id in self._pipelines.items()
            if name == modality or modality not in self._pipelines
        ]
