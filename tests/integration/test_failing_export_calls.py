"""Every system call on the way of an export fails once: it is delivered all the same.

And nothing is said to be delivered that the destination has not had. F62, F64, F89 of the fault
catalogue, as `test_failing_calls` has it for receiving: reading the file, connecting, sending, and
writing the outcome into the ledger.
"""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import ScriptedDestination
from harness import Adapter, eventually
from health import MakeAdapter, crashes, missing
from system_calls import STRACE, failing
from wire import CT, EXPLICIT, Wire, data_set

CALLS = {
    "socket": ("EMFILE", "ENOBUFS"),
    "connect": ("ECONNREFUSED", "ENETUNREACH", "EMFILE"),
    "sendmsg": ("ECONNRESET", "EPIPE", "ENOBUFS"),
}
FILE_CALLS = {
    "openat": ("EIO", "EMFILE"),
    "read,pread64,readv,preadv": ("EIO",),
    "mmap": ("ENOMEM",),
    "fstat,newfstatat": ("EIO",),
}
LEDGER_CALLS = {"pwrite64": ("EIO", "ENOSPC"), "fdatasync,fsync": ("EIO",)}
LEDGER_MANY = 6
MANY = 8
"""Calls of one kind that are made to fail, one after the other; a bound for CI, not a rule."""


class Exports:
    """Has one export after the other sent while something fails."""

    def __init__(self, adapter: Adapter, peer: ScriptedDestination) -> None:
        self.adapter, self.peer = adapter, peer
        self.failed = 0
        self._count = 0

    def order(self, action: str) -> None:
        body = b'{"why": "a sweep"}' if action == "hold" else None
        path = f"/api/destinations/peer/{action}"
        assert self.adapter.request("POST", path, body=body)[0] == 200

    def ready(self) -> tuple[str, str]:
        """Have an export wait for its destination; return its id and its instance."""
        self._count += 1
        uid = f"1.2.8.{self._count}"
        self.order("hold")
        with Wire(self.adapter.dicom_port) as wire:
            wire.associate()
            assert wire.store(uid, data_set(uid, study=uid)) == ("response", 0)
            wire.release()
        (waiting,) = eventually(lambda: self._exports("Queued"), 20, "an export waits")
        return waiting["id"], uid

    def _exports(self, state: str) -> list[dict[str, Any]]:
        return self.adapter.get(f"/api/exports?state={state}")

    def outcome(self, export: str) -> dict[str, Any]:
        (outcome,) = self.adapter.get(f"/api/exports/{export}")["outcomes"]
        return outcome

    def file(self, uid: str) -> Path:
        """Return the file that is going to be sent."""
        folders = self.adapter.payload_folders()
        found = (path for folder in folders for path in (folder / "output").rglob("*.dcm"))
        (path,) = (path for path in found if path.stem == uid)
        return path

    def delivered(self, export: str, uid: str, where: str) -> None:
        """It came before it is said to be delivered, and it is delivered in the end."""

        def done() -> bool:
            said = self.outcome(export)["delivered"]
            came = any(one.sop_instance_uid == uid for one in self.peer.received)
            assert came or not said, f"{where}: said, and never sent"
            return said and not self._exports("Queued") and not self._exports("Sending")

        eventually(done, 20, f"{where}: it is delivered")

    def fail_each(self, calls: str, error: str, *, about_file: bool = False) -> None:
        """Have the first, the second, ... of these calls fail, until there are no more."""
        for number in range(1, MANY):
            export, uid = self.ready()
            path = self.file(uid) if about_file else None
            where = f"{calls} number {number} failed with {error}"
            pid = self.adapter.pid
            with failing([pid], calls, error, str(number), path=path) as tracer:
                self.order("release")
                self.delivered(export, uid, where)
                if not tracer.happened:
                    return  # there are no more
            self.failed += 1

    def fail_in_ledger(self, calls: str, error: str, number: int) -> None:
        """Have one of these calls about the ledger fail; if the process ends, start it again."""
        export, uid = self.ready()
        adapter, where = self.adapter, f"{calls} number {number} failed with {error}"
        wal = adapter.root / "ledger" / "cache.db-wal"
        with failing([adapter.pid], calls, error, str(number), path=wal) as tracer:
            self._said("POST", "/api/destinations/peer/release")
            eventually(lambda: tracer.happened or self._has_ended(export), 30, where)
            self._said("POST", "/api/destinations/peer/hold")  # all before it is durable then
            if tracer.happened and (calls, error) != ("pwrite64", "ENOSPC"):
                assert adapter.wait(60) == 1, where
            self.failed += tracer.happened
        if not adapter.alive():
            adapter.start()
        self.order("release")
        self.delivered(export, uid, where)

    def _has_ended(self, export: str) -> bool:
        said = self._said("GET", f"/api/exports/{export}")
        return said is not None and json.loads(said)["state"] == "Completed"

    def _said(self, method: str, path: str) -> bytes | None:
        """Return the answer; None: it is about to end."""
        try:
            status, _, body = self.adapter.request(method, path)
        except (OSError, http.client.HTTPException):
            return None
        return body if status == 200 else None

    def check(self) -> None:
        assert self.failed, "nothing was made to fail"
        assert self.adapter.alive()
        assert crashes(self.adapter) == []


