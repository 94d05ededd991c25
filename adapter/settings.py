"""Configuration: defaults, file, environment and flags become one frozen struct, or a list of all
that is wrong with them.

Rules: unknown keys, wrong types and values out of range are refused at start, every one of them, as
file, key path, value and what is allowed. Nothing reads the environment or a file after that.
Limits that depend on each other are checked here.
"""

import difflib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import yaml
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
from adapter.errors import ConfigurationError

ENVIRONMENT_PREFIX = "DICOM_ADAPTER__"
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
    acse_s: Seconds = 30.0
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


class Layered(Struct, frozen=True, kw_only=True):
    """Settings and, for each key that is not a default, where its value comes from."""

    settings: Settings
    origins: dict[str, str]


def load(file: Path | None, environment: Mapping[str, str], flags: Sequence[str] = ()) -> Layered:
    """Return the effective settings: flags over environment over file over defaults.

    Args:
        file: TOML, YAML or JSON by extension; None: no file.
        environment: Variables such as DICOM_ADAPTER__DICOM__SCP__PORT=104.
        flags: KEY=VALUE, such as dicom.scp.port=104.

    Raises:
        ConfigurationError: With every problem found.
    """
    tree: dict[str, Any] = _read(file) if file else {}
    origins = {path: str(file) for path in _leaves(tree)}
    problems: list[str] = []
    for path, text, origin in _overrides(environment, flags, problems):
        _put(tree, path, text, origin, problems)
        origins[".".join(path)] = origin

    def origin_of(path: str) -> str:
        return next((origins[p] for p in _prefixes(path) if p in origins), str(file or "defaults"))

    settings = _convert(tree, Settings, "", problems, origin_of)
    if not problems:
        problems += _relations(settings)
    if problems:
        raise ConfigurationError(problems)
    return Layered(settings=settings, origins=origins)


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
        match file.suffix:
            case ".yaml" | ".yml":
                tree = yaml.safe_load(text) or {}
            case ".json":
                tree = json.loads(text)
            case _:
                tree = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError([f"{file}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, yaml.YAMLError, json.JSONDecodeError, UnicodeError) as error:
        raise ConfigurationError([f"{file}: {' '.join(str(error).split())}"]) from error
    if not isinstance(tree, dict):
        raise ConfigurationError([f"{file}: not a table of keys and values"])
    return tree


def _overrides(
    environment: Mapping[str, str], flags: Sequence[str], problems: list[str]
) -> Iterator[tuple[list[str], str, str]]:
    """Yield (path, text, origin), lowest precedence first."""
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX):
            yield name[len(ENVIRONMENT_PREFIX) :].lower().split("__"), environment[name], name
    for flag in flags:
        path, equals, text = flag.partition("=")
        if equals:
            yield path.split("."), text, f"--set {path}"
        else:
            problems.append(f"--set {flag}: is not KEY=VALUE")


def _put(
    tree: dict[str, Any], path: list[str], text: str, origin: str, problems: list[str]
) -> None:
    node: Any = tree
    for part in path[:-1]:
        if isinstance(node, list):
            if not part.isdecimal() or int(part) >= len(node):
                problems.append(f"{origin}: there is no entry {part}")
                return
            node = node[int(part)]
        elif isinstance(node, dict):
            node = node.setdefault(part, {})
    if not isinstance(node, dict):
        problems.append(f"{origin}: does not lead to a key")
        return
    node[path[-1]] = _value_of(text)


def _value_of(text: str) -> Any:
    """Return text as the TOML value it spells, or as a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _leaves(tree: Any, path: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path


def _prefixes(path: str) -> Iterator[str]:
    while path:
        yield path
        path = (
            path.rpartition(".")[0].rpartition("[")[0]
            if path.endswith("]")
            else (path.rpartition(".")[0])
        )


def _convert(
    value: Any, kind: Any, path: str, problems: list[str], origin_of: Callable[[str], str]
) -> Any:
    """Convert value to kind, field by field, so that every problem is found."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if isinstance(base, type) and issubclass(base, Struct) and isinstance(value, dict):
        return _convert_struct(value, base, path, problems, origin_of)
    if get_origin(base) is list and isinstance(value, list) and not isinstance(kind, str):
        item = get_args(base)[0]
        if isinstance(item, type) and issubclass(item, Struct):
            return [
                _convert(entry, item, f"{path}[{index}]", problems, origin_of)
                for index, entry in enumerate(value)
            ]
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append(f"{origin_of(path)}: {path} = {value!r}: {error}")
        return None


def _convert_struct(
    value: dict[str, Any],
    kind: type[Struct],
    path: str,
    problems: list[str],
    origin_of: Callable[[str], str],
) -> Any:
    before = len(problems)
    known = {f.name: f for f in msgspec.structs.fields(kind)}
    converted = {}
    for key, entry in value.items():
        here = f"{path}.{key}" if path else str(key)
        if key in known:
            converted[key] = _convert(entry, known[key].type, here, problems, origin_of)
        else:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
            problems.append(f"{origin_of(here)}: {here}: unknown key; {hint}")
    for name, known_field in known.items():
        if known_field.required and name not in value:
            problems.append(f"{origin_of(path)}: {path}.{name}: is missing")
    return kind(**converted) if len(problems) == before else None


def _relations(settings: Settings) -> list[str]:
    """Return what is wrong between keys that are right by themselves."""
    problems = []
    scp, scu, shutdown = settings.dicom.scp, settings.dicom.scu, settings.shutdown
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
    if scu.dimse_s < scp.answer_s:
        problems.append("dicom.scu.dimse_s must not be below dicom.scp.answer_s")
    return problems


def _is_ourselves(destination: Destination, scp: Scp) -> bool:
    local = destination.host in (*_LOOPBACK, scp.host)
    return local and destination.port == scp.port and scp.port != 0


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file."""
    return msgspec.json.schema(Settings)
