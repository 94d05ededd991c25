"""`watch`: it goes on through restarts and lost connections, and says why where it cannot."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pytest
from dicom_peers import free_port
from harness import REPOSITORY, Adapter, environment, eventually, run_cli
from health import MakeAdapter, unharmed
from test_api_keys import Keyed
from test_api_tls import settings
from test_commands import one_line
from test_event_stream import store
from test_keys_of_streams import make, revoke, shared
from tls_files import Files

__all__ = ["shared"]  # a fixture


class Watcher:
    """What `watch --json` writes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []
        self.said: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_events, args=(process.stdout,)),
            threading.Thread(target=self._read_lines, args=(process.stderr,)),
        ]
        for reader in self._readers:
            reader.start()

    def _read_events(self, lines: IO[str]) -> None:
        for line in lines:
            self.told.append(json.loads(line))

    def _read_lines(self, lines: IO[str]) -> None:
        for line in lines:
            self.said.append(line.rstrip("\n"))

    def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many messages of this type have come; return them."""
        eventually(lambda: len(self.of(kind)) >= count, 20, f"{kind}: {self.said}")
        return self.of(kind)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.told if message["type"] == kind]

    def says(self, line: str) -> None:
        eventually(lambda: line in self.said, 20, f"{line}: {self.said}")

    def interrupt(self) -> int:
        """Press Ctrl+C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Wait for its end; return the exit code."""
        status = self.process.wait(60)
        for reader in self._readers:
            reader.join()
        return status


@contextmanager
def watching(url: str, *words: str) -> Iterator[Watcher]:
    listening = ["/usr/bin/env", "--default-signal=INT"]  # whoever runs the tests may ignore it
    with subprocess.Popen(
        [*listening, sys.executable, "-m", "adapter", "watch", "--json", "--url", url, *words],
        env=environment(), cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        watcher = Watcher(process)
        try:
            yield watcher
        finally:
            process.kill()
            watcher.end()


class Line:
    """A way to an adapter that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End what goes through it now."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter({"api": {"port": free_port()}})


def test_it_goes_on_through_a_restart_until_ctrl_c(adapter: Adapter) -> None:
    with watching(adapter.url) as watch:
        watch.until("hello")
        store(adapter, "1.2.3.1")
        watch.until("instance.stored")
        adapter.stop()
        watch.says(f"{adapter.url}: the connection was lost; trying again")
        adapter.start()
        watch.says(f"{adapter.url}: connected again; what happened meanwhile is not told")
        store(adapter, "1.2.3.2")
        watch.until("instance.stored", 2)
        assert watch.interrupt() == 0
    first, second = watch.of("hello")
    assert first["epoch"] != second["epoch"]
    assert "snapshot" in second
    assert len(watch.said) == 2


def test_nothing_is_missed_or_told_twice_when_a_connection_is_lost(adapter: Adapter) -> None:
    line = Line(adapter.api_port)
    with watching(line.url) as watch:
        (hello,) = watch.until("hello")
        store(adapter, "1.2.3.1")
        watch.until("job.opened")
        line.cut()
        store(adapter, "1.2.3.2")
        watch.says(f"{line.url}: connected again")
        watch.until("job.opened", 2)
        assert watch.interrupt() == 0
    line.close()
    _, again = watch.of("hello")
    assert "snapshot" not in again
    numbers = [message["seq"] for message in watch.told if message["type"] != "hello"]
    assert numbers == list(range(hello["seq"] + 1, hello["seq"] + 1 + len(numbers)))


def test_adapter_that_is_stopped_is_missed_and_then_followed_again(adapter: Adapter) -> None:
    """Its kernel keeps the connection up; a line that is dead without a word looks the same."""
    with watching(adapter.url) as watch:
        watch.until("hello")
        os.kill(adapter.pid, signal.SIGSTOP)
        watch.says(f"{adapter.url}: the connection was lost; trying again")
        os.kill(adapter.pid, signal.SIGCONT)
        watch.says(f"{adapter.url}: connected again")
        store(adapter, "1.2.3.1")
        watch.until("instance.stored")
        assert watch.interrupt() == 0


def test_since_and_topics_count_from_the_beginning(adapter: Adapter) -> None:
    store(adapter, "1.2.3.1")
    eventually(lambda: adapter.get("/api/jobs"))
    with watching(adapter.url, "--since", "0", "--topics", "instance") as watch:
        watch.until("instance.stored")
        store(adapter, "1.2.3.2")
        watch.until("instance.stored", 2)
    assert {message["type"] for message in watch.told} == {"hello", "instance.stored"}


def test_nobody_there_at_first_is_one_line() -> None:
    done = run_cli("watch", "--url", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert one_line(done.stderr).endswith(": no adapter answers there")


@pytest.mark.parametrize("url", ["foo", "http://[::1", "http://h:99999", "ftp://127.0.0.1"])
def test_address_that_is_none_is_one_line_as_of_other_commands(url: str) -> None:
    done = run_cli("watch", "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert repr(url) in one_line(done.stderr)
    assert run_cli("jobs", "--url", url).stderr == done.stderr


def test_certificate_that_is_not_trusted_is_named(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(settings(Files(tmp_path / "files")))
    url = f"https://127.0.0.1:{adapter.api_port}"
    done = run_cli("watch", "--url", url)
    assert done.returncode == 1
    assert one_line(done.stderr).startswith(f"{url}: its certificate: ")


def test_refused_key_is_said_as_by_other_commands(shared: Keyed) -> None:
    wrong = "da-00000000-" + "A" * 43
    with unharmed(shared.adapter):
        for given, said in (([], "a key is needed"), (["--api-key", wrong], "not known")):
            done = run_cli("watch", "--url", shared.adapter.url, *given)
            assert (done.returncode, done.stdout) == (1, "")
            assert said in one_line(done.stderr)


def test_key_that_is_revoked_ends_it_with_the_reason(shared: Keyed) -> None:
    key_id, token = make(shared, "of a watcher")
    with unharmed(shared.adapter), watching(shared.adapter.url, "--api-key", token) as watch:
        watch.until("hello")
        revoke(shared, key_id)
        assert watch.end() == 1
    assert watch.said == ["the key was revoked"]
