"""What is compared with whom, and which ratio is the goal.

A scenario is a piece of work and its contenders; a contender does the work once and returns named
figures. The first contender is the adapter. Counts are those of a full run; `Bench.count` makes
them smaller for a quick one and for programs that are slow by orders of magnitude.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import disk_limit, peers, sending
from benchmarks.instances import multi_frame, new_run, template
from benchmarks.loop import Target
from benchmarks.peers import PeerFailedError, Receiver, Running, running
from benchmarks.process import cpu_s, reset_peak, resident
from benchmarks.report import Report, report
from benchmarks.sending import Sender, files_per_s, peak_bytes, write_files, write_large
from benchmarks.stress import Phase, Plan, run

Figures = dict[str, float]
WARM = 20
"""Requests that a receiver has answered before the clock starts: its code is loaded then."""
LARGE_BYTES = 2 * 10**9
CT_BYTES = 530_000


@dataclass(frozen=True)
class Bench:
    """Where, and how much."""

    folder: Path
    """On a real file system; the receivers' folders and the senders' files."""
    scale: float = 1.0
    """Part of the full counts."""

    def count(self, full: int, share: float = 1.0) -> int:
        """Return how many of that many."""
        return max(round(full * self.scale * share), 10)


@dataclass(frozen=True)
class Contender:
    """Somebody who does the work."""

    name: str
    version: Callable[[], str]
    available: Callable[[], bool]
    measure: Callable[[Bench], Figures]


@dataclass(frozen=True)
class Goal:
    """What the adapter is to reach: a multiple of the best of some contenders, or a value."""

    words: str
    against: tuple[str, ...] = ()
    """How their names begin; none: the limit is for the adapter's figure itself."""
    at_least: float | None = None
    at_most: float | None = None
    figure: str = "per_s"


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    name: str
    title: str
    unit: str
    contenders: Sequence[Contender]
    goals: Sequence[Goal]


# --- receiving


def receiving(receiver: Receiver, work: Callable[[Bench, Receiver, Running], Figures]) -> Contender:
    """Return a receiver that is started anew for the work."""

    def measure(bench: Bench) -> Figures:
        with running(receiver, bench.folder) as peer:
            return work(bench, receiver, peer)

    return Contender(receiver.name, receiver.version, receiver.available, measure)


def plan(receiver: Receiver, peer: Running, **changes: object) -> Plan:
    """Return a plan for a receiver."""
    base = Plan(target=Target("127.0.0.1", peer.port), called=receiver.called, run=new_run())
    return replace(base, **changes)  # type: ignore[arg-type]


def complete(figures: Report) -> Report:
    """Return a report if all went well.

    Raises:
        PeerFailedError: It did not.
    """
    requests = figures["requests"]
    failures = dict(figures["failures"])
    if figures.get("probe_failure"):
        failures["C-ECHO meanwhile"] = figures["probe_failure"]
    if failures or requests["succeeded"] != requests["planned"]:
        raise PeerFailedError(f"{requests}, {failures}, {figures['statuses']}")
    return figures


