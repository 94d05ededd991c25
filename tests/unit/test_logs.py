"""What reaches the log: levels by component, and no words of unexpected exceptions."""

import json

import pytest
import structlog

from adapter.domain.log_levels import LEVELS, LogLevels
from adapter.errors import LedgerError
from adapter.logs import configure
from adapter.settings import Logging

PATIENT = "DOE^JOHN"


@pytest.fixture
def said(capsys):
    """Return a function that configures the log and hands out what was written."""

    def use(**settings):
        configure(Logging(format="json", **settings))

        def lines():
            return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

        return lines

    yield use
    structlog.reset_defaults()
    LEVELS.configure("info", {})


def test_level_of_a_logger_overrules_that_of_all(said):
    lines = said(level="warning", levels={"listener": "debug"})
    for name in ("adapter.listener", "adapter.web"):
        log = structlog.get_logger(name)
        log.debug("one")
        log.warning("two")
    assert [(line["logger"], line["event"]) for line in lines()] == [
        ("listener", "one"), ("listener", "two"), ("web", "two"),
    ]  # fmt: skip


def test_level_changes_for_loggers_that_have_spoken(said):
    lines = said()
    log = structlog.get_logger("adapter.web").bind(a=1)
    log.debug("before")
    LEVELS.change("error", {"web": "debug"})
    log.debug("now")
    LEVELS.change(None, None)
    log.debug("after")
    assert [line["event"] for line in lines()] == ["now"]


def test_levels_go_back_to_the_configured_ones():
    levels = LogLevels()
    levels.configure("warning", {"web": "debug"})
    levels.change("error", {})
    assert not levels.lets_through("web", "debug")
    levels.change(None, None)
    assert levels.lets_through("web", "debug")
    assert not levels.lets_through("hub", "info")
    assert levels.lets_through("hub", "exception")


def raised():
    try:
        try:
            raise ValueError(f"cannot understand {PATIENT}")
        except ValueError as error:
            error.add_note(PATIENT)
            raise KeyError(PATIENT) from error
    except KeyError as error:
        raise ExceptionGroup("several", [error, LedgerError("the disk is gone")]) from None


@pytest.mark.parametrize("phi", [False, True])
def test_traceback_tells_where_and_not_of_whom(said, phi):
    lines = said(phi=phi)
    try:
        raised()
    except ExceptionGroup:
        structlog.get_logger("adapter.supervision").exception("actor.crashed")
    (line,) = lines()
    assert (PATIENT in line["exception"]) == phi
    for kept in ("in raised", "ValueError", "KeyError", "several", "the disk is gone"):
        assert kept in line["exception"]


@pytest.mark.parametrize(
    "hostile", ['a"}\n{"event":"forged', "a\r\nb", "\x1b[2Jx", "\x00", "\u2028"]
)
def test_value_forges_no_line(said, hostile, capsys):
    said()
    structlog.get_logger("adapter.listener").info("association.rejected", ae_title=hostile)
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert json.loads(line)["ae_title"] == hostile
