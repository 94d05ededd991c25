"""A damaged ledger goes over into the new one as far as it can be read (F71)."""

import os
import random
import sqlite3
import stat

import msgspec
import pytest
import trio

from adapter.domain.access import ApiKey, Role
from adapter.domain.audit import AuditEntry, AuditKind
from adapter.domain.audit_chain import first_broken, shown
from adapter.domain.destination_rows import DestinationHold
from adapter.domain.entity_rows import EntityRow
from adapter.domain.recovery import AS_IT_SHOULD_BE
from adapter.errors import DamagedLedgerError, LedgerError
from adapter.store.damaged_pages import DATABASE, PAGE_BYTES, found_rows
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.group_commit import WriterThread
from adapter.store.layout import Layout, unfinished
from adapter.store.opening import open_ledger

SOURCES = [
    EntityRow(kind="source", name=f"CT-{n}", settings={"ae_title": f"CT{n}", "host": "10.0.0.1"})
    for n in range(450)
]
DESTINATION = EntityRow(
    kind="destination", name="pacs", settings={"text": "x" * 9000}, retiring=True
)
KEY = ApiKey(id="0123abcd", name="Jane", role=Role.ADMINISTRATOR, digest="d" * 64, made_at=1.0,
             made_by="offline")  # fmt: skip
HOLD = DestinationHold(destination="pacs", why="maintenance", at=1.0)
ENTRY = AuditEntry(kind=AuditKind.ORDER, at=1.0, who="one", action="POST /x")
ENTRIES = 15


class Root:
    """A storage root over one ledger after another."""

    def __init__(self, folder):
        self.layout = Layout(folder)
        self.layout.make()
        self.file = self.layout.ledger / DATABASE
        self.opened = []
        self.entities = []

    def open(self):
        ledger, report = open_ledger(self.layout, "os", WriterThread(), lambda: 5.0)
        self.opened.append(ledger)
        return ledger, report

    def close(self):
        while self.opened:
            self.opened.pop().close()

    def spoil(self, offset, content):
        self.close()
        with self.file.open("r+b") as file:
            file.seek(offset)
            file.write(content)

    def root_page(self, name):
        """Return the offset of the first page of a table or index."""
        self.close()
        database = sqlite3.connect(self.file)
        select = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        ((page,),) = database.execute(select, (name,)).fetchall()
        database.close()
        return (page - 1) * PAGE_BYTES

    def pages(self, *kinds):
        """Return the offsets of the pages that begin with one of these bytes."""
        self.close()
        content = self.file.read_bytes()
        return [at for at in range(PAGE_BYTES, len(content), PAGE_BYTES) if content[at] in kinds]


@pytest.fixture
async def root(tmp_path):
    """Return a root with all kinds of rows."""
    root = Root(tmp_path / "root")
    ledger, _ = root.open()
    async with trio.open_nursery() as nursery:
        for row in SOURCES:
            nursery.start_soon(ledger.entities.put_entity, row)
    await ledger.entities.put_entity(DESTINATION)
    await ledger.keys.put(KEY)
    await ledger.holds.put(HOLD)
    await ledger.audit.add_configuration({"a": "1"}, ENTRY)
    for _ in range(ENTRIES - 1):
        await ledger.audit.add(ENTRY)
    root.entities = await ledger.entities.entities()
    root.close()
    yield root
    root.close()


async def assert_all_is_there(root):
    ledger, report = root.open()
    assert await ledger.entities.entities() == root.entities, "in their order"
    assert ledger.keys.all() == [KEY]
    assert ledger.holds.of("pacs") == HOLD
    entries = ledger.audit.entries(AuditKind)
    assert len(entries) == ENTRIES
    assert first_broken(map(shown, entries)) is None
    assert await ledger.audit.add_configuration({"a": "1"}, ENTRY) is None, "it is known"
    assert report.damage
    assert report.lost
    assert report.rows_kept == {
        "sources": 450, "destinations": 1, "apiKeys": 1, "holds": 1, "auditEntries": ENTRIES,
    }  # fmt: skip


@pytest.mark.parametrize(
    "noise", [b"\xff" * 16, b"not a database" * 7, bytes(100)], ids=["ones", "text", "zeros"]
)
async def test_rows_outlive_a_broken_header(root, noise):
    root.spoil(0, noise)
    await assert_all_is_there(root)


