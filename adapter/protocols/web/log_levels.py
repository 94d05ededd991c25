"""How much each component says, changed while the adapter runs."""

from typing import Any

from litestar import get, put
from litestar.params import JSONBody
from msgspec import Struct

from adapter.domain.log_levels import LEVELS, LoggerLevels, LogLevel
from adapter.protocols.web.roles import ADMINISTRATOR, VIEWER


class Levels(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Levels that are wanted; what is missing is as configured."""

    level: LogLevel | None = None
    levels: LoggerLevels | None = None


def _shown() -> dict[str, Any]:
    return {
        "level": LEVELS.level,
        "levels": LEVELS.levels,
        "loggers": sorted(LEVELS.loggers),
    }


@get("/api/logging", opt=VIEWER, summary="Log levels", sync_to_thread=False)
def log_levels() -> dict[str, Any]:
    """Return the level of all, those of single loggers, and which loggers have spoken."""
    return _shown()


@put("/api/logging", opt=ADMINISTRATOR, summary="Change log levels", sync_to_thread=False)
def change_log_levels(data: JSONBody[Levels]) -> dict[str, Any]:
    """Change them until the process ends; `{}`: as configured."""
    LEVELS.change(data.level, data.levels)
    return _shown()


LOGGING = [log_levels, change_log_levels]
