"""Receiver processes: who serves what, and what the death of one of them costs (F55 for a part)."""

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import run_peer
from harness import Adapter, eventually
from health import MakeAdapter, crashes, unharmed
from sample_files import samples
from test_kill import PIPELINES, Sender, audit
from wire import C_STORE, CT, DATA, Wire, associate_rq, data_set, pdu, pdv, request

KILLS = 5
"""No more than a receiver is restarted in a minute; parked ones would end no sender."""


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    """An adapter with two receivers, which a test may kill: nothing else in it crashes."""
    changes = {
        "dicom": {"scp": {"receivers": 2}},
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": PIPELINES}
        ],
    }
    adapter = Adapter(tmp_path, changes).start()
    try:
        yield adapter
    finally:
        adapter.kill()
    assert [line for line in crashes(adapter) if '"actor":"receiver:' not in line] == []


def receivers(adapter: Adapter) -> dict[str, int]:
    """Return the process of each receiver that runs."""
    started = {line["receiver"]: line["pid"] for line in adapter.events("receiver.started")}
    return {name: pid for name, pid in started.items() if runs(pid)}


def runs(pid: int) -> bool:
    """Return whether the process is there, and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def connections(pid: int) -> int:
    """Return how many of the process's descriptors are TCP connections."""
    inodes = {
        line.split()[9]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    }
    sockets = (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    return sum(1 for name in sockets if name.removeprefix("socket:[").rstrip("]") in inodes)


def associated(adapter: Adapter, stack: ExitStack, count: int) -> list[Wire]:
    """Return so many associations, one after the other."""
    return [stack.enter_context(Wire(adapter.dicom_port)).associate() for _ in range(count)]


def ended(wire: Wire) -> bool:
    """Return whether the association was aborted; a C-ECHO tells."""
    try:
        return wire.echo() != ("response", 0)
    except OSError:
        return True


def test_associations_are_spread_over_the_receivers(adapter: Adapter) -> None:
    with ExitStack() as stack:
        associated(adapter, stack, 6)
        assert sorted(connections(pid) for pid in receivers(adapter).values()) == [3, 3]
        loads = adapter.metrics("dicom_adapter_receiver_associations")
        assert loads == {"receiver:1": 3, "receiver:2": 3}


def test_death_of_a_receiver_ends_its_associations_and_no_others(adapter: Adapter) -> None:
    with ExitStack() as stack:
        wires = associated(adapter, stack, 4)
        for wire in wires:
            assert wire.store(f"1.2.3.{wires.index(wire)}") == ("response", 0)
        victim, other = receivers(adapter).values()
        os.kill(victim, signal.SIGKILL)
        aborted = eventually(lambda: adapter.events("association.aborted")[1:], 10, "two aborted")
        assert {line["why"] for line in adapter.events("association.aborted")} == {
            "lost with its receiver process"
        }
        assert len(aborted) == 1
        assert sorted(ended(wire) for wire in wires) == [False, False, True, True]
        eventually(lambda: len(receivers(adapter)) == 2, 10, "the receiver is back")
        assert other in receivers(adapter).values()
        fresh = associated(adapter, stack, 2)
        assert [ended(wire) for wire in fresh] == [False, False]
    eventually(lambda: not adapter.associations(), 10, "every place is free")


def test_what_a_receiver_was_receiving_when_it_died_is_cleared_away(adapter: Adapter) -> None:
    parts = adapter.root / "incoming" / ".part"
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        begin = pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3")))
        wire.send(begin, pdu(DATA, pdv(3, 0, data_set("1.2.3"))))
        eventually(lambda: list(parts.iterdir()), 10, "a part file")
        for pid in receivers(adapter).values():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not list(parts.iterdir()), 10, "no part file")


