"""Destinations that are folders, seen by whoever watches them."""

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from harness import Adapter, eventually, fill, run_cli
from health import MakeAdapter
from pydicom import dcmread
from pydicom.data import get_testdata_file
from wire import Wire, data_set, explicit

COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
CT = str(get_testdata_file("CT_small.dcm"))
PIXELS = explicit(0x7FE00010, b"OW", bytes(24 << 20))


def exporting(make_adapter: MakeAdapter, folder: Path, timeout_s: float = 1) -> Adapter:
    """Start an adapter that drops what it receives into a folder."""
    return make_adapter({
        "dicom": {"scu": {"export": {"max_retries": 0, "retry_delay_s": 0.2}}},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": timeout_s,
            "pipelines": {"copy": "copy"}, "destinations": ["watched"],
        }],
        "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
        "destinations": [{"name": "watched", "type": "folder", "path": str(folder)}],
    })  # fmt: skip


def completed(adapter: Adapter, count: int = 1) -> list[dict[str, Any]]:
    return eventually(
        lambda: found if len(found := adapter.get("/api/exports?state=Completed")) == count else [],
        20,
        "exports are completed",
    )


def waits(adapter: Adapter, why: str) -> None:
    """Wait until an export waits for the folder, for this reason."""
    eventually(lambda: [row for row in adapter.get("/api/exports") if why in row["error"]], 15, why)
    assert not adapter.get("/api/exports?state=Failed")


def test_result_is_a_file_that_others_can_read(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    adapter = exporting(make_adapter, tmp_path / "watched")
    assert run_cli("send", adapter.destination(), CT).returncode == 0
    (export,) = completed(adapter)
    (name,) = os.listdir(tmp_path / "watched")
    sent, found = dcmread(CT), dcmread(tmp_path / "watched" / name)
    assert export["sent"] == 1
    assert name == f"{sent.SOPInstanceUID}.dcm"
    assert found == sent
    assert found.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert found.file_meta.MediaStorageSOPInstanceUID == sent.SOPInstanceUID


def test_missing_folder_is_waited_for(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter = exporting(make_adapter, tmp_path / "watched")
    assert run_cli("send", adapter.destination(), CT).returncode == 0
    waits(adapter, "the folder cannot be used: No such file or directory")
    assert not (tmp_path / "watched").exists()
    (tmp_path / "watched").mkdir()
    completed(adapter)


def test_read_only_folder_is_waited_for(make_adapter: MakeAdapter, small_disk: Path) -> None:
    adapter = exporting(make_adapter, small_disk)
    remount(small_disk, "ro")
    assert run_cli("send", adapter.destination(), CT).returncode == 0
    waits(adapter, "Read-only file system")
    remount(small_disk, "rw")
    completed(adapter)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["/bin/mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_full_folder_is_waited_for(make_adapter: MakeAdapter, small_disk: Path) -> None:
    adapter = exporting(make_adapter, small_disk)
    filler = fill(small_disk, leave=16 << 10)  # room for a probe, not for the file
    assert run_cli("send", adapter.destination(), CT).returncode == 0
    waits(adapter, "No space left on device")
    eventually(lambda: os.listdir(small_disk) == [filler.name], what="nothing is left of a try")
    assert not [name for name in os.listdir(small_disk) if name.endswith(".dcm")]
    filler.unlink()
    completed(adapter)


def test_no_half_file_is_ever_seen_however_often_the_adapter_is_killed(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    adapter = exporting(make_adapter, watched, timeout_s=5)  # for one of them to come
    uids = [f"1.2.3.{number}" for number in range(4)]
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for uid in uids:
            assert wire.store(uid, data_set(uid, tail=PIXELS)) == ("response", 0)
        wire.release()
    sizes: set[int] = set()
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(watched, sizes, over))
    watcher.start()
    try:
        for count in range(1, 3):
            eventually(lambda: len(os.listdir(watched)) >= count, 20)  # noqa: B023
            adapter.kill()
            adapter.start()
        completed(adapter)
    finally:
        over.set()
        watcher.join()
    assert {name for name in os.listdir(watched) if name[0] != "."} == {f"{u}.dcm" for u in uids}
    assert len(sizes) == 1
    assert min(sizes) > 24 << 20


def watch(folder: Path, sizes: set[int], over: threading.Event) -> None:
    """Look at the sizes of what is visible, until told to stop."""
    while not over.is_set():
        sizes.update(entry.stat().st_size for entry in os.scandir(folder) if entry.name[0] != ".")


def test_folder_is_tried_by_echo_and_taken_by_send(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = exporting(make_adapter, tmp_path / "watched")
    arguments = ["watched", "-c", str(adapter.file)]
    refused = run_cli("echo", *arguments)
    (tmp_path / "watched").mkdir()
    answered = run_cli("echo", *arguments)
    sent = run_cli("send", *arguments, CT)
    assert refused.returncode == 1
    assert "watched: the folder cannot be used: No such file or directory" in refused.stderr
    assert "check that the folder is there" in refused.stderr
    assert answered.returncode == sent.returncode == 0
    assert "sent 1, failed 0" in sent.stdout
    assert len(os.listdir(tmp_path / "watched")) == 1