def store(kind: str, associations: int, full: int, *,
          nagle: bool = False) -> Callable[[Bench, Receiver, Running], Figures]:  # fmt: skip
    """Return the work of storing `full` instances over so many associations at once."""

    def work(bench: Bench, receiver: Receiver, peer: Running) -> Figures:
        each = max(bench.count(full, receiver.share) // associations, 1)
        warm = plan(receiver, peer, kind=kind, instances=WARM)
        run(warm)
        it = plan(
            receiver, peer, kind=kind, instances=each, associations=associations, nagle=nagle,
            processes=min(associations, 2),
        )  # fmt: skip
        figures = complete(report(it, run(it)))
        stored = receiver.stored(peer)
        if stored != each * associations + WARM:
            raise PeerFailedError(f"{stored} stored of {each * associations + WARM}")
        return {
            "per_s": figures["per_s"],
            "mb_per_s": figures["mb_per_s"],
            "p99_ms": figures["response_ms"]["p99"],
            "fairness": figures["fairness"]["ratio"],
        }

    return work


def cycle(parallel: int, full: int) -> Callable[[Bench, Receiver, Running], Figures]:
    """Return the work of so many associations with one C-ECHO each."""

    def work(bench: Bench, receiver: Receiver, peer: Running) -> Figures:
        run(plan(receiver, peer, mode="cycles", instances=WARM))
        each = max(bench.count(full, receiver.share) // parallel, 1)
        it = plan(receiver, peer, mode="cycles", instances=each, associations=parallel)
        figures = complete(report(it, run(it)))
        return {"per_s": figures["per_s"], "p99_ms": figures["association_ms"]["p99"]}

    return work


def hold(associations: int) -> Callable[[Bench, Receiver, Running], Figures]:
    """Return the work of holding so many idle associations."""

    def work(_: Bench, receiver: Receiver, peer: Running) -> Figures:
        run(plan(receiver, peer, mode="cycles", instances=WARM))
        seen: dict[Phase, tuple[float, int]] = {}

        def look(phase: Phase) -> None:
            seen[phase] = (cpu_s(peer.pid), resident(peer.pid))

        it = plan(receiver, peer, mode="idle", associations=associations, hold_s=5.0)
        before_s = cpu_s(peer.pid)
        time.sleep(it.hold_s)
        alone_s = cpu_s(peer.pid) - before_s
        figures = complete(report(it, run(it, on_phase=look)))
        return {
            "up_s": figures["all_up_s"],
            "per_s": associations / figures["all_up_s"],
            "p99_ms": figures["probe_ms"]["p99"],
            "cpu_percent": 100 * (seen["quiet"][0] - seen["up"][0] - alone_s) / it.hold_s,
            "kb_each": (seen["up"][1] - seen["start"][1]) / associations / 1000,
        }

    return work


def receive_large(bench: Bench, receiver: Receiver, peer: Running) -> Figures:
    """Receive one very large instance; how much more memory than for small ones?"""
    run(plan(receiver, peer, kind="sr", instances=WARM))
    warm = resident(peer.pid)
    reset_peak(peer.pid)
    it = plan(
        receiver, peer, kind="mf", payload_bytes=bench.count(LARGE_BYTES), instances=1,
        timeout_s=300.0,
    )  # fmt: skip
    figures = complete(report(it, run(it)))
    growth = resident(peer.pid, "VmHWM") - warm
    return {"growth_mb": growth / 1e6, "mb_per_s": figures["mb_per_s"]}


# --- sending


def send(sender: Sender, receiver: Receiver, kind: str, full: int) -> Contender:
    """Return a sender that sends so many files to a receiver."""

    def measure(bench: Bench) -> Figures:
        count = bench.count(full, sender.share)
        with running(receiver, bench.folder) as peer:
            return {"per_s": files_per_s(sender, receiver, peer, bench.folder, kind, count)}

    return Contender(sender.name, sender.version, receiver.available, measure)


def send_large(sender: Sender, receiver: Receiver) -> Contender:
    """Return a sender of one very large file; how much more memory than for a small one?"""

    def measure(bench: Bench) -> Figures:
        small = write_files(bench.folder, template("sr"), 1)
        large = write_large(bench.folder, multi_frame(bench.count(LARGE_BYTES)))
        with running(receiver, bench.folder) as peer:
            before, peak = (peak_bytes(sender, receiver, peer, f) for f in (small, large))
            return {"growth_mb": (peak - before) / 1e6}

    return Contender(sender.name, sender.version, receiver.available, measure)


def limit(name: str, loop: Callable[[Path, int], float]) -> Contender:
    """Return the machine itself as a contender."""

    def measure(bench: Bench) -> Figures:
        folder = bench.folder / "limit"
        folder.mkdir()
        try:
            per_s = loop(folder, bench.count(1000))
        finally:
            peers.remove(folder)
        return {"per_s": per_s, "mb_per_s": per_s * CT_BYTES / 1e6}

    return Contender(name, lambda: "", lambda: True, measure)


# --- the table

STORESCP, DCMTK = ("storescp",), ("storescp", "dcmrecv")
PYNETDICOM, ORTHANC = ("pynetdicom",), ("Orthanc",)
LIMITS = (
    limit("bare loop, streamed", disk_limit.streamed),
    limit("bare loop, answered", disk_limit.answered),
)
FAIR = Goal("slowest association / median", at_most=3.0, figure="fairness")
NO_STALL = Goal("p99 of a response, ms", at_most=40.0, figure="p99_ms")
ONE = (peers.ADAPTER, peers.STORESCP_TUNED, peers.STORESCP)
MANY = (peers.ADAPTER, peers.STORESCP_FORK_TUNED, peers.STORESCP_FORK, peers.DCMRECV)


def _receive(name: str, kind: str, associations: int, full: int, receivers: Sequence[Receiver],
             *goals: Goal, more: Sequence[Contender] = ()) -> Scenario:  # fmt: skip
    work = store(kind, associations, full)
    over = "1 association" if associations == 1 else f"{associations} associations"
    contenders = [*(receiving(receiver, work) for receiver in receivers), *more]
    synced = ", fsync" if receivers[0] is peers.ADAPTER_FSYNC else ""
    title = f"receive {'CT 0.5 MB' if kind == 'ct' else 'SR 5 kB'}, {over}{synced}"
    return Scenario(name, title, "instances/s", contenders, goals)


def _nagle(name: str, kind: str, full: int) -> Scenario:
    work = store(kind, 1, full, nagle=True)
    slow = (replace(receiver, share=0.03) for receiver in (peers.PYNETDICOM, peers.STORESCP))
    receivers = (peers.ADAPTER, *slow)
    return Scenario(
        name,
        f"receive {kind.upper()} from a stock sender (Nagle, delayed ACK)",
        "instances/s",
        [receiving(receiver, work) for receiver in receivers],
        [Goal(">= 10x pynetdicom", PYNETDICOM, at_least=10), NO_STALL],
    )


def _cycles(name: str, parallel: int) -> Scenario:
    receivers = (peers.ADAPTER, replace(peers.PYNETDICOM, share=0.02), peers.STORESCP,
                 peers.ORTHANC_DEFAULT)  # fmt: skip
    return Scenario(
        name,
        f"set-up + C-ECHO + release, {parallel} at once",
        "cycles/s",
        [receiving(receiver, cycle(parallel, 5000)) for receiver in receivers],
        [
            Goal(">= 10x pynetdicom", PYNETDICOM, at_least=10),
            Goal(">= 1000 a second", at_least=1000),
        ],
    )


SCENARIOS: tuple[Scenario, ...] = (
    _receive(
        "ct-1", "ct", 1, 1000,
        (*ONE, peers.DCMRECV, peers.PYNETDICOM, peers.ORTHANC_DEFAULT, peers.ORTHANC_UNSYNCED),
        Goal(">= 1.0x the fastest storescp", STORESCP, at_least=1.0),
        Goal(">= 10x pynetdicom", PYNETDICOM, at_least=10),
        Goal(">= 5x Orthanc", ORTHANC, at_least=5),
        more=LIMITS,
    ),
    _receive(
        "sr-1", "sr", 1, 4000, (*ONE, peers.DCMRECV, peers.PYNETDICOM),
        Goal(">= 0.5x the fastest DCMTK", DCMTK, at_least=0.5),
        Goal(">= 12x pynetdicom", PYNETDICOM, at_least=12),
    ),
    _receive("ct-4", "ct", 4, 1000, MANY,
             Goal(">= 1.0x the fastest storescp --fork", STORESCP, at_least=1.0), FAIR),
    _receive("ct-25", "ct", 25, 1000, MANY,
             Goal(">= 1.0x the fastest storescp --fork", STORESCP, at_least=1.0), FAIR),
    _receive("ct-100", "ct", 100, 2000, MANY,
             Goal(">= 2x the fastest storescp --fork", STORESCP, at_least=2), FAIR),
    _receive("sr-4", "sr", 4, 8000, MANY),
    _receive("sr-25", "sr", 25, 8000, MANY),
    _receive("fsync-ct-4", "ct", 4, 600, (peers.ADAPTER_FSYNC, peers.ORTHANC_DEFAULT),
             Goal(">= 3.5x Orthanc", ORTHANC, at_least=3.5)),
    _nagle("nagle-sr", "sr", 4000),
    _nagle("nagle-ct", "ct", 1000),
    Scenario(
        "send-ct", "send CT 0.5 MB to storescp", "files/s",
        [send(sender, peers.STORESCP_IGNORING, "ct", 1000)
         for sender in (sending.ADAPTER, sending.DCMSEND, sending.PYNETDICOM)],
        [Goal(">= 1.3x dcmsend", ("dcmsend",), at_least=1.3),
         Goal(">= 15x pynetdicom", PYNETDICOM, at_least=15)],
    ),
    Scenario(
        "send-sr", "send SR 5 kB to a stock storescp (Nagle there)", "files/s",
        [send(sender, peers.STORESCP, "sr", 2000)
         for sender in (sending.ADAPTER, replace(sending.DCMSEND, share=0.05),
                        replace(sending.PYNETDICOM, share=0.05))],
        [Goal(">= 50x dcmsend", ("dcmsend",), at_least=50)],
    ),
    _cycles("cycles-1", 1),
    _cycles("cycles-8", 8),
    Scenario(
        "idle-1000", "999 idle associations and one that asks", "set up/s",
        [receiving(receiver, hold(999)) for receiver in (peers.ADAPTER,)],
        [Goal("all up, s", at_most=5, figure="up_s"),
         Goal("their CPU, % of one core", at_most=1, figure="cpu_percent"),
         Goal("p99 of a C-ECHO meanwhile, ms", at_most=50, figure="p99_ms"),
         Goal("RSS of each, kB", at_most=200, figure="kb_each")],
    ),
    Scenario(
        "large-receive", "receive one instance of 2 GB", "MB more memory",
        [receiving(receiver, receive_large) for receiver in (peers.ADAPTER, peers.STORESCP_TUNED)],
        [Goal("memory for it, MB", at_most=10, figure="growth_mb")],
    ),
    Scenario(
        "large-send", "send one instance of 2 GB", "MB more memory",
        [send_large(sender, peers.STORESCP_IGNORING)
         for sender in (sending.ADAPTER, sending.DCMSEND)],
        [Goal("memory for it, MB", at_most=10, figure="growth_mb")],
    ),
)  # fmt: skip
