"""Opens the ledger at the start, and reconciles it with the folders.

A damaged ledger is put aside, never deleted, and a new one is filled from the folders; so is one
that has gone. What cannot be read for another reason - permissions, a failing disk, another version
- is left as it is, and the start is refused.
"""

from adapter.domain.ports import WallClock
from adapter.domain.recovery import LedgerReport
from adapter.domain.tables import JOB_TERMINAL
from adapter.errors import DamagedLedgerError, LedgerError
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.files import FOLDER_MODE, Durability
from adapter.store.found_jobs import find_jobs
from adapter.store.group_commit import EngineThread
from adapter.store.layout import Layout
from adapter.store.ledger import RowLedger
from adapter.store.quarantine import put_aside

ROWS_AT_ONCE = 1000


def open_ledger(
    layout: Layout, durability: Durability, thread: EngineThread, now: WallClock
) -> tuple[RowLedger, LedgerReport]:
    """Return the ledger, read, and what had to be done about it. Blocks; at boot.

    Raises:
        LedgerError: It cannot be read or written, or another version wrote it.
    """
    damage = aside = ""
    try:
        ledger = _load(layout, thread, now)
    except DamagedLedgerError as error:
        damage = str(error)
        aside = str(put_aside(layout, layout.ledger, damage, durability).relative_to(layout.root))
        layout.ledger.mkdir(FOLDER_MODE)
        ledger = _load(layout, thread, now)
    try:
        found = find_jobs(layout, ledger.job_ids(), now())
        for first in range(0, len(found.jobs), ROWS_AT_ONCE):
            ledger.adopt_jobs(found.jobs[first : first + ROWS_AT_ONCE])
        for folder in found.unknown:
            put_aside(layout, folder, "no readable job.meta of this name", durability)
    except OSError as error:
        raise LedgerError(f"{layout.payloads} cannot be compared with it: {error}") from error
    return ledger, LedgerReport(
        damage=damage,
        put_aside=aside,
        jobs_found=len(found.jobs),
        jobs_to_run=sum(job.state not in JOB_TERMINAL for job in found.jobs),
        folders_put_aside=len(found.unknown),
    )


def _load(layout: Layout, thread: EngineThread, now: WallClock) -> RowLedger:
    engine = DiskcacheEngine(layout.ledger)
    try:
        ledger = RowLedger(engine, thread, now)
        ledger.load()
    except LedgerError:
        engine.close()
        raise
    return ledger
