"""Opens the ledger at the start, and reconciles it with the folders.

A damaged ledger is put aside, never deleted, and a new one is filled from it as far as it can be
read (`salvage`), and from the folders; one that has gone, from the folders. What cannot be read for
another reason - permissions, a failing disk, another version - is left as it is, and the start is
refused.

The new one is made beside the damaged one and complete before that is put aside: a start that is
cut off in between loses nothing.
"""

import os
import shutil

import msgspec

from adapter.domain.ports import WallClock
from adapter.domain.recovery import NOT_IN_FOLDERS, UNREAD, LedgerReport
from adapter.domain.tables import JOB_TERMINAL
from adapter.errors import DamagedLedgerError, LedgerError
from adapter.store.damaged_pages import DATABASE
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.files import Durability, sync_folder
from adapter.store.found_jobs import find_jobs
from adapter.store.group_commit import EngineThread
from adapter.store.layout import Layout, unfinished
from adapter.store.ledger import FORMAT, FORMAT_KEY, RowLedger
from adapter.store.quarantine import put_aside
from adapter.store.salvage import Salvaged, counted, salvaged

CUT_OFF = "the start before, which put a damaged one aside, was cut off"
ROWS_AT_ONCE = 1000


def open_ledger(
    layout: Layout, durability: Durability, thread: EngineThread, now: WallClock
) -> tuple[RowLedger, LedgerReport]:
    """Return the ledger, read, and what had to be done about it. Blocks; at boot.

    Raises:
        LedgerError: It cannot be read or written, or another version wrote it.
    """
    report = _prepared(layout)
    try:
        ledger = _load(layout, thread, now)
    except DamagedLedgerError as error:
        report = _made_anew(layout, durability, str(error))
        ledger = _load(layout, thread, now)
    try:
        found = find_jobs(layout, ledger.job_ids(), now())
        for first in range(0, len(found.jobs), ROWS_AT_ONCE):
            ledger.adopt_jobs(found.jobs[first : first + ROWS_AT_ONCE])
        for folder in found.unknown:
            put_aside(layout, folder, "no readable job.meta of this name", durability)
    except OSError as error:
        raise LedgerError(f"{layout.payloads} cannot be compared with it: {error}") from error
    return ledger, msgspec.structs.replace(
        report,
        jobs_found=len(found.jobs),
        jobs_to_run=sum(job.state not in JOB_TERMINAL for job in found.jobs),
        folders_put_aside=len(found.unknown),
    )


def _prepared(layout: Layout) -> LedgerReport:
    """Return how the ledger is found; finish, or clear away, what an earlier start began."""
    database, fresh = layout.ledger / DATABASE, unfinished(layout.ledger)
    is_there = database.exists() and database.stat().st_size > 0
    try:
        if not is_there and fresh.exists():
            fresh.rename(layout.ledger)
            return LedgerReport(damage=CUT_OFF, lost=UNREAD)
        if fresh.exists():
            shutil.rmtree(fresh)
    except OSError as error:
        raise LedgerError(f"{fresh}: {error}") from error
    is_used = os.path.lexists(layout.probe)  # this storage, by an adapter
    return LedgerReport(lost=NOT_IN_FOLDERS if is_used and not is_there else "")


def _made_anew(layout: Layout, durability: Durability, damage: str) -> LedgerReport:
    """Put the damaged ledger aside, and one of what it still tells of in its place."""
    fresh = unfinished(layout.ledger)
    try:
        kept = salvaged(layout.ledger)
        _fill(DiskcacheEngine(fresh), kept)
        sync_folder(fresh, durability)
        aside = put_aside(layout, layout.ledger, damage, durability)
        fresh.rename(layout.ledger)
        sync_folder(layout.root, durability)
    except OSError as error:
        raise LedgerError(f"{damage}; nor can another be put in its place: {error}") from error
    return LedgerReport(
        damage=damage, put_aside=str(aside.relative_to(layout.root)), lost=UNREAD,
        rows_kept=counted(kept.rows), rows_unreadable=kept.unreadable,
    )  # fmt: skip


def _fill(engine: DiskcacheEngine, kept: Salvaged) -> None:
    try:
        engine.write([(FORMAT_KEY, FORMAT)])
        for first in range(0, len(kept.rows), ROWS_AT_ONCE):
            engine.write(kept.rows[first : first + ROWS_AT_ONCE])
    finally:
        engine.close()


def _load(layout: Layout, thread: EngineThread, now: WallClock) -> RowLedger:
    engine = DiskcacheEngine(layout.ledger)
    try:
        ledger = RowLedger(engine, thread, now)
        ledger.load()
    except LedgerError:
        engine.close()
        raise
    return ledger
