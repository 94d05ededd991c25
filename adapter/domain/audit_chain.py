"""The chain of the audit trail: each entry carries the hash of the one of its kind before it.

Rules: the hash is SHA-256 of the entry as the API shows it, without `hash` and what is empty, as
JSON in UTF-8 with sorted keys and no spaces. So whoever has an export can verify it, and a field
that is added later leaves the hashes of older entries as they are. What is called `previous` is
`SEQ:HASH`. Kinds are chained each by itself: each forgets its oldest entries by itself.

A chain shows that an entry was changed, or taken from between others. Whoever may write the ledger
can also make all of it anew: against that, keep a hash elsewhere (the log has one of each entry).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from adapter.domain.audit import ENTRIES_MAX, AuditEntry, AuditKind
from adapter.domain.wall_time import rfc3339

_EMPTY: tuple[Any, ...] = ("", 0, None, {}, [])
Row = Mapping[str, Any]


class Broken(Struct, frozen=True, kw_only=True):
    """The first entry that is not what the others say."""

    seq: int
    kind: str
    why: str


def shown(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as the API shows it, with its hash."""
    row = {**msgspec.to_builtins(entry), "at": rfc3339(entry.at)}
    return {**row, "hash": hash_of(row)}


def hash_of(row: Row) -> str:
    """Return the SHA-256 of an entry as it is shown, in hexadecimal."""
    said = {key: one for key, one in row.items() if key != "hash" and one not in _EMPTY}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def link_to(entry: AuditEntry) -> str:
    """Return what the next entry of its kind carries as `previous`."""
    return _link(shown(entry))


def _link(row: Row) -> str:
    return f"{row['seq']}:{row['hash']}"


def first_broken(rows: Iterable[Row]) -> Broken | None:
    """Return the first entry that was changed, or is missing between two that are there.

    Args:
        rows: As the API shows them, all of their kinds, oldest first.
    """
    last_seq = 0
    before: dict[str, Row] = {}
    for row in rows:
        kind, seq = row["kind"], row["seq"]
        why = ""
        if seq <= last_seq:
            why = f"stands behind entry {last_seq}"
        elif row["hash"] != hash_of(row):
            why = "says something else than its hash tells of"
        if why:
            return Broken(seq=seq, kind=kind, why=why)
        if (old := before.get(kind)) and (broken := _between(old, row)):
            return broken
        last_seq, before[kind] = seq, row
    return None


def _between(old: Row, new: Row) -> Broken | None:
    """Return what is wrong between two neighbours of a kind."""
    kind = new["kind"]
    if not new["previous"]:
        if not old["previous"]:  # of a version without a chain
            return None
        return Broken(seq=new["seq"], kind=kind, why="carries no hash of the one before it")
    seq, _, digest = new["previous"].partition(":")
    if seq != str(old["seq"]):
        why = f"is missing; entry {new['seq']} came behind it"
        return Broken(seq=int(seq) if seq.isdecimal() else new["seq"], kind=kind, why=why)
    if digest != old["hash"]:
        why = f"is not what it was when entry {new['seq']} came behind it"
        return Broken(seq=old["seq"], kind=kind, why=why)
    return None


def missing_at_first(rows: Sequence[Row]) -> Broken | None:
    """Return an entry that is missing before all others of its kind, though there was room for it.

    Args:
        rows: All that an adapter has.
    """
    counts = Counter(row["kind"] for row in rows)
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row["kind"], row)
    for kind, row in first.items():
        seq = row["previous"].partition(":")[0]
        if seq.isdecimal() and counts[kind] < ENTRIES_MAX[AuditKind(kind)]:
            return Broken(seq=int(seq), kind=kind, why="is missing, and is not old enough for it")
    return None
