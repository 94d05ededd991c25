"""Wall times as text."""

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """Return a wall time (POSIX seconds) as text in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parsed(text: str) -> float:
    """Return the wall time that `rfc3339` made the text of."""
    return datetime.fromisoformat(text).timestamp()