def settings(port: int) -> dict[str, Any]:
    return {
        "dicom": {"scp": {"receivers": 1}, "scu": {
            "export": {"max_retries": 1000, "retry_delay_s": 0.1}, "connect_s": 5, "acse_s": 5,
            "dimse_s": 6,
        }},
        "storage": {"durability": "fsync"},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"copy": "copy"},
            "destinations": ["peer"],
        }],
        "platform": {"engine": "command", "pipelines": [
            {"id": "copy", "command": ["/bin/cp", "-r", "input/dcm", "output/"]}
        ]},
        "destinations": [
            {"name": "peer", "ae_title": "PEER", "host": "127.0.0.1", "port": port}
        ],
    }  # fmt: skip


@pytest.fixture
def peer() -> Iterator[ScriptedDestination]:
    if not Path(STRACE).exists():
        missing("strace is not installed")
    with ScriptedDestination({CT: [EXPLICIT]}).listening() as peer:
        yield peer


@pytest.fixture
def exports(make_adapter: MakeAdapter, peer: ScriptedDestination) -> Iterator[Exports]:
    adapter = make_adapter(settings(peer.port))
    yield Exports(adapter, peer)
    adapter.kill()


@pytest.fixture
def ending(make_adapter: MakeAdapter, peer: ScriptedDestination) -> Iterator[Exports]:
    """One whose process may end."""
    changes = settings(peer.port)
    adapter = Adapter(make_adapter(changes, start=False).root.parent, changes)
    adapter.start()
    yield Exports(adapter, peer)
    adapter.kill()


@pytest.mark.parametrize("calls", CALLS)
def test_call_that_fails_while_an_export_is_sent_delays_it(exports: Exports, calls: str) -> None:
    for error in CALLS[calls]:
        exports.fail_each(calls, error)
    exports.check()


def test_call_that_fails_while_a_result_is_read_delays_it(exports: Exports) -> None:
    for calls, errors in FILE_CALLS.items():
        for error in errors:
            exports.fail_each(calls, error, about_file=True)
    exports.check()


@pytest.mark.parametrize("calls", LEDGER_CALLS)
def test_outcome_that_cannot_be_written_is_sent_again(ending: Exports, calls: str) -> None:
    """The process ends, or waits for room; then what was sent is known, or is sent once more."""
    for error in LEDGER_CALLS[calls]:
        for number in range(1, LEDGER_MANY):
            ending.fail_in_ledger(calls, error, number)
    assert ending.failed, "nothing was made to fail"
