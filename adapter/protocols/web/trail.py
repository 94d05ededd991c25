"""Writes the audit trail: to the ledger, and a line of each entry to the log."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog

from adapter.domain.access import Caller, Role
from adapter.domain.audit import AuditEntry, AuditKind, AuditLedger, changed, hidden
from adapter.domain.audit_chain import link_to
from adapter.domain.ports import WallClock
from adapter.domain.recovery import LedgerReport
from adapter.domain.repetition import Repetition
from adapter.errors import LedgerError

log = structlog.get_logger("adapter.audit")

LOGIN_S = 3600.0
"""A key that is shown again from the same address is told again after so long."""
FAILED_S = 60.0
LOGINS_MAX = 10_000


class Trail:
    """Writes entries."""

    def __init__(self, ledger: AuditLedger, now: WallClock) -> None:
        self.ledger = ledger
        self.now = now
        self._logins = Repetition(LOGIN_S, LOGINS_MAX)
        self._failures = Repetition(FAILED_S, LOGINS_MAX)

    async def logged_in(self, caller: Caller) -> None:
        """Note that a key was shown."""
        if self._logins.is_news((caller.key_id, caller.address), self.now()):
            await self._add(self._entry(AuditKind.LOGIN, caller, "login"))

    async def failed(self, address: str) -> None:
        """Note that a wrong one was."""
        if self._failures.is_news(address, self.now()):
            nobody = Caller(name="", role=Role.OPEN, address=address)
            await self._add(self._entry(AuditKind.LOGIN, nobody, "wrong key"))

    async def changed(self, caller: Caller, kind: AuditKind, action: str, **what: Any) -> None:
        """Note what was done over the API."""
        await self._add(self._entry(kind, caller, action, **what))

    async def configured(self, values: Mapping[str, str], who: str) -> None:
        """Note the configuration in force, if it is another than it was."""
        entry = AuditEntry(
            kind=AuditKind.CONFIGURATION, at=self.now(), who=who, action="configuration"
        )
        await self._told(entry, partial(self.ledger.add_configuration, values, entry))

    async def rebuilt(self, found: LedgerReport) -> None:
        """Note that the trail itself, with all of the ledger, may have gaps from before here."""
        if found.lost:
            entry = AuditEntry(
                kind=AuditKind.CONFIGURATION, at=self.now(), who="start",
                action="ledger made anew", after=changed({}, msgspec.to_builtins(found))[1],
            )  # fmt: skip
            await self._add(entry)

    async def followed(
        self, action: str, path: str, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        """Note what a custom resource of Kubernetes has brought about (port `ResourceTrail`)."""
        was, is_now = changed(hidden(before), hidden(after))
        entry = AuditEntry(
            kind=AuditKind.CONFIGURATION, at=self.now(), who="kubernetes",
            action=f"custom resource: {action}", path=path, before=was, after=is_now,
        )  # fmt: skip
        await self._add(entry)

    async def refused(self, problems: Sequence[str], who: str) -> None:
        """Note that a configuration was to count, and why it does not."""
        entry = AuditEntry(
            kind=AuditKind.CONFIGURATION, at=self.now(), who=who, action="configuration refused",
            after=changed({}, {"problems": list(problems)})[1],
        )  # fmt: skip
        await self._add(entry)

    def _entry(self, kind: AuditKind, caller: Caller, action: str, **what: Any) -> AuditEntry:
        return AuditEntry(
            kind=kind, at=self.now(), who=caller.name, role=caller.role, key_id=caller.key_id,
            address=caller.address, action=action, **what,
        )  # fmt: skip

    async def _add(self, entry: AuditEntry) -> None:
        await self._told(entry, partial(self.ledger.add, entry))

    async def _told(
        self, entry: AuditEntry, add: Callable[[], Awaitable[AuditEntry | None]]
    ) -> None:
        facts = {
            "kind": entry.kind, "who": entry.who, "role": entry.role, "address": entry.address,
            "action": entry.action, "path": entry.path, "outcome": entry.outcome,
        }  # fmt: skip
        try:
            numbered = await add()
        except LedgerError as error:  # what it tells of has happened; those who work will crash
            log.error("audit.lost", why=str(error), **facts)
        else:
            if numbered is not None:
                log.info("audit.recorded", hash=link_to(numbered), seq=numbered.seq, **facts)
