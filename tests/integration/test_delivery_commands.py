"""`destinations`, `tasks`, `exports`: what an operator types about what is to be delivered."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import ScriptedDestination, free_port
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from test_api_keys import offline
from test_commands import one_line
from test_destinations import UIDS, ended, exporting, store
from test_entity_commands import refused, said
from test_exports import completed
from test_jobs import CT_SMALL, send
from test_results_api import ask, leave, register
from wire import CT, EXPLICIT


def rows(adapter: Adapter, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(adapter, *words, "--json"))
    return found


def cells(adapter: Adapter, *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(said(adapter, *words, "--csv").splitlines()))


def test_destination_is_held_and_released_by_command(make_adapter: MakeAdapter) -> None:
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening():
        adapter = exporting(make_adapter, peer.port)
        held = said(adapter, "destinations", "hold", "peer", "--why", "PACS is being migrated")
        assert held == "peer: held\n"
        store(adapter)
        eventually(lambda: adapter.get("/api/exports?state=Queued"), 15)
        (row,) = rows(adapter, "destinations")
        assert (row["name"], row["type"], row["state"]) == ("peer", "dicom", "held")
        assert (row["why"], row["exports"]) == ("PACS is being migrated", {"Queued": 1})
        heading, line = said(adapter, "destinations").splitlines()
        assert heading.split()[:4] == ["name", "type", "state", "waiting"]
        assert line.split()[:4] == ["peer", "dicom", "held", "1"]
        assert line.endswith("PACS is being migrated")
        assert cells(adapter, "destinations")[0]["state"] == "held"
        assert not peer.received
        said(adapter, "destinations", "release", "peer")
        eventually(lambda: completed(adapter, "peer") == 1, 15)
        assert rows(adapter, "destinations")[0]["state"] == "up"
    assert refused(adapter, "destinations", "hold", "nobody").endswith("'nobody'")
    again = json.loads(said(adapter, "destinations", "hold", "peer", "--json"))
    assert (again["state"], again["why"]) == ("held", "")


def test_destination_that_is_down_says_why(make_adapter: MakeAdapter) -> None:
    adapter = exporting(make_adapter, free_port())
    store(adapter)
    down = eventually(lambda: [r for r in rows(adapter, "destinations") if r["state"] == "down"])
    assert "Connection refused" in down[0]["why"]
    assert "Connection refused" in said(adapter, "destinations")


def test_task_is_listed_shown_and_retried(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    job = send(adapter)
    leave(adapter, job, "a.dcm")
    status, task = register(adapter, job, "a.dcm", agent="Fhir-1", destinations="report")
    assert status == 201
    task_id = task["taskId"]
    heading, line = said(adapter, "tasks").splitlines()
    assert heading.split()[:3] == ["id", "state", "agent"]
    assert line.split()[:5] == [task_id, "Pending", "Fhir-1", job, "report"]
    assert ask(adapter, "GET", "/api/tasks/Fhir-1/pending")[0] == 200
    assert ask(adapter, "PUT", f"/api/tasks/failure/{task_id}", {"RetryLater": False})[0] == 200
    assert [row["taskId"] for row in rows(adapter, "tasks", "--state", "Failed")] == [task_id]
    assert rows(adapter, "tasks", "--state", "Pending") == []
    assert f"taskId: {task_id}\n" in said(adapter, "tasks", "show", task_id)
    assert json.loads(said(adapter, "tasks", "show", task_id, "--json"))["uris"] == ["a.dcm"]
    assert said(adapter, "tasks", "retry", task_id) == f"{task_id}: Pending\n"
    assert ask(adapter, "PUT", f"/api/tasks/success/{task_id}")[0] == 200
    assert "Succeeded" in refused(adapter, "tasks", "retry", task_id)
    assert "'Nonsense' is none of" in refused(adapter, "tasks", "--state", "Nonsense")
    assert refused(adapter, "tasks", "show", "nothing")


def test_order_without_a_name_is_bad_input() -> None:
    for words, named in (("destinations hold", "NAME"), ("tasks retry", "TASK_ID")):
        done = run_cli(*words.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert named in one_line(done.stderr)


def test_echo_and_send_find_what_only_the_adapter_knows(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening():
        made = ("-n", "made", "-a", "PACS", "-i", "127.0.0.1", "-p", str(peer.port))
        said(adapter, "create", "dest", *made)
        echoed = said(adapter, "echo", "made")
        assert echoed.startswith(f"PACS, asked by {adapter.url}: status 0x0000 success in ")
        assert all(step in echoed for step in ("connect ", "associate ", "echo "))
        document = json.loads(said(adapter, "echo", "made", "--json"))
        assert (document["ok"], document["port"], document["status"]) == (True, peer.port, 0)
        assert document["askedBy"] == adapter.url
        assert said(adapter, "send", "made", CT_SMALL).startswith("sent 1, failed 0; ")
    assert len(peer.received) == 1
    assert "Connection refused" in refused(adapter, "echo", "made")
    done = run_cli("echo", "made", "--json", "--url", adapter.url)
    failed = json.loads(done.stdout)
    assert (done.returncode, failed["ok"], failed["aeTitle"]) == (1, False, "PACS")
    assert "Connection refused" in failed["error"]


def test_name_that_nobody_knows_is_bad_input(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    for words in (("echo", "nobody"), ("send", "nobody", CT_SMALL)):
        done = run_cli(*words, "--url", adapter.url)
        assert (done.returncode, done.stdout) == (2, "")
        assert one_line(done.stderr) == (
            "'nobody' is neither a configured destination nor AET@HOST:PORT, and "
            f"{adapter.url} knows none"
        )
    done = run_cli("echo", "nobody", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 2
    assert one_line(done.stderr).endswith("no adapter answers there")


def test_destination_that_cannot_be_reached_from_here_says_so(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    (tmp_path / "drop").mkdir()
    adapter = make_adapter({
        "destinations": [
            {"name": "drop", "type": "folder", "path": str(tmp_path / "drop")},
            {"name": "safe", "ae_title": "SAFE", "host": "127.0.0.1", "port": 104, "tls": {}},
        ],
    })  # fmt: skip
    for name, what in (("drop", "of type 'folder'"), ("safe", "over TLS")):
        done = run_cli("send", name, CT_SMALL, "--url", adapter.url)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{name!r} is {what}" in one_line(done.stderr)
    assert said(adapter, "echo", "drop").startswith(f"drop, asked by {adapter.url}: ")


def test_echo_of_the_adapter_asks_for_a_key(make_adapter: MakeAdapter) -> None:
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening():
        pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": peer.port}
        adapter = make_adapter({"api": {"auth": "api-key"}, "destinations": [pacs]}, start=False)
        adapter.file.write_text(json.dumps(adapter.settings))
        key = offline(adapter, "ours", "operator").stdout.strip()
        adapter.start()
        assert "key" in refused(adapter, "echo", "pacs")
        assert "key" in refused(adapter, "send", "pacs", CT_SMALL)
        assert "0x0000 success" in said(adapter, "echo", "pacs", "--api-key", key)
        assert said(adapter, "send", "pacs", CT_SMALL, "--api-key", key).startswith("sent 1, ")


def test_outcomes_are_a_line_for_each_instance_and_destination(make_adapter: MakeAdapter) -> None:
    refuses = {"1.2.3.2"}
    picky = ScriptedDestination(
        {CT: [EXPLICIT]}, status=lambda one: 0xC001 if one.sop_instance_uid in refuses else 0
    )
    other = ScriptedDestination({CT: [EXPLICIT]})
    with picky.listening(), other.listening():
        adapter = exporting(make_adapter, picky.port, other=other.port)
        store(adapter)
        failed = ended(adapter, "Failed")
        eventually(lambda: completed(adapter, "other") == 1, 15)
        by_outcome = cells(adapter, "exports", "--outcomes")
        found = {(row["sopInstanceUid"], row["destination"]): row for row in by_outcome}
        assert set(found) == {(uid, name) for uid in UIDS for name in ("peer", "other")}
        assert len(by_outcome) == len(found)
        bad = found["1.2.3.2", "peer"]
        assert (bad["outcome"], bad["status"], bad["attempts"]) == ("failed", "0xC001", "1")
        assert (bad["exportId"], bad["jobId"]) == (failed["id"], failed["jobId"])
        assert bad["at"].startswith("20")
        good = found["1.2.3.2", "other"]
        assert (good["outcome"], good["status"]) == ("delivered", "0x0000")
        one = ("exports", "--outcomes", "--job", failed["jobId"], "--destination", "peer")
        assert [row["status"] for row in rows(adapter, *one)] == [
            0xC001 if uid in refuses else 0 for uid in UIDS
        ]
        heading, *lines = said(adapter, *one).splitlines()
        assert heading.split()[:3] == ["export", "job", "destination"]
        assert len(lines) == len(UIDS)
        assert len(rows(adapter, "exports", "--job", failed["jobId"])) == 2
        assert rows(adapter, "exports", "--outcomes", "--job", "nothing") == []


def test_several_exports_are_retried_at_once(make_adapter: MakeAdapter) -> None:
    refuses = True
    peer = ScriptedDestination({CT: [EXPLICIT]}, status=lambda _: 0xC001 if refuses else 0)
    with peer.listening():
        adapter = exporting(make_adapter, peer.port, other=peer.port)
        store(adapter)
        eventually(lambda: len(adapter.get("/api/exports?state=Failed")) == 2, 15)
        refuses = False
        ids = {row["destination"]: row["id"] for row in adapter.get("/api/exports")}
        some = said(adapter, "exports", "retry", "--state", "Failed", "--destination", "peer")
        assert some == f"{ids['peer']}: Queued\n"
        eventually(lambda: completed(adapter, "peer") == 1, 15)
        (rest,) = rows(adapter, "exports", "retry", "--state", "Failed")
        assert rest["id"] == ids["other"]
        eventually(lambda: completed(adapter, "other") == 1, 15)
        done = run_cli("exports", "retry", "--state", "Failed", "--url", adapter.url)
        assert (done.returncode, done.stdout) == (0, "")
        assert one_line(done.stderr) == "there is no such export"
        done = run_cli("exports", "retry", "--state", "Completed", "--url", adapter.url)
        assert (done.returncode, done.stdout) == (1, "")
        lines = done.stderr.splitlines()
        assert {line.partition(":")[0] for line in lines} == set(ids.values())
        assert all("Completed" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("", "EXPORT_ID"),
        ("e-1 --state Failed", "--state"),
        ("e-1 --destination peer", "--destination"),
        ("--state Failed --instance 1.2.3", "--instance"),
    ],
)
def test_retry_that_cannot_be_meant_is_one_line(words: str, named: str) -> None:
    done = run_cli("exports", "retry", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert named in one_line(done.stderr)