async def test_rows_outlive_a_first_page_of_noise(root):
    root.spoil(0, random.Random(1).randbytes(PAGE_BYTES))
    await assert_all_is_there(root)


@pytest.mark.parametrize("name", ["Cache_expire_time", "Cache_key_raw", "Cache", "Settings"])
async def test_rows_outlive_a_zeroed_page_above_them(root, name):
    root.spoil(root.root_page(name), bytes(PAGE_BYTES))
    await assert_all_is_there(root)


async def test_rows_outlive_zeroed_pages_of_every_index(root):
    for at in root.pages(2, 10):
        root.spoil(at, bytes(PAGE_BYTES))
    await assert_all_is_there(root)


async def test_rows_of_a_zeroed_page_are_lost_and_no_others(root):
    leaves = root.pages(13)
    root.spoil(leaves[len(leaves) // 2], bytes(PAGE_BYTES))
    ledger, report = root.open()
    kept = await ledger.entities.entities()
    assert 400 < len(kept) < 451
    assert [row for row in root.entities if row in kept] == kept
    assert report.rows_kept["apiKeys"] == 1
    root.close()
    assert root.open()[1] == AS_IT_SHOULD_BE


async def test_entry_that_is_lost_is_named_by_the_chain_and_its_number_not_given_again(root):
    for at in root.pages(13)[-1:]:
        root.spoil(at, bytes(PAGE_BYTES))
    ledger, report = root.open()
    before = ledger.audit.entries(AuditKind)
    assert 0 < len(before) < ENTRIES
    added = await ledger.audit.add(ENTRY)
    entries = ledger.audit.entries(AuditKind)
    assert [row.seq for row in entries] == sorted({row.seq for row in entries})
    assert report.rows_kept["auditEntries"] == len(before)
    assert added.seq > before[-1].seq


async def test_lost_end_of_the_trail_is_missing_and_not_made_anew(root):
    engine = DiskcacheEngine(root.layout.ledger)
    engine.write([(f"audit/order/{ENTRIES}", None)])
    engine.close()
    ledger, _ = root.open()
    assert (await ledger.audit.add(ENTRY)).seq == ENTRIES + 1
    broken = first_broken(map(shown, ledger.audit.entries(AuditKind)))
    assert (broken.seq, broken.why) == (ENTRIES, f"is missing; entry {ENTRIES + 1} came behind it")


async def test_row_that_is_none_is_left_out_and_counted(root):
    engine = DiskcacheEngine(root.layout.ledger)
    engine.write([("source/CT-0", b"\xc1"), ("source/CT-1", msgspec.msgpack.encode(SOURCES[2])),
                  ("auditlink/order", b"nonsense"), ("job/1", b"\xc1")])  # fmt: skip
    engine.close()
    ledger, report = root.open()
    assert report.damage
    assert (report.rows_kept["sources"], report.rows_unreadable) == (448, 3)
    lost = (SOURCES[0], SOURCES[1])
    assert await ledger.entities.entities() == [row for row in root.entities if row not in lost]
    assert len(ledger.audit.entries(AuditKind)) == ENTRIES


@pytest.mark.parametrize("seed", range(8))
async def test_noise_anywhere_is_found_or_harmless_and_never_stops_a_start(root, seed):
    chance = random.Random(seed)
    pages = root.pages(2, 5, 10, 13)
    at = chance.choice([0, *pages]) + chance.choice([0, 8, 100, 2000])
    root.spoil(at, chance.randbytes(400))
    ledger, report = root.open()
    kept = await ledger.entities.entities()
    assert len(kept) > 400
    assert bool(report.damage) or len(kept) == 451, "nothing is lost in silence"
    await ledger.keys.put(KEY)
    root.close()
    assert root.open()[1] == AS_IT_SHOULD_BE


async def test_damage_that_reading_passes_over_is_found(root):
    root.spoil(root.root_page("Cache_expire_time"), bytes(PAGE_BYTES))
    engine = DiskcacheEngine(root.layout.ledger)
    with pytest.raises(DamagedLedgerError):
        list(engine.load())
    engine.close()


async def test_damaged_ledger_of_another_version_leaves_nothing_in_ours(root):
    engine = DiskcacheEngine(root.layout.ledger)
    engine.write([("format", b"2")])
    engine.close()
    root.spoil(0, bytes(100))
    ledger, report = root.open()
    assert (report.rows_kept, ledger.keys.all()) == ({}, [])
    assert report.rows_unreadable > 450


async def test_pages_tell_what_sqlite_tells(tmp_path):
    """Rows of every length, changed and deleted again, in the file and in its log."""
    chance = random.Random(7)
    engine = DiskcacheEngine(tmp_path / "ledger")
    kept = {}
    for turn in range(60):
        changes = {f"kind/{chance.randrange(300)}": chance.choice([None, 0, 40, 489, 4000, 30000])
                   for _ in range(40)}  # fmt: skip
        rows = {key: None if size is None else chance.randbytes(size + turn)
                for key, size in changes.items()}  # fmt: skip
        engine.write(list(rows.items()))
        kept |= rows
        if turn % 20 == 0 or turn == 59:
            expected = {key: row for key, row in kept.items() if row is not None}
            found = list(found_rows(tmp_path / "ledger"))
            assert {row.key: row.value for row in found} == expected == dict(engine.load())
            assert len(found) == len(expected), "none twice"
            assert (tmp_path / "ledger" / f"{DATABASE}-wal").stat().st_size
    engine.close()
    assert not (tmp_path / "ledger" / f"{DATABASE}-wal").exists()
    assert {row.key: row.value for row in found_rows(tmp_path / "ledger")} == expected


async def test_log_ends_where_it_does_not_verify(tmp_path):
    folder = tmp_path / "ledger"
    engine = DiskcacheEngine(folder)
    engine.write([("first", b"1")])
    log = folder / f"{DATABASE}-wal"
    size = log.stat().st_size
    engine.write([("second", b"2")])
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / DATABASE).write_bytes((folder / DATABASE).read_bytes())
    content = bytearray(log.read_bytes())
    content[size + 30] ^= 1
    (copy / log.name).write_bytes(content)
    assert {row.key for row in found_rows(folder)} == {"first", "second"}
    assert {row.key for row in found_rows(copy)} == {"first"}
    engine.close()


async def test_ledger_that_has_gone_from_a_storage_in_use_is_told(root):
    root.layout.probe.touch()
    for file in root.layout.ledger.iterdir():
        file.unlink()
    _, report = root.open()
    assert (report.damage, report.rows_kept) == ("", {})
    assert "API keys" in report.lost
    root.close()
    assert root.open()[1] == AS_IT_SHOULD_BE


async def test_first_start_has_lost_nothing(tmp_path):
    assert Root(tmp_path / "root").open()[1] == AS_IT_SHOULD_BE


async def test_start_that_was_cut_off_before_the_exchange_is_done_again(root):
    unfinished(root.layout.ledger).mkdir()
    (unfinished(root.layout.ledger) / DATABASE).write_bytes(b"half")
    root.spoil(0, bytes(100))
    await assert_all_is_there(root)
    assert not unfinished(root.layout.ledger).exists()


async def test_start_that_was_cut_off_within_the_exchange_is_finished(root):
    root.layout.ledger.rename(unfinished(root.layout.ledger))
    root.layout.make()
    ledger, report = root.open()
    assert "cut off" in report.damage
    assert report.lost
    assert ledger.keys.all() == [KEY]


async def test_ledger_that_cannot_be_put_aside_is_left_and_the_start_refused(root):
    root.spoil(0, bytes(100))
    root.layout.quarantine.rmdir()
    with pytest.raises(LedgerError, match="nor can another"):
        root.open()
    assert root.file.exists()
    root.layout.make()
    await assert_all_is_there(root)


async def test_ledger_of_an_older_version_is_closed_to_others(root):
    root.layout.ledger.chmod(0o755)
    for file in root.layout.ledger.iterdir():
        file.chmod(0o644)
    before = os.umask(0)
    try:
        ledger, _ = root.open()
        await ledger.keys.put(KEY)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in
                 root.layout.ledger.iterdir()}  # fmt: skip
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.layout.ledger.stat().st_mode) == 0o700
    assert modes.keys() >= {DATABASE, f"{DATABASE}-wal", ".reserve"}
    assert set(modes.values()) == {0o600}
