"""`create`, `list`, `get`, `delete` as Clara's users type them, against a running adapter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_peers import DCMTK, ended, free_port
from harness import Adapter, environment, eventually, run_cli
from health import MakeAdapter
from http_recorder import Recorder
from test_commands import one_line

STRICT = {"dicom": {"scp": {"reject_unknown_sources": True}}}
PIPELINE = "8f1c2e1c-0b8c-4f33-9d62-2cf1b9d9d1f7"


def said(adapter: Adapter, *arguments: str) -> str:
    """Return what a command, which must succeed, printed."""
    done = run_cli(*arguments, "--url", adapter.url)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def refused(adapter: Adapter, *arguments: str) -> str:
    """Return the one line of a command that the adapter refused."""
    done = run_cli(*arguments, "--url", adapter.url)
    assert (done.returncode, done.stdout) == (1, "")
    return one_line(done.stderr)


@pytest.mark.peer("dcmtk")
def test_what_claras_users_type_makes_a_way_through_the_adapter(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(STRICT)
    made = said(
        adapter, "create", "aetitle", "-a", "COVIDAET", f"pipeline-covid={PIPELINE}",
        "timeout=30", "priority=higher", "groupBy=0010,0020",
    )  # fmt: skip
    assert made == "COVIDAET: running\n"
    assert said(adapter, "create", "src", "-a", "CT1", "-i", "127.0.0.1") == "CT1: running\n"
    destination = ("-n", "pacs", "-a", "PACS", "-i", "127.0.0.1", "-p", str(free_port()))
    assert said(adapter, "create", "dest", *destination) == "pacs: running\n"

    shown = json.loads(said(adapter, "get", "aetitle", "COVIDAET", "--json"))
    assert shown["processorSettings"] == {
        "pipeline-covid": PIPELINE, "timeout": "30", "priority": "higher", "groupBy": "0010,0020",
    }  # fmt: skip
    echo = (DCMTK["echoscu"], "-aec", "COVIDAET", "127.0.0.1", str(adapter.dicom_port), "-aet")
    assert ended(*echo, "CT1").returncode == 0
    assert ended(*echo, "CT2").returncode != 0

    heading, main, covid = said(adapter, "list", "aetitle").splitlines()
    assert heading.split()[:3] == ["name", "AE", "Title"]
    assert main.split()[0] == "main"
    assert covid.split() == [
        "COVIDAET", "COVIDAET", "running", "api", "0010,0020", "30", "higher",
        f"covid={PIPELINE}", "aetitle",
    ]  # fmt: skip
    assert shown["processing"] == [{
        "processor": "aetitle", "groupBy": ["0010,0020"], "timeoutS": 30, "priority": "higher",
        "pipelines": {"covid": PIPELINE},
    }]  # fmt: skip
    of_fields, _, of_processors = said(adapter, "get", "aetitle", "COVIDAET").partition(
        "processing:"
    )
    assert "\ntimeoutS: 30\n" in of_fields
    assert "higher" in of_processors
    assert said(adapter, "list", "src").splitlines()[1].split() == [
        "CT1", "CT1", "127.0.0.1", "api",
    ]  # fmt: skip
    (pacs,) = json.loads(said(adapter, "list", "dest", "--json"))
    assert (pacs["hostIp"], pacs["port"]) == ("127.0.0.1", int(destination[-1]))
    assert f"port: {destination[-1]}\n" in said(adapter, "get", "dest", "-n", "pacs")

    assert said(adapter, "delete", "aet", "-n", "COVIDAET").startswith("COVIDAET: ")
    assert said(adapter, "delete", "src", "-a", "CT1").startswith("CT1: ")
    assert said(adapter, "delete", "dest", "pacs", "--drain").startswith("pacs: ")
    eventually(lambda: len(json.loads(said(adapter, "list", "aetitle", "--json"))) == 1)
    assert json.loads(said(adapter, "list", "src", "--json")) == []
    assert json.loads(said(adapter, "list", "dest", "--json")) == []


def test_refusals_are_one_line(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    assert said(adapter, "create", "aetitle", "-n", "x", "-a", "X", "pipeline-a=b")
    assert "'X' is used" in refused(adapter, "create", "aetitle", "-a", "X", "pipeline-a=b")
    wrong = refused(adapter, "create", "aetitle", "-a", "Y", "pipeline-a=b", "timeot=3")
    assert "processorSettings.timeot" in wrong
    assert "no source is named 'CT1'" in refused(adapter, "get", "src", "CT1")
    assert "no destination is named 'pacs'" in refused(adapter, "delete", "dest", "pacs")
    assert "configuration file" in refused(adapter, "delete", "aetitle", "main")
    assert "host" in refused(adapter, "create", "src", "-a", "CT1", "-i", "no host")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("create", "aetitle", "-a", "X", "pipeline-a"), "'pipeline-a' is not of the form"),
        (("create", "aetitle", "-a", "X", "=b"), "'=b' is not of the form"),
        (("create", "aetitle", "-a", "X", "a=b", "a=c"), "'a' is given twice"),
        (("delete", "dest"), "say which one"),
        (("get", "src"), "say which one"),
    ],
)
def test_what_says_too_little_is_bad_input(arguments: tuple[str, ...], what: str) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert what in one_line(done.stderr)


@pytest.mark.parametrize("by", ["option", "environment"])
def test_api_key_is_sent_as_bearer_token(by: str, tmp_path: Path) -> None:
    with Recorder(b"[]") as recorder:
        option = ["--api-key", "k3y"] if by == "option" else []
        known = {"DICOM_ADAPTER_API_KEY": "k3y"} if by == "environment" else {}
        for command in (["list", "dest"], ["jobs"]):
            done = subprocess.run(
                [sys.executable, "-m", "adapter", *command, "--url", recorder.url, *option],
                env=environment() | known, cwd=tmp_path, capture_output=True, text=True,
                check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    assert recorder.authorizations == ["Bearer k3y", "Bearer k3y"]
