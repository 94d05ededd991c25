"""Keys of Clara's configurations that are one of ours, and why the others are not."""

from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Meta

from adapter.clara.converted import Converted, tag_of
from adapter.clara.forms import Form, Found, Table, spelled_alike
from adapter.domain.conversion import Reader
from adapter.relations import relations
from adapter.settings import Settings

SAME_KIND = (
    ("dicom.scp.port", "dicom.scp.port"),
    ("dicom.scp.max-associations", "dicom.scp.max_associations"),
    ("dicom.scp.verification.enabled", "dicom.scp.verification.enabled"),
    ("dicom.scp.verification.transfer-syntaxes", "dicom.scp.verification.transfer_syntaxes"),
    ("dicom.scp.reject-unknown-sources", "dicom.scp.reject_unknown_sources"),
    ("dicom.scp.log-dimse-datasets", "dicom.scp.log_dimse_datasets"),
    ("dicom.scu.ae-title", "dicom.scu.ae_title"),
    ("dicom.scu.max-associations", "dicom.scu.max_associations"),
    ("dicom.scu.log-data-pdus", "dicom.scu.log_data_pdus"),
    ("dicom.scu.log-dimse-datasets", "dicom.scu.log_dimse_datasets"),
    ("dicom.scu.export.max-retries", "dicom.scu.export.max_retries"),
    ("dicom.scu.export.failure-threshold", "dicom.scu.export.failure_threshold"),
    ("dicom.scu.export.poll-frequency-ms", "results.poll_ms"),
    ("services.platform.parallel-uploads", "platform.parallel_uploads"),
    ("services.platform.upload-metadata", "platform.upload_metadata"),
    ("services.platform.max-retries", "platform.max_retries"),
    ("services.platform.retry-delay-seconds", "platform.retry_delay_s"),
    ("services.results-service-endpoint", "results.service_url"),
    ("storage.temporary", "storage.root"),
    ("storage.watermark", "storage.watermark_percent"),
    ("storage.reserve-space-gb", "storage.reserve_space_gb"),
)
"""Clara's key and ours, where the value means the same."""
WITHOUT_EFFECT = ("dicom.scu.export", "storage.watermarkpercent", "dicom.scp.verification.transfer")
"""Keys of 0.8 that Clara's binder never reached; they count here."""
REASONS = (
    ("connectionstrings", "the ledger is in storage.root; what Clara's database holds is not read"),
    ("allowedhosts", "the API looks at Origin, not at Host"),
    ("logging", "categories are classes of Clara's; see logging.level"),
    ("serilog", "logs go to stderr; see logging.format"),
    ("readaetitlesfromcrd", "there are no custom resources: AE Titles are in the file or the API"),
    ("crdreadintervals", "there are no custom resources"),
    ("services.platform.endpoint", "Clara Platform's gRPC is not spoken; choose platform.engine"),
    ("services.endpoint", "Clara Platform's gRPC is not spoken; choose platform.engine"),
    ("dicom.scu.export.agent", "DICOMweb services are destinations, of type dicomweb"),
    ("storage.payloads", "payloads are in storage.root"),
    ("storage.output", "results are in the folders of their jobs, in storage.root"),
)
"""Why a key is not carried, by what its path begins with; Clara's section is left out."""
LEVELS = {
    "trace": "debug", "debug": "debug", "verbose": "debug", "information": "info",
    "warning": "warning", "error": "error", "critical": "error", "fatal": "error", "none": "error",
}  # fmt: skip


def why_not_carried(path: str) -> str:
    """Return why nobody took what stands there."""
    alike = ".".join(spelled_alike(part) for part in path.split("."))
    alike = alike.removeprefix("dicomadapter.")
    known = (why for start, why in REASONS if alike.startswith(start))
    return next(known, "is no key of Clara's that is known here")


def carry_keys(form: Form, converted: Converted) -> None:
    """Carry every key that is one of ours."""
    _carry_defaults(form, converted)
    for theirs, ours in SAME_KIND:
        if found := form.adapter.take(theirs):
            _carry(form, converted, found, ours)
    _carry_tags(form.adapter, converted)
    _carry_level(form.root, converted)


def _carry_defaults(form: Form, converted: Converted) -> None:
    """Say Clara's defaults where ours are others."""
    converted.put("dicom.scp.port", 104)
    converted.put("dicom.scu.ae_title", "ClaraSCU")
    converted.put("storage.root", "./storage" if form.is_yaml else "./payloads")
    if form.is_yaml:
        converted.put("dicom.scp.max_associations", 2)
        converted.put("dicom.scu.max_associations", 2)


def _carry(form: Form, converted: Converted, found: Found, key: str) -> None:
    kind = _kind_of(key)
    value = _limited(converted, found, kind)
    reader = Reader(where=lambda path: path)
    read_value = reader.read(value, kind, key)
    if reader.problems:
        converted.lost(found.path, reader.problems[0])
        return
    before = converted.at(key)
    converted.put(key, msgspec.to_builtins(read_value))
    if problems := relations(converted.settings()):
        converted.put(key, before)
        converted.lost(found.path, problems[0])
        return
    alike = found.path.replace("-", "").casefold().removeprefix("dicomadapter.")
    if not form.is_yaml and "-" in found.path:
        converted.note(found.path, "Clara did not read keys with a hyphen in JSON; it counts here")
    elif not form.is_yaml and alike.startswith(WITHOUT_EFFECT):
        converted.note(found.path, "had no effect in Clara 0.8; it has here")


def _kind_of(key: str) -> Any:
    """Return the type of a key of ours."""
    kind: Any = Settings
    for name in key.split("."):
        kind = next(each.type for each in msgspec.structs.fields(kind) if each.name == name)
    return kind


def _limited(converted: Converted, found: Found, kind: Any) -> Any:
    """Return the value as a number or truth if it is spelled as text, and within our limits."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    value = found.value
    if isinstance(value, str) and base in (int, float, bool):
        try:
            value = msgspec.convert(value.strip().lower(), base, strict=False)
        except msgspec.ValidationError:
            return value
    metas = [meta for meta in get_args(kind)[1:] if isinstance(meta, Meta)]
    most = next((meta.le for meta in metas if meta.le is not None), None)
    if isinstance(value, int | float) and most is not None and value > most:
        converted.note(found.path, f"{value} is more than there can be: {most}")
        return most
    return value


def _carry_tags(adapter: Table, converted: Converted) -> None:
    found = adapter.take("services.platform.metadata-dicom-source")
    if found is None:
        if converted.at("platform.upload_metadata"):
            converted.put("platform.metadata_dicom_source", [])  # Clara's default
        return
    tags = found.value if isinstance(found.value, list) else [found.value]
    for tag in tags:
        if tag_of(tag) is None:
            converted.lost(found.path, f"{tag!r} is no tag such as 0020,000D")
    known = list(dict.fromkeys(filter(None, map(tag_of, tags))))
    reader = Reader(where=lambda _: found.path)
    if reader.read(known, _kind_of("platform.metadata_dicom_source")) is None:
        converted.lost(found.path, reader.problems[0])
    else:
        converted.put("platform.metadata_dicom_source", known)


def _carry_level(root: Table, converted: Converted) -> None:
    for path in ("Logging.LogLevel.Default", "Serilog.MinimumLevel.Default"):
        if found := root.take(path):
            level = LEVELS.get(str(found.value).casefold())
            if level is None:
                converted.lost(found.path, f"{found.value!r} is no level")
            else:
                converted.put("logging.level", level)
