"""Refused associations: by which rule, and what an operator can do about it.

Rules: one row for a caller, its address, whom it calls and the rule, however often it comes back:
a modality that tries each second does not push out the others. There is room for `REJECTIONS_MAX`
rows; the next one takes the place of the oldest of the address that has the most. The ledger knows
them a second later, so they outlive the process.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

REJECTIONS_MAX = 200
"""Rows; each is below 1 KiB."""
DETAIL_LENGTH_MAX = 300


class Why(StrEnum):
    """The rules: in words; the name is what a program looks at."""

    PROTOCOL_VERSION = "protocol version"
    APPLICATION_CONTEXT = "application context"
    CALLED_UNKNOWN = "called AE Title is not configured"
    CALLING_MALFORMED = "calling AE Title is malformed"
    REPORTS_ONLY = "the AE Title takes reports of destinations only, from where they are"
    SOURCE_UNKNOWN = "calling AE Title is not among the sources"
    SOURCE_ELSEWHERE = "calling AE Title is a source, but not from this address"
    VERIFICATION_DISABLED = "verification is disabled"
    STOPPING = "shutting down"
    ENTITY_DOWN = "the AE Title does not answer"
    LIMIT = "dicom.scp.max_associations"
    SOURCE_LIMIT = "dicom.scp.max_associations_per_source"
    ENTITY_LIMIT = "max_associations of the AE Title"
    SPACE_LOW = "storage space is low"
    NO_IDENTITY = "no user identity"
    IDENTITY_KIND = "user identity is not a name with a passcode"
    IDENTITY_UNKNOWN = "user identity is not known"
    IDENTITIES_BUSY = "too many user identities to check"
    NO_REQUEST = "what came is no A-ASSOCIATE-RQ"
    TLS = "no TLS handshake"
    ARTIM = "no A-ASSOCIATE-RQ in time"
    EVICTED = "one connection too many without an association"

    @property
    def rule(self) -> str:
        """The rule's name for programs."""
        return self.name.lower().replace("_", "-")

    @property
    def may_be_allowed(self) -> bool:
        """Whether an entry among the sources would let the caller in."""
        return self in (Why.SOURCE_UNKNOWN, Why.SOURCE_ELSEWHERE)


_REMEDIES = {
    Why.PROTOCOL_VERSION: "Nothing here: the peer does not speak version 1 of the protocol.",
    Why.APPLICATION_CONTEXT: "Nothing here: the peer does not ask for DICOM.",
    Why.CALLED_UNKNOWN: "Correct the called AE Title at the sender, or make it here: "
    "dicom-adapter create aetitle {called_as} pipeline-NAME=ID",
    Why.CALLING_MALFORMED: "Give the sender an AE Title: 1 to 16 printable characters.",
    Why.REPORTS_ONLY: "Send to an AE Title of application_entities; a destination that reports "
    "storage commitment has to call from its configured address.",
    Why.SOURCE_UNKNOWN: "If it may send, dicom-adapter associations allow {id}",
    Why.SOURCE_ELSEWHERE: "If it is the same sender, dicom-adapter associations allow {id}",
    Why.VERIFICATION_DISABLED: "Set dicom.scp.verification.enabled if C-ECHO is to be answered.",
    Why.STOPPING: "Start the adapter again; the sender comes back by itself.",
    Why.ENTITY_DOWN: "See dicom-adapter status for why, then restart the AE Title.",
    Why.LIMIT: "Raise dicom.scp.max_associations, or have senders use fewer at once.",
    Why.SOURCE_LIMIT: "Raise dicom.scp.max_associations_per_source, or have this one use fewer.",
    Why.ENTITY_LIMIT: "Raise max_associations of {called}, or have senders use fewer at once.",
    Why.SPACE_LOW: "Make room below storage.root; GET /api/storage says what holds it.",
    Why.NO_IDENTITY: "Configure a user name and passcode at the sender.",
    Why.IDENTITY_KIND: "Configure a user name and passcode at the sender.",
    Why.IDENTITY_UNKNOWN: "Add the user to dicom.scp.user_identity.users, or correct the passcode.",
    Why.IDENTITIES_BUSY: "Nothing: the sender may come back; look for who floods if it goes on.",
    Why.NO_REQUEST: "Look at what speaks there: it has the wrong port, or is no DICOM device.",
    Why.TLS: "See the table of TLS messages in docs/operation.md.",
    Why.ARTIM: "Look at the network between, or for who only connects.",
    Why.EVICTED: "Look for who floods; raise dicom.scp.max_half_open if all are wanted.",
}


