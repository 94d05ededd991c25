"""Restart policies and the one loop that applies them.

Theory: an actor that crashed has lost its memory; it may be restarted because it rebuilds that
memory from disk and ledger when `run` begins. Over budget, an essential actor ends the process (the
service manager starts it anew) and a replica is parked: one AE Title or destination is out, the
rest goes on, health says degraded. A ledger that has failed helps no actor that starts again: its
memory is ahead of the disk until the process reads it anew, so it ends at once.
"""

from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

import structlog
import trio

from adapter.domain.events import Event, Publish
from adapter.domain.roster import LOOK_S, Roster
from adapter.domain.system_events import (
    ActorCrashed,
    ActorFacts,
    ActorParked,
    ActorStarted,
    ActorStopped,
    CrashFacts,
    StartFacts,
)
from adapter.errors import LedgerError, RowNotFoundError

log = structlog.get_logger("adapter.supervision")


_ROSTER: ContextVar[Roster | None] = ContextVar("roster", default=None)
"""Where the mailboxes of whoever is supervised are listed."""


def list_in(roster: Roster) -> None:
    """List there whoever is supervised by this task, and by those below it."""
    _ROSTER.set(roster)


async def watch_mailboxes(roster: Roster, stop: trio.Event) -> None:
    """Look at the mailboxes from time to time, until the stop."""
    while not stop.is_set():
        roster.look(trio.current_time())
        with trio.move_on_after(LOOK_S):
            await stop.wait()


class Actor(Protocol):
    """Something with a loop of its own, reached through its channels only."""

    name: str

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Rebuild memory, call `task_status.started()`, then work until the input ends."""

    def close(self) -> None:
        """Close the channel ends the actor owns; called once, after the last run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How often an actor may crash, and what happens then."""

    essential: bool
    restarts_max: int = 5
    period_s: float = 60.0
    backoff_s: float = 1.0


ESSENTIAL = RestartPolicy(essential=True)
REPLICA = RestartPolicy(essential=False)


class _StartedOnce:
    """Passes the first `started()` on: a crash before it is a failed boot and is not retried."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self.called = False

    def started(self, value: None = None) -> None:
        if not self.called:
            self.called = True
            self._task_status.started(value)


async def supervise(
    actor: Actor,
    policy: RestartPolicy,
    publish: Publish,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run actor until it returns; restart it after a crash, as far as policy allows.

    Raises:
        LedgerError: The ledger has failed.
        Exception: Whatever crashed an actor that never started, or an essential one over budget.
    """
    crashed_at: deque[float] = deque()
    status = _StartedOnce(task_status)
    roster = _ROSTER.get() or Roster({})
    mailboxes = roster.enter(actor.name, actor, trio.current_time())
    try:
        while True:
            facts = StartFacts(actor=actor.name, essential=policy.essential)
            publish(ActorStarted(data=facts))
            try:
                await actor.run(task_status=status)
            except Exception as crash:
                crashed_at.append(trio.current_time())
                while crashed_at[0] < crashed_at[-1] - policy.period_s:
                    crashed_at.popleft()
                gave_up = len(crashed_at) > policy.restarts_max
                log.exception("actor.crashed", actor=actor.name, gave_up=gave_up)
                publish(_crash_event(actor, crash, len(crashed_at), gave_up=gave_up))
                over_budget = gave_up and policy.essential
                if over_budget or not status.called or _ledger_failed(crash):
                    raise
                if gave_up:
                    return
            else:
                publish(ActorStopped(data=ActorFacts(actor=actor.name)))
                return
            await trio.sleep(policy.backoff_s)
    finally:
        roster.leave(actor.name, mailboxes)
        actor.close()


@dataclass(slots=True)
class Post:
    """A supervised replica, and how to be rid of it."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)

    async def run(
        self,
        actor: Actor,
        publish: Publish,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Supervise the actor to its end; it may be parked, or cancelled by the scope."""
        try:
            with self.scope:
                await supervise(actor, REPLICA, publish, task_status=task_status)
        finally:
            self.over.set()


def _ledger_failed(crash: BaseException) -> bool:
    """Return whether it is that, or one of those that came together from an actor's nursery."""
    if isinstance(crash, BaseExceptionGroup):
        return any(map(_ledger_failed, crash.exceptions))
    return isinstance(crash, LedgerError) and not isinstance(crash, RowNotFoundError)


def _crash_event(actor: Actor, crash: Exception, crashes: int, *, gave_up: bool) -> Event:
    facts = CrashFacts(actor=actor.name, error=type(crash).__name__, crashes=crashes)
    return ActorParked(data=facts) if gave_up else ActorCrashed(data=facts)
