"""The storage root is read-only, gone, slow, another's, out of inodes; the process is stopped.

F63, F65, F66, F67, F74, F75, F76, F77 of the fault catalogue.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import REPOSITORY, Adapter, environment, eventually, pass_time
from health import MakeAdapter, missing
from system_calls import STRACE, failing
from test_receivers import receivers
from wire import Wire, data_set, echo_works

REFUSED = ("response", 0xA700)
STORED = ("response", 0)
SETPRIV = "/usr/bin/setpriv"


def settings(root: Path | None = None, **more: object) -> dict[str, object]:
    storage = {"root": str(root)} if root else {}
    return {
        "storage": storage,
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 600, "pipelines": {"one": "one"}}
        ],
        **more,
    }


def store(wire: Wire, uid: str) -> tuple[object, ...]:
    return wire.store(uid, data_set(uid, study=f"{uid}.1"))


def ready(adapter: Adapter) -> bool:
    return adapter.request("GET", "/health/ready")[0] == 200


def why_unready(adapter: Adapter) -> list[str]:
    reasons: list[str] = adapter.get("/health/status")["unreadyBecause"]
    return reasons


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def unmounted(disk: Path) -> bool:
    return subprocess.run(["/bin/umount", str(disk)], check=False).returncode == 0


def test_file_system_that_goes_read_only_refuses_and_loses_nothing(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """F63: as ext4 does when its disk fails."""
    with ext4(tmp_path) as disk:
        adapter = make_adapter(settings(disk / "root", dicom={"scp": {"receivers": 1}}))
        adapter.settings["storage"]["durability"] = "fsync"
        adapter.kill()
        adapter.start()
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            assert store(wire, "1.2.1") == STORED
            run("/bin/mount", "-o", "remount,abort", str(disk))
            assert store(wire, "1.2.2") == REFUSED
            eventually(lambda: not ready(adapter), 15, "it is unready")
            assert "Read-only file system" in str(why_unready(adapter))
            (*_, low) = eventually(lambda: adapter.events("storage.low"))
            assert "Read-only file system" in low["why"]
            assert echo_works(adapter.dicom_port)
        assert adapter.alive()
        adapter.kill()
        with pytest.raises(AssertionError, match=r"storage\.root: .*: Read-only file system"):
            adapter.start()
        eventually(lambda: unmounted(disk), what="its last process has gone")
        run("/bin/mount", "-o", "loop", str(tmp_path / "image"), str(disk))
        adapter.start()
        assert {path.stem for path in adapter.instances("incoming")} == {"1.2.1"}
        adapter.kill()


def test_storage_root_that_is_taken_away_is_noticed(make_adapter: MakeAdapter) -> None:
    """F67: nothing is written elsewhere, nor into another folder of that name."""
    adapter = make_adapter(settings())
    away = adapter.root.with_name("away")
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert store(wire, "1.2.1") == STORED
        adapter.root.rename(away)
        assert store(wire, "1.2.2") in (REFUSED, ("response", 0x0110))
        eventually(lambda: not ready(adapter), 15, "it is unready")
        assert not adapter.root.exists()
        shutil.copytree(away, adapter.root)
        eventually(lambda: "not the one of the start" in str(why_unready(adapter)), 15)
        assert not ready(adapter)
        shutil.rmtree(adapter.root)
        away.rename(adapter.root)
        eventually(lambda: ready(adapter), 15, "it is ready")
        assert store(wire, "1.2.2") == STORED


def test_want_of_inodes_is_want_of_space(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    """F65: an ext4 file system with room for a few files only."""
    with ext4(tmp_path, "-N", "400") as disk:
        adapter = make_adapter(settings(disk / "root"))
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            answers = [store(wire, f"1.2.{number}") for number in range(1, 200)]
            kept = answers.index(REFUSED)
            assert answers == [STORED] * kept + [REFUSED] * (len(answers) - kept)
            eventually(lambda: not ready(adapter), 15, "it is unready")
        assert len(list(adapter.instances("incoming"))) == kept
        assert adapter.alive()
        adapter.kill()


@contextmanager
def ext4(folder: Path, *options: str) -> Iterator[Path]:
    image, disk = folder / "image", folder / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    run("/usr/sbin/mkfs.ext4", "-q", *options, str(image))
    mounted = subprocess.run(
        ["/bin/mount", "-o", "loop", str(image), str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        missing("cannot mount a file system image")
    try:
        yield disk
    finally:
        run("/bin/umount", "-l", str(disk))


def test_slow_disk_delays_its_senders_and_nobody_else(make_adapter: MakeAdapter) -> None:
    """F66: a sync takes a second."""
    if not Path(STRACE).exists():
        missing("strace is not installed")
    adapter = make_adapter(settings(dicom={"scp": {"receivers": 1}}))
    adapter.kill()
    adapter.settings["storage"]["durability"] = "fsync"
    adapter.start()
    (pid,) = eventually(lambda: receivers(adapter)).values()
    with Wire(adapter.dicom_port) as wire, failing([pid], "fsync", "", "1+", delay_us=1_000_000):
        wire.associate()
        assert store(wire, "1.2.1") == STORED
        assert echo_works(adapter.dicom_port)
        assert ready(adapter)
        wire.release()


def test_folder_that_takes_no_files_refuses_and_recovers(make_adapter: MakeAdapter) -> None:
    """F74: also a process that may do everything can't write into a folder that is immutable."""
    adapter = make_adapter(settings())
    part = str(adapter.root / "incoming" / ".part")
    if subprocess.run(["/usr/bin/chattr", "+i", part], check=False, capture_output=True).returncode:
        missing("this file system has no immutable folders")
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        try:
            assert store(wire, "1.2.1") == REFUSED
        finally:
            run("/usr/bin/chattr", "-i", part)
        assert store(wire, "1.2.1") == STORED


