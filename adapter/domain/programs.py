"""Programs of engine `command`: which pipeline ids have one, and who names an id that has none."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from adapter.domain.assignments import views_of
from adapter.domain.entities import ApplicationEntity, Pipeline
from adapter.domain.processors import DEFAULT, pipelines_of


@dataclass(slots=True)
class Programs:
    """The entries of `platform.pipelines` that count now."""

    by_id: Mapping[str, Pipeline] | None = None
    """None: the engine is another one, and knows its pipelines itself."""

    def missing(self, pipeline_id: str) -> str:
        """Return why no job of this pipeline can run; empty: it may."""
        if self.by_id is None or pipeline_id in self.by_id:
            return ""
        return f"platform.pipelines has no entry with id {pipeline_id!r}"

    def problems(self, entity: ApplicationEntity) -> Iterator[str]:
        """Yield a line for each pipeline of an AE Title that cannot run, but for plug-ins."""
        for _, view in views_of(entity):
            if view.processor == DEFAULT:
                for name, pipeline_id in pipelines_of(view).items():
                    if why := self.missing(pipeline_id):
                        yield f"pipeline {name!r}: {why}"


def programs_among(pipelines: Iterable[Pipeline]) -> Programs:
    """Return the programs these entries are."""
    return Programs({pipeline.id: pipeline for pipeline in pipelines})
