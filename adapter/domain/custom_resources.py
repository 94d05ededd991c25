"""Custom resources of Kubernetes: AE Titles, sources and destinations that a cluster keeps.

A resource says what is wanted, the ledger what there is; an order is what is missing between them.
Its status tells its author what came of it. As long as something is there for a resource, the
resource has our finalizer, so that a removal is told as well, and lasts as long as the work does.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from adapter.domain.entities import FilePath
from adapter.domain.entity_orders import EntityAction
from adapter.domain.entity_rows import Configured, Kind, ListedEntity, settings_of

GROUP = "dicom-adapter.io"
VERSION = "v1alpha1"
FINALIZER = f"{GROUP}/entity"
RESOURCE_KINDS: dict[Kind, str] = {
    "aetitle": "AETitle",
    "source": "Source",
    "destination": "Destination",
}
PLURALS: dict[Kind, str] = {
    "aetitle": "aetitles",
    "source": "sources",
    "destination": "destinations",
}
SECRET_KEYS = ("password", "token")
"""Of a destination; whoever may read resources would read them."""
RESOURCE_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", re.ASCII)
"""A DNS subdomain name (RFC 1123), as Kubernetes has them."""
MESSAGE_LENGTH_MAX = 1024
Seconds = Annotated[float, Meta(gt=0, le=3600)]


class KubernetesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`kubernetes`."""

    watch_custom_resources: bool = False
    namespace: Annotated[
        str,
        Meta(
            title="lower-case letters, digits and hyphens",
            max_length=63,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$(?!\n)",
        ),
    ] = "default"
    kubeconfig: FilePath = ""
    """Empty: `KUBECONFIG`, `~/.kube/config`, or the service account of the pod."""
    answer_s: Seconds = 10.0
    watch_s: Annotated[float, Meta(ge=1, le=3600)] = 300.0
    """After so long a watch is begun anew."""
    retry_s: Seconds = 30.0
    """Between two tries of what was refused."""


class ResourceStatus(Struct, frozen=True, kw_only=True):
    """What is told of a resource, in it."""

    accepted: bool = False
    message: str = ""
    observed_generation: int = 0


class Resource(Struct, frozen=True, kw_only=True):
    """A resource as the cluster has it."""

    kind: Kind
    name: str
    version: str
    """Its resourceVersion: of this state of it."""
    generation: int
    """Of its spec."""
    entity: Configured | None
    """What it describes; None: nothing, for what `problems` say."""
    problems: tuple[str, ...] = ()
    deleting: bool = False
    """It goes when nobody's finalizer is left."""
    finalizers: tuple[str, ...] = ()
    status: ResourceStatus = ResourceStatus()

    @property
    def is_held(self) -> bool:
        """Whether it does not go without us."""
        return FINALIZER in self.finalizers


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All resources of a kind."""

    resources: Mapping[str, Resource]
    """By name."""
    version: str
    """From which on changes can be watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceChange:
    """What is heard of a kind that is watched."""

    version: str = ""
    """Seen so far; empty: that it is watched."""
    resource: Resource | None = None
    gone: bool = False
    """There is no such resource any more."""


class CustomResources(Protocol):
    """The resources of one namespace.

    All methods raise UnavailableError if the API server cannot be reached, and ClusterRefusalError
    if it answers something else than what was asked for.
    """

    async def list(self, kind: Kind) -> Listing:
        """Return all of a kind."""

    async def watch(self, kind: Kind, since: str, heard: Callable[[ResourceChange], None]) -> None:
        """Tell what changes after a version; return when the server ends it.

        Raises:
            ClusterRefusalError: Among others with 410: that version is too old by now.
        """

    async def put_status(self, resource: Resource, status: ResourceStatus) -> Resource:
        """Write the status of a resource; return it as it is then."""

    async def put_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource:
        """Let others than before have a say in when it goes, unless it has changed since."""

    def spelled(self, kind: Kind, problem: str) -> str:
        """Return a problem with its key as resources spell it."""


class ResourceTrail(Protocol):
    """The audit trail."""

    async def followed(
        self, action: str, path: str, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        """Note what a resource has brought about."""


@dataclass(frozen=True, slots=True)
class ClusterEdges:
    """What there is outside for custom resources."""

    resources: CustomResources
    trail: ResourceTrail


@dataclass(slots=True)
class ClusterFigures:
    """How it is with the cluster, for /health/status and /metrics."""

    watches: bool = False
    outages: dict[str, str] = field(default_factory=dict)
    """Why, by what cannot be done: to watch one of `PLURALS`, or to write."""
    resources: dict[tuple[Kind, bool], int] = field(default_factory=dict)
    """How many, by kind and whether they are accepted."""

    @property
    def outage(self) -> str:
        """What is told of it; empty: all is well."""
        return "; ".join(self.outages.values())


def next_action(resource: Resource, listed: ListedEntity | None) -> EntityAction | None:
    """Return what has to be ordered for a resource; None: nothing, or nothing now."""
    ours = listed is not None and listed.origin == "kubernetes"
    if resource.deleting:
        return "remove" if listed is not None and ours and not listed.retiring else None
    if resource.entity is None:
        return None
    if listed is None:
        return "create"
    if ours and not listed.retiring and listed.settings == settings_of(resource.entity):
        return None
    return "change"  # the answer says why not, if it belongs to somebody else


def status_of(
    resource: Resource, listed: ListedEntity | None, problems: list[str]
) -> ResourceStatus:
    """Return what to tell of a resource, beside what is listed now and was said against it."""
    ours = listed is not None and listed.origin == "kubernetes"
    words = list(problems)
    if resource.deleting and problems:
        words = [f"cannot be removed: {'; '.join(problems)}"]
    elif resource.deleting:
        words = ["is being removed; it goes when its work is done"]
    elif problems and ours:
        words.append("what was accepted before stays")
    elif listed is not None and not problems:
        words = list(listed.problems)
    message = "; ".join(words)
    if len(message) > MESSAGE_LENGTH_MAX:
        message = f"{message[: MESSAGE_LENGTH_MAX - 3]}..."
    return ResourceStatus(
        accepted=ours and not words and not resource.deleting,
        message=message or "in use",
        observed_generation=resource.generation,
    )
