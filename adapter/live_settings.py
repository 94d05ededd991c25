"""The settings that count now, and how others take their place without a restart.

`RELOADABLE` says which keys are read at their use; all others stay as they were at the start. What
a proposal changes elsewhere is named and left, and what then runs is checked as a whole.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs

from adapter.configuration import Layered, secret_paths, settings_in_force
from adapter.domain.carriers import DestinationFiles
from adapter.domain.commitment import ReportRules
from adapter.domain.committing import CommitmentRules
from adapter.domain.conversion import HIDDEN
from adapter.domain.effective_values import EffectiveValue
from adapter.domain.entities import ApplicationEntity, Destination
from adapter.domain.entity_rows import Configured, kind_of, named_sources
from adapter.domain.exporting import ExportRules, RetryRules
from adapter.domain.reconfiguration import Change, differences
from adapter.domain.retention import Retention
from adapter.entity_rules import EntityRules
from adapter.errors import ConfigurationError
from adapter.relations import listening_ports, relations
from adapter.settings import Settings

RELOADABLE = (
    "application_entities",
    "sources",
    "destinations",
    "dicom.scp.artim_s",
    "dicom.scp.commitment.deadline_s",
    "dicom.scp.commitment.retry_delay_s",
    "dicom.scp.dimse_s",
    "dicom.scp.idle_s",
    "dicom.scp.max_associations",
    "dicom.scp.max_associations_per_source",
    "dicom.scp.max_half_open",
    "dicom.scp.reject_unknown_sources",
    "dicom.scu.commitment.deadline_s",
    "dicom.scu.commitment.max_instances",
    "dicom.scu.commitment.max_retries",
    "dicom.scu.commitment.wait_s",
    "dicom.scu.export.failure_threshold",
    "dicom.scu.export.max_retries",
    "dicom.scu.export.retry_delay_s",
    "logging.level",
    "logging.levels",
    "platform.max_retries",
    "platform.pipelines",
    "platform.retry_delay_s",
    "storage.reserve_space_gb",
    "storage.retention.completed_s",
    "storage.retention.faulted_s",
    "storage.watermark_percent",
)
"""Keys that take effect while the adapter runs; an AE Title and a port that is not listened on do
not."""
_NAMES = {
    "application_entities": "name",
    "sources": "name",
    "destinations": "name",
    "platform.pipelines": "id",
}
T = TypeVar("T")


def is_reloadable(key: str) -> bool:
    """Return whether a key, or what is below it, takes effect while the adapter runs."""
    return any(key == one or key.startswith(f"{one}.") for one in RELOADABLE)


class LiveSettings:
    """The settings that count now."""

    def __init__(
        self, settings: Settings, origins: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Begin with these.

        Args:
            settings: The values.
            origins: Where those come from that are no defaults, by key.
        """
        self.settings = settings
        self._origins = origins
        self._followers: list[Callable[[Settings], object]] = []

    def kept(self, make: Callable[[Settings], T]) -> T:
        """Return what follows from the settings; it stays the same object, with other values."""
        rules = make(self.settings)

        def keep(settings: Settings) -> None:
            now = make(settings)
            for name in _field_names(now):
                setattr(rules, name, getattr(now, name))

        self.follow(keep)
        return rules

    def follow(self, take: Callable[[Settings], object]) -> None:
        """Have the settings given to somebody whenever others count; now they have them."""
        self._followers.append(take)

    def exchange(self, settings: Settings, origins: Mapping[str, str]) -> None:
        """Let others count from now on; what needs a restart is what it was, from where it was."""
        left = {key: where for key, where in self._origins.items() if not is_reloadable(key)}
        new = {key: where for key, where in origins.items() if is_reloadable(key)}
        self.settings, self._origins = settings, {**left, **new}
        for take in self._followers:
            take(settings)

    def in_force(self) -> list[EffectiveValue]:
        """Return every key with the value that counts, and where it comes from."""
        layered = Layered(settings=self.settings, origins=dict(self._origins))
        return [
            structs.replace(one, restart=not is_reloadable(one.key))
            for one in settings_in_force(layered)
        ]

    def entities(self) -> list[Configured]:
        """Return AE Titles, sources and destinations of the file, each with a name."""
        settings = self.settings
        return [
            *settings.destinations,
            *named_sources(settings.sources),
            *settings.application_entities,
        ]


def _field_names(rules: object) -> Iterable[str]:
    if isinstance(rules, Struct):
        return rules.__struct_fields__
    assert is_dataclass(rules)
    return [each.name for each in fields(rules)]


