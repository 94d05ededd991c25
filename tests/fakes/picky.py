"""A processor plug-in that wants every other study."""

from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import ReceivedInstance
from adapter.domain.processors import JobSpec
from adapter.domain.records import StoredGroup

STUDY = "0020,000D"


def wants(study: str) -> bool:
    """Return whether it is interested in instances of this study."""
    return int(study.rpartition(".")[2]) % 2 == 0


class Picky:
    """See `adapter.domain.processors.Processor`."""

    name = "Picky"
    attributes = frozenset({STUDY})

    def __init__(self, entity: ApplicationEntity) -> None:
        self.timeout_s = entity.timeout_s
        self._pipelines = entity.pipelines

    def group_key(self, instance: ReceivedInstance) -> str | None:
        study = instance.attributes[STUDY]
        return study if wants(study) else None

    def jobs(self, _group: StoredGroup) -> list[JobSpec]:
        return [
            JobSpec(pipeline=name, pipeline_id=pipeline_id, priority="normal")
            for name, pipeline_id in self._pipelines.items()
        ]