_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
"""What an AE Title may have, and a name (`entities.Name`) may not."""


class Answer(Struct, frozen=True):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int


class Caller(Struct, frozen=True, kw_only=True):
    """Who was refused; AE Titles are empty if there was no request to read them from."""

    peer: str
    """Numeric address."""
    calling_ae_title: str = ""
    called_ae_title: str = ""
    tls: str = ""


class RejectionRow(Struct, kw_only=True):
    """What is shown of it: the latest of its kind, and how many there were."""

    id: str
    """Of the first association."""
    latest_id: str
    caller: Caller
    why: Why
    detail: str
    answer: Answer | None
    """None: it got none, or A-ABORT."""
    first_at: float
    last_at: float
    count: int = 1

    @property
    def remedy(self) -> str:
        """What an operator can do; what is of the peer is one word to a shell."""
        title = self.caller.called_ae_title
        name = _NO_NAME.sub("-", title).lstrip("-._") or "new"
        called_as = ["-a", title] if name == title else ["-a", title, "-n", name]
        return _REMEDIES[self.why].format(
            id=self.id, called=shlex.quote(title), called_as=shlex.join(called_as)
        )


class RejectionLedger(Protocol):
    """The rows over a restart. Errors as of `Ledger`."""

    def all(self) -> list[RejectionRow]:
        """Return them by when each came first; those of a rule there is no more are left out."""

    async def keep(self, rows: Sequence[RejectionRow]) -> None:
        """Have there be these, and no others; durable when it returns."""


Kind = tuple[str, str, str, Why]


class Rejections:
    """The rows, oldest first."""

    def __init__(self, rows_max: int = REJECTIONS_MAX) -> None:
        self._rows_max = rows_max
        self._rows: dict[Kind, RejectionRow] = {}
        self._by_id: dict[str, RejectionRow] = {}

    def adopt(self, rows: Iterable[RejectionRow]) -> None:
        """Take up rows of before the start."""
        for row in rows:
            self._rows[_kind(row.caller, row.why)] = row
            self._by_id[row.id] = self._by_id[row.latest_id] = row

    @property
    def rows(self) -> list[RejectionRow]:
        """By when each came first."""
        return list(self._rows.values())

    def find(self, association: str) -> RejectionRow | None:
        """Return the row of its first or its latest association."""
        return self._by_id.get(association)

    def record(
        self, association: str, caller: Caller, why: Why, answer: Answer | None, detail: str,
        at: float,
    ) -> RejectionRow:  # fmt: skip
        """Count a refused association; return its row."""
        kind = _kind(caller, why)
        detail = detail[:DETAIL_LENGTH_MAX]
        row = self._rows.get(kind)
        if row is None:
            row = self._rows[kind] = RejectionRow(
                id=association, latest_id=association, caller=caller, why=why, detail=detail,
                answer=answer, first_at=at, last_at=at,
            )  # fmt: skip
            if len(self._rows) > self._rows_max:
                self._forget_one()
        else:
            if row.latest_id != row.id:
                del self._by_id[row.latest_id]
            row.latest_id, row.last_at, row.count = association, at, row.count + 1
            row.caller, row.detail, row.answer = caller, detail, answer
        self._by_id[association] = row
        return row

    def _forget_one(self) -> None:
        """Make room: of the address with the most rows, the one that was quiet longest."""
        rows = Counter(peer for peer, _, _, _ in self._rows)
        most = max(rows.values())
        crowded = [kind for kind in self._rows if rows[kind[0]] == most]
        row = self._rows.pop(min(crowded, key=lambda kind: self._rows[kind].last_at))
        self._by_id.pop(row.id, None)
        self._by_id.pop(row.latest_id, None)


def _kind(caller: Caller, why: Why) -> Kind:
    return caller.peer, caller.calling_ae_title, caller.called_ae_title, why