def test_acknowledged_instances_survive_the_death_of_their_receivers(adapter: Adapter) -> None:
    rng = random.Random(1)
    senders: list[Sender] = []
    for life in range(KILLS):
        now = [Sender(n, life * 100_000, adapter.dicom_port) for n in range(4)]
        for sender in now:
            sender.start()
        eventually(lambda: sum(len(one.acknowledged) for one in now) > 20, 10, "they send")  # noqa: B023
        threading.Event().wait(0.3 * rng.random())  # any moment at all
        for pid in receivers(adapter).values():
            os.kill(pid, signal.SIGKILL)
        for sender in now:
            sender.join()
        senders += now
        eventually(lambda: len(receivers(adapter)) == 2, 20, "receivers")
    assert [problem for sender in senders for problem in sender.problems] == []
    acknowledged = {uid for sender in senders for uid in sender.acknowledged}
    assert len(acknowledged) > 10 * KILLS, "the test did not do much"
    eventually(lambda: not adapter.groups_on_disk(), 30, "all groups have become jobs")
    audit(adapter, acknowledged, sum(sender.sent for sender in senders))


def parked(adapter: Adapter) -> set[str]:
    """Return the actors that are not restarted any more."""
    crashed = adapter.events("actor.crashed")
    return {line["actor"] for line in crashed if line["gave_up"]}


def test_adapter_receives_by_itself_when_its_receivers_are_parked(adapter: Adapter) -> None:
    for _ in range(KILLS + 1):
        eventually(lambda: len(receivers(adapter)) == 2, 10, "both run")
        doomed = receivers(adapter).values()
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda pids=doomed: not any(map(runs, pids)), 10, "both are dead")
    eventually(lambda: parked(adapter) == {"receiver:1", "receiver:2"}, 30, "both are parked")
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3") == ("response", 0)
        assert wire.release() == ("released",)
    why = adapter.get("/health/status")["degradedBecause"]
    assert sorted(why) == ["receiver:1 is parked", "receiver:2 is parked"]


def test_receivers_end_with_the_adapter_however_it_ends(adapter: Adapter) -> None:
    first = receivers(adapter)
    adapter.kill()
    eventually(lambda: not any(map(runs, first.values())), 5, "they ended")
    adapter.start()
    second = receivers(adapter)
    assert adapter.stop() == 0
    assert not any(map(runs, second.values()))


def test_stop_signal_to_all_processes_lets_associations_finish(adapter: Adapter) -> None:
    """A service manager signals the whole control group."""
    adapter.stop()
    adapter.settings["shutdown"] = {"association_grace_s": 30, "deadline_s": 60}
    adapter.start()
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for pid in (*receivers(adapter).values(), adapter.pid):
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: adapter.events("process.stopping"), 10, "it stops")
        assert wire.store("1.2.3") == ("response", 0)
        assert wire.release() == ("released",)
    assert adapter.wait() == 0


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("changes", [{"receivers": 0}, {"receivers": 1}], ids=str)
def test_number_of_receivers_is_a_setting(
    make_adapter: MakeAdapter, changes: dict[str, Any]
) -> None:
    adapter = make_adapter({"dicom": {"scp": changes}})
    assert len(receivers(adapter)) == changes["receivers"]
    with unharmed(adapter):
        run_peer("storescu", "-aec", "MAIN", "127.0.0.1", str(adapter.dicom_port),
                 str(samples()[0].path))  # fmt: skip
    eventually(lambda: adapter.payload_folders(), 10, "a job")


def test_association_that_is_aborted_at_the_end_of_the_grace_hears_it(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        adapter.terminate()
        assert wire.answer()[0] == "abort"
    assert adapter.wait() == 0
    (line,) = adapter.events("association.aborted")
    assert line["why"] == "aborted by us"


def test_request_and_what_follows_it_in_one_segment_is_understood(adapter: Adapter) -> None:
    """A-ABORT right behind the request: it moves to the receiver with the connection."""
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(), b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        (line,) = eventually(lambda: adapter.events("association.aborted"), 10, "aborted")
    assert line["why"] == "aborted by the peer (source 0, reason 0)"
