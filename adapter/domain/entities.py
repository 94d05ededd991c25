"""The configured parties: local Application Entities, sources, destinations, pipelines.

These structs are part of the configuration file (`adapter.settings`) and of the REST API; a field's
constraint stands in its type, so that both refuse the same values.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

# In patterns `$(?!\n)` is the end: `$` alone lets a final newline pass (Python's re).
AETitle = Annotated[
    str,
    Meta(
        title="1 to 16 printable ASCII characters but the backslash, and not only spaces",
        min_length=1,
        max_length=16,
        pattern=r"^[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*$(?!\n)",
    ),
]
Name = Annotated[
    str,
    Meta(
        title="letters, digits, dots, hyphens and underscores, a letter or digit first",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$(?!\n)",
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535)]
ListenPort = Annotated[int, Meta(ge=0, le=65535)]
Host = Annotated[str, Meta(min_length=1, max_length=255)]
Tag = Annotated[
    str, Meta(title="a tag such as 0020,000D", pattern=r"^[0-9A-Fa-f]{4},[0-9A-Fa-f]{4}$(?!\n)")
]
UIDText = Annotated[
    str,
    Meta(
        title="a UID such as 1.2.840.10008.1.2", pattern=r"^[0-9]+(\.[0-9]+)*$(?!\n)", max_length=64
    ),
]
WINDOW = r"^($|([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$)(?!\n)"
Priority = Literal["lower", "normal", "higher", "immediate"]
GroupedBy = Annotated[str, Meta(min_length=1, max_length=64)]
"""`GGGG,EEEE` or `association`; `domain.group_keys` says what is wrong with any other."""
SameInstance = Literal["keep-first", "replace", "keep-both"]
"""What happens to a second instance with the SOP Instance UID of one in the group."""
ASSOCIATIONS_MAX = 1000
"""That may be allowed at once."""
PROCESSORS_MAX = 8
"""Of one AE Title: each instance gets a name more for each."""
OnAbort = Literal["keep", "drop", "hold"]
RETURN_TO_SENDER = "@sender"
"""Among destinations: whoever has sent the instances of the group."""
LateArrivals = Literal["new-job", "ignore", "supplement"]

DIMSE_PRIORITY: dict[str, int] = {"immediate": 1, "higher": 1, "normal": 0, "lower": 2}
"""What a destination is told (PS3.7 9.1.1.1)."""
PRIORITY_ORDER: dict[str, int] = {"immediate": 0, "higher": 1, "normal": 2, "lower": 3}


Grouping = GroupedBy | Annotated[list[GroupedBy], Meta(min_length=1, max_length=8)]
QuietSeconds = Annotated[float, Meta(ge=0, le=86_400)]


class OneProcessor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several processors of an AE Title; what it does not say, the AE Title says for it."""

    name: Name
    """Among those of the AE Title."""
    processor: Name | None = None
    """The plug-in; None: the one of this name."""
    settings: dict[str, Any] = field(default_factory=dict)
    grouping: Grouping | None = None
    timeout_s: QuietSeconds | None = None
    pipelines: dict[str, str] | None = None
    priority: Priority | None = None


class ApplicationEntity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A local AE Title that accepts instances (PS3.8 9.3.2)."""

    name: Name
    ae_title: AETitle
    port: Port | None = None
    """Answers here and nowhere else; None: on the shared port."""
    grouping: Grouping = "0020,000D"
    timeout_s: QuietSeconds = 5.0
    """0 only with `association` in grouping; else at least 1."""
    max_age_s: Annotated[float, Meta(ge=1, le=2_592_000)] = 86_400.0
    max_instances: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """0: no limit."""
    late_arrivals: LateArrivals = "new-job"
    late_arrival_window_s: Annotated[float, Meta(ge=1, le=2_592_000)] = 86_400.0
    overwrite_same_instance: bool | Literal["keep-both"] = False
    on_abort: OnAbort = "keep"
    required_attributes: list[Tag] = field(default_factory=list)
    ignored_sop_classes: list[UIDText] = field(default_factory=list)
    allowed_sop_classes: list[UIDText] = field(default_factory=list)
    processor: Name = "aetitle"
    settings: dict[str, Any] = field(default_factory=dict)
    processors: Annotated[list[OneProcessor], Meta(max_length=PROCESSORS_MAX)] = field(
        default_factory=list
    )
    """In place of `processor` and `settings`, if there are several."""
    pipelines: dict[str, str] = field(default_factory=dict)
    priority: Priority = "normal"
    destinations: list[str] = field(default_factory=list)
    loop_guard: bool = True
    """Results of its own pipelines that come back in are not stored."""
    max_associations: Annotated[int, Meta(ge=0, le=ASSOCIATIONS_MAX)] = 0
    storage_commitment: Literal["off", "held"] = "off"
    """`held`: requests (PS3.4 J) are answered by what is held, or a destination has committed."""

    @property
    def same_instance(self) -> SameInstance:
        """What `overwrite_same_instance` means."""
        if self.overwrite_same_instance == "keep-both":
            return "keep-both"
        return "replace" if self.overwrite_same_instance else "keep-first"


SourceName = Annotated[str, Meta(max_length=64, pattern=r"^([!-.0-~]([ -.0-~]*[!-.0-~])?)?$(?!\n)")]


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A peer that may send: its AE Title and where it calls from (name, address, CIDR)."""

    name: SourceName = ""
    """By which it is looked up and removed over REST; empty: its AE Title."""
    ae_title: AETitle
    host: Host | list[Host]

    @property
    def hosts(self) -> list[str]:
        return [self.host] if isinstance(self.host, str) else self.host


