"""`platform.pipelines` changes while the adapter runs, or lacks what AE Titles name."""

import json
from pathlib import Path
from typing import Any

import pytest
from harness import Adapter, eventually, merged, run_cli
from health import MakeAdapter
from pydicom.data import get_testdata_file
from test_reload import reload, write
from wire import echo_works

CT_SMALL = str(get_testdata_file("CT_small.dcm"))
MAIN = {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "p1"}}
NO_P9 = "pipeline 'a': platform.pipelines has no entry with id 'p9'"
TOLD = "pipeline.unusable"


def programs(**scripts: str) -> dict[str, Any]:
    """Return changes that make these shell scripts all the pipelines, two at a time of each."""
    return {"platform": {"pipelines": [
        {"id": name, "command": ["/bin/sh", "-c", script], "max_concurrent": 2}
        for name, script in scripts.items()
    ]}}  # fmt: skip


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter({
        "application_entities": [MAIN],
        "platform": {"engine": "command", "retry_delay_s": 1, **programs(p1="true")["platform"]},
    })  # fmt: skip


def health(adapter: Adapter) -> tuple[str, list[str]]:
    told = adapter.get("/health/status")
    assert told["unreadyBecause"] == []
    return told["state"], told["degradedBecause"]


def problems(adapter: Adapter, name: str) -> list[str]:
    listed = adapter.get(f"/api/config/claraaetitle/{name}")
    assert listed["state"] == "running"  # whatever is wrong with its pipelines
    found: list[str] = listed["problems"]
    return found


def send(adapter: Adapter, ae_title: str) -> None:
    assert run_cli("send", adapter.destination(ae_title), CT_SMALL).returncode == 0


