"""What a damaged ledger still tells of, and no folder does: it goes over into the new one.

That is what people have made and ordered: AE Titles, sources, destinations and holds of these, keys
of the API, the audit trail, and who was refused. A row that cannot be read is left out. The audit
trail keeps every entry that can be: its chain of hashes then names the first that is missing.

What is known of jobs is not taken over: it would have to agree with the folders, and those count.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from adapter.domain.access import ApiKey
from adapter.domain.audit import AuditEntry, AuditKind
from adapter.domain.destination_rows import DestinationHold
from adapter.domain.entity_rows import EntityRow
from adapter.store import audit_rows
from adapter.store.damaged_pages import FoundRow, found_rows
from adapter.store.entity_rows import entity_key
from adapter.store.group_commit import Change
from adapter.store.ledger import FORMAT, FORMAT_KEY
from adapter.store.rejection_rows import RejectionRows

_LINK = re.compile(r"[0-9]+:[0-9a-f]{64}", re.ASCII)


class Salvaged(Struct, frozen=True, kw_only=True):
    """Rows for a new ledger."""

    rows: Sequence[tuple[str, bytes]] = ()
    unreadable: int = 0
    """Rows of any kind that were found and could not be understood."""


def salvaged(folder: Path) -> Salvaged:
    """Return what can be read in the folder of a ledger. Blocks.

    Raises:
        OSError: The disk fails.
    """
    latest: dict[str, FoundRow] = {}
    unreadable = 0
    try:
        for row in found_rows(folder):
            if row is None:
                unreadable += 1
            elif row.key not in latest or latest[row.key].stored_at <= row.stored_at:
                latest[row.key] = row
    except FileNotFoundError:
        return Salvaged()
    if FORMAT_KEY in latest and latest[FORMAT_KEY].value != FORMAT:
        return Salvaged(unreadable=unreadable + len(latest))
    rows = []
    for row in sorted(latest.values()):
        key, value = row.key, row.value
        key_of = _KEYS.get(key.partition("/")[0])
        if key_of is None:
            continue
        try:
            is_right = key_of(key, value) == key
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError):
            is_right = False
        if is_right:
            rows.append((key, value))
        unreadable += not is_right
    return Salvaged(rows=rows, unreadable=unreadable)


def counted(rows: Sequence[Change]) -> dict[str, int]:
    """Return how many rows there are of each kind, by the name for people."""
    return dict(Counter(NAMES[kind] for key, _ in rows if (kind := key.partition("/")[0]) in NAMES))


NAMES = {
    "entity": "aeTitles", "source": "sources", "destination": "destinations", "hold": "holds",
    "key": "apiKeys", audit_rows.AUDIT: "auditEntries", "rejection": "rejections",
}  # fmt: skip


def _of_entity(_: str, row: bytes) -> str:
    entity = msgspec.msgpack.decode(row, type=EntityRow)
    return entity_key(entity.kind, entity.name)


def _of_api_key(_: str, row: bytes) -> str:
    return f"key/{msgspec.msgpack.decode(row, type=ApiKey).id}"


def _of_hold(_: str, row: bytes) -> str:
    return f"hold/{msgspec.msgpack.decode(row, type=DestinationHold).destination}"


def _of_entry(_: str, row: bytes) -> str:
    entry = msgspec.msgpack.decode(row, type=AuditEntry)
    return audit_rows.entry_key(entry.kind, entry.seq)


def _of_link(key: str, row: bytes) -> str:
    AuditKind(key.partition("/")[2])
    return key if _LINK.fullmatch(row.decode()) else ""


def _of_value_in_force(key: str, row: bytes) -> str:
    row.decode()
    return key


async def _unwritten(_: Sequence[Change]) -> None: ...


def _of_rejection(_: str, row: bytes) -> str:
    rejections = RejectionRows(_unwritten)
    rejections.adopt(row)
    return "".join(f"rejection/{one.id}" for one in rejections.all())


_KEYS: dict[str, Callable[[str, bytes], str]] = {
    "entity": _of_entity, "source": _of_entity, "destination": _of_entity, "hold": _of_hold,
    "key": _of_api_key, "rejection": _of_rejection, audit_rows.AUDIT: _of_entry,
    audit_rows.LAST_LINK: _of_link, audit_rows.IN_FORCE: _of_value_in_force,
}  # fmt: skip
"""What the key of a row is by what the row says, by the first word of the key."""
