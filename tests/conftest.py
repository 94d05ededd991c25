"""What holds for every test: what is slow says so, and no async test runs for ever."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

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