TlsVersion = Literal["1.2", "1.3"]
SECRET = {"writeOnly": True}
"""Marks a value that is never shown (JSON Schema's word for it)."""
FilePath = Annotated[str, Meta(max_length=4096, pattern=r"^[^\x00]*$")]


class ListenerTls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS of the listening ports (PS3.15 B.12); files are PEM."""

    mode: Literal["off", "beside", "only"] = "off"
    """`beside`: on a port of its own, beside the shared one; `only`: every port speaks TLS."""
    port: ListenPort = 2762  # PS3.15 B.12: registered as dicom-tls
    certificate: FilePath = ""
    """With its chain."""
    key: FilePath = ""
    """Empty: in the same file as the certificate."""
    ca: FilePath = ""
    """Who signs the certificates of senders."""
    client_certificates: Literal["none", "optional", "required"] = "required"
    minimum_version: TlsVersion = "1.2"


class DestinationTls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS towards a destination (PS3.15 B.12); files are PEM."""

    ca: FilePath = ""
    """Who signs its certificate; empty: the certificate authorities of the system."""
    verify_host_name: bool = True
    certificate: FilePath = ""
    """Ours, with its chain, for a destination that asks for it."""
    key: FilePath = ""
    minimum_version: TlsVersion = "1.2"


EnvironmentName = Annotated[
    str,
    Meta(
        title="the name of a variable", max_length=255, pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$(?!\n)"
    ),
]
Carrier = Literal["dicom", "dicomweb", "folder"]
"""C-STORE (PS3.4 B), STOW-RS (PS3.18 10.5), files in a folder (PS3.10)."""


CARRIER_KEYS: dict[str, dict[str, bool]] = {
    "dicom": {
        "ae_title": True,
        "host": True,
        "port": True,
        "tls": False,
        "storage_commitment": False,
        "transcode": False,
    },
    "dicomweb": {
        "url": True,
        "tls": False,
        "authentication": False,
        "user": False,
        "password_file": False,
        "password_environment": False,
        "token_file": False,
        "token_environment": False,
        "password": False,
        "token": False,
        "batch_size": False,
        "answer_s": False,
    },
    "folder": {"path": True},
}
"""Keys of a destination that belong to its type, and whether it needs them; others are of all."""


class Varied(Struct, frozen=True):
    """A struct whose keys depend on one another."""

    @classmethod
    def key_problems(cls, given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """Yield keys, missing ones too, and what is wrong with them; values are not looked at."""
        raise NotImplementedError


class Destination(Varied, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where results go."""

    name: Name
    type: Carrier = "dicom"
    tls: DestinationTls | None = None
    # dicom
    ae_title: AETitle = ""
    host: Annotated[Host, Meta(title="an address or a name", pattern=r"^\S+$(?!\n)")] = ""
    port: Port = 0
    storage_commitment: bool = False
    """What is sent there is held until it has committed to keep it (PS3.4 J)."""
    max_associations: Annotated[int, Meta(ge=1, le=100)] = 1
    """At once, within `dicom.scu.max_associations`."""
    warnings: Literal["delivered", "failed"] = "delivered"
    """What an instance is that was stored with a warning (PS3.4 B.2.3)."""
    rate_mb_s: Annotated[float, Meta(ge=0, le=100_000)] = 0.0
    """0: no limit."""
    window: Annotated[str, Meta(title="a time of day such as 22:00-06:00", pattern=WINDOW)] = ""
    """`HH:MM-HH:MM` in local time; empty: at any time."""
    fallback: Annotated[str, Meta(max_length=64)] = ""
    """Another destination, for what this one could not be given for long."""
    fallback_after_s: Annotated[float, Meta(ge=0, le=2_592_000)] = 3600.0
    transcode: Literal["never", "uncompressed"] = "never"
    """What is sent instead of a transfer syntax that the destination does not take."""
    # dicomweb
    url: Annotated[str, Meta(max_length=2048)] = ""
    """Of the service: instances go to `url/studies`."""
    authentication: Literal["none", "basic", "bearer", "mtls"] = "none"
    user: Annotated[
        str,
        Meta(title="a name without colon", max_length=255, pattern=r"^[^:\x00-\x1f\x7f]*$(?!\n)"),
    ] = ""  # RFC 7617
    password_file: FilePath = ""
    password_environment: EnvironmentName = ""
    token_file: FilePath = ""
    token_environment: EnvironmentName = ""
    batch_size: Annotated[int, Meta(ge=1, le=100)] = 10
    """Instances in a request, at the most."""
    answer_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """For the answer after the last byte, and for each MiB to be taken."""
    # folder
    path: FilePath = ""

    @property
    def label(self) -> str:
        """How people are told of it."""
        return self.ae_title or self.name

    @classmethod
    def key_problems(cls, given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """See `Varied.key_problems`."""
        own = CARRIER_KEYS.get(str(given.get("type", "dicom")))
        if own is None:
            return  # its value is told to be wrong
        yield from (
            (key, "is missing") for key, needed in own.items() if needed and key not in given
        )
        for key in given:
            kinds = [kind for kind, keys in CARRIER_KEYS.items() if key in keys]
            if kinds and key not in own:
                yield key, f"is for destinations of type {' or '.join(map(repr, kinds))}"


class Pipeline(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program of the `command` engine, by the pipeline id the AE Titles name."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    command: Annotated[list[str], Meta(min_length=1)]
    timeout_s: Annotated[float, Meta(gt=0, le=604_800)] = 3600.0
    max_concurrent: Annotated[int, Meta(ge=1, le=64)] = 1
    environment: dict[str, str] = field(default_factory=dict)
    log_bytes_max: Annotated[int, Meta(ge=131_072, le=1_000_000_000)] = 10_000_000
    """Of what its programs print for one job; the oldest half goes first."""
