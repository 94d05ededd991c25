"""`status`, `associations`, `groups`, and completion, as an operator types them."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import free_port
from harness import REPOSITORY, Adapter, environment, eventually, run_cli
from health import MakeAdapter
from wire import Wire, associate_rq, data_set, echo_works

BASH = "/bin/bash"


@pytest.fixture(scope="module")
def adapter(make_shared_adapter: MakeAdapter) -> Adapter:
    """An adapter that knows no source but TEST, here."""
    return make_shared_adapter({
        "dicom": {"scp": {"reject_unknown_sources": True}},
        "sources": [{"ae_title": "TEST", "host": "127.0.0.1"}],
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 60, "pipelines": {"one": "one"}}
        ],
    })  # fmt: skip


def cli(adapter: Adapter, *words: str) -> "subprocess.CompletedProcess[str]":
    return run_cli(*words, "--url", adapter.url)


def listed(adapter: Adapter, *words: str) -> list[dict[str, Any]]:
    done = cli(adapter, *words, "--json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_refused_caller_is_explained_and_allowed(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(calling=b"NEWCT"))
        assert wire.answer() == ("reject", 1, 1, 3)
    table = cli(adapter, "associations", "--state", "rejected").stdout
    assert "NEWCT" in table
    assert "calling AE Title is not among the sources" in table
    (row,) = listed(adapter, "associations", "--state", "rejected")
    shown = cli(adapter, "associations", "show", row["id"]).stdout
    assert "why.rule: source-unknown" in shown
    (remedy,) = [line for line in shown.splitlines() if line.startswith("why.remedy:")]
    command = remedy.partition("dicom-adapter ")[2].split()
    done = cli(adapter, *command)
    assert (done.returncode, done.stdout) == (0, "NEWCT from 127.0.0.1: source NEWCT\n")
    assert echo_works(adapter.dicom_port, calling=b"NEWCT")


@pytest.mark.parametrize("title", ["NOSUCH", "NO SUCH"])
def test_ae_title_that_was_called_in_vain_is_made_as_advised(adapter: Adapter, title: str) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=title.encode()))
        assert wire.answer() == ("reject", 1, 1, 7)
    rejected = ["associations", "--state", "rejected", "--ae-title", title]
    (row,) = listed(adapter, *rejected)
    shown = json.loads(cli(adapter, "associations", "show", row["id"], "--json").stdout)
    command = shlex.split(shown["why"]["remedy"].partition("dicom-adapter ")[2])
    assert command[-1] == "pipeline-NAME=ID"
    done = cli(adapter, *command[:-1], "pipeline-main=one")
    assert done.returncode == 0, done.stderr
    assert echo_works(adapter.dicom_port, called=title.encode())


def test_open_association_is_aborted(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        (row,) = listed(adapter, "associations", "--state", "open")
        done = cli(adapter, "associations", "abort", row["id"])
        assert (done.returncode, done.stdout) == (0, f"{row['id']}: aborted\n")
        assert wire.answer() == ("abort", 2, 0)
    again = cli(adapter, "associations", "abort", row["id"])
    assert (again.returncode, again.stderr) == (1, "it is not open\n")


def test_groups_are_held_extended_and_closed(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1", data_set("1.2.3.1")) == ("response", 0)
        wire.release()
    (group,) = eventually(lambda: listed(adapter, "groups"))
    for order, said in ((["hold"], "held"), (["extend"], "extended"), (["close"], "closed")):
        seconds = ["30"] if order == ["extend"] else []
        done = cli(adapter, "groups", *order, group["id"], *seconds)
        assert (done.returncode, done.stdout) == (0, f"{group['id']}: {said}\n"), done.stderr
        if said == "held":
            assert "held" in cli(adapter, "groups").stdout
    eventually(lambda: adapter.get("/api/groups") == [])
    gone = cli(adapter, "groups", "close", group["id"])
    assert (gone.returncode, gone.stderr) == (1, f"no open group {group['id']}\n")
    assert cli(adapter, "groups", "extend", group["id"], "-1").returncode != 0


def test_status_is_one_screen_without_colours(adapter: Adapter) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        done = cli(adapter, "status")
        assert done.returncode == 0, done.stderr
        assert "ready" in done.stdout
        assert "TEST" in done.stdout
        assert "\x1b" not in done.stdout
        assert len(done.stdout.splitlines()) <= 40
        document = json.loads(cli(adapter, "status", "--json").stdout)
        assert document["associations"][0]["callingAeTitle"] == "TEST"
        assert document["storage"]["state"] == "ok"


@pytest.mark.parametrize("words", [["status"], ["associations"], ["groups"]])
def test_nobody_there_is_one_line(words: list[str]) -> None:
    done = run_cli(*words, "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "no adapter answers there" in line


@pytest.mark.parametrize(
    ("shell", "file"),
    [("bash", ".local/share/bash-completion/completions/dicom-adapter"),
     ("zsh", ".zsh/completions/_cyclopts_dicom-adapter"),
     ("fish", ".config/fish/completions/dicom-adapter.fish")],
)  # fmt: skip
def test_completion_is_installed(tmp_path: Path, shell: str, file: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adapter", "--install-completion", "--shell", shell],
        env={**environment(), "HOME": str(tmp_path)}, cwd=REPOSITORY, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "associations" in (tmp_path / file).read_text()


@pytest.mark.parametrize(
    ("words", "offered"),
    [(["gro"], {"groups"}), (["associations", "a"], {"abort", "allow"}),
     (["associations", "--st"], {"--state"}), (["jobs", "re"], {"release", "retry"})],
)  # fmt: skip
def test_bash_completes_what_is_typed(tmp_path: Path, words: list[str], offered: set[str]) -> None:
    run = {"env": {**environment(), "HOME": str(tmp_path)}, "cwd": REPOSITORY,
           "capture_output": True, "text": True, "timeout": 60}  # fmt: skip
    install = [sys.executable, "-m", "adapter", "--install-completion", "--shell", "bash"]
    assert subprocess.run(install, **run).returncode == 0  # type: ignore[call-overload]
    typed = " ".join(["dicom-adapter", *words])
    script = (
        f'. "$HOME/.bashrc"; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; '
        '_dicom_adapter; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run([BASH, "--norc", "-c", script], **run)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == offered
