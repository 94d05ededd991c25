"""kill -9 at random moments of exports: every instance arrives at every destination, and what is
said to be delivered was answered 0x0000 there (F89, F99). EXPORT_KILLS sets the number of kills.
"""

import itertools
import os
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import Adapter, eventually
from health import MakeAdapter
from hostile_peers import Destination
from wire import Wire, data_set

KILLS = int(os.environ.get("EXPORT_KILLS", "12"))
STUDIES, INSTANCES = 24, 8
UIDS = {f"1.2.5.{study}.{number}" for study in range(STUDIES) for number in range(INSTANCES)}
LANES = 2
BATCH = 16
"""`adapter.domain.pacing.BATCH`: so much may be under way on an association when it is killed."""


class Sink(Destination):
    """Takes everything, unhurriedly; now and then it hangs up instead of answering, or is full."""

    def __init__(self) -> None:
        super().__init__(Destination.serve_all)
        self._turns = itertools.count(1)
        self.answered: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.status = self._judge

    def _judge(self, uid: bytes) -> int | None:
        self.over.wait(0.004)
        name = uid.rstrip(b"\0").decode()
        with self._lock:
            turn = next(self._turns)
            if turn % 17 == 0:
                self.dropped[name] += 1
                return None
            if turn % 23 == 0:
                self.refused[name] += 1
                return 0xA700
            self.answered[name] += 1
            return 0x0000


def outcomes(adapter: Adapter) -> list[dict[str, Any]]:
    """Return every outcome of every export, each with its destination."""
    found = []
    for row in adapter.get("/api/exports?limit=1000"):
        export = adapter.get(f"/api/exports/{row['id']}")
        found += [{**o, "destination": row["destination"]} for o in export["outcomes"]]
    return found


def delivered(adapter: Adapter) -> set[tuple[str, str]]:
    return {(o["destination"], o["sopInstanceUid"]) for o in outcomes(adapter) if o["delivered"]}


def until_durable(adapter: Adapter) -> None:
    """Return when what was shown before is on the disk: what is shown is memory, a little ahead.

    A request that changes something, or cannot, is answered when it is in the audit trail, and the
    ledger writes in the order in which it was told.
    """
    assert adapter.request("POST", "/api/jobs/none/retry")[0] == 404


def check(sinks: dict[str, Sink], said: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return how often each of what is said to be delivered was answered 0x0000; at least once."""
    counts = {(name, uid): sinks[name].answered[uid] for name, uid in said}
    assert all(counts.values()), "said to be delivered, and never answered 0x0000"
    return counts


def test_exports_survive_kills(
    make_adapter: MakeAdapter, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    request.node.add_report_section("call", "seed", str(seed))
    rng = random.Random(seed)
    with Sink() as first, Sink() as second:
        sinks = {"first": first, "second": second}
        adapter = make_adapter({
            "dicom": {"scu": {
                "export": {"max_retries": 1000, "retry_delay_s": 0.1}, "dimse_s": 5,
                "max_associations": 4,
            }},
            "application_entities": [{
                "name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"copy": "copy"},
                "destinations": list(sinks),
            }],
            "platform": {"engine": "command", "pipelines": [{
                "id": "copy", "command": ["/bin/cp", "-r", "input/dcm", "output/"],
                "max_concurrent": 8,
            }]},
            "destinations": [
                {"name": name, "ae_title": "SINK", "host": "127.0.0.1", "port": sink.port,
                 "max_associations": LANES}
                for name, sink in sinks.items()
            ],
        })  # fmt: skip
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            for uid in sorted(UIDS):
                study = uid.rpartition(".")[0]
                assert wire.store(uid, data_set(uid, study=study)) == ("response", 0)
            wire.release()
        eventually(lambda: first.answered and second.answered, 20, "exports have begun")
        done: dict[tuple[str, str], int] = {}
        for _ in range(KILLS):
            said = delivered(adapter)
            until_durable(adapter)
            done |= check(sinks, said)
            adapter.kill()
            adapter.start()
            threading.Event().wait(0.15 * rng.random())  # any moment at all
        wanted = {(name, uid) for name in sinks for uid in UIDS}
        eventually(lambda: delivered(adapter) == wanted, 60, "everything is delivered")
        eventually(
            lambda: {row["state"] for row in adapter.get("/api/exports")} == {"Completed"}, 20
        )
        final = check(sinks, wanted)
        assert all(final[pair] == count for pair, count in done.items()), "sent after it was done"
        for sink in sinks.values():
            assert set(sink.answered) == UIDS
            twice = sum(sink.answered.values()) - len(UIDS)
            assert twice <= KILLS * LANES * BATCH
            assert sink.dropped
            assert sink.refused
