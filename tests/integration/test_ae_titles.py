"""AE Titles made, changed and removed while the adapter runs, and what becomes of their groups.

Clara scenarios T-023, T-042, T-044, T-045, T-047, T-048, T-050, T-052 to T-054; flaws W-05, W-41,
W-56 are not repeated.
"""

import json
from pathlib import Path
from typing import Any

import entity_calls
import pytest
from dicom_peers import run_peer
from harness import Adapter, eventually, pass_time
from health import MakeAdapter, actors
from pydicom.data import get_testdata_file
from wire import Wire, associate_rq, data_set

ROUTE = "/api/config/claraaetitle"
LONG_S = 600
NOT_RECOGNIZED, LATER = ("reject", 1, 1, 7), ("reject", 2, 3, 1)
BRAIN = {"name": "brain", "aeTitle": "BRAIN", "timeoutS": 1, "pipelines": {"seg": "pipe"}}


def call(
    adapter: Adapter, method: str, path: str = "", document: object = None
) -> tuple[int, Any, dict[str, str]]:
    """Return status, decoded body and headers of a request about AE Titles."""
    return entity_calls.call(adapter, method, f"{ROUTE}{path}", document)


def make(adapter: Adapter, **changes: Any) -> dict[str, Any]:
    status, made, _ = call(adapter, "POST", "", BRAIN | changes)
    assert status == 201, made
    return dict(made)


def answer_to(adapter: Adapter, called: bytes = b"BRAIN") -> Any:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=called))
        return wire.answer()


def is_gone(adapter: Adapter, name: str = "brain") -> bool:
    return call(adapter, "GET", f"/{name}")[0] == 404


def store(wire: Wire, uid: str, study: str) -> Any:
    return wire.store(uid, data_set(uid, study=study))


def names(adapter: Adapter) -> list[str]:
    return [row["name"] for row in call(adapter, "GET")[1]]


# --- made


@pytest.mark.peer("dcmtk")
def test_new_ae_title_takes_instances_at_once(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter = make_adapter()
    assert answer_to(adapter) == NOT_RECOGNIZED
    status, made, headers = call(adapter, "POST", "", BRAIN)
    assert status == 201
    assert headers["location"] == f"{ROUTE}/brain"
    assert made == call(adapter, "GET", "/brain")[1]
    assert (made["state"], made["origin"]) == ("running", "api")
    file = get_testdata_file("CT_small.dcm")
    run_peer("storescu", "-aec", "BRAIN", "127.0.0.1", str(adapter.dicom_port), str(file))
    job = eventually(lambda: adapter.get("/api/jobs"))[0]
    assert (job["aeTitle"], job["pipeline"]) == ("BRAIN", "seg")
    assert names(adapter) == ["main", "brain"]


def test_ae_titles_survive_restart_and_kill(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    made = make(adapter, timeoutS=LONG_S)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        wire.release()
    adapter.kill()
    adapter.start()
    assert call(adapter, "GET", "/brain")[1] == made
    (group,) = eventually(lambda: adapter.get("/api/groups"))
    assert group["aeTitle"] == "BRAIN"
    assert adapter.stop() == 0
    adapter.start()
    assert answer_to(adapter) == ("accept",)
    assert names(adapter) == ["main", "brain"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"aeTitle": "A" * 17}, "aeTitle"),
        ({"aeTitle": "A\\B"}, "aeTitle"),
        ({"name": "../x"}, "name"),
        ({"processor": "none"}, "processor: no plug-in named 'none'"),
        ({"processorSettings": {"timeot": "5"}}, "processorSettings.timeot: unknown"),
        ({"processorSettings": {"a": 1 << 70}}, "too large"),
        ({"processorSettings": {"pipeline-x": "y" * 20_000}}, "processorSettings.pipeline-x"),
        ({"pipelines": {f"p{n}": "x" * 100 for n in range(200)}}, "more than 16384"),
        ({"destinations": ["nowhere"]}, "destinations: 'nowhere'"),
        ({"timeoutS": 0}, "timeoutS: 0 needs"),
        ({"port": 1}, "port: 1 is not listened on"),
        ({"aetitle": "X"}, "aetitle: unknown key; did you mean aeTitle?"),
        ({"pipelines": {}}, "pipelines: at least one"),
        ({"grouping": "0020,000D,0"}, "grouping"),
    ],
)  # fmt: skip
def test_what_the_file_would_not_say_is_refused(
    shared: Adapter, changes: dict[str, Any], problem: str
) -> None:
    status, body, _ = call(shared, "POST", "", BRAIN | changes)
    assert status == 400, body
    assert any(problem in each for each in body["problems"]), body
    assert names(shared) == ["main"]


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter()


