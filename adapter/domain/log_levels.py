"""How much each component says, by the name of its logger; changeable while the adapter runs.

Only loggers of ours have levels: libraries may print what a peer sent.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

LogLevel = Literal["debug", "info", "warning", "error"]
LoggerName = Annotated[str, Meta(max_length=64, pattern=r"^[a-z][a-z0-9_]*$(?!\n)")]
LoggerLevels = Annotated[dict[LoggerName, LogLevel], Meta(max_length=64)]
_RANKS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class LogLevels:
    """The levels in force, and those of the configuration to go back to."""

    def __init__(self) -> None:
        self.level: LogLevel = "info"
        self.levels: dict[str, LogLevel] = {}
        self.loggers: set[str] = set()
        """Names that have said something, or tried to."""
        self._configured: tuple[LogLevel, dict[str, LogLevel]] = (self.level, {})
        self._ranks: dict[str, int] = {}

    def configure(self, level: LogLevel, levels: Mapping[str, LogLevel]) -> None:
        """Take the levels of the configuration; the same ones again undo no `change`."""
        if (level, levels) != self._configured:
            self._configured = level, dict(levels)
            self.change(None, None)

    def change(self, level: LogLevel | None, levels: Mapping[str, LogLevel] | None) -> None:
        """Take other levels until the process ends; None: that of the configuration."""
        self.level = level or self._configured[0]
        self.levels = dict(self._configured[1] if levels is None else levels)
        self._ranks.clear()

    def lets_through(self, logger: str, method: str) -> bool:
        """Return whether what a logger says is written."""
        rank = self._ranks.get(logger)
        if rank is None:
            self.loggers.add(logger)
            rank = self._ranks[logger] = _RANKS[self.levels.get(logger, self.level)]
        return _RANKS.get(method, _RANKS["error"]) >= rank


LEVELS = LogLevels()
"""Of this process: there is one log."""
