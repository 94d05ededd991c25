"""Fixtures of the actor tests."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("here", deadline=None, database=None)
settings.load_profile("here")


@pytest.fixture(autouse=True)
def logged() -> Iterator[list]:
    """Take what the program logs instead of printing it."""
    with structlog.testing.capture_logs() as entries:
        yield entries
