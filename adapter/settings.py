"""Every configuration key: its type, default and range, and what must hold between keys.

Limits that depend on each other are checked here. `adapter.configuration` reads files into these.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from adapter.domain.entities import (
    AETitle,
    ApplicationEntity,
    Destination,
    Host,
    ListenPort,
    Pipeline,
    Source,
    UIDText,
)
from adapter.domain.processors import load_processor

Seconds = Annotated[float, Meta(gt=0, le=3600)]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
LogLevel = Literal["debug", "info", "warning", "error"]


class Verification(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool = True
    transfer_syntaxes: Annotated[list[UIDText], Meta(min_length=1)] = field(
        default_factory=lambda: [
            "1.2.840.10008.1.2.1",
            "1.2.840.10008.1.2",
            "1.2.840.10008.1.2.2",
        ]
    )


class Scp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: Host = "0.0.0.0"  # noqa: S104 - modalities connect from elsewhere
    port: ListenPort = 11112
    max_associations: Annotated[int, Meta(ge=1, le=1000)] = 25
    max_pdu: Annotated[int, Meta(ge=4096, le=1_048_576)] = 131_072
    reject_unknown_sources: bool = True
    verification: Verification = field(default_factory=Verification)
    artim_s: Seconds = 30.0
    idle_s: Seconds = 60.0
    dimse_s: Seconds = 30.0
    answer_s: Seconds = 10.0


class ExportSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 3
    retry_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0


class Scu(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ae_title: AETitle = "ADAPTER"
    max_associations: Annotated[int, Meta(ge=1, le=100)] = 8
    connect_s: Seconds = 10.0
    acse_s: Seconds = 15.0
    dimse_s: Seconds = 60.0
    export: ExportSettings = field(default_factory=ExportSettings)


class Dicom(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    scp: Scp = field(default_factory=Scp)
    scu: Scu = field(default_factory=Scu)


class PlatformSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    engine: Literal["folder", "command"] = "folder"
    pipelines: list[Pipeline] = field(default_factory=list)
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 3
    retry_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 180.0
    parallel_uploads: Annotated[int, Meta(ge=1, le=64)] = 4


class RetentionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    completed_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 86_400.0
    faulted_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 2_592_000.0


class Storage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    root: Annotated[str, Meta(min_length=1)] = "./data"
    durability: Literal["fsync", "os"] = "fsync"
    watermark_percent: Annotated[float, Meta(ge=1, le=100)] = 85.0
    reserve_space_gb: Annotated[float, Meta(ge=0, le=1_000_000)] = 5.0
    retention: RetentionSettings = field(default_factory=RetentionSettings)


class Api(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: Host = "127.0.0.1"
    port: ListenPort = 5000
    auth: Literal["none"] | None = None
    """`none` must be said aloud to serve others than this machine."""


class Logging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level: LogLevel = "info"
    format: Literal["console", "json"] = "console"


class Shutdown(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    association_grace_s: Annotated[float, Meta(ge=0, le=600)] = 10.0
    deadline_s: Seconds = 30.0


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration; docs/configuration.md explains every key."""

    dicom: Dicom = field(default_factory=Dicom)
    application_entities: list[ApplicationEntity] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    destinations: list[Destination] = field(default_factory=list)
    platform: PlatformSettings = field(default_factory=PlatformSettings)
    storage: Storage = field(default_factory=Storage)
    api: Api = field(default_factory=Api)
    logging: Logging = field(default_factory=Logging)
    shutdown: Shutdown = field(default_factory=Shutdown)


def relations(settings: Settings) -> list[str]:
    """Return what is wrong between keys that are right by themselves."""
    problems = []
    scp, shutdown = settings.dicom.scp, settings.shutdown
    if scp.answer_s >= scp.dimse_s:
        problems.append("dicom.scp.answer_s must be below dicom.scp.dimse_s")
    if shutdown.association_grace_s >= shutdown.deadline_s:
        problems.append("shutdown.association_grace_s must be below shutdown.deadline_s")
    if settings.api.host not in _LOOPBACK and settings.api.auth is None:
        problems.append(
            f"api.host = {settings.api.host!r} serves other machines without authentication; "
            'say api.auth = "none" if that is meant'
        )
    destinations = {destination.name for destination in settings.destinations}
    entities = settings.application_entities
    for what, values in (
        ("application_entities: ae_title", [entity.ae_title.strip() for entity in entities]),
        ("application_entities: name", [entity.name for entity in entities]),
        ("destinations: name", [destination.name for destination in settings.destinations]),
        ("platform.pipelines: id", [pipeline.id for pipeline in settings.platform.pipelines]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        problems += [f"{what} {value!r} is used twice" for value in twice]
    for index, entity in enumerate(entities):
        here = f"application_entities[{index}]"
        problems += [
            f"{here}.destinations: {name!r} is not among the destinations"
            for name in entity.destinations
            if name not in destinations
        ]
        try:
            load_processor(entity)
        except ValueError as error:
            problems += [f"{here}.{line}" for line in str(error).splitlines()]
    own = [d for d in settings.destinations if _is_ourselves(d, scp)]
    problems += [f"destinations: {d.name!r} is this adapter itself" for d in own]
    return problems


def _is_ourselves(destination: Destination, scp: Scp) -> bool:
    local = destination.host in (*_LOOPBACK, scp.host)
    return local and destination.port == scp.port and scp.port != 0
