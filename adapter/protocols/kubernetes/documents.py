"""Resources as JSON: what the API server says becomes a resource, in the words of REST.

The spec of a resource is the body of a request (`protocols.web.entity_forms`), so both take the
same and refuse the same, but for the name, which is that of the resource, and for secrets.
"""

import json
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from adapter.domain.custom_resources import (
    RESOURCE_NAME,
    SECRET_KEYS,
    Resource,
    ResourceChange,
    ResourceStatus,
)
from adapter.domain.entity_rows import Configured, Kind
from adapter.errors import ClusterRefusalError, UnavailableError
from adapter.protocols.web.entity_forms import FORMS, Form, Objections

T = TypeVar("T")
FORM_OF: dict[Kind, Form] = {form.kind: form for form in FORMS}


class _Metadata(Struct, frozen=True, rename="camel"):
    name: str
    resource_version: str
    generation: int = 0
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] | None = None


class _Status(Struct, frozen=True, rename="camel"):
    accepted: bool = False
    message: str = ""
    observed_generation: int = 0


class _Document(Struct, frozen=True):
    metadata: _Metadata
    spec: Any = None
    status: Any = None


class _ListMetadata(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")


class _Page(Struct, frozen=True):
    metadata: _ListMetadata
    items: list[Any] = []


class _Failure(Struct, frozen=True):
    """The Status of a watch."""

    code: int = 0
    message: str = ""


class _Bookmark(Struct, frozen=True):
    """Says how far a watch has come."""

    metadata: _ListMetadata


def resource_of(kind: Kind, document: Any) -> Resource:
    """Return a resource as the API server describes it.

    Raises:
        UnavailableError: That is none.
    """
    found = _read(document, _Document)
    metadata = found.metadata
    if not RESOURCE_NAME.fullmatch(metadata.name):
        raise UnavailableError(f"what it says has the name {metadata.name!r}")
    entity, problems = _entity(FORM_OF[kind], metadata.name, found.spec)
    return Resource(
        kind=kind,
        name=metadata.name,
        version=metadata.resource_version,
        generation=metadata.generation,
        entity=entity,
        problems=problems,
        deleting=metadata.deletion_timestamp is not None,
        finalizers=metadata.finalizers or (),
        status=_status(found.status),
    )


def _status(document: Any) -> ResourceStatus:
    """Return the status of a resource; what somebody else has written there is none."""
    try:
        found = msgspec.convert(document or {}, _Status)
    except msgspec.ValidationError:
        return ResourceStatus()
    return ResourceStatus(
        accepted=found.accepted,
        message=found.message,
        observed_generation=found.observed_generation,
    )


def _entity(form: Form, name: str, spec: Any) -> tuple[Configured | None, tuple[str, ...]]:
    """Return what a spec describes, or what is wrong with it."""
    if not isinstance(spec, dict):
        return None, ("spec: is missing",)
    problems = [
        f"{key}: secrets are not for resources; make this destination over REST or in the file"
        for key in SECRET_KEYS
        if form.kind == "destination" and key in spec
    ]
    if spec.get("name", name) != name:
        problems.append(f"name: is that of the resource, {name!r}; leave it out")
    if problems:
        return None, tuple(problems)
    try:
        return form.read({**spec, "name": name}, None), ()
    except Objections as error:
        return None, tuple(error.problems)


def status_patch(status: ResourceStatus) -> bytes:
    """Return a merge patch (RFC 7396) of a status."""
    return json.dumps({
        "status": {
            "accepted": status.accepted,
            "message": status.message,
            "observedGeneration": status.observed_generation,
        }
    }).encode()  # fmt: skip


def finalizers_patch(resource: Resource, finalizers: tuple[str, ...]) -> bytes:
    """Return a merge patch of finalizers, for this state of a resource and no other."""
    metadata = {"resourceVersion": resource.version, "finalizers": list(finalizers)}
    return json.dumps({"metadata": metadata}).encode()


def page_of(document: Any) -> tuple[list[Any], str, str]:
    """Return the resources of an answer, the version of the list, and where it goes on.

    Raises:
        UnavailableError: That is no list.
    """
    page = _read(document, _Page)
    return page.items, page.metadata.resource_version, page.metadata.continue_ or ""


def change_of(kind: Kind, line: str) -> ResourceChange:
    """Return what a line of a watch tells.

    Raises:
        ClusterRefusalError: The watch has failed.
        UnavailableError: It tells nothing.
    """
    try:
        event = json.loads(line)
        what, document = event["type"], event["object"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnavailableError("the watch says what is no event") from error
    if what == "ERROR":
        failure = _read(document, _Failure)
        raise ClusterRefusalError(f"the watch has failed: {failure.message}", failure.code)
    if what == "BOOKMARK":
        return ResourceChange(version=_read(document, _Bookmark).metadata.resource_version)
    resource = resource_of(kind, document)
    return ResourceChange(version=resource.version, resource=resource, gone=what == "DELETED")


def _read(document: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise UnavailableError(f"what it says cannot be read: {error}") from error
