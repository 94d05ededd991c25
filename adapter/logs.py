"""Logs: one line per unit of work on stderr, as JSON or for people; never patient data.

What is logged are ids, UIDs, AE Titles, counts and words of ours (docs/security.md). One thing
nobody can vouch for: the message of an exception that was a bug may quote what it stumbled over, so
a traceback is written without the messages of exceptions that are not ours, unless `logging.phi`.
"""

import logging
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog

from adapter.domain.log_levels import LEVELS
from adapter.errors import GatewayError
from adapter.protocols.log_lines import Lines

if TYPE_CHECKING:
    from adapter.settings import Logging

HIDDEN = "(not shown; logging.phi)"


class NamedLogger:
    """Knows which component speaks."""

    def __init__(self, lines: Lines, name: str) -> None:
        self.name = name
        self._lines = lines

    def msg(self, line: str) -> None:
        """Write a line."""
        self._lines.write(f"{line}\n")

    debug = info = warning = error = critical = exception = msg


def configure(settings: "Logging") -> None:
    """Set up logging for the process, also for the libraries that use the standard module."""
    follow_levels(settings)
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[structlog.typing.Processor] = [
        _drop,
        structlog.processors.add_log_level,
        stamp,
        structlog.processors.ExceptionRenderer(
            _whole_traceback if settings.phi else _silent_traceback
        ),
    ]
    renderer: structlog.typing.Processor = _render_json
    if settings.format == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )

    def told(lost: int) -> str:
        event = {"event": "log.lost", "lines": lost, "level": "warning", "logger": "logs"}
        return str(renderer(None, "warning", stamp(None, "warning", event)))

    lines = Lines(sys.stderr, told)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=lambda name="adapter": NamedLogger(lines, name.removeprefix("adapter.")),
        cache_logger_on_first_use=True,
    )
    # Libraries say little that is ours to tell, and some print what a peer sent: warnings only.
    words = "%(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.WARNING, format=words, stream=lines)
    for library in ("pydicom", "pynetdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", UserWarning)  # pydicom's remarks about values


def follow_levels(settings: "Logging") -> None:
    """Take the levels of a configuration; what was changed since stays if it says the same."""
    LEVELS.configure(settings.level, settings.levels)


def _drop(
    logger: NamedLogger, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Drop what is below the level of its component; name the component of the rest."""
    if not LEVELS.lets_through(logger.name, method):
        raise structlog.DropEvent
    event["logger"] = logger.name
    return event


def _render_json(_: object, __: str, event: structlog.typing.EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _whole_traceback(exc_info: structlog.typing.ExcInfo) -> str:
    return "".join(traceback.format_exception(*exc_info)).rstrip("\n")


def _silent_traceback(exc_info: structlog.typing.ExcInfo) -> str:
    """Return where an exception and its causes came from, without what they quote."""
    told = traceback.TracebackException(*exc_info)
    _silence(told, exc_info[1])
    return "".join(told.format()).rstrip("\n")


def _silence(told: traceback.TracebackException, error: BaseException) -> None:
    is_group = told.exceptions is not None  # its own words are its author's
    if not isinstance(error, GatewayError) and not is_group:
        told._str = HIDDEN  # type: ignore[attr-defined]
    told.__notes__ = None
    inner: Sequence[BaseException] = getattr(error, "exceptions", ())
    for below, cause in zip(
        (told.__cause__, told.__context__, *(told.exceptions or ())),
        (error.__cause__, error.__context__, *inner),
        strict=False,  # what was met before is told once
    ):
        if below is not None and cause is not None:
            _silence(below, cause)
