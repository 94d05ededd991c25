"""The audit trail (port `AuditLedger`): rows and their memory."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from adapter.domain.audit import ENTRIES_MAX, HIDDEN, AuditEntry, AuditKind, changed
from adapter.domain.audit_chain import link_to
from adapter.store.group_commit import Change

VALUE_BYTES_MAX = 16 << 10
AUDIT, IN_FORCE, LAST_LINK = "audit", "inforce", "auditlink"
PREFIXES = (AUDIT, IN_FORCE, LAST_LINK)


class AuditRows:
    """Every row in memory as it is encoded, every change written by `commit`."""

    def __init__(self, commit: Callable[[Sequence[Change]], Awaitable[None]]) -> None:
        self._commit = commit
        self._rings: dict[AuditKind, dict[int, bytes]] = {kind: {} for kind in AuditKind}
        self._in_force: dict[str, str] = {}
        self._last = 0
        self._links: dict[AuditKind, str] = {}
        """To the latest of each kind; rows of their own, so that one who changed is found out."""

    def adopt(self, key: str, row: bytes) -> None:
        """Take up a row at boot."""
        prefix, _, rest = key.partition("/")
        if prefix == IN_FORCE:
            self._in_force[rest] = row.decode()
            return
        if prefix == LAST_LINK:
            self._links[AuditKind(rest)] = link = row.decode()
            self._last = max(self._last, int(link.partition(":")[0]))  # its entry may be lost
            return
        kind, _, number = rest.partition("/")
        self._rings[AuditKind(kind)][int(number)] = row
        self._last = max(self._last, int(number))

    def settle(self) -> None:
        """Put in order what was taken up."""
        self._rings = {kind: dict(sorted(ring.items())) for kind, ring in self._rings.items()}
        for kind, ring in self._rings.items():
            if ring and kind not in self._links:  # of a version without a chain
                latest = msgspec.msgpack.decode(ring[max(ring)], type=AuditEntry)
                self._links[kind] = link_to(latest)

    def entries(self, kinds: Iterable[AuditKind]) -> list[AuditEntry]:
        """See `AuditLedger.entries`."""
        rows = [each for kind in set(kinds) for each in self._rings[kind].items()]
        return [msgspec.msgpack.decode(row, type=AuditEntry) for _, row in sorted(rows)]

    async def add(self, entry: AuditEntry) -> AuditEntry:
        """See `AuditLedger.add`."""
        numbered, changes = self._put(entry)
        await self._commit(changes)
        return numbered

    def _put(self, entry: AuditEntry) -> tuple[AuditEntry, list[Change]]:
        self._last += 1
        previous = self._links.get(entry.kind, "")
        numbered = msgspec.structs.replace(entry, seq=self._last, previous=previous)
        self._links[entry.kind] = link = link_to(numbered)
        row = msgspec.msgpack.encode(numbered)
        ring = self._rings[entry.kind]
        ring[self._last] = row
        changes: list[Change] = [
            (entry_key(entry.kind, self._last), row), (f"{LAST_LINK}/{entry.kind}", link.encode()),
        ]  # fmt: skip
        if len(ring) > ENTRIES_MAX[entry.kind]:
            oldest = next(iter(ring))
            del ring[oldest]
            changes.append((entry_key(entry.kind, oldest), None))
        return numbered, changes

    async def add_configuration(
        self, values: Mapping[str, str], entry: AuditEntry
    ) -> AuditEntry | None:
        """See `AuditLedger.add_configuration`."""
        short = {
            path: value if len(value.encode()) <= VALUE_BYTES_MAX else HIDDEN
            for path, value in values.items()
        }
        before, after = changed(self._in_force, short)
        paths = [p for p in {**self._in_force, **short} if self._in_force.get(p) != short.get(p)]
        if not paths:
            return None
        numbered, rows = self._put(msgspec.structs.replace(entry, before=before, after=after))
        rows += [(f"{IN_FORCE}/{p}", short[p].encode() if p in short else None) for p in paths]
        self._in_force = short
        await self._commit(rows)
        return numbered


def entry_key(kind: AuditKind, number: int) -> str:
    """Return the key of the row."""
    return f"{AUDIT}/{kind}/{number}"
