"""The command line as a person and a script use it."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_peers import free_port
from harness import REPOSITORY, environment, run_cli
from health import MakeAdapter


def one_line(text: str) -> str:
    """Return text, which is one line without a traceback."""
    (line,) = text.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "nonsense"),
        (["echo"], "DESTINATION"),
        (["list", "nonsense"], "nonsense"),
        (["jobs", "retry"], "JOB_ID"),
        (["serve", "--nope"], "--nope"),
        (["watch", "--topics", "job,nonsense"], "'nonsense'"),
        (["watch", "--since", "-4"], "--since"),
        (["groups", "extend", "x", "--", "-5"], "-5"),
        (["create", "dest", "-n", "x", "-a", "X", "-i", "h", "-p", "many"], "many"),
    ],
)
def test_what_cannot_be_meant_is_one_line(arguments: list[str], named: str) -> None:
    done = run_cli(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in one_line(done.stderr)


@pytest.mark.parametrize("text", ["nobody", "AET@host", "AET@host:0", "AET@host:99999"])
def test_what_is_no_destination_is_bad_input(text: str) -> None:
    done = run_cli("echo", text)
    assert done.returncode == 2
    assert repr(text) in one_line(done.stderr)


def test_config_check_lists_every_problem_at_once(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[dicom.scp]\nport = 99999\nprot = 1\n[storage]\ndurability = "none"\n')
    done = run_cli("config", "check", str(file))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(str(file)) for line in lines)
    assert "did you mean port?" in lines[1]
    assert "'fsync', 'os'" in lines[2]


def test_config_show_names_the_origin_of_each_value() -> None:
    done = run_cli("config", "show", "--origin", "--set", "dicom.scp.port=104", "config/dev.toml")
    assert done.returncode == 0
    assert "dicom.scp.port = 104    # --set dicom.scp.port" in done.stdout
    assert 'dicom.scp.host = "127.0.0.1"    # config/dev.toml' in done.stdout
    assert "dicom.scp.artim_s = 30.0    # default" in done.stdout


def test_config_schema_is_json() -> None:
    assert "$defs" in json.loads(run_cli("config", "schema").stdout)


def test_reader_that_has_had_enough_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m adapter config schema | head -n 1",
        shell=True, env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "{"
    assert done.stderr == ""


def test_demo_verifies_every_step() -> None:
    done = run_cli("demo", timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every step verified" in done.stdout
    assert "FAILED" not in done.stdout
    story = done.stdout.partition("every step verified")[2].splitlines()[1:]
    assert "study 1." in story[0]
    told = [line for line in story if " s " in line]
    for what in ("association.accepted", "group.opened", "job.opened", "export.opened"):
        assert any(what in line for line in told), what
    assert story[-1].startswith("dashboard: dicom-adapter demo --serve --port-base ")


def test_demo_stays_up_on_its_ports_until_told(make_adapter: MakeAdapter) -> None:
    base = free_port(in_a_row=3)
    command = [sys.executable, "-m", "adapter", "demo", "--serve", "--port-base", str(base)]
    with subprocess.Popen(
        command, env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        shown = list[str]()
        for line in demo.stdout:
            shown.append(line)
            if "Ctrl+C" in line:
                break
        assert any("association.accepted" in line for line in shown)
        assert f"dashboard: http://127.0.0.1:{base + 1}/\n" in shown
        assert run_cli("echo", f"DEMO@127.0.0.1:{base}").returncode == 0
        demo.terminate()
        assert "every step verified" in demo.stdout.read()
        assert demo.wait(60) == 0


def test_demo_says_why_its_adapter_does_not_start() -> None:
    base = free_port(in_a_row=3)
    with socket.create_server(("127.0.0.1", base)):
        done = run_cli("demo", "--port-base", str(base), timeout_s=60)
    assert done.returncode == 1
    assert "not verified: adapter is ready" in done.stdout
    assert f"port {base}: Address already in use" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
