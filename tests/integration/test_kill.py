"""kill -9 at random moments: what was answered 0x0000 is in exactly one job of each pipeline.

F55, F56, F82 of the fault catalogue; invariants I1 and I2. KILLS sets the number of kills.
"""

import hashlib
import json
import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from harness import Adapter, eventually
from health import MakeAdapter
from wire import EXPLICIT, Wire, associate_rq, data_set, explicit, split_part10

KILLS = int(os.environ.get("KILLS", "50"))
SENDERS = 4
STUDIES = 3
KILLED = (("closed",), ("abort", 0, 0), ("abort", 2, 0))
"""What a sender may hear then: a receiver process has a last moment, and uses it for A-ABORT."""
PIPELINES = {"one": "pipe-one", "two": "pipe-two"}


def content_of(uid: str) -> bytes:
    """Return the data set that belongs to this UID: everybody can tell whether it is whole."""
    sender, number = (int(part) for part in uid.split(".")[-2:])
    pixels = hashlib.sha256(uid.encode()).digest() * (10 + (number * 7919) % 1500)
    return data_set(
        uid, study=f"1.2.9.{number % STUDIES}", series=f"1.2.9.{number % STUDIES}.{sender}",
        tail=explicit(0x7FE00010, b"OW", pixels),
    )  # fmt: skip


class Sender(threading.Thread):
    """Sends instances, each once, until the adapter dies; remembers what was answered 0x0000."""

    def __init__(self, sender: int, first: int, port: int) -> None:
        super().__init__()
        self.acknowledged: list[str] = []
        self.sent = 0
        self.problems: list[str] = []
        self._uids = (f"1.2.9.7.{sender}.{number}" for number in range(first, first + 100_000))
        self._port = port

    def run(self) -> None:
        try:
            with Wire(self._port) as wire:
                wire.send(associate_rq())
                if wire.answer() == ("accept",):
                    while self._send(wire):
                        pass
        except OSError:
            pass  # killed before it accepted

    def _send(self, wire: Wire) -> bool:
        uid = next(self._uids)
        self.sent += 1
        answer = wire.store(uid, content_of(uid))
        if answer == ("response", 0x0000):
            self.acknowledged.append(uid)
        elif answer not in KILLED:
            self.problems.append(f"{uid}: {answer}")
        return answer not in KILLED


def check_whole(path: Path) -> str:
    """Return the UID of a file under a final name; it must be a complete Part 10 file."""
    content = path.read_bytes()
    meta, data = split_part10(content)
    uid = meta[0x00020003].rstrip(b"\0").decode()
    assert path.stem == uid
    assert meta[0x00020010].rstrip(b"\0").decode() == EXPLICIT
    assert content[:128] == bytes(128)
    assert data == content_of(uid), f"torn: {path}"
    return uid


def one_life(adapter: Adapter, life: int, rng: random.Random) -> list[Sender]:
    """Start the adapter, load it with senders, kill it at a random moment."""
    adapter.start()
    assert list((adapter.root / "incoming" / ".part").iterdir()) == []
    first = life * 100_000
    senders = [Sender(n, first, adapter.dicom_port) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    threading.Event().wait(rng.choice((0.02, 0.1, 0.3, 1.3)) * rng.random())  # any moment at all
    adapter.kill()
    for sender in senders:
        sender.join()
    return senders


def test_acknowledged_instances_survive_kills(
    make_adapter: MakeAdapter, request: pytest.FixtureRequest
) -> None:
    """One group lives for many lives (study 0..2 come again after each start), others close."""
    seed = random.SystemRandom().randrange(1 << 32)
    request.node.add_report_section("call", "seed", str(seed))
    rng = random.Random(seed)
    adapter = make_adapter(
        {
            "application_entities": [
                {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": PIPELINES}
            ]
        },
        start=False,
    )
    found = audit(adapter, *many_lives(adapter, KILLS, rng))
    assert found["one"] == found["two"]


def many_lives(adapter: Adapter, kills: int, rng: random.Random) -> tuple[set[str], int]:
    """Return what was acknowledged over so many kills, and how many instances were sent."""
    senders = []
    for life in range(kills):
        senders += one_life(adapter, life, rng)
        for path in adapter.instances("incoming"):
            check_whole(path)
    acknowledged = {uid for sender in senders for uid in sender.acknowledged}
    assert len(acknowledged) > 10 * kills, "the test did not do much"
    assert [problem for sender in senders for problem in sender.problems] == []
    adapter.start()
    eventually(lambda: not adapter.groups_on_disk(), 30, "all groups have become jobs")
    return acknowledged, sum(sender.sent for sender in senders)


def audit(adapter: Adapter, acknowledged: set[str], sent: int) -> dict[str, Counter[str]]:
    """Compare what senders were told with what pipelines see; return that, by pipeline."""
    for parent in ("incoming", "closed"):
        eventually(lambda at=parent: not list(adapter.instances(at)), 10, "groups are removed")
    assert not any((adapter.root / "quarantine").iterdir())
    found: dict[str, Counter[str]] = {pipeline: Counter() for pipeline in PIPELINES}
    for folder in adapter.payload_folders():
        meta = json.loads((folder / "job.meta").read_bytes())
        assert meta["jobId"] == folder.name
        instances = [Path(at, n) for at, _, names in os.walk(folder / "input") for n in names]
        assert meta["metadata"]["Instances"] == str(len(instances))
        found[meta["pipeline"]].update(check_whole(path) for path in instances)
    for counts in found.values():
        assert acknowledged - counts.keys() == set(), "acknowledged, and lost"
        assert [uid for uid, count in counts.items() if count > 1] == []
        assert len(counts) <= sent
    rows = {job["id"] for job in every_job(adapter)}
    assert rows == {folder.name for folder in adapter.payload_folders()}
    return found


def every_job(adapter: Adapter) -> list[dict[str, str]]:
    """Return all jobs, page by page."""
    jobs: list[dict[str, str]] = []
    while page := adapter.get(f"/api/jobs?limit=1000&offset={len(jobs)}"):
        jobs += page
    return jobs