CLARAS_OWN = "Nvidia.Clara.DicomAdapter.Server.Processors.AeTitleJobProcessor"


@pytest.mark.parametrize("processor", [CLARAS_OWN, f"{CLARAS_OWN}, Nvidia.Clara.DicomAdapter"])
def test_answer_of_clara_can_be_sent_as_it_is(shared: Adapter, processor: str) -> None:
    """What Clara shows of an AE Title is what makes one here, under the same names."""
    of_clara = {
        "name": "lung-rx", "aeTitle": "LUNGRX", "overwriteSameInstance": False,
        "ignoredSopClasses": ["1.2.840.10008.5.1.4.1.1.7"], "processor": processor,
        "processorSettings": {
            "timeout": "30", "groupBy": "0010,0020", "priority": "higher", "pipeline-lung": "8f",
        },
    }  # fmt: skip
    status, made, _ = call(shared, "POST", "", of_clara)
    try:
        assert (status, made["state"], made["processor"]) == (201, "running", "aetitle")
        assert {key: made[key] for key in of_clara} == of_clara | {"processor": "aetitle"}
        status, now, _ = call(shared, "PUT", "/lung-rx", of_clara | {"overwriteSameInstance": True})
        assert (status, now["processor"], now["overwriteSameInstance"]) == (200, "aetitle", True)
    finally:
        call(shared, "DELETE", "/lung-rx")
        eventually(lambda: is_gone(shared, "lung-rx"))


def test_field_shows_what_a_setting_decides_and_may_not_say_other_than_it(shared: Adapter) -> None:
    wanted = {"name": "clara", "aeTitle": "CLARAAE",
              "processorSettings": {"pipeline-covid": "p1", "timeout": "60"}}  # fmt: skip
    status, made, _ = call(shared, "POST", "", wanted)
    try:
        assert (status, made["timeoutS"], made["processing"][0]["timeoutS"]) == (201, 60, 60)
        status, again, _ = call(shared, "PUT", "/clara", made)
        assert (status, again["timeoutS"], again["processorSettings"]) == (
            200, 60, wanted["processorSettings"],
        )  # fmt: skip
        status, body, _ = call(shared, "PUT", "/clara", made | {"timeoutS": 120})
        assert status == 400
        (problem,) = body["problems"]
        assert problem.startswith("timeoutS: 120")
        assert "processorSettings.timeout decides, and makes it 60" in problem
        assert call(shared, "GET", "/clara")[1] == again
        own = {"name": "aetitle", "processorSettings": {"timeout": 9}, "timeoutS": 8}
        status, body, _ = call(shared, "POST", "", BRAIN | {"processors": [own]})
        assert status == 400
        (problem,) = body["problems"]
        assert problem.startswith("processors[0].timeoutS: 8")
        assert "processors[0].processorSettings.timeout" in problem
    finally:
        call(shared, "DELETE", "/clara")
        eventually(lambda: is_gone(shared, "clara"))


def test_processor_of_somebody_else_is_refused(shared: Adapter) -> None:
    status, body, _ = call(shared, "POST", "", BRAIN | {"processor": "Own.Zip, Own"})
    assert status == 400
    assert "Own.Zip" in body["problems"][0]


def test_all_problems_are_told_at_once(shared: Adapter) -> None:
    document = {"name": "b", "aeTitle": "", "timeoutS": -1, "priority": "x", "what": 1}
    status, body, _ = call(shared, "POST", "", document)
    assert (status, body["status"], body["title"]) == (400, 400, "Bad Request")
    assert [each.partition(" ")[0].rstrip(":") for each in body["problems"]] == [
        "aeTitle", "timeoutS", "priority", "what",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"7", b"null", b'{"name": {}}', b'{"aeTitle": "\\ud800"}',
     *(b'{"aeTitle": "B", "processorSettings": {"timeout":' + b'{"a":' * depth + b"1"
       + b"}" * (depth + 2) for depth in (20, 500, 50_000))],
)  # fmt: skip
def test_bad_json_is_a_problem_and_harms_nobody(shared: Adapter, body: bytes) -> None:
    status, _, raw = shared.request("POST", ROUTE, {"Content-Type": "application/json"}, body)
    assert status == 400, raw
    assert json.loads(raw)["status"] == 400
    assert names(shared) == ["main"]


