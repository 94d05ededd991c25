"""Transcripts: messages in pieces are one line, and what is no message is one as well."""

import pytest
from structlog.testing import capture_logs

from adapter.protocols.dimse import command_set
from adapter.protocols.dimse.fragments import fragments
from adapter.protocols.dimse.layer_events import CommandReceived, DataFragment, Signal
from adapter.protocols.dimse.transcript import Transcript, Transcription

CT = "1.2.840.10008.5.1.4.1.1.2"
ALL = Transcription(messages=True, pdus=True)


def transcript(transcription=ALL):
    made = transcription.of(association="a-1")
    assert isinstance(made, Transcript)
    return made


@pytest.mark.parametrize("max_length", [0, 16, 64])
def test_message_in_many_pdus_is_one_line(max_length):
    command = command_set.store_request(5, 7, CT, "1.2.3", max_length)
    data = bytes(1000)
    views = [command, *fragments(memoryview(data), 5, max(max_length - 6, 100) & ~1, last=True)]
    with capture_logs() as lines:
        transcript().sent(views)
    (message,) = [line for line in lines if line["event"] == "dimse.message"]
    assert (message["command"], message["message_id"], message["context"]) == ("C-STORE-RQ", 7, 5)
    (whole,) = [line for line in lines if line["event"] == "dimse.data_set"]
    assert whole["bytes"] == len(data)
    assert sum(line["bytes"] for line in lines if line["event"] == "dimse.data") == len(data)
    assert {line["association"] for line in lines} == {"a-1"}


def test_command_that_nobody_knows_is_shown_by_its_number():
    echo = command_set.echo_request(1, 9, "1.2.840.10008.1.1")
    unknown = echo[12:].replace(b"\x30\x00", b"\x20\x00")  # C-FIND-RQ
    with capture_logs() as lines:
        transcript().received(CommandReceived(1, unknown))
    assert lines[0]["command"] == "0x0020"


def test_command_that_cannot_be_read_is_a_line():
    with capture_logs() as lines:
        transcript().received(CommandReceived(1, b"\0\0\0\0"))
    assert lines[0]["bytes"] == 4
    assert lines[0]["malformed"]


def test_only_what_is_asked_for_is_written():
    with capture_logs() as lines:
        for transcription in (Transcription(messages=True), Transcription(pdus=True)):
            one = transcript(transcription)
            one.received(CommandReceived(1, b""))
            one.received(DataFragment(1, memoryview(b"ab"), last=False))
            one.received(DataFragment(1, memoryview(b"cd"), last=True))
            one.received(Signal.CLOSED)
    assert [(line["event"], line["bytes"]) for line in lines] == [
        ("dimse.message", 0), ("dimse.data_set", 4), ("dimse.data", 2), ("dimse.data", 2),
    ]  # fmt: skip


def test_there_is_no_transcript_unless_it_is_wanted():
    assert Transcription().of(association="a-1") is None
