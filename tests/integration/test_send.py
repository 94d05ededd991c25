"""`send`: a result for each file, and the rest on a new association after a lost one."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import LyingDestination, ScriptedDestination, free_port
from harness import REPOSITORY, environment, eventually, run_cli
from health import MakeAdapter
from pydicom.data import get_testdata_file
from wire import CT, EXPLICIT, IMPLICIT, data_set, part10

from adapter.domain.dimse_ports import CONTEXTS_MAX

CT_SMALL = str(get_testdata_file("CT_small.dcm"))
Answer = Callable[[int, bytes], tuple[int, bytes] | None]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return 40 instances in a folder: more than are handed over at once."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(40):
        uid = f"1.2.3.{number}"
        (folder / f"{number:02}.dcm").write_bytes(part10(uid, data_set(uid)))
    return sorted(folder.iterdir())


def uid_of(path: str) -> bytes:
    return f"1.2.3.{int(Path(path).stem)}".encode()


def send(port: int, *arguments: str | Path, called: str = "PACS") -> tuple[int, dict[str, Any]]:
    done = run_cli("send", f"{called}@127.0.0.1:{port}", "--json", *map(str, arguments))
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_every_file_has_its_result(files: list[Path]) -> None:
    refused = {b"1.2.3.3": 0xA700, b"1.2.3.4": 0xC123, b"1.2.3.5": 0xB000}
    peer = ScriptedDestination(
        {CT: [EXPLICIT]},
        status=lambda received: refused.get(received.sop_instance_uid.encode(), 0),
    )
    with peer.listening():
        status, document = send(peer.port, files[0].parent)
    assert status == 1
    assert (document["sent"], document["failed"]) == (38, 2)
    assert [file["path"] for file in document["files"]] == [str(path) for path in files]
    results = {file["sopInstanceUid"].encode(): file for file in document["files"]}
    assert {uid for uid, file in results.items() if file["error"]} == {b"1.2.3.3", b"1.2.3.4"}
    assert results[b"1.2.3.3"]["error"] == "0xA700 refused: out of resources"
    assert results[b"1.2.3.4"]["error"] == "0xC123 error: cannot understand"
    assert {uid: file["status"] for uid, file in results.items() if file["status"]} == refused
    taken = [uid for uid, file in results.items() if not file["error"]]
    assert document["bytesSent"] == sum(len(data_set(uid.decode())) for uid in taken)
    assert document["seconds"] > 0
    assert document["instancesPerSecond"] > 0


def test_summary_and_failures_are_for_people(files: list[Path]) -> None:
    peer = ScriptedDestination(
        {CT: [EXPLICIT]}, status=lambda r: 0xA700 if r.sop_instance_uid == "1.2.3.3" else 0
    )
    with peer.listening():
        done = run_cli("send", f"PACS@127.0.0.1:{peer.port}", str(files[0].parent))
    assert done.returncode == 1
    assert done.stderr == f"{files[3]}: 0xA700 refused: out of resources\n"
    assert done.stdout.startswith("sent 39, failed 1; ")
    assert "instances/s" in done.stdout


def test_verbose_lists_every_file(files: list[Path]) -> None:
    peer = ScriptedDestination({CT: [EXPLICIT]}, status=lambda _: 0xB006)
    with peer.listening():
        done = run_cli("send", "-v", f"PACS@127.0.0.1:{peer.port}", str(files[0].parent))
    assert done.returncode == 0
    *lines, summary = done.stdout.splitlines()
    assert lines == [f"{path}: sent, 0xB006 warning: elements discarded" for path in files]
    assert summary.startswith("sent 40, failed 0")


def test_what_lies_in_a_folder_and_is_no_instance_is_skipped(
    make_adapter: MakeAdapter, files: list[Path]
) -> None:
    folder = files[0].parent
    (folder / "notes.txt").write_text("no DICOM")
    medium = Path(str(get_testdata_file("DICOMDIR")))
    (folder / "DICOMDIR").write_bytes(medium.read_bytes())
    adapter = make_adapter()
    done = run_cli("send", adapter.destination(), str(folder))
    assert done.returncode == 0
    assert "sent 40, failed 0, skipped 2 that are no instances" in done.stdout
    _, document = send(adapter.dicom_port, folder, called="MAIN")
    assert [Path(file["path"]).name for file in document["skipped"]] == ["DICOMDIR", "notes.txt"]


def test_file_that_was_named_and_is_no_instance_failed(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM")
    adapter = make_adapter()
    done = run_cli("send", adapter.destination(), CT_SMALL, str(tmp_path / "notes.txt"), "/absent")
    assert done.returncode == 1
    assert "sent 1, failed 2" in done.stdout
    assert "notes.txt: no DICM prefix" in done.stderr
    assert "/absent: No such file" in done.stderr


def test_damaged_instance_in_a_folder_failed(make_adapter: MakeAdapter, files: list[Path]) -> None:
    files[1].write_bytes(files[1].read_bytes()[:150])
    status, document = send(make_adapter().dicom_port, files[0].parent, called="MAIN")
    assert (status, document["sent"], document["failed"]) == (1, 39, 1)


def test_nobody_there_fails_every_file_at_once_and_says_what_to_check(files: list[Path]) -> None:
    port = free_port()
    done = run_cli("send", f"NOBODY@127.0.0.1:{port}", *map(str, files))
    assert done.returncode == 1
    assert "sent 0, failed 40" in done.stdout
    *failures, hint = done.stderr.splitlines()
    assert failures == [f"{path}: no connection: Connection refused" for path in files]
    assert "nothing listens" in hint


def test_rejection_is_spelled_out(make_adapter: MakeAdapter) -> None:
    done = run_cli("send", make_adapter().destination("OTHER"), CT_SMALL)
    assert done.returncode == 1
    assert "called AE Title not recognized" in done.stderr
    assert "'OTHER'" in done.stderr


def test_syntax_that_is_not_taken_names_what_is(files: list[Path]) -> None:
    peer = ScriptedDestination({CT: [IMPLICIT]})
    with peer.listening():
        status, document = send(peer.port, files[0])
    assert status == 1
    (file,) = document["files"]
    assert "transfer syntaxes not supported (4)" in file["error"]
    assert EXPLICIT in file["error"]


# --- associations that break


class Breaks:
    """Answers success, but closes when told to; counts how often each instance came."""

    def __init__(self, when: Callable[[bytes, int], bool]) -> None:
        self.seen: Counter[bytes] = Counter()
        self._when = when

    def __call__(self, message_id: int, uid: bytes) -> tuple[int, bytes] | None:
        self.seen[uid] += 1
        return None if self._when(uid, self.seen[uid]) else (message_id, uid)


def test_lost_association_is_followed_by_another_for_the_rest(files: list[Path]) -> None:
    """What had no answer is sent again, what had one is not."""
    breaks = Breaks(lambda uid, times: uid in (b"1.2.3.7", b"1.2.3.21") and times == 1)
    with LyingDestination(breaks) as peer:
        status, document = send(peer.port, files[0].parent)
    assert (status, document["sent"], document["failed"]) == (0, 40, 0)
    again = {b"1.2.3.7": 2, b"1.2.3.21": 2}
    assert breaks.seen == Counter({uid_of(str(path)): 1 for path in files}) | Counter(again)


def test_instance_that_breaks_the_peer_keeps_no_other_back(files: list[Path]) -> None:
    breaks = Breaks(lambda uid, _: uid == b"1.2.3.0")
    with LyingDestination(breaks) as peer:
        status, document = send(peer.port, files[0].parent)
    assert (status, document["sent"], document["failed"]) == (1, 39, 1)
    (failed,) = [file for file in document["files"] if file["error"]]
    assert failed["sopInstanceUid"] == "1.2.3.0"
    assert failed["status"] is None
    assert breaks.seen[b"1.2.3.0"] == 3


def test_peer_that_always_breaks_is_given_up(files: list[Path]) -> None:
    breaks = Breaks(lambda *_: True)
    with LyingDestination(breaks) as peer:
        status, document = send(peer.port, files[0].parent)
    assert (status, document["sent"], document["failed"]) == (1, 0, 40)
    assert breaks.seen.total() == 3


# --- several associations


def test_more_contexts_than_one_association_takes(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    for number in range(CONTEXTS_MAX + 3):
        uid = f"1.2.3.{number}"
        file = part10(uid, data_set(uid, sop_class=f"1.2.3.4.{number}"))
        (tmp_path / f"{number:03}.dcm").write_bytes(file)
    adapter = make_adapter()
    status, document = send(adapter.dicom_port, tmp_path, called="MAIN")
    assert (status, document["sent"]) == (0, CONTEXTS_MAX + 3)

    def instances() -> list[int]:
        return sorted(row["instances"] for row in adapter.get("/api/associations"))

    eventually(lambda: instances() == [3, CONTEXTS_MAX], 10, "both are told")


def test_several_associations_share_the_work(files: list[Path]) -> None:
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening():
        status, document = send(peer.port, "--associations", "3", files[0].parent)
    assert (status, document["sent"]) == (0, 40)
    assert peer.associations == 3
    assert len({received.sop_instance_uid for received in peer.received}) == 40


# --- whoever sits in front of it


def test_progress_is_shown_in_a_terminal_only(make_adapter: MakeAdapter, files: list[Path]) -> None:
    adapter = make_adapter()
    master, slave = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "adapter", "send", adapter.destination(), str(files[0].parent)],
        env={**environment(), "TERM": "xterm", "COLUMNS": "120"}, cwd=REPOSITORY,
        stdout=subprocess.PIPE, stderr=slave, text=True,
    ) as process:  # fmt: skip
        os.close(slave)
        try:
            while piece := os.read(master, 65536):  # the longer it takes, the more there is
                shown += piece
        except OSError:
            pass  # EIO: nobody has the terminal open any more
        finally:
            os.close(master)
        done, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"40/40 files" in shown
    assert b"B/s" in shown
    assert done.startswith("sent 40")


def test_interrupt_tells_what_was_sent(files: list[Path]) -> None:
    arrived, leave = threading.Event(), threading.Event()

    def hang(message_id: int, uid: bytes) -> tuple[int, bytes] | None:
        if uid == b"1.2.3.16":
            arrived.set()
            leave.wait(30)
            return None
        return message_id, uid

    with LyingDestination(hang) as peer:
        command = [sys.executable, "-m", "adapter", "send", "--json"]
        with subprocess.Popen(
            [*command, f"PACS@127.0.0.1:{peer.port}", str(files[0].parent)],
            env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        ) as process:  # fmt: skip
            assert arrived.wait(20)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        leave.set()
    assert process.returncode == 130
    assert err == ""
    document = json.loads(out)
    assert (document["sent"], document["failed"]) == (16, 24)
    assert {file["error"] for file in document["files"][16:]} == {"interrupted"}


def test_reader_that_has_had_enough_ends_it_quietly(
    make_adapter: MakeAdapter, files: list[Path]
) -> None:
    to = make_adapter().destination()
    done = subprocess.run(
        f"{sys.executable} -m adapter send -v {to} {files[0].parent} | head -n 1",
        shell=True, env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == f"{files[0]}: sent\n"
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [(), ("--associations", "0", CT_SMALL)])
def test_bad_input_sends_nothing(arguments: tuple[str, ...]) -> None:
    done = run_cli("send", f"PACS@127.0.0.1:{free_port()}", *arguments)
    assert done.returncode == 2