def test_names_and_ae_titles_are_used_once(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    make(adapter)
    for taken in ({"name": "other"}, {"aeTitle": "OTHER"}, {"name": "x", "aeTitle": "MAIN"}):
        status, body, _ = call(adapter, "POST", "", BRAIN | taken)
        assert status == 409, body
    assert names(adapter) == ["main", "brain"]


def test_ae_title_of_the_file_is_read_only(shared: Adapter) -> None:
    for method, document in (
        ("PUT", BRAIN | {"name": "main", "aeTitle": "MAIN"}),
        ("DELETE", None),
    ):
        status, body, _ = call(shared, method, "/main", document)
        assert status == 409
        assert "configuration file" in body["detail"]
    assert call(shared, "POST", "/main/restart")[0] == 409
    assert answer_to(shared, b"MAIN") == ("accept",)


def test_unknown_name_is_not_found(shared: Adapter) -> None:
    assert call(shared, "GET", "/nobody")[0] == 404
    assert call(shared, "PUT", "/nobody", {"aeTitle": "X", "pipelines": {"a": "b"}})[0] == 404
    assert call(shared, "DELETE", "/nobody")[0] == 404
    assert call(shared, "POST", "/nobody/restart")[0] == 404


def test_page_of_another_origin_changes_nothing(shared: Adapter) -> None:
    foreign = {"Origin": "http://evil.example", "Content-Type": "application/json"}
    for method, path in (("POST", ""), ("PUT", "/main"), ("DELETE", "/main")):
        status, _, _ = shared.request(method, f"{ROUTE}{path}", foreign, json.dumps(BRAIN).encode())
        assert status == 403
    assert names(shared) == ["main"]


# --- changed


def test_change_holds_for_open_groups_and_associations(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    make(adapter, timeoutS=LONG_S)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        document = BRAIN | {
            "pipelines": {"new": "other"}, "maxAssociations": 1, "timeoutS": LONG_S,
        }  # fmt: skip
        status, changed, _ = call(adapter, "PUT", "/brain", document)
        assert (status, changed["pipelines"]) == (200, {"new": "other"})
        assert answer_to(adapter) == ("reject", 2, 3, 2), "its limit is that of now"
        assert store(wire, "1.2.2", "1.9") == ("response", 0)
        wire.release()
    assert call(adapter, "PUT", "/brain", document | {"timeoutS": 1})[0] == 200
    (job,) = eventually(lambda: adapter.get("/api/jobs"))
    assert (job["pipeline"], job["instances"]) == ("new", 2)


def test_association_that_reads_too_little_for_new_settings_is_to_come_again(
    make_adapter: MakeAdapter,
) -> None:
    adapter = make_adapter()
    make(adapter)
    document = BRAIN | {"grouping": "0010,0020"}
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        assert call(adapter, "PUT", "/brain", document)[0] == 200
        eventually(lambda: store(wire, "1.2.2", "1.9") == ("response", 0xA700))
        wire.release()
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.2", "1.9") == ("response", 0)
        wire.release()


def test_name_and_ae_title_are_not_changed(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    made = make(adapter)
    for changes in ({"name": "other"}, {"aeTitle": "OTHER"}):
        status, body, _ = call(adapter, "PUT", "/brain", BRAIN | changes)
        assert status == 400
        assert "cannot be changed" in body["detail"]
    assert call(adapter, "GET", "/brain")[1] == made


# --- removed


def test_removed_ae_title_drains(make_adapter: MakeAdapter) -> None:
    """Who is there goes on, nobody new comes in, and nothing is lost."""
    adapter = make_adapter()
    make(adapter)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        status, removed, _ = call(adapter, "DELETE", "/brain")
        assert (status, removed["state"]) == (200, "draining")
        assert answer_to(adapter) == NOT_RECOGNIZED
        assert call(adapter, "POST", "", BRAIN)[0] == 409
        assert call(adapter, "PUT", "/brain", BRAIN)[0] == 409
        assert call(adapter, "DELETE", "/brain")[0] == 200
        eventually(lambda: len(adapter.get("/api/jobs")) == 1)
        assert store(wire, "1.2.2", "1.9") == ("response", 0)
        assert call(adapter, "GET", "/brain")[1]["state"] == "draining"
        wire.release()
    eventually(lambda: is_gone(adapter) and adapter.events("config.deleted"))
    assert [job["instances"] for job in adapter.get("/api/jobs")] == [1, 1]
    assert adapter.groups_on_disk() == []
    kinds = [kind for verb in ("created", "changed", "deleted")
             for kind in [f"config.{verb}"] * len(adapter.events(f"config.{verb}"))]  # fmt: skip
    assert kinds == ["config.created", "config.changed", "config.deleted"]
    assert adapter.request("GET", "/health/ready")[0] == 200
    make(adapter)
    assert answer_to(adapter) == ("accept",)


def test_ae_title_that_may_not_drain_stays_while_groups_are_open(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    make(adapter, timeoutS=LONG_S)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        assert store(wire, "1.2.2", "1.8") == ("response", 0)
        wire.release()

    def refused() -> str:
        status, body, _ = call(adapter, "DELETE", "/brain?drain=false")
        assert status == 409
        return "" if "associations" in body["detail"] else body["detail"]

    detail = eventually(refused)
    assert detail == "there is work left: 2 open groups; drain=true removes it when that is done"
    assert call(adapter, "GET", "/brain")[1]["state"] == "running"
    for group in adapter.get("/api/groups"):
        assert adapter.request("POST", f"/api/groups/{group['id']}/close")[0] == 204
    eventually(lambda: call(adapter, "DELETE", "/brain?drain=false")[0] == 200)
    assert is_gone(adapter)


def test_held_group_of_a_removed_ae_title_waits_for_the_operator(
    make_adapter: MakeAdapter,
) -> None:
    """It is held while its time is long, so that no slow machine is late with the order."""
    adapter = make_adapter()
    make(adapter, timeoutS=LONG_S)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        wire.release()
    (group,) = eventually(lambda: adapter.get("/api/groups"))
    assert adapter.request("POST", f"/api/groups/{group['id']}/hold")[0] == 204
    assert call(adapter, "PUT", "/brain", BRAIN)[0] == 200
    assert call(adapter, "DELETE", "/brain")[0] == 200
    pass_time(2.5)
    assert call(adapter, "GET", "/brain")[1]["state"] == "draining"
    assert adapter.request("POST", f"/api/groups/{group['id']}/close")[0] == 204
    eventually(lambda: is_gone(adapter))
    assert len(adapter.get("/api/jobs")) == 1


def test_drain_goes_on_after_kill(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    make(adapter, timeoutS=LONG_S)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        assert call(adapter, "DELETE", "/brain")[0] == 200
        adapter.kill()
    adapter.start()
    assert call(adapter, "GET", "/brain")[1]["state"] == "draining"
    assert answer_to(adapter) == NOT_RECOGNIZED
    (group,) = adapter.get("/api/groups")
    assert adapter.request("POST", f"/api/groups/{group['id']}/close")[0] == 204
    eventually(lambda: is_gone(adapter), 15)
    assert [job["instances"] for job in adapter.get("/api/jobs")] == [1]
    adapter.kill()
    adapter.start()
    assert names(adapter) == ["main"]


# --- that cannot run any more


def test_ae_title_that_is_wrong_by_now_stops_no_other(make_adapter: MakeAdapter) -> None:
    destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 11}
    adapter = make_adapter({"destinations": [destination]})
    make(adapter, destinations=["pacs"])
    assert adapter.stop() == 0
    adapter.settings["destinations"] = []
    adapter.start()
    parked = call(adapter, "GET", "/brain")[1]
    assert parked["state"] == "parked"
    assert parked["problems"] == ["destinations: 'pacs' is not among the destinations"]
    assert adapter.get("/health/status")["degradedBecause"] == ["entity:brain is parked"]
    shown = actors(adapter)["entity:brain"]
    assert (shown["state"], shown["mailboxes"]) == ("parked", []), "though it never ran"
    assert "'pacs' is not among the destinations" in shown["error"]
    assert answer_to(adapter) == LATER
    assert answer_to(adapter, b"MAIN") == ("accept",)
    status, body, _ = call(adapter, "POST", "/brain/restart")
    assert (status, body["problems"]) == (409, parked["problems"])
    assert call(adapter, "PUT", "/brain", BRAIN)[0] == 200
    assert answer_to(adapter) == ("accept",)
    assert adapter.request("GET", "/health/ready")[0] == 200


def test_ae_title_that_has_moved_into_the_file_is_that_of_the_file(
    make_adapter: MakeAdapter,
) -> None:
    adapter = make_adapter()
    make(adapter, timeoutS=LONG_S)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert store(wire, "1.2.1", "1.9") == ("response", 0)
        wire.release()
    assert adapter.stop() == 0
    entity = {"name": "brain", "ae_title": "BRAIN", "timeout_s": 1, "pipelines": {"f": "file"}}
    adapter.settings["application_entities"] = [entity]
    adapter.start()
    assert call(adapter, "GET", "/brain")[1]["origin"] == "file"
    (job,) = eventually(lambda: adapter.get("/api/jobs"))
    assert job["pipeline"] == "f"
