"""What is told of storage, actors, configuration and a cluster."""

from msgspec import UNSET, UnsetType, field

from adapter.domain.events import Data, Event
from adapter.domain.recovery import LedgerReport


class SpaceFacts(Data, frozen=True, kw_only=True):
    """How much room there is."""

    total_bytes: int
    free_bytes: int
    reserved_bytes: int
    why: str | UnsetType = UNSET
    """If it is not for want of space: the file system fails, is read-only, or another one."""


class ReclaimedFacts(Data, frozen=True, kw_only=True):
    """What it has brought."""

    freed_bytes: int = field(name="bytes")


class SpaceEvent(Event, frozen=True, kw_only=True):
    """Admission has changed."""

    data: SpaceFacts


class StorageLow(SpaceEvent, frozen=True, tag="storage.low"):
    """Admission is closed."""


class StorageRecovered(SpaceEvent, frozen=True, tag="storage.recovered"):
    """Admission is open."""


class StorageReclaimed(Event, frozen=True, kw_only=True, tag="storage.reclaimed"):
    """A job's folder and rows are gone."""

    data: ReclaimedFacts


class StorageRebuilt(Event, frozen=True, kw_only=True, tag="storage.rebuilt"):
    """Once, at a start that had to reconcile ledger and folders."""

    data: LedgerReport


# --- actors


class ActorFacts(Data, frozen=True, kw_only=True):
    """Which one."""

    actor: str


class StartFacts(ActorFacts, frozen=True, kw_only=True):
    """What its end would mean."""

    essential: bool


class CrashFacts(ActorFacts, frozen=True, kw_only=True):
    """What ended it."""

    error: str
    crashes: int | UnsetType = UNSET
    """Of the latest; UNSET: it was never started."""


class ActorStarted(Event, frozen=True, kw_only=True, tag="actor.started"):
    """It runs."""

    data: StartFacts


class CrashEvent(Event, frozen=True, kw_only=True):
    """A bug has ended an actor, or its start was refused."""

    data: CrashFacts


class ActorCrashed(CrashEvent, frozen=True, tag="actor.crashed"):
    """It is started again."""


class ActorParked(CrashEvent, frozen=True, tag="actor.parked"):
    """It is not."""


class ActorStopped(Event, frozen=True, kw_only=True, tag="actor.stopped"):
    """It has ended."""

    data: ActorFacts


# --- configuration


class ConfigFacts(Data, frozen=True, kw_only=True):
    """What has changed."""

    kind: str
    """`aetitle`, `source`, `destination`, `key` of the API, `file` as a whole."""
    name: str | UnsetType = UNSET
    retiring: bool | UnsetType = UNSET
    id: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    keys: list[str] | UnsetType = UNSET
    """That count now."""
    restart: list[str] | UnsetType = UNSET
    """Keys that need one."""


class ConfigProblems(Data, frozen=True, kw_only=True):
    """Why it cannot be used; `kind` (`certificate`), `name` (key) and `why` of a certificate."""

    problems: list[str] | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    why: str | UnsetType = UNSET


class ConfigEvent(Event, frozen=True, kw_only=True):
    """Configuration has changed."""

    data: ConfigFacts


class ConfigChanged(ConfigEvent, frozen=True, tag="config.changed"):
    """Also: the removal of something has begun."""


class ConfigCreated(ConfigEvent, frozen=True, tag="config.created"):
    """Something was made."""


class ConfigDeleted(ConfigEvent, frozen=True, tag="config.deleted"):
    """Something is gone."""


class ConfigRefused(Event, frozen=True, kw_only=True, tag="config.refused"):
    """What runs goes on."""

    data: ConfigProblems


# --- custom resources


class ClusterOutage(Data, frozen=True, kw_only=True):
    """What cannot be done."""

    what: str
    why: str


class ResourceProblems(Data, frozen=True, kw_only=True):
    """What is wrong with which one."""

    kind: str
    name: str
    problems: list[str]


class KubernetesLost(Event, frozen=True, kw_only=True, tag="kubernetes.lost"):
    """Custom resources cannot be followed."""

    data: ClusterOutage


class KubernetesReached(Event, frozen=True, tag="kubernetes.reached"):
    """They can be again."""


class KubernetesRefused(Event, frozen=True, kw_only=True, tag="kubernetes.refused"):
    """A custom resource is refused; its status says so too."""

    data: ResourceProblems