def jobs(adapter: Adapter, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = adapter.get(f"/api/jobs?{query}")
    return found


def wait_for(adapter: Adapter, state: str, count: int = 1) -> list[dict[str, Any]]:
    """Return the jobs in a state, once there are so many of them."""
    return eventually(
        lambda: (found := jobs(adapter, f"state={state}")) and len(found) == count and found, 20
    )


def text(adapter: Adapter, job: dict[str, Any]) -> str | None:
    """Return what a program has written into its output; None: nothing yet."""
    (folder,) = [one for one in adapter.payload_folders() if one.name == job["id"]]
    said = folder / "output" / "said"
    return said.read_text() if said.exists() else None


def made(adapter: Adapter, pipeline_id: str) -> None:
    """Have an AE Title by the command, and what is wrong with it told."""
    done = run_cli(
        "create", "aetitle", "-a", "ZZ", f"pipeline-a={pipeline_id}", "--url", adapter.url
    )
    assert (done.returncode, done.stdout) == (0, "ZZ: running\n")
    assert done.stderr == f"warning: {NO_P9}\n"


# --- an AE Title names a pipeline that is not there


def test_ae_title_that_names_an_unknown_pipeline_is_taken_and_told(adapter: Adapter) -> None:
    assert health(adapter) == ("ready", [])
    made(adapter, "p9")
    assert problems(adapter, "ZZ") == [NO_P9]
    assert problems(adapter, "main") == []
    assert health(adapter) == ("degraded", [f"AE Title 'ZZ': {NO_P9}"])
    assert adapter.request("GET", "/health/ready")[0] == 200
    assert echo_works(adapter.dicom_port, called=b"ZZ")
    assert [(one["entity"], one["why"]) for one in adapter.events(TOLD)] == [("ZZ", NO_P9)]
    listed = run_cli("list", "aetitle", "--url", adapter.url)
    assert NO_P9 in listed.stdout
    adapter.kill()
    adapter.start()
    assert problems(adapter, "ZZ") == [NO_P9]
    assert [(one["entity"], one["why"]) for one in adapter.events(TOLD)[-1:]] == [("ZZ", NO_P9)]


def test_change_of_an_ae_title_to_an_unknown_pipeline_is_told(adapter: Adapter) -> None:
    path, kind = "/api/config/claraaetitle", {"Content-Type": "application/json"}
    body = {"name": "zz", "aeTitle": "ZZ", "pipelines": {"a": "p1"}}
    answer = adapter.request("POST", path, kind, json.dumps(body).encode())
    assert (answer[0], json.loads(answer[2])["problems"]) == (201, [])
    body["pipelines"] = {"a": "p9"}
    answer = adapter.request("PUT", f"{path}/zz", kind, json.dumps(body).encode())
    assert (answer[0], json.loads(answer[2])["problems"]) == (200, [NO_P9])
    assert health(adapter)[0] == "degraded"
    assert adapter.request("POST", f"{path}/zz/restart", kind)[0] == 409  # it is not parked
    body["pipelines"] = {"a": "p1"}
    assert adapter.request("PUT", f"{path}/zz", kind, json.dumps(body).encode())[0] == 200
    assert health(adapter) == ("ready", [])


def test_unknown_pipeline_of_the_file_is_taken_with_the_words_of_config_check(
    adapter: Adapter,
) -> None:
    entity = {"name": "zz", "ae_title": "ZZ", "settings": {"pipeline-a": "p9"}}
    changes = {"application_entities": [MAIN, entity]}
    candidate = adapter.file.with_name("candidate.json")
    candidate.write_text(json.dumps(merged(adapter.settings, changes)))
    checked = run_cli("config", "check", str(candidate))
    assert checked.returncode == 0
    assert checked.stderr == f"warning: application_entities[1]: {NO_P9}\n"
    planned = run_cli("config", "plan", str(candidate), "--url", adapter.url)
    assert (planned.returncode, planned.stderr) == (0, checked.stderr)
    assert adapter.events(TOLD) == []  # it was only asked
    write(adapter, changes)
    assert reload(adapter)[1]["warnings"] == [f"application_entities[1]: {NO_P9}"]
    assert problems(adapter, "zz") == [NO_P9]
    assert health(adapter) == ("degraded", [f"AE Title 'zz': {NO_P9}"])
    assert [one["why"] for one in adapter.events(TOLD)] == [f"application_entities[1]: {NO_P9}"]


def test_engine_without_such_a_table_is_not_asked_for_it(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"application_entities": [MAIN]})
    done = run_cli("create", "aetitle", "-a", "ZZ", "pipeline-a=p9", "--url", adapter.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ZZ: running\n", "")
    assert health(adapter) == ("ready", [])


def test_job_of_an_unknown_pipeline_is_tried_again_and_told_until_it_is_there(
    adapter: Adapter,
) -> None:
    made(adapter, "p9")
    send(adapter, "ZZ")
    why = "platform.pipelines has no entry with id 'p9'"
    waiting = ("degraded", [f"AE Title 'ZZ': {NO_P9}", f"1 job cannot run: {why}"])
    eventually(lambda: health(adapter) == waiting, 20, "its job waits")
    (job,) = jobs(adapter)
    eventually(lambda: jobs(adapter)[0]["error"] == why, 10)
    write(adapter, programs(p1="true", p9="echo nine > output/said"))
    status, plan = reload(adapter)
    assert (status, [(one["key"], one["restart"]) for one in plan["changes"]]) == (
        200, [("platform.pipelines[p9]", False)],
    )  # fmt: skip
    assert problems(adapter, "ZZ") == []
    assert health(adapter) == ("ready", [])
    (done,) = wait_for(adapter, "Completed")
    assert (done["id"], text(adapter, done)) == (job["id"], "nine\n")


# --- the table changes


def test_run_goes_on_as_it_began_and_the_next_one_is_of_the_new_entry(
    adapter: Adapter, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    first = f"echo old > output/said; while [ ! -e '{go}' ]; do sleep 0.01; done"
    write(adapter, programs(p1=first))
    assert reload(adapter)[0] == 200
    send(adapter, "MAIN")
    (running,) = wait_for(adapter, "Starting")
    eventually(lambda: text(adapter, running) == "old\n", 10, "its program runs")
    write(adapter, programs(p1="echo new > output/said"))
    assert reload(adapter)[0] == 200
    send(adapter, "MAIN")
    (other,) = wait_for(adapter, "Completed")
    assert text(adapter, other) == "new\n"
    assert [one["id"] for one in jobs(adapter, "state=Starting")] == [running["id"]]
    go.touch()
    wait_for(adapter, "Completed", 2)
    assert text(adapter, running) == "old\n"


def test_run_outlives_its_entry_and_who_names_it_is_told(adapter: Adapter, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"touch output/said; while [ ! -e '{go}' ]; do sleep 0.01; done"
    write(adapter, programs(p1=script))
    assert reload(adapter)[0] == 200
    send(adapter, "MAIN")
    (running,) = wait_for(adapter, "Starting")
    eventually(lambda: text(adapter, running) == "", 10, "its program runs")
    write(adapter, programs())
    assert reload(adapter)[0] == 200
    why = "pipeline 'one': platform.pipelines has no entry with id 'p1'"
    assert health(adapter) == ("degraded", [f"AE Title 'main': {why}"])
    assert adapter.events(TOLD)[-1]["why"] == f"application_entities[0]: {why}"
    go.touch()
    (done,) = wait_for(adapter, "Completed")
    assert (done["id"], done["error"]) == (running["id"], "")


def test_limit_of_a_pipeline_changes_at_once(adapter: Adapter, tmp_path: Path) -> None:
    script = f"while [ ! -e '{tmp_path / 'go'}' ]; do sleep 0.01; done"
    one = {"id": "p1", "command": ["/bin/sh", "-c", script], "max_concurrent": 1}
    write(adapter, {"platform": {"pipelines": [one]}})
    assert reload(adapter)[0] == 200
    send(adapter, "MAIN")
    wait_for(adapter, "Starting")
    send(adapter, "MAIN")
    wait_for(adapter, "Queued")
    write(adapter, {"platform": {"pipelines": [{**one, "max_concurrent": 2}]}})
    assert reload(adapter)[1]["changes"][0]["key"] == "platform.pipelines[p1].max_concurrent"
    wait_for(adapter, "Starting", 2)
    (tmp_path / "go").touch()
    wait_for(adapter, "Completed", 2)


def test_table_that_is_refused_changes_nothing(adapter: Adapter) -> None:
    write(adapter, {"platform": {"pipelines": [
        {"id": "p1", "command": ["/bin/false"]}, {"id": "p1", "command": ["/bin/false"]},
    ]}})  # fmt: skip
    status, problem = reload(adapter)
    assert status == 409
    assert "platform.pipelines: id 'p1' is used twice" in problem["problems"][0]
    send(adapter, "MAIN")
    wait_for(adapter, "Completed")


def test_missing_program_of_a_new_entry_is_told(adapter: Adapter) -> None:
    new = {"id": "p2", "command": ["/no/such/program"]}
    write(adapter, {"platform": {"pipelines": [*adapter.settings["platform"]["pipelines"], new]}})
    done = run_cli("config", "reload", "--url", adapter.url)
    why = "platform.pipelines[1].command: '/no/such/program' is not a program that can be executed"
    assert (done.returncode, done.stderr) == (0, f"warning: {why} here\n")
    assert {one["why"] for one in adapter.events(TOLD)} == {f"{why} here"}
