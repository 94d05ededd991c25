"""What holds for every test: what is slow says so, and no async test runs for ever.

pynetdicom's associations get a pause of ours: see `Pause`.
"""

import functools
import inspect
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from pynetdicom.association import Association

INTEGRATION = Path(__file__).parent / "integration"
REAL_LIMIT_S = 60.0
VIRTUAL_LIMIT_S = 400 * 86_400.0
"""For tests on an autojumping clock, where a hang costs no time at all."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark integration tests as slow, and give every async test its limit."""
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker(pytest.mark.slow)
        if not isinstance(item, pytest.Function):
            continue
        clocks = {"autojump_clock", "mock_clock"} & set(item.fixturenames)
        limit_s = VIRTUAL_LIMIT_S if clocks else REAL_LIMIT_S
        hypothesis = getattr(item.obj, "hypothesis", None)
        if hypothesis is not None and inspect.iscoroutinefunction(hypothesis.inner_test):
            hypothesis.inner_test = _limited(hypothesis.inner_test, limit_s)
        elif inspect.iscoroutinefunction(item.obj):
            item.obj = _limited(item.obj, limit_s)


def _limited(
    test: Callable[..., Awaitable[None]], limit_s: float
) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        with trio.fail_after(limit_s):
            await test(*args, **kwargs)

    return limited


class Pause(threading.Event):
    """The pause of a pynetdicom association's thread, without its race.

    `send_c_store` clears the event and goes on once `_is_paused` says that the thread waits. But
    a thread woken by the `set` of the request before still says so while it goes on, and then
    takes the response from the queue as an "unexpected C-STORE service message".
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self.set()
        self._association = association

    def wait(self, timeout: float | None = None) -> bool:
        """Return once the event is set; the thread is no longer paused in that same moment."""
        with self._cond:
            self._cond.wait_for(self.is_set, timeout)
            self._association._is_paused = False
            return self.is_set()


def _with_our_pause(make: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(make)
    def made(association: Association, *args: Any, **kwargs: Any) -> None:
        make(association, *args, **kwargs)
        association._reactor_checkpoint = Pause(association)

    return made


Association.__init__ = _with_our_pause(Association.__init__)
