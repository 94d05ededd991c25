"""What an entry of the audit trail holds, and how many there are (adapter/domain/audit.py)."""

import msgspec
import pytest

from adapter.domain import audit
from adapter.domain.audit import AuditEntry, AuditKind, changed, hidden
from adapter.store.audit_rows import AuditRows
from adapter.store.diskcache_engine import ROW_BYTES_MAX

ENTRY = AuditEntry(kind=AuditKind.ORDER, at=1.0, who="one", action="POST /x")


class Rows:
    """Rows that were committed."""

    def __init__(self):
        self.rows = {}
        self.trail = AuditRows(self.commit)

    async def commit(self, changes):
        for key, row in changes:
            if row is None:
                del self.rows[key]
            else:
                self.rows[key] = row

    def restarted(self):
        trail = AuditRows(self.commit)
        for key, row in sorted(self.rows.items()):
            trail.adopt(key, row)
        trail.settle()
        return trail


def test_only_what_differs_is_kept():
    assert changed({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == [{"b": 2}, {"b": 3, "c": 4}]


def test_secrets_are_hidden_however_deep():
    row = {
        "apiKey": "s1",
        "list": [{"password": "s2"}],
        "users": {"u": "s3"},
        "key": "",
        "name": "n",
    }
    text = repr(hidden(row))
    assert not [secret for secret in ("s1", "s2", "s3") if secret in text]
    assert hidden(row)["name"] == "n"
    assert hidden(row)["key"] == ""


@pytest.mark.parametrize(
    "fields",
    [{"a": "x" * 100_000}, {str(n): "x" * 4000 for n in range(100)}, {"k" * 50_000: 1},
     {str(n): n for n in range(10_000)}, {"a": ["é" * 1000] * 100}],
)  # fmt: skip
def test_entry_fits_into_a_row_of_the_ledger(fields):
    before, after = changed(fields, {})
    entry = msgspec.structs.replace(ENTRY, before=before, after=before, path="x" * 300)
    assert len(msgspec.msgpack.encode(entry)) < ROW_BYTES_MAX
    assert before
    assert not after


async def test_entries_are_numbered_over_restarts():
    rows = Rows()
    for _ in range(12):
        await rows.trail.add(ENTRY)
    trail = rows.restarted()
    await trail.add(ENTRY)
    assert [entry.seq for entry in trail.entries(AuditKind)] == list(range(1, 14))


async def test_flood_of_logins_pushes_out_no_change(monkeypatch):
    monkeypatch.setitem(audit.ENTRIES_MAX, AuditKind.LOGIN, 3)
    rows = Rows()
    await rows.trail.add(ENTRY)
    for _ in range(10):
        await rows.trail.add(msgspec.structs.replace(ENTRY, kind=AuditKind.LOGIN))
    assert [e.seq for e in rows.trail.entries(AuditKind)] == [1, 9, 10, 11]
    assert len([key for key in rows.rows if key.startswith("audit/")]) == 4
    assert [e.seq for e in rows.restarted().entries(AuditKind)] == [1, 9, 10, 11]


async def test_configuration_is_told_when_it_is_another():
    rows = Rows()
    entry = msgspec.structs.replace(ENTRY, kind=AuditKind.CONFIGURATION, who="start")
    await rows.trail.add_configuration({"a": "1", "b": "2"}, entry)
    await rows.restarted().add_configuration({"a": "1", "b": "2"}, entry)
    trail = rows.restarted()
    await trail.add_configuration({"a": "1", "b": "3"}, entry)
    told = trail.entries([AuditKind.CONFIGURATION])
    assert [(e.before, e.after) for e in told] == [
        ({}, {"a": "1", "b": "2"}), ({"b": "2"}, {"b": "3"}),
    ]  # fmt: skip
