"""One run against one SCP: who connects when, in how many processes, and what came of it.

The senders live in processes of their own, so that whoever draws the progress does not slow them
down. `run` is the whole interface; `associations` and `compare` call it.
"""

import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from adapter.protocols.dimse.associate import encode_associate_rq
from benchmarks.ill_behaved import BEHAVIOURS, IllBehaved
from benchmarks.instances import Template, template
from benchmarks.loop import Loop, Target
from benchmarks.senders import (
    VERIFICATION_CONTEXT,
    Course,
    Echoer,
    Requestor,
    Storer,
    clock,
    store_context,
)

Mode = Literal["store", "idle", "cycles"]
HEAD_START_S = 0.3
"""For all processes to be ready before the first connection."""
TELL_S = 0.2
MAX_PDU = 16384
PROBE_EVERY_S = 0.005
SPARE_DESCRIPTORS = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to happen."""

    target: Target
    called: str
    calling: str = "BENCHMARK"
    mode: Mode = "store"
    associations: int = 1
    """At the same time, ill-behaved ones among them."""
    instances: int = 100
    """For each association; in mode `cycles` the cycles of each."""
    kind: str = "ct"
    payload_bytes: int = 0
    run: int = 0
    """See `instances.uid`."""
    ramp_up_s: float = 0.0
    """From the first to the last connection."""
    nagle: bool = False
    ill_behaved: float = 0.0
    """Fraction of the associations."""
    behaviours: tuple[str, ...] = tuple(BEHAVIOURS)
    ill_s: float = 5.0
    """Longest life of an ill-behaved association; another one follows it till the others end."""
    timeout_s: float = 60.0
    """For a connection and for each answer."""
    hold_s: float = 5.0
    """Mode `idle`: without any traffic; then as long with C-ECHOs on another association."""
    processes: int = 1

    @property
    def ill(self) -> int:
        """How many associations are ill-behaved."""
        return round(self.associations * self.ill_behaved)


@dataclass
class Told:
    """What a worker says while it works."""

    up: int = 0
    ended: int = 0
    failed: int = 0
    responses: int = 0
    ill_ended: int = 0


@dataclass
class Outcome:
    """What all workers saw."""

    courses: list[Course] = field(default_factory=list)
    probe: Course | None = None
    """Mode `idle`: the C-ECHOs."""
    ill: dict[str, Counter[str]] = field(default_factory=dict)
    """Behaviour: how its associations ended."""
    ill_longest_s: dict[str, float] = field(default_factory=dict)
    sender_cpu_s: float = 0.0
    sender_wall_s: float = 0.0

    def add(self, other: "Outcome") -> None:
        """Take over what another worker saw."""
        self.courses += other.courses
        self.probe = self.probe or other.probe
        for kind, endings in other.ill.items():
            self.ill.setdefault(kind, Counter()).update(endings)
        for kind, longest_s in other.ill_longest_s.items():
            self.ill_longest_s[kind] = max(self.ill_longest_s.get(kind, 0.0), longest_s)
        self.sender_cpu_s += other.sender_cpu_s
        self.sender_wall_s = max(self.sender_wall_s, other.sender_wall_s)


Phase = Literal["start", "up", "quiet", "done"]


def run(
    plan: Plan,
    on_progress: Callable[[Told], None] = lambda _: None,
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> Outcome:
    """Do what the plan says.

    Args:
        plan: In mode `idle` one process does it all.
        on_progress: Is told the sum of all workers about five times a second.
        on_phase: Is told when the run starts; in mode `idle` when all associations are up, and
            when the time without traffic is over; when everything has ended.

    Raises:
        OSError: The host is unknown, or there are not enough descriptors.
        WorkerFailedError: A sender has a bug.
    """
    plan.target.resolve()
    _raise_descriptor_limit(plan.associations + SPARE_DESCRIPTORS)
    count = 1 if plan.mode == "idle" else max(min(plan.processes, plan.associations), 1)
    context = multiprocessing.get_context("fork")
    study = template(plan.kind, plan.payload_bytes) if plan.mode == "store" else None
    start_at = clock() + HEAD_START_S
    workers, pipes = [], []
    for index in range(count):
        ours, theirs = context.Pipe(duplex=False)
        arguments = (plan, study, index, count, start_at, theirs)
        worker = context.Process(target=_work, args=arguments, daemon=True)
        worker.start()
        theirs.close()
        workers.append(worker)
        pipes.append(ours)
    on_phase("start")
    try:
        outcome = _collect(pipes, on_progress, on_phase)
    finally:
        for worker in workers:
            worker.join(5)
            if worker.is_alive():
                worker.kill()
                worker.join()
    on_phase("done")
    outcome.courses.sort(key=lambda course: course.number)
    return outcome


class WorkerFailedError(Exception):
    """A worker ended without a result."""


def _collect(pipes: list[Connection], on_progress: Callable[[Told], None],
             on_phase: Callable[[Phase], None]) -> Outcome:  # fmt: skip
    told: dict[object, Told] = {}
    outcome = Outcome()
    waiting: list[Connection] = list(pipes)
    while waiting:
        ready = wait(waiting)
        for pipe in [one for one in waiting if one in ready]:
            try:
                message = pipe.recv()
            except EOFError:
                raise WorkerFailedError("a sender ended without a result") from None
            match message:
                case Told():
                    told[pipe] = message
                    fields = Told.__dataclass_fields__
                    on_progress(
                        Told(*(sum(getattr(one, name) for one in told.values()) for name in fields))
                    )
                case Outcome():
                    outcome.add(message)
                    waiting.remove(pipe)
                case "up" | "quiet":
                    on_phase(message)
                case _:
                    raise AssertionError(message)
    return outcome


def _raise_descriptor_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise OSError(0, f"{wanted} descriptors needed, {hard} allowed (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _work(plan: Plan, study: Template | None, index: int, count: int, start_at: float,
          pipe: Any) -> None:  # fmt: skip
    kind = _IdleWorker if plan.mode == "idle" else _Worker
    worker = kind(plan, study, range(index, plan.associations, count), start_at, pipe)
    pipe.send(worker.work())
    pipe.close()


class _Worker:
    """Some of the associations, in one process with one loop."""

    def __init__(self, plan: Plan, study: Template | None, numbers: range, start_at: float,
                 pipe: Any) -> None:  # fmt: skip
        self._plan = plan
        self._pipe = pipe
        self._start_at = start_at
        self._numbers = numbers
        self._study = study
        self._loop = Loop(plan.target)
        self._told = Told()
        self._outcome = Outcome()
        self._well = 0
        """Well-behaved associations that have not ended."""
        self._ill = 0
        context = store_context(study) if study is not None else VERIFICATION_CONTEXT
        self._request = encode_associate_rq(plan.called, plan.calling, [context], MAX_PDU)

    def work(self) -> Outcome:
        plan, loop = self._plan, self._loop
        for number in self._numbers:
            at = self._start_at + plan.ramp_up_s * number / max(plan.associations - 1, 1)
            start = self._ill_starter(number) if self._is_ill(number) else self._starter(number)
            loop.call_at(at, start)
        self._tell()
        begun, cpu = self._start_at, time.process_time()
        loop.run()
        self._outcome.sender_cpu_s = time.process_time() - cpu
        self._outcome.sender_wall_s = clock() - begun
        self._pipe.send(self._told)
        return self._outcome

    def _is_ill(self, number: int) -> bool:
        """Spread the ill-behaved ones evenly."""
        ill, total = self._plan.ill, self._plan.associations
        return (number + 1) * ill // total > number * ill // total

    # --- well-behaved

    def _starter(self, number: int) -> Callable[[], None]:
        self._well += 1
        if self._plan.mode == "cycles":
            return lambda: self._cycle(number, self._plan.instances)
        return self._storer(number).start

    def _requestor(self, number: int, planned: int) -> tuple[Loop, Course, bytes, float]:
        course = Course(number, planned)
        self._outcome.courses.append(course)
        return self._loop, course, self._request, self._plan.timeout_s

    def _storer(self, number: int) -> Requestor:
        plan = self._plan
        assert self._study is not None
        study = self._study.of_study(plan.run, number)
        requestor = self._requestor(number, plan.instances)
        storer = Storer(requestor, study, plan.run, self._count_response, nagle=plan.nagle)
        storer.on_end = self._ended
        storer.on_up = self._count_up
        return storer

    def _cycle(self, number: int, left: int) -> None:
        echoer = Echoer(self._requestor(number, 1), on_last=Echoer.release)

        def ended(one: Requestor) -> None:
            self._told.responses += not one.course.failure
            if left > 1:
                self._told.failed += bool(one.course.failure)
                self._loop.call_at(clock(), lambda: self._cycle(number, left - 1))
            else:
                self._ended(one)

        echoer.on_end = ended
        echoer.start()

    def _count_response(self) -> None:
        self._told.responses += 1

    def _count_up(self) -> None:
        self._told.up += 1

    def _ended(self, requestor: Requestor) -> None:
        self._told.ended += 1
        self._told.failed += bool(requestor.course.failure)
        self._well -= 1
        self._stop_if_over()

    def _stop_if_over(self) -> None:
        if not self._well and not self._ill:
            self._loop.stop()

    # --- ill-behaved

    def _ill_starter(self, number: int) -> Callable[[], None]:
        self._ill += 1
        plan = self._plan
        name = plan.behaviours[number * plan.ill // plan.associations % len(plan.behaviours)]
        assert self._study is not None
        study = self._study.of_study(plan.run, number)

        def ended(one: IllBehaved, how: str) -> None:
            self._outcome.ill.setdefault(name, Counter())[how] += 1
            longest_s = max(self._outcome.ill_longest_s.get(name, 0.0), clock() - one.started_at)
            self._outcome.ill_longest_s[name] = longest_s
            self._told.ill_ended += 1
            if self._well:
                self._loop.call_at(clock() + 0.05, lambda: one.start(plan.ill_s))
            else:
                self._ill -= 1
                self._stop_if_over()

        ill = IllBehaved(self._loop, BEHAVIOURS[name], self._request, study, plan.run, ended)
        return lambda: ill.start(plan.ill_s)

    def _tell(self) -> None:
        self._pipe.send(self._told)
        self._loop.call_at(clock() + TELL_S, self._tell)


class _IdleWorker(_Worker):
    """Associations that are only held, and then one that asks while they are."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._holders: list[Echoer] = []
        self._unsettled = len(self._numbers)
        """Associations that are neither up nor lost."""

    def _starter(self, number: int) -> Callable[[], None]:
        self._well += 1
        holder = Echoer(self._requestor(number, 0), on_last=lambda _: self._settle())
        holder.on_up = self._count_up
        holder.on_end = self._lost
        self._holders.append(holder)
        return holder.start

    def _lost(self, holder: Requestor) -> None:
        if not holder.course.up_at:
            self._settle()
        self._ended(holder)

    def _settle(self) -> None:
        self._unsettled -= 1
        if not self._unsettled:
            self._well += 1  # the probe
            self._pipe.send("up")
            self._loop.call_at(clock() + self._plan.hold_s, self._probe)

    def _probe(self) -> None:
        self._pipe.send("quiet")
        self._outcome.probe = course = Course(-1, round(self._plan.hold_s / PROBE_EVERY_S))
        requestor = (self._loop, course, self._request, self._plan.timeout_s)
        probe = Echoer(requestor, PROBE_EVERY_S, Echoer.release)
        probe.on_end = self._probed
        probe.start()

    def _probed(self, probe: Requestor) -> None:
        self._ended(probe)
        for holder in self._holders:
            if holder.is_open:
                holder.release()
