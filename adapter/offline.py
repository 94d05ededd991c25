"""What is done to the ledger of an adapter that is stopped: the first key of its API is made.

Whoever may write the storage root could do so anyway; there is no default password, and no route
that is open until somebody has made one.
"""

import os
import secrets
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import trio

from adapter.domain.access import DRAWN_BYTES, NewKey, make_key, shown
from adapter.domain.audit import AuditEntry, AuditKind, hidden
from adapter.errors import ConfigurationError
from adapter.settings import Settings
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.group_commit import WriterThread
from adapter.store.layout import Layout
from adapter.store.ledger import RowLedger
from adapter.store.lock import lock_root

MADE_BY = "offline"


def create_key(settings: Settings, **wanted: object) -> dict[str, Any]:
    """Make a key in the ledger of this configuration; return it with its token. Blocks.

    Raises:
        ConfigurationError: An adapter runs on this storage root, or the key cannot be made.
        LedgerError: The ledger cannot be used.
    """
    layout = Layout(Path(settings.storage.root))
    lock = lock_root(layout)
    try:
        with closing(
            RowLedger(DiskcacheEngine(layout.ledger), WriterThread(), time.time)
        ) as ledger:
            ledger.load()
            now = time.time()
            key, token = make_key(
                msgspec.convert(wanted, NewKey), ledger.keys, now, MADE_BY,
                secrets.token_bytes(DRAWN_BYTES),
            )  # fmt: skip
            entry = AuditEntry(
                kind=AuditKind.CONFIGURATION, at=now, who=MADE_BY, action="keys create",
                after=hidden(shown(key, now)),
            )  # fmt: skip

            async def put() -> None:
                await ledger.keys.put(key)
                await ledger.audit.add(entry)

            trio.run(put)
            return {**shown(key, now), "key": token}
    except msgspec.ValidationError as error:
        raise ConfigurationError([f"keys create: {error}"]) from error
    except ValueError as error:
        raise ConfigurationError([f"keys create: {error}"]) from error
    finally:
        os.close(lock)
