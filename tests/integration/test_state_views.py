"""What happened to a study, who is at work, what holds the space: REST (interface, section 3)."""

import json

import pytest
from harness import Adapter, eventually
from health import MakeAdapter, actors
from wire import Wire, data_set

STUDY = "1.2.826.0.1.77"
ENTITIES = [
    {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"}},
    {"name": "slow", "ae_title": "SLOW", "timeout_s": 600, "pipelines": {"one": "pipe-one"}},
]


@pytest.fixture(scope="module")
def adapter(make_shared_adapter: MakeAdapter) -> Adapter:
    """An adapter with a job that waits for its pipeline, and one group that is held open."""
    adapter = make_shared_adapter({"application_entities": ENTITIES})
    with Wire(adapter.dicom_port) as wire:
        wire.associate(calling=b"CT7")
        for number in range(3):
            uid = f"{STUDY}.{number}"
            assert wire.store(uid, data_set(uid, study=STUDY)) == ("response", 0)
        wire.release()
    eventually(lambda: adapter.get("/api/jobs?state=Starting"))
    with Wire(adapter.dicom_port) as wire:
        wire.associate(calling=b"CT8", called=b"SLOW")
        assert wire.store("1.2.9.1", data_set("1.2.9.1", study="1.2.9")) == ("response", 0)
        (group,) = adapter.get("/api/groups")
        status, _, _ = adapter.request("POST", f"/api/groups/{group['id']}/hold")
        assert status == 204
        wire.release()
    return adapter


# --- timeline


def test_story_of_a_study_is_told_in_order(adapter: Adapter) -> None:
    (job,) = adapter.get("/api/jobs")
    story = adapter.get(f"/api/timeline/{STUDY}")
    assert (story["jobs"], story["groups"]) == ([job["id"]], [job["groupId"]])
    assert (story["forgotten"], story["complete"]) == ([], True)
    told = [entry["what"] for entry in story["entries"]]
    for earlier, later in (
        ("association.requested", "association.accepted"), ("association.accepted", "group.opened"),
        ("group.opened", "group.closed"), ("association.accepted", "association.released"),
        ("group.closed", "job.opened"), ("job.opened", "job.state"),
    ):  # fmt: skip
        assert told.index(earlier) <= told.index(later), (earlier, later)
    times = [entry["at"] for entry in story["entries"]]
    assert times == sorted(times)
    released = story["entries"][told.index("association.released")]
    assert released["data"]["callingAeTitle"] == "CT7"
    assert released["data"]["instances"] == 3


def test_study_of_an_open_group_is_known(adapter: Adapter) -> None:
    story = adapter.get("/api/timeline/1.2.9")
    assert story["jobs"] == []
    assert "group.held" in [entry["what"] for entry in story["entries"]]


def test_story_goes_on_to_the_export(make_adapter: MakeAdapter) -> None:
    """The destination is away: what was tried is told."""
    adapter = make_adapter({
        "destinations": [{"name": "away", "ae_title": "AWAY", "host": "127.0.0.1", "port": 9}],
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"},
            "destinations": ["away"],
        }],
    })  # fmt: skip
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.5.1", data_set("1.2.5.1", study="1.2.5")) == ("response", 0)
        wire.release()
    eventually(lambda: adapter.get("/api/jobs?state=Starting"))
    (folder,) = adapter.payload_folders()
    (instance,) = (folder / "input").rglob("*.dcm")
    (folder / "output").mkdir(exist_ok=True)
    (folder / "output" / "result.dcm").write_bytes(instance.read_bytes())
    (folder / "output" / "job.done").touch()
    (export,) = eventually(lambda: adapter.get("/api/exports"), 20)

    def opened() -> list[str]:
        told = adapter.get("/api/timeline/1.2.5")["entries"]
        return [entry["destination"] for entry in told if entry["what"] == "export.opened"]

    # It is told when its row is durable; what is listed is known a moment before.
    assert eventually(opened) == ["away"]
    assert adapter.get("/api/timeline/1.2.5")["exports"] == [export["id"]]
    adapter.kill()
    adapter.start()
    story = adapter.get("/api/timeline/1.2.5")
    assert story["forgotten"] == story["groups"]
    assert story["entries"][0]["what"] == "job.opened"


@pytest.mark.parametrize("uid", ["1.2.3.999", "..", "%2e%2e%2fetc", "x" * 300, "%00"])
def test_unknown_study_is_not_found(adapter: Adapter, uid: str) -> None:
    status, _, body = adapter.request("GET", f"/api/timeline/{uid}")
    assert (status, json.loads(body)["status"]) == (404, 404)


# --- actors


def test_actors_are_shown_as_a_tree_with_what_waits(adapter: Adapter) -> None:
    root = adapter.get("/api/actors")
    assert root["name"] == "gateway"
    nodes = actors(adapter)
    for name in ("hub", "listener", "submitter", "reclaimer", "entity:main", "processor:main"):
        assert nodes[name]["state"] == "started", name
        assert nodes[name]["restarts"] == 0
    assert nodes["hub"]["essential"]
    assert not nodes["entity:main"]["essential"]
    assert nodes["processor:main"] in nodes["entity:main"]["children"]
    boxes = {box["name"]: box for box in nodes["hub"]["mailboxes"]}
    assert boxes["events"]["capacity"] > 1000
    assert boxes["subscriptions"]["capacity"] == 0
    assert (boxes["subscriptions"]["waiting"], boxes["subscriptions"]["notEmptyS"]) == (0, 0)


# --- storage


def test_space_is_told_with_what_holds_it(adapter: Adapter) -> None:
    storage = adapter.get("/api/storage")
    assert storage["state"] == "ok"
    assert storage["totalBytes"] >= storage["usedBytes"] > 0
    places = {place["place"]: place for place in storage["places"]}
    assert places["incoming"]["items"] == 1
    assert places["incoming"]["bytes"] > 0
    assert places["closed"]["items"] == 0
    (job,) = adapter.get("/api/jobs")
    assert (places["payloads"]["items"], places["payloads"]["bytes"]) == (1, job["payloadBytes"])
    assert storage["heldBy"] == [{"state": "Starting", "jobs": 1, "bytes": job["payloadBytes"]}]


def test_instances_that_jobs_share_count_once(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1,
            "pipelines": {"one": "pipe-one", "two": "pipe-two"},
        }],
    })  # fmt: skip
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.5.1") == ("response", 0)
        wire.release()
    eventually(lambda: len(adapter.get("/api/jobs?state=Starting")) == 2)
    jobs = adapter.get("/api/jobs")
    payloads = adapter.get("/api/storage")["places"][2]
    assert (payloads["items"], payloads["bytes"]) == (2, jobs[0]["payloadBytes"])
