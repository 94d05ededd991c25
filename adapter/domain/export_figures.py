"""What the exporters count since the process began, by destination, for /metrics and /health."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ExportFigures:
    """Written by exporters, read by the web side."""

    sent: Counter[str] = field(default_factory=Counter)
    """Instances that were answered with success."""
    retries: Counter[str] = field(default_factory=Counter)
    """Attempts that left something to be sent later."""
    outages: Counter[str] = field(default_factory=Counter)
    """Tries that did not reach the destination."""
    associations: Counter[str] = field(default_factory=Counter)
    """Open now."""
    down: dict[str, str] = field(default_factory=dict)
    """Why a destination is not sent to."""

    def forget(self, destination: str) -> None:
        """Drop what was counted of a destination that is gone."""
        for counts in (self.sent, self.retries, self.outages, self.associations, self.down):
            counts.pop(destination, None)
