"""Every configuration key: its type, default and range, and what must hold between keys.

Limits that depend on each other are checked here. `adapter.configuration` reads files into these.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, field

from adapter.domain.assignments import load_processors, views_of
from adapter.domain.carriers import carrier_problems
from adapter.domain.entities import (
    RETURN_TO_SENDER,
    SECRET,
    AETitle,
    ApplicationEntity,
    Destination,
    Host,
    ListenerTls,
    ListenPort,
    Pipeline,
    Source,
    Tag,
    UIDText,
    network_of,
)
from adapter.domain.fallback import fallback_problems
from adapter.domain.http_endpoint import HttpSettings, endpoint_problems
from adapter.domain.identity import PasscodeHash
from adapter.domain.listener_tls import listener_problems
from adapter.domain.metadata import METADATA_TAGS
from adapter.domain.processors import pipelines_of
from adapter.domain.results_service import ResultsSettings, results_problems

Seconds = Annotated[float, Meta(gt=0, le=3600)]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - to compare with
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", re.ASCII)
UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Verification(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool = True
    transfer_syntaxes: Annotated[list[UIDText], Meta(min_length=1)] = field(
        default_factory=UNCOMPRESSED.copy
    )


class UserIdentities(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is believed of user identities (PS3.7 D.3.3.7)."""

    mode: Literal["accept", "verify"] = "accept"
    users: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=255)], PasscodeHash],
        Meta(max_length=10_000, extra_json_schema=SECRET),
    ] = field(default_factory=dict)


class ReportSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    deadline_s: Annotated[float, Meta(gt=0, le=2_592_000)] = 86_400.0
    retry_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0


class Scp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: Host = "0.0.0.0"  # noqa: S104 - modalities connect from elsewhere
    port: ListenPort = 11112
    max_associations: Annotated[int, Meta(ge=1, le=1000)] = 25
    max_associations_per_source: Annotated[int, Meta(ge=0, le=1000)] = 0
    max_half_open: Annotated[int, Meta(ge=1, le=65_536)] = 512
    max_pdu: Annotated[int, Meta(ge=4096, le=1_048_576)] = 131_072
    receivers: Annotated[int, Meta(ge=0, le=64)] | Literal["auto"] = "auto"
    preferred_transfer_syntaxes: list[UIDText] = field(default_factory=list)
    reject_unknown_sources: bool = True
    verification: Verification = field(default_factory=Verification)
    user_identity: UserIdentities = field(default_factory=UserIdentities)
    tls: ListenerTls = field(default_factory=ListenerTls)
    artim_s: Seconds = 30.0
    idle_s: Seconds = 60.0
    dimse_s: Seconds = 30.0
    answer_s: Seconds = 10.0
    log_dimse_datasets: bool = False
    log_data_pdus: bool = False
    commitment: ReportSettings = field(default_factory=ReportSettings)


class ExportSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    failure_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 3
    retry_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0


class CommitmentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    wait_s: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    deadline_s: Annotated[float, Meta(gt=0, le=2_592_000)] = 3600.0
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 3
    max_instances: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class TranscodingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    deadline_s: Seconds = 120.0
    memory_gb: Annotated[float, Meta(ge=0.25, le=1024)] = 4.0


