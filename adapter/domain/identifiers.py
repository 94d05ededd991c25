"""Identifiers and the only place where something from the network may become part of a path.

Rules: a path part is either an id this program made or a UID of the form of PS3.5 9.1. Everything
else (malformed UIDs, AE Titles, Patient IDs) is replaced by a digest, so it can name a file but not
choose where the file lies. The names of results that a platform offers stay what they are, if they
lead nowhere but down (`is_relative_path`).
"""

import hashlib
import re
from collections.abc import Callable

UID_LENGTH_MAX = 64  # PS3.5 9.1
AE_TITLE_LENGTH_MAX = 16  # PS3.5 6.2, VR AE

NewId = Callable[[], str]
"""Makes an id that no other call returns: lower-case letters, digits, hyphens; sorts by time."""
NewUid = Callable[[], str]
"""Makes a UID that nobody else makes (PS3.5 B.2: 2.25 and a random UUID)."""

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]*", re.ASCII)
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_IN_JOB_NAME = re.compile(r"[^A-Za-z0-9]+", re.ASCII)

JOB_NAME_LENGTH_MAX = 63
NAME_BYTES_MAX = 255
"""Of a file or folder, in every file system we know."""
PATH_BYTES_MAX = 1024
PATH_PARTS_MAX = 16


def is_uid(text: str) -> bool:
    """Return whether text has the form of a UID (PS3.5 9.1).

    Leading zeros in a component are against the Standard but common in the field, and harmless.
    """
    return 0 < len(text) <= UID_LENGTH_MAX and _UID.fullmatch(text) is not None


def is_ae_title(text: str) -> bool:
    """Return whether text is an AE Title: 1-16 printable characters, no backslash (PS3.5 6.2)."""
    return (
        0 < len(text) <= AE_TITLE_LENGTH_MAX
        and bool(text.strip())
        and _AE_TITLE.fullmatch(text) is not None
    )


def is_id(text: str) -> bool:
    """Return whether text has the form of an id made by this program (group, job, export)."""
    return _ID.fullmatch(text) is not None


def path_part(uid: str) -> str:
    """Return uid if it is one, else a name made from its digest.

    The result never holds a separator, is never `.` or `..`, and is never empty.
    """
    if is_uid(uid):
        return uid
    return "x" + hashlib.blake2b(uid.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def is_relative_path(text: str) -> bool:
    """Return whether text names a file below a folder, and nothing else, wherever it is read.

    Parts are parted by `/`; none is empty, `.` or `..`, holds a control character or a backslash.
    """
    parts = text.split("/")
    return (
        len(text.encode("utf-8", "surrogatepass")) <= PATH_BYTES_MAX
        and len(parts) <= PATH_PARTS_MAX
        and not _CONTROL.search(text)
        and "\\" not in text
        and all(
            part not in ("", ".", "..") and len(part.encode()) <= NAME_BYTES_MAX for part in parts
        )
    )


def job_id(group_id: str, pipeline: str) -> str:
    """Return the id of the one job of this group for this pipeline.

    Derived, not drawn: opening the same job again after a crash finds the first one.
    """
    digest = hashlib.blake2b(f"{group_id}\n{pipeline}".encode(), digest_size=10).hexdigest()
    return f"job-{digest}"


def export_id(source_id: str, destination: str) -> str:
    """Return the id of the one export of these results (a job or a task) to this destination."""
    digest = hashlib.blake2b(f"{source_id}\n{destination}".encode(), digest_size=10).hexdigest()
    return f"export-{digest}"


def job_name(ae_title: str, pipeline: str, opened_at: str) -> str:
    """Return Clara's job name `<AE Title>-<pipeline>-<yyyyMMddHHmmss>`, normalised.

    Lower case letters, digits and single hyphens; at most 63 characters; free of patient data.
    """
    raw = f"{ae_title}-{pipeline}-{opened_at}"
    words = _NOT_IN_JOB_NAME.sub("-", raw).strip("-")  # before lower(): it makes ASCII of others
    return words[:JOB_NAME_LENGTH_MAX].rstrip("-").lower()
