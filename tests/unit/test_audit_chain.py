"""The chain of the audit trail finds what was changed or taken away."""

import copy
import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_audit import ENTRY, Rows

from adapter.domain import audit
from adapter.domain.audit import AuditEntry, AuditKind
from adapter.domain.audit_chain import first_broken, hash_of, link_to, missing_at_first, shown

KINDS = [AuditKind.ORDER, AuditKind.LOGIN, AuditKind.ORDER, AuditKind.CONFIGURATION] * 3


async def trail_of(kinds=KINDS):
    rows = Rows()
    for number, kind in enumerate(kinds):
        entry = msgspec.structs.replace(ENTRY, kind=kind, at=1e9 + number, after={"n": number})
        await rows.trail.add(entry)
    return rows


def exported(trail):
    return json.loads(msgspec.json.encode([shown(entry) for entry in trail.entries(AuditKind)]))


def is_latest(index):
    return KINDS[index] not in KINDS[index + 1 :]


async def test_chain_is_whole_over_restarts():
    trail = (await trail_of()).restarted()
    await trail.add(ENTRY)
    found = exported(trail)
    assert first_broken(found) is None
    assert missing_at_first(found) is None
    assert [row["previous"].partition(":")[0] for row in found[:5]] == ["", "", "1", "", "3"]


async def test_hash_is_what_the_documents_say():
    row = exported((await trail_of()).trail)[4]
    said = {k: v for k, v in row.items() if k != "hash" and v not in ("", 0, {}, None, [])}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert row["hash"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("index", range(len(KINDS)))
@pytest.mark.parametrize(
    ("field", "value"), [("who", "x"), ("at", "x"), ("outcome", 7), ("after", {"n": -1})]
)
async def test_entry_that_is_changed_is_named(index, field, value):
    found = exported((await trail_of()).trail)
    found[index][field] = value
    assert first_broken(found).seq == index + 1
    found[index]["hash"] = hash_of(found[index])  # by somebody who knows how it is made
    broken = first_broken(found)
    assert broken is None if is_latest(index) else broken.seq == index + 1


@pytest.mark.parametrize("index", range(len(KINDS)))
async def test_entry_that_is_taken_away_is_named(index):
    found = exported((await trail_of()).trail)
    del found[index]
    broken = first_broken(found) or missing_at_first(found)
    if is_latest(index):
        assert broken is None
    else:
        assert (broken.seq, broken.kind) == (index + 1, KINDS[index])


async def test_entries_in_another_order_are_named():
    found = exported((await trail_of()).trail)
    found[2], found[3] = found[3], found[2]
    assert first_broken(found).seq == 3


async def test_latest_row_of_the_ledger_that_is_changed_is_named_after_the_next_one():
    rows = await trail_of([AuditKind.ORDER] * 3)
    entry = msgspec.msgpack.decode(rows.rows["audit/order/3"], type=AuditEntry)
    rows.rows["audit/order/3"] = msgspec.msgpack.encode(msgspec.structs.replace(entry, who="two"))
    trail = rows.restarted()
    await trail.add(ENTRY)
    assert first_broken(exported(trail)).seq == 3


async def test_what_is_forgotten_breaks_nothing(monkeypatch):
    monkeypatch.setitem(audit.ENTRIES_MAX, AuditKind.LOGIN, 3)
    rows = await trail_of([AuditKind.ORDER, *[AuditKind.LOGIN] * 10])
    found = exported(rows.trail)
    assert [row["seq"] for row in found] == [1, 9, 10, 11]
    assert first_broken(found) is None
    assert missing_at_first(found) is None
    assert missing_at_first(found[:1] + found[2:]).seq == 9


async def test_entries_of_a_version_without_a_chain_are_its_beginning():
    rows = Rows()
    for seq in (1, 2):
        old = msgspec.structs.replace(ENTRY, seq=seq)
        rows.rows[f"audit/order/{seq}"] = msgspec.msgpack.encode(old)
    trail = rows.restarted()
    new = await trail.add(ENTRY)
    assert new.previous == link_to(msgspec.structs.replace(ENTRY, seq=2))
    assert first_broken(exported(trail)) is None
    await trail.add(ENTRY)
    cut = copy.deepcopy(exported(trail))
    assert first_broken(cut) is None
    cut[3]["previous"] = ""
    cut[3]["hash"] = hash_of(cut[3])
    assert first_broken(cut).seq == 4


TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # half a surrogate pair is no text
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_hash_survives_the_ledger_and_an_export(fields):
    row = msgspec.msgpack.encode(msgspec.structs.replace(ENTRY, after=fields))
    entry = msgspec.msgpack.decode(row, type=AuditEntry)
    sent = json.loads(msgspec.json.encode(shown(entry)))
    assert hash_of(sent) == sent["hash"]
