"""Every configuration key: its type, default and range.

What must hold between keys is in `adapter.relations`; `adapter.configuration` reads files.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from adapter.domain.custom_resources import KubernetesSettings
from adapter.domain.entities import (
    ASSOCIATIONS_MAX,
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
)
from adapter.domain.http_endpoint import HttpSettings
from adapter.domain.identity import PasscodeHash
from adapter.domain.listener_tls import ApiTls
from adapter.domain.log_levels import LoggerLevels, LogLevel
from adapter.domain.metadata import METADATA_TAGS
from adapter.domain.results_service import ResultsSettings
from adapter.domain.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from adapter.domain.webhooks import Webhook

Seconds = Annotated[float, Meta(gt=0, le=3600)]
UNCOMPRESSED = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN]


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
    max_associations: Annotated[int, Meta(ge=1, le=ASSOCIATIONS_MAX)] = 25
    max_associations_per_source: Annotated[int, Meta(ge=0, le=ASSOCIATIONS_MAX)] = 0
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
    auth: Literal["api-key", "none"] | None = None
    """`none` must be said aloud to serve others than this machine."""
    host_names: Annotated[list[Host], Meta(max_length=64)] = field(default_factory=list)
    tls: ApiTls = field(default_factory=ApiTls)
    max_connections: Annotated[int, Meta(ge=1, le=65_536)] = 1024
    max_connections_per_address: Annotated[int, Meta(ge=0, le=65_536)] = 512


class Preview(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pictures of instances; they show patients."""

    enabled: bool | Literal["auto"] = "auto"
    max_pixels: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 25_000_000
    max_instance_bytes: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] = 500_000_000
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    memory_gb: Annotated[float, Meta(ge=0.25, le=1024)] = 2.0


class Logging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level: LogLevel = "info"
    levels: LoggerLevels = field(default_factory=dict)
    format: Literal["console", "json"] = "console"
    phi: bool = False


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
    webhooks: list[Webhook] = field(default_factory=list)
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    storage: Storage = field(default_factory=Storage)
    api: Api = field(default_factory=Api)
    preview: Preview = field(default_factory=Preview)
    logging: Logging = field(default_factory=Logging)
    shutdown: Shutdown = field(default_factory=Shutdown)
