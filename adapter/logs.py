"""Logs: one line per unit of work on stderr, as JSON or for people; never patient data."""

import logging
import sys
import warnings
from typing import TYPE_CHECKING

import msgspec
import structlog

if TYPE_CHECKING:
    from adapter.settings import Logging


def configure(settings: "Logging") -> None:
    """Set up logging for the process, also for the libraries that use the standard module."""
    level = logging.getLevelName(settings.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor]
    if settings.format == "json":
        renderer = [structlog.processors.format_exc_info, _render_json]
    else:
        renderer = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=shared + renderer,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries say little that is ours to tell, and some print what a peer sent: warnings only.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    for library in ("pydicom", "pynetdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", UserWarning)  # pydicom's remarks about values


def _render_json(_: object, __: str, event: structlog.typing.EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
