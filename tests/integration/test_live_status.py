"""`status` on a terminal: it follows the adapter, and outlasts its restart."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from dicom_peers import free_port
from harness import REPOSITORY, Adapter, environment, eventually
from health import MakeAdapter
from wire import Wire


@dataclass
class Terminal:
    """What a program writes to a terminal."""

    process: "subprocess.Popen[bytes]"
    master: int
    text: str = ""
    read: int = 0
    reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._follow)
        self.reader.start()

    def _follow(self) -> None:
        while True:
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:  # EIO: nobody writes any more
                return

    def shows(self, words: str) -> None:
        """Wait for words behind those that were waited for last."""
        eventually(lambda: words in self.text[self.read :], what=f"{words}: {self.text[-2000:]}")
        self.read = self.text.index(words, self.read) + len(words)


@contextmanager
def terminal(adapter: Adapter, *words: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, 140))
    listening = ["/usr/bin/env", "--default-signal=INT"]  # whoever runs the tests may ignore it
    with subprocess.Popen(
        [*listening, sys.executable, "-m", "adapter", "status", *words, "--url", adapter.url],
        env={**environment(), "TERM": "xterm"}, cwd=REPOSITORY,
        stdin=slave, stdout=slave, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(slave)
        shown = Terminal(process, master)
        try:
            yield shown
        finally:
            process.kill()
            shown.reader.join()
            os.close(master)


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter({"api": {"port": free_port()}})


def test_view_follows_the_adapter_through_its_restart(adapter: Adapter) -> None:
    with terminal(adapter) as shown:
        shown.shows("ready")
        shown.shows("Ctrl+C ends it")
        with Wire(adapter.dicom_port) as wire:
            wire.associate(calling=b"MODALITY")
            shown.shows("MODALITY")
            wire.release()
        adapter.stop()
        shown.shows("no adapter answers there; trying again")
        adapter.start()
        shown.shows("Ctrl+C ends it")
        shown.shows("adapter  ")
        shown.process.send_signal(signal.SIGINT)
        assert shown.process.wait(20) == 0
        shown.reader.join()
        left = shown.text.rpartition("\x1b[?1049l")[2]  # back from the alternate screen
    assert "ready" in left
    assert "trying again" not in left


def test_it_is_printed_once_if_that_is_wanted(adapter: Adapter) -> None:
    with terminal(adapter, "--once") as shown:
        assert shown.process.wait(60) == 0
        shown.reader.join()
    assert "ready" in shown.text
    assert "\x1b[?1049h" not in shown.text


def test_one_document_is_printed_on_a_terminal_too(adapter: Adapter) -> None:
    with terminal(adapter, "--json") as shown:
        assert shown.process.wait(60) == 0
        shown.reader.join()
    assert shown.text.startswith('{"health":')


def test_nobody_there_is_one_line_on_a_terminal_too(adapter: Adapter) -> None:
    adapter.stop()
    with terminal(adapter) as shown:
        assert shown.process.stderr is not None
        said = shown.process.stderr.read().decode()
        assert shown.process.wait(60) == 1
    assert said == f"{adapter.url}: no adapter answers there\n"
