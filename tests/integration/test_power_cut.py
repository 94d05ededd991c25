"""The power goes at any moment: what was answered 0x0000 is there, whole, in one job a pipeline.

F57, F55 of the fault catalogue. On a disk of which every write since its last flush is lost, or any
part of them is there in any order (`benchmarks.power_disk`). POWER_CUTS sets the number of cuts.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Adapter, eventually, pass_time
from health import MakeAdapter, missing
from test_kill import PIPELINES, Sender, audit, check_whole

from benchmarks.power_disk import PowerDisk

CUTS = int(os.environ.get("POWER_CUTS", "24"))
RESTARTS = 3
SENDERS = 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerDisk]:
    """A disk of its own for the storage root."""
    folder = tmp_path / "power"
    folder.mkdir()
    with ExitStack() as stack:
        try:
            power = stack.enter_context(PowerDisk(folder))
        except (OSError, subprocess.CalledProcessError) as error:
            missing(f"no disk that can be cut off: {error}")
        yield power


def acknowledged_by(senders: list[Sender]) -> int:
    return sum(len(sender.acknowledged) for sender in senders)


class Cut:
    """A moment, and what had been acknowledged before it."""

    def __init__(self, senders: list[Sender], disk: PowerDisk) -> None:
        self.acknowledged = {uid for sender in senders for uid in list(sender.acknowledged)}
        self.moment = disk.now()  # behind the last of the answers


def adapter_on(disk: PowerDisk, make_adapter: MakeAdapter, durability: str) -> Adapter:
    return make_adapter({
        "storage": {"root": str(disk.mounted / "root"), "durability": durability},
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "max_instances": 40,
             "pipelines": PIPELINES}
        ],
    })  # fmt: skip


def load_and_cut(adapter: Adapter, disk: PowerDisk, rng: random.Random) -> tuple[list[Cut], int]:
    """Load the adapter, take moments, kill it; return them, and how many instances were sent.

    Groups open, fill up and become jobs all the time.
    """
    senders = [Sender(number, 0, adapter.dicom_port) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    cuts = []
    for number in range(CUTS):
        pass_time(0.25 * rng.random())
        eventually(lambda least=3 * number: acknowledged_by(senders) >= least, 30, "progress")
        cuts.append(Cut(senders, disk))
    adapter.kill()
    for sender in senders:
        sender.join()
    assert [problem for sender in senders for problem in sender.problems] == []
    assert len(cuts[-1].acknowledged) > 2 * CUTS, "the test did not do much"
    return cuts, sum(sender.sent for sender in senders)


def found_in(root: Path) -> set[str]:
    """Return the UIDs of instances under final names."""
    return {
        path.stem
        for parent in ("incoming", "closed", "payloads")
        for path in (root / parent).rglob("*.dcm")
    }


def test_acknowledged_instances_survive_power_cuts(
    disk: PowerDisk, make_adapter: MakeAdapter, request: pytest.FixtureRequest
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    request.node.add_report_section("call", "seed", str(seed))
    rng = random.Random(seed)
    adapter = adapter_on(disk, make_adapter, "fsync")
    cuts, sent = load_and_cut(adapter, disk, rng)
    restarted = set(rng.sample(range(CUTS), min(RESTARTS, CUTS)))
    for number, cut in enumerate(cuts):
        with disk.after_cut(cut.moment, rng if number % 2 else None) as mounted:
            root = mounted / "root"
            assert cut.acknowledged - found_in(root) == set(), "acknowledged, and lost"
            for parent in ("incoming", "closed", "payloads"):
                for path in (root / parent).rglob("*.dcm"):
                    check_whole(path)
            if number in restarted:
                start_again(adapter, root, cut, sent)


def start_again(adapter: Adapter, root: Path, cut: Cut, sent: int) -> None:
    """What came through the cut becomes jobs, once for each pipeline."""
    adapter.settings["storage"]["root"] = str(root)
    adapter.root = root
    adapter.start()
    eventually(lambda: not adapter.groups_on_disk(), 30, "all groups have become jobs")
    found = audit(adapter, cut.acknowledged, sent)
    assert found["one"] == found["two"]
    adapter.kill()


def test_without_fsync_a_power_cut_loses_acknowledged_instances(
    disk: PowerDisk, make_adapter: MakeAdapter
) -> None:
    """What `storage.durability = "os"` does not promise; and this disk does lose what it may."""
    adapter = adapter_on(disk, make_adapter, "os")
    cuts, _ = load_and_cut(adapter, disk, random.Random(1))
    assert any(loses(disk, cut) for cut in cuts)  # not each: the ledger's own syncs flush the disk


def loses(disk: PowerDisk, cut: Cut) -> bool:
    """Return whether something acknowledged is not there after a cut."""
    with disk.after_cut(cut.moment) as mounted:
        return bool(cut.acknowledged - found_in(mounted / "root"))