def refused_start(root: Path) -> str:
    """Return what a start says that has no right to something below the root."""
    done = subprocess.run(
        [SETPRIV, "--bounding-set=-dac_override,-dac_read_search",
         "--inh-caps=-dac_override,-dac_read_search",
         sys.executable, "-m", "adapter", "serve", "--set", f"storage.root={root}",
         "--set", "dicom.scp.port=0", "--set", "api.port=0"],
        cwd=REPOSITORY, env=environment(), text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    return done.stderr


def test_start_without_the_right_to_write_is_one_line(tmp_path: Path) -> None:
    """F74: as somebody else's folder is to a service's account."""
    root = tmp_path / "root"
    root.mkdir(mode=0o555)
    assert refused_start(root) == f"storage.root: {root}: Permission denied\n"


def test_start_names_each_group_that_it_has_no_right_to_and_leaves_it(
    make_adapter: MakeAdapter,
) -> None:
    """F74: as after a restore by somebody else."""
    adapter = make_adapter(settings())
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert [store(wire, uid) for uid in ("1.2.1", "1.2.2")] == [STORED, STORED]
    assert adapter.stop() == 0
    whole, series = sorted((adapter.root / "incoming").glob("[!.]*"))
    (inner,) = (series / "dcm").glob("*/*")
    for folder in (whole, inner):
        folder.chmod(0)
    told = [f"storage.root: {path}: Permission denied\n" for path in (whole / "group.json", inner)]
    assert refused_start(adapter.root) == "".join(told)
    for folder in (whole, inner):
        folder.chmod(0o750)
    adapter.start()
    assert len(eventually(lambda: adapter.get("/api/groups"))) == 2


def test_temporary_folder_that_cannot_be_used_changes_nothing(
    make_adapter: MakeAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F75."""
    monkeypatch.setenv("TMPDIR", "/proc/nothing")
    adapter = make_adapter(settings())
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert store(wire, "1.2.1") == STORED


def test_process_that_was_stopped_for_a_while_goes_on(make_adapter: MakeAdapter) -> None:
    """F77: its associations, its groups, its timers."""
    adapter = make_adapter(settings(application_entities=[
        {"name": "main", "ae_title": "MAIN", "timeout_s": 2, "pipelines": {"one": "one"}}
    ]))  # fmt: skip
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert store(wire, "1.2.1") == STORED
        everybody = [adapter.pid, *receivers(adapter).values()]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        pass_time(3)
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        assert store(wire, "1.2.2") == STORED
        wire.release()
    eventually(lambda: len(adapter.payload_folders()) == 2, 15)
    assert len(list(adapter.instances("payloads"))) == 2