class Scu(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ae_title: AETitle = "ADAPTER"
    max_associations: Annotated[int, Meta(ge=1, le=100)] = 8
    connect_s: Seconds = 10.0
    acse_s: Seconds = 15.0
    dimse_s: Seconds = 60.0
    log_dimse_datasets: bool = False
    log_data_pdus: bool = False
    export: ExportSettings = field(default_factory=ExportSettings)
    commitment: CommitmentSettings = field(default_factory=CommitmentSettings)
    transcoding: TranscodingSettings = field(default_factory=TranscodingSettings)


class Dicom(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    scp: Scp = field(default_factory=Scp)
    scu: Scu = field(default_factory=Scu)


class PlatformSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    engine: Literal["folder", "command", "http"] = "folder"
    endpoint: Annotated[str, Meta(max_length=2048)] = ""
    http: HttpSettings = field(default_factory=HttpSettings)
    pipelines: list[Pipeline] = field(default_factory=list)
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 3
    retry_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 180.0
    upload_metadata: bool = False
    metadata_dicom_source: Annotated[list[Tag], Meta(max_length=64)] = field(
        default_factory=lambda: list(METADATA_TAGS)
    )
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
    results: ResultsSettings = field(default_factory=ResultsSettings)
    storage: Storage = field(default_factory=Storage)
    api: Api = field(default_factory=Api)
    logging: Logging = field(default_factory=Logging)
    shutdown: Shutdown = field(default_factory=Shutdown)


class ListeningPort(NamedTuple):
    """A port senders reach, and who answers there."""

    key: str
    """Of the configuration."""
    port: int
    entities: list[ApplicationEntity]
    tls: bool
    serves: int
    """The port whose AE Titles answer here: itself, or the shared one."""


def listening_ports(settings: Settings) -> list[ListeningPort]:
    """Return the shared port, those that AE Titles have of their own, and the one for TLS."""
    shared, tls = settings.dicom.scp.port, settings.dicom.scp.tls
    only_tls = tls.mode == "only"
    ports = {shared: ListeningPort("dicom.scp.port", shared, [], only_tls, shared)}
    for index, entity in enumerate(settings.application_entities):
        number = shared if entity.port is None else entity.port
        key = f"application_entities[{index}].port"
        new = ListeningPort(key, number, [], only_tls, number)
        ports.setdefault(number, new).entities.append(entity)
    listening = [*ports.values()]
    if tls.mode == "beside":
        listening.append(
            ListeningPort("dicom.scp.tls.port", tls.port, ports[shared].entities, True, shared)
        )
    return listening


def relations(settings: Settings) -> list[str]:
    """Return what is wrong between keys that are right by themselves."""
    problems = list(fallback_problems(settings.destinations))
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
    destinations = {RETURN_TO_SENDER, *(one.name for one in settings.destinations)}
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
        if entity.storage_commitment == "held" and settings.storage.durability != "fsync":
            problems.append(
                f'{here}.storage_commitment: "held" promises more than storage.durability keeps'
            )
        try:
            load_processors(entity)
        except ValueError as error:
            problems += [f"{here}.{line}" for line in str(error).splitlines()]
    problems += results_problems(settings.results)
    platform, root = settings.platform, str(Path(settings.storage.root).absolute())
    return [
        *problems,
        *(endpoint_problems(platform.endpoint, platform.http) if platform.engine == "http" else ()),
        *carrier_problems(settings.destinations, root),
        *listener_problems(settings.dicom.scp.tls),
        *_addresses(settings),
    ]


def pipelines_without_program(settings: Settings) -> Iterator[str]:
    """Yield a line for each pipeline id that the `command` engine does not know."""
    known = {pipeline.id for pipeline in settings.platform.pipelines}
    for index, entity in enumerate(settings.application_entities):
        views = [view for _, view in views_of(entity) if view.processor == "aetitle"]
        for name, pipeline_id in [named for view in views for named in pipelines_of(view).items()]:
            if pipeline_id not in known:
                here = f"application_entities[{index}]: pipeline {name!r}"
                yield f"{here}: platform.pipelines has no entry with id {pipeline_id!r}"


def _addresses(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with who listens and connects where."""
    scp, api = settings.dicom.scp, settings.api
    here = {*_LOOPBACK, scp.host}
    ports: dict[int, str] = {}
    for listening in listening_ports(settings):
        if listening.port in ports:
            yield f"{listening.key} = {listening.port} is {ports[listening.port]} as well"
        if listening.port:  # a free one is nobody else's
            ports[listening.port] = listening.key
    for destination in settings.destinations:
        if destination.port and destination.host in here and destination.port in ports:
            yield f"destinations: {destination.name!r} is this adapter itself"
    if api.port in ports and (api.host == scp.host or _ANYWHERE & {api.host, scp.host}):
        yield f"{ports[api.port]} = {api.port} is api.port as well"
    for index, source in enumerate(settings.sources):
        for host in source.hosts:
            if network_of(host) is None and not _HOST_NAME.fullmatch(host):
                yield f"sources[{index}].host: {host!r} is no address, network or name"
