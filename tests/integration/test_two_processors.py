"""Two processors of one AE Title in the real program: one file, two groups, jobs of both."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import run_peer
from harness import REPOSITORY, Adapter, eventually, run_cli
from health import MakeAdapter
from pydicom.data import get_testdata_file
from test_ae_titles import ROUTE, call, store
from test_group_policies import groups_with
from test_kill import PIPELINES, audit, many_lives
from wire import Wire

KILLS = 12
LONG_S = 600
DEFAULT = {"name": "aetitle", "pipelines": {"seg": "pipe-seg"}}
ROUTER = {"name": "modality-router", "settings": {"modality-CT": "ct-model"}}
BY_SERIES = {
    "name": "series", "processor": "aetitle", "grouping": "0020,000E",
    "pipelines": {"two": PIPELINES["two"]},
}  # fmt: skip


def entity(*processors: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields = {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "processors": list(processors)}
    return fields | changes


@pytest.fixture
def routing(make_adapter: MakeAdapter, example: Path) -> Adapter:
    """An adapter with the default processor and the plug-in of the documentation."""
    both = entity(DEFAULT, ROUTER, timeout_s=LONG_S)
    adapter = make_adapter(
        {"application_entities": [both], "storage": {"durability": "fsync"}}, start=False
    )
    adapter.packages = example
    return adapter.start()


def send(adapter: Adapter, name: str) -> None:
    port = str(adapter.dicom_port)
    run_peer("storescu", "-aec", "MAIN", "127.0.0.1", port, str(get_testdata_file(name)))


def close_all(adapter: Adapter) -> None:
    for group in adapter.get("/api/groups"):
        assert adapter.request("POST", f"/api/groups/{group['id']}/close")[0] == 204


def test_what_the_documentation_shows_is_a_configuration(example: Path, tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "plugins.md").read_text()
    (shown,) = (toml for toml in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
                if "application_entities.processors" in toml)  # fmt: skip
    file = tmp_path / "adapter.toml"
    file.write_text(shown)
    done = run_cli("config", "check", str(file), packages=example)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.peer("dcmtk")
def test_both_processors_get_the_same_file_and_make_jobs_of_it(routing: Adapter) -> None:
    send(routing, "CT_small.dcm")
    groups = groups_with(routing, 2)
    assert {group["processor"]: group["instances"] for group in groups} == {
        "aetitle": 1, "modality-router": 1,
    }  # fmt: skip
    files = [path.stat() for path in routing.instances("incoming")]
    assert len({status.st_ino for status in files}) == 1
    assert [status.st_nlink for status in files] == [2, 2]
    close_all(routing)
    jobs = eventually(lambda: (j := routing.get("/api/jobs")) and len(j) == 2 and j)
    assert {(job["processor"], job["pipeline"], job["instances"]) for job in jobs} == {
        ("aetitle", "seg", 1), ("modality-router", "ct", 1),
    }  # fmt: skip
    assert len({job["id"] for job in jobs}) == len({job["groupId"] for job in jobs}) == 2
    eventually(lambda: not routing.groups_on_disk())
    inputs = [path.stat() for path in routing.instances("payloads")]
    assert len({status.st_ino for status in inputs}) == 1
    sources = {
        json.loads((folder / "job.meta").read_bytes())["source"]
        for folder in routing.payload_folders()
    }
    assert sources == {"MAIN (aetitle)", "MAIN (modality-router)"}


@pytest.mark.peer("dcmtk")
def test_instance_that_one_does_not_want_is_only_the_others(routing: Adapter) -> None:
    send(routing, "MR_small.dcm")
    (group,) = eventually(lambda: routing.get("/api/groups"))
    assert group["processor"] == "aetitle"
    (file,) = routing.instances("incoming")
    assert file.stat().st_nlink == 1


def test_groups_of_both_survive_a_kill(make_adapter: MakeAdapter) -> None:
    both = entity({**DEFAULT, "timeout_s": 2}, {**BY_SERIES, "timeout_s": 1})
    adapter = make_adapter({"application_entities": [both]})
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        adapter.kill()
    adapter.start()
    jobs = eventually(lambda: (j := adapter.get("/api/jobs")) and len(j) == 2 and j, 15)
    assert {(job["processor"], job["pipeline"]) for job in jobs} == {
        ("aetitle", "seg"), ("series", "two"),
    }  # fmt: skip


def test_acknowledged_instances_are_with_both_processors_over_kills(
    make_adapter: MakeAdapter, request: pytest.FixtureRequest
) -> None:
    """kill -9 at random moments, between the two links too; each instance is sent once."""
    seed = random.SystemRandom().randrange(1 << 32)
    request.node.add_report_section("call", "seed", str(seed))
    by_study = {"name": "study", "processor": "aetitle", "pipelines": {"one": PIPELINES["one"]}}
    adapter = make_adapter({"application_entities": [entity(by_study, BY_SERIES)]}, start=False)
    audit(adapter, *many_lives(adapter, KILLS, random.Random(seed)))


# --- over REST

BRAIN = {"name": "brain", "aeTitle": "BRAIN", "timeoutS": LONG_S, "pipelines": {"seg": "p1"}}
SECOND = {"name": "series", "processor": "aetitle", "grouping": "0020,000E",
          "pipelines": {"two": "p2"}, "processorSettings": {"jobRetryDelay": 5000}}  # fmt: skip


def test_second_processor_is_added_while_groups_are_open(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    assert call(adapter, "POST", "", BRAIN)[0] == 201
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        (first,) = eventually(lambda: adapter.get("/api/groups"))
        status, shown, _ = call(
            adapter, "PUT", "/brain", BRAIN | {"processors": [{"name": "aetitle"}, SECOND]}
        )
        assert (status, shown["state"]) == (200, "running")
        assert shown["processors"][1]["processorSettings"] == {"jobRetryDelay": 5000}
        wire.release()
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.2", "1.9") == ("response", 0)
        wire.release()
    groups = groups_with(adapter, 3)
    assert {(g["processor"], g["instances"], g["id"] == first["id"]) for g in groups} == {
        ("aetitle", 2, True), ("series", 1, False),
    }  # fmt: skip
    adapter.kill()
    adapter.start()
    assert len(groups_with(adapter, 3)) == 2
    close_all(adapter)
    jobs = eventually(lambda: (j := adapter.get("/api/jobs")) and len(j) == 2 and j)
    assert {(job["processor"], job["pipeline"], job["instances"]) for job in jobs} == {
        ("aetitle", "seg", 2), ("series", "two", 1),
    }  # fmt: skip


def test_what_is_shown_can_be_put_again(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    made = call(adapter, "POST", "", BRAIN | {"processors": [{"name": "aetitle"}, SECOND]})[1]
    for of_answer in ("origin", "state", "problems"):
        del made[of_answer]
    status, again, _ = call(adapter, "PUT", "/brain", made)
    assert status == 200, again
    assert made.items() <= again.items()


def test_all_that_is_wrong_with_several_processors_is_told_at_once(
    make_adapter: MakeAdapter,
) -> None:
    wrong = {
        "processorSettings": {"timeout": 5},
        "processors": [
            {"name": "aetitle", "processorSettings": {"colour": "red"}},
            {"name": "nobody"},
            {"name": "aetitle", "timeoutS": 0},
        ],
    }
    adapter = make_adapter()
    status, body, _ = call(adapter, "POST", "", BRAIN | wrong)
    assert status == 400
    keys = [problem.partition(": ")[0] for problem in body["problems"]]
    assert keys == [
        "processors", "processorSettings", "processors[0].processorSettings.colour",
        "processors[1].processor", "processors[2].timeoutS",
    ]  # fmt: skip
    unknown = BRAIN | {"processors": [{"name": "a", "settings": {}}]}
    status, body, _ = call(adapter, "POST", "", unknown)
    assert body["problems"][0].startswith("processors[0].settings: unknown key")
    assert adapter.request("GET", f"{ROUTE}/brain")[0] == 404
