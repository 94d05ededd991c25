"""When a destination may be sent to (`destinations[].window`): local time, as clocks on walls show.

Pure but for the time zone of the system.
"""

from datetime import UTC, datetime, time, timedelta


def window_times(window: str) -> tuple[time, time]:
    """Return begin and end of a window `HH:MM-HH:MM`."""
    begin, _, end = window.partition("-")
    return time.fromisoformat(begin), time.fromisoformat(end)


def opens_at(window: str, now: float) -> float:
    """Return the wall time from which may be sent: now inside the window, else when it opens.

    A window that ends before it begins goes over midnight. On the day the clocks are set the window
    opens when they show its begin.
    """
    if not window:
        return now
    begin, end = window_times(window)
    local = datetime.fromtimestamp(now, UTC).astimezone()
    at = local.time()
    if begin <= at < end if begin < end else not end <= at < begin:
        return now
    day = local.date() + timedelta(days=0 if at < begin else 1)
    return datetime.combine(day, begin).astimezone().timestamp()
