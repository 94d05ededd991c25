"""The audit trail: who changed what, from where, from what into what, and who has logged in.

Rules: an entry is durable before the answer to what it tells of is sent. There is a ring for each
kind, so that a flood of one pushes out nothing of another. Secrets are hidden, patient data is
never in it: it holds what the API shows, and the API shows none.
"""

import hashlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Protocol

import msgspec
from msgspec import Struct

VALUE_BYTES_MAX = 4096
"""Of one field before or after a change; a longer one is told by its digest."""
CHANGE_BYTES_MAX = 12_288
"""Of all fields; a row of the ledger stays below 32 KiB."""
HIDDEN = "(hidden)"
_SECRET = ("key", "token", "secret", "password", "passcode", "digest", "users")


class AuditKind(StrEnum):
    """What an entry is about."""

    CONFIGURATION = "configuration"
    """What the adapter is: entities, keys, log levels, the configuration at a start."""
    ORDER = "order"
    """Jobs, exports, groups, destinations, associations, tasks."""
    LOGIN = "login"
    """Keys that were shown, right ones once an hour for each address."""


ENTRIES_MAX = {AuditKind.CONFIGURATION: 10_000, AuditKind.ORDER: 10_000, AuditKind.LOGIN: 5_000}
"""Of more the oldest are forgotten: export them (`dicom-adapter audit`), or keep the log."""


class AuditEntry(Struct, frozen=True, kw_only=True, rename="camel"):
    """One change or login."""

    seq: int = 0
    """Given by the ledger, without holes while none is forgotten."""
    kind: AuditKind
    at: float
    who: str
    """Name of a key; "anybody" where none is asked for; "offline", "start", "SIGHUP", "file
    change", "kubernetes": nobody over the API."""
    role: str = ""
    key_id: str = ""
    address: str = ""
    action: str
    """Method and route, or in words."""
    path: str = ""
    outcome: int = 0
    """HTTP status; 0: it was not over HTTP."""
    before: dict[str, Any] = msgspec.field(default_factory=dict)
    """Of the fields that changed."""
    after: dict[str, Any] = msgspec.field(default_factory=dict)
    previous: str = ""
    """Number and hash of the one of its kind before it, given by the ledger (`audit_chain`)."""


class AuditLedger(Protocol):
    """The entries, and the configuration that was in force last. Errors as of `Ledger`."""

    def entries(self, kinds: Iterable[AuditKind]) -> list[AuditEntry]:
        """Return the entries of these kinds, oldest first."""

    async def add(self, entry: AuditEntry) -> AuditEntry:
        """Keep an entry, and forget the oldest if there are too many; return it with its number."""

    async def add_configuration(
        self, values: Mapping[str, str], entry: AuditEntry
    ) -> AuditEntry | None:
        """Keep the values in force by their keys, and an entry of those that have changed.

        Return it; None: they are what they were.
        """


def hidden(value: Any, name: str = "") -> Any:
    """Return a value without what is secret in it, judged by the names of its fields."""
    if value not in (None, "", 0) and name.lower().endswith(_SECRET):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(key): hidden(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [hidden(each) for each in value]
    return value


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fields that differ, as they were and as they are, both bounded."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [_bounded({n: side[n] for n in names if n in side}) for side in (before, after)]


def _bounded(fields: Mapping[str, Any]) -> dict[str, Any]:
    short: dict[str, Any] = {}
    left = CHANGE_BYTES_MAX
    for name, value in fields.items():
        encoded = msgspec.json.encode(value)
        if len(encoded) > min(VALUE_BYTES_MAX, left):
            value = {"bytes": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}
        left -= min(len(encoded), 100)
        if left < 0:
            short["..."] = f"{len(fields) - len(short)} more"
            break
        short[name[:100]] = value
        left -= len(msgspec.json.encode(value))
    return short