class SettingsProposal:
    """Other settings for those that count now (port `Proposal`)."""

    warnings: tuple[str, ...] = ()

    def __init__(
        self,
        live: LiveSettings,
        wanted: Settings,
        files: DestinationFiles,
        origins: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Nothing is changed yet; `origins` are those of what is wanted.

        Raises:
            ConfigurationError: With what needs a restart left as it is, it is not valid.
        """
        running = live.settings
        self._live, self._files, self._origins = live, files, origins
        self._next = LiveSettings(_what_can_run(running, wanted))
        if problems := relations(self._next.settings):
            why = "with what needs a restart left as it is"
            raise ConfigurationError([f"{why}: {problem}" for problem in problems])
        self.entities: Sequence[Configured] = self._next.entities()
        left = {key for key, _, _ in _differences(self._next.settings, wanted)}
        self.changes = tuple(
            Change(key=key, old=old, new=new, restart=key in left)
            for key, old, new in _differences(running, wanted)
        )

    @property
    def settings(self) -> Settings:
        """All that would count."""
        return self._next.settings

    def problems(self, made: Sequence[Configured]) -> list[str]:
        """See `Proposal.problems`."""
        rules = EntityRules(self._next, self._files)
        before = {(kind_of(one), one.name): one for one in self._live.entities()}
        changed = [one for one in self.entities if one != before.get((kind_of(one), one.name))]
        return rules.problems(made, None) + [
            f"destinations: {one.name!r}: {problem}"
            for one in changed
            if isinstance(one, Destination)
            for problem in self._files.problems(one)
        ]

    def adopt(self) -> None:
        """See `Proposal.adopt`."""
        self._live.exchange(self._next.settings, self._origins)


def _what_can_run(running: Settings, wanted: Settings) -> Settings:
    """Return the running settings with everything of the wanted ones that needs no restart."""
    tree: dict[str, Any] = msgspec.to_builtins(running)
    new = msgspec.to_builtins(wanted)
    for key in RELOADABLE:
        *tables, last = key.split(".")
        here, there = tree, new
        for table in tables:
            here, there = here[table], there[table]
        here[last] = there[last]
    effective: Settings = msgspec.convert(tree, Settings)
    entities = list(_startable(running, effective.application_entities))
    return structs.replace(effective, application_entities=entities)


def _startable(
    running: Settings, wanted: Sequence[ApplicationEntity]
) -> Iterator[ApplicationEntity]:
    """Yield AE Titles but for what has to be known at the start: ports, and titles of what runs."""
    ports = {port.serves for port in listening_ports(running)}
    known = {entity.name: entity for entity in running.application_entities}
    for entity in wanted:
        old = known.get(entity.name)
        is_heard = entity.port is None or entity.port in ports
        if old is not None:
            port = entity.port if is_heard else old.port
            yield structs.replace(entity, ae_title=old.ae_title, port=port)
        elif is_heard:
            yield entity


def _differences(old: Settings, new: Settings) -> Iterator[tuple[str, Any, Any]]:
    secrets = frozenset(secret_paths(Settings))
    for key, before, now in differences(_tree(old), _tree(new), _NAMES):
        if any(key == path or key.startswith(f"{path}.") for path in secrets):
            shown = next(path for path in secrets if key == path or key.startswith(f"{path}."))
            yield shown, HIDDEN if before else before, HIDDEN if now else now
        else:
            yield key, before, now


def _tree(settings: Settings) -> Mapping[str, Any]:
    named = structs.replace(settings, sources=named_sources(settings.sources))
    tree: dict[str, Any] = msgspec.to_builtins(named)
    return tree


# --- what follows from the settings, and is read at its use


def retention_of(settings: Settings) -> Retention:
    """Return how long jobs are kept."""
    retention = settings.storage.retention
    return Retention(retention.completed_s, retention.faulted_s)


def job_rules_of(settings: Settings) -> RetryRules:
    """Return how often steps of jobs are tried."""
    return RetryRules(settings.platform.max_retries, settings.platform.retry_delay_s)


def export_rules_of(settings: Settings) -> ExportRules:
    """Return how often exports are tried, and when they have failed."""
    export = settings.dicom.scu.export
    return ExportRules(export.max_retries, export.retry_delay_s, export.failure_threshold)


def commitment_rules_of(settings: Settings) -> CommitmentRules:
    """Return how destinations are asked for storage commitment."""
    asking = settings.dicom.scu.commitment
    return CommitmentRules(
        wait_s=asking.wait_s,
        deadline_s=asking.deadline_s,
        max_retries=asking.max_retries,
        max_instances=asking.max_instances,
    )


def report_rules_of(settings: Settings) -> ReportRules:
    """Return how storage commitment is reported."""
    report = settings.dicom.scp.commitment
    return ReportRules(deadline_s=report.deadline_s, retry_delay_s=report.retry_delay_s)
