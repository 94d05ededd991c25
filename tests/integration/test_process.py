"""The process seen by a service manager: exit codes, messages, one root for one process (F58,
F72, F117).
"""

import json
import socket
from pathlib import Path

from harness import configuration, eventually, run_cli
from health import MakeAdapter
from wire import Wire

BAD_CONFIGURATION, PORT_TAKEN = 2, 3


def write(folder: Path, **changes: object) -> str:
    file = folder / "other.json"
    file.write_text(json.dumps(configuration(folder / "root", changes)))
    return str(file)


def test_second_adapter_on_one_root_is_refused(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    first = make_adapter()
    done = run_cli("serve", "-c", write(tmp_path, storage={"root": str(first.root)}))
    assert done.returncode == BAD_CONFIGURATION
    assert "another adapter uses this folder" in done.stderr
    assert str(first.root) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert first.alive()


def test_taken_ports_are_told_apart_from_bad_configuration(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for change in ({"dicom": {"scp": {"port": port}}}, {"api": {"port": port}}):
            done = run_cli("serve", "-c", write(tmp_path, **change))
            assert done.returncode == PORT_TAKEN
            assert f"port {port}" in done.stderr
            assert "Traceback" not in done.stderr


def test_bad_configuration_lists_every_problem(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        dicom={"scp": {"port": 70000, "max_asociations": 3, "artim_s": "soon"}},
        storage={"durability": "maybe"},
        nonsense=True,
    )
    done = run_cli("serve", "-c", file)
    assert done.returncode == BAD_CONFIGURATION
    for expected in (
        "dicom.scp.port", "dicom.scp.max_asociations", "dicom.scp.artim_s",
        "storage.durability", "nonsense", file,
    ):  # fmt: skip
        assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert run_cli("config", "check", file).returncode == BAD_CONFIGURATION


def test_missing_and_unreadable_files_are_one_line_each(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 1")
    for file in (str(tmp_path / "absent.toml"), str(broken)):
        done = run_cli("serve", "-c", file)
        assert done.returncode == BAD_CONFIGURATION
        assert file in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_unusable_storage_root_is_bad_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_cli("serve", "-c", write(tmp_path, storage={"root": str(tmp_path / "file")}))
    assert done.returncode == BAD_CONFIGURATION
    assert "storage.root" in done.stderr
    assert "Traceback" not in done.stderr


def test_sigterm_drains_and_exits_with_0(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
        wire.release()
    assert adapter.stop() == 0


def test_sigterm_lets_an_association_finish_within_its_grace(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"shutdown": {"association_grace_s": 30, "deadline_s": 40}})
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
        adapter.terminate()
        eventually(lambda: adapter.events("process.stopping"))
        assert wire.store("1.2.3.2") == ("response", 0)
        assert wire.release() == ("released",)
    assert adapter.wait() == 0
    adapter.start()
    both = {"1.2.3.1", "1.2.3.2"}
    eventually(lambda: {path.stem for path in adapter.instances("payloads")} == both)


def test_sigterm_ends_an_idle_association_after_the_grace(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"shutdown": {"association_grace_s": 0.5}})
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        adapter.terminate()
        assert wire.answer()[0] in ("abort", "closed")
        assert adapter.wait() == 0


def test_second_sigterm_cuts_the_drain(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"shutdown": {"association_grace_s": 100, "deadline_s": 120}})
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        adapter.terminate()
        eventually(lambda: adapter.events("process.stopping"))
        assert adapter.alive()
        adapter.terminate()
        assert adapter.wait() == 1


def test_help_and_version_answer() -> None:
    assert "serve" in run_cli("--help").stdout
    assert run_cli("--version").returncode == 0
