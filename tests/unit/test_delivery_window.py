"""When a destination may be sent to, in local time."""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from adapter.domain.delivery_window import opens_at

ZONE = "Europe/Berlin"


@pytest.fixture(autouse=True)
def local_time(monkeypatch):
    monkeypatch.setenv("TZ", ZONE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).timestamp()


@pytest.mark.parametrize(("window", "now", "opens"), [
    ("22:00-06:00", "2026-01-10 21:59:59", "2026-01-10 22:00"),
    ("22:00-06:00", "2026-01-10 22:00", "2026-01-10 22:00"),
    ("22:00-06:00", "2026-01-11 05:59", "2026-01-11 05:59"),
    ("22:00-06:00", "2026-01-11 06:00", "2026-01-11 22:00"),
    ("08:00-12:00", "2026-01-10 07:00", "2026-01-10 08:00"),
    ("08:00-12:00", "2026-01-10 11:59", "2026-01-10 11:59"),
    ("08:00-12:00", "2026-01-10 12:00", "2026-01-11 08:00"),
    ("12:00-00:00", "2026-01-10 23:59", "2026-01-10 23:59"),
    ("00:00-12:00", "2026-01-10 12:00", "2026-01-11 00:00"),
    ("22:00-06:00", "2026-03-28 12:00", "2026-03-28 22:00"),
    ("03:30-06:00", "2026-03-28 12:00", "2026-03-29 03:30"),
    ("22:00-06:00", "2026-10-25 12:00", "2026-10-25 22:00"),
    ("", "2026-01-10 12:00", "2026-01-10 12:00"),
])  # fmt: skip
def test_window_opens_by_the_clock_on_the_wall(window, now, opens):
    assert opens_at(window, at(now)) == at(opens)
