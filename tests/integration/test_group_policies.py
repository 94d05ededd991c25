"""Grouping and its policies over real associations: by DCMTK, pynetdicom, and by hand.

Clara scenarios T-005 to T-008 (as far as they group), T-013, T-015, T-016, T-029, T-031.
"""

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import run_peer
from harness import Adapter, eventually, pass_time, run_cli
from health import MakeAdapter
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import AE
from wire import CT, EXPLICIT, Wire, context, data_set, explicit, split_part10

LONG_S = 600
SENDERS = 3
PIXELS = explicit(0x7FE00010, b"OW", bytes(20_000))


def with_entity(make_adapter: MakeAdapter, **policies: Any) -> Adapter:
    entity = {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe"}}
    return make_adapter({"application_entities": [entity | policies]})


def post(adapter: Adapter, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Return status and decoded body of a POST."""
    connection = http.client.HTTPConnection("127.0.0.1", adapter.api_port, timeout=10)
    content = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request("POST", path, content, kind | headers)
        response = connection.getresponse()
        raw = response.read()
        return response.status, json.loads(raw) if raw else None
    finally:
        connection.close()


def jobs(adapter: Adapter, count: int) -> list[Path]:
    """Return the job folders once there are so many."""

    def enough() -> list[Path]:
        found = adapter.payload_folders()
        return found if len(found) >= count else []

    found = eventually(enough, 10, f"{count} jobs")
    assert len(found) == count
    return found


def groups_with(adapter: Adapter, instances: int) -> list[dict[str, Any]]:
    """Return the open groups once they have so many instances together."""

    def counted() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = adapter.get("/api/groups")
        return rows if sum(row["instances"] for row in rows) == instances else []

    return eventually(counted, 10, f"groups with {instances} instances")


def sizes(adapter: Adapter, count: int) -> list[int]:
    """Return how many instances the jobs have, once there are so many jobs."""
    return sorted(len(list(job.rglob("input/dcm/*/*/*.dcm"))) for job in jobs(adapter, count))


def store(wire: Wire, uid: str, **what: Any) -> int:
    kind, status = wire.store(uid, data_set(uid, **what))
    assert kind == "response"
    return int(status)


# --- by association


def test_association_is_a_group_and_its_release_closes_it(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, grouping="association", timeout_s=0)
    with Wire(adapter.dicom_port) as wire, Wire(adapter.dicom_port) as other:
        wire.associate()
        other.associate()
        for number in range(4):
            assert store(wire, f"1.2.3.{number}", study=f"1.2.{number % 2}") == 0
        assert store(other, "1.2.3.0", study="1.2.0") == 0
        assert len(adapter.groups_on_disk()) == 2
        assert wire.release() == ("released",)
        assert sizes(adapter, 1) == [4]
        (row,) = groups_with(adapter, 1)
        assert row["leftS"] is None
        other.abort()
        assert sizes(adapter, 2) == [1, 4]


@pytest.mark.peer("dcmtk")
def test_study_is_a_group_for_each_association_where_both_count(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, grouping=["association", "0020,000D"], timeout_s=0)
    source = str(get_testdata_file("CT_small.dcm"))
    called = ("-aec", "MAIN", "127.0.0.1", str(adapter.dicom_port))
    with ThreadPoolExecutor(SENDERS) as senders:
        for sent in [senders.submit(run_peer, "storescu", *called, source) for _ in range(SENDERS)]:
            sent.result()
    assert sizes(adapter, SENDERS) == [1] * SENDERS


# --- by other attributes


def test_private_tag_and_tag_behind_many_elements_group(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, grouping=["0009,1001", "0040,A027"])
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for number in range(4):
            uid = f"1.2.3.{number}"
            private = explicit(0x00090010, b"LO", b"TEST") + explicit(
                0x00091001, b"LO", b"ward %d" % (number % 2)
            )
            many = b"".join(explicit(0x00210000 + n, b"LO", b"x" * 50) for n in range(16, 4000))
            content = data_set(uid, study=f"1.2.{number}")
            at = content.index(explicit(0x0020000D, b"UI", f"1.2.{number}".encode()))
            content = content[:at] + private + content[at:] + many
            content += explicit(0x0040A027, b"LO", b"institution") + PIXELS
            assert wire.store(uid, content) == ("response", 0)
        wire.release()
    assert sizes(adapter, 2) == [2, 2]
    assert not any(row.get("fallback") for row in adapter.get("/api/groups"))


def test_instances_without_the_attribute_become_jobs_of_their_own(
    make_adapter: MakeAdapter,
) -> None:
    """T-029, F51: two studies without it, and one where it lies behind the first MiB."""
    adapter = with_entity(make_adapter, grouping="7FE1,0010", timeout_s=LONG_S)
    far = explicit(0x7FE00010, b"OW", bytes(2 << 20)) + explicit(0x7FE10010, b"LO", b"far")
    near = explicit(0x7FE00010, b"OW", bytes(2000)) + explicit(0x7FE10010, b"LO", b"near")
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for uid, study, tail in (
            ("1.2.3.1", "1.2.1", PIXELS), ("1.2.3.2", "1.2.2", PIXELS), ("1.2.3.3", "1.2.2", far),
            ("1.2.3.4", "1.2.1", near), ("1.2.3.5", "1.2.2", near),
        ):  # fmt: skip
            assert store(wire, uid, study=study, tail=tail) == 0
        wire.release()
    rows = groups_with(adapter, 5)
    assert sorted(row.get("fallback", False) for row in rows) == [False, True, True]
    for row in rows:
        assert post(adapter, f"/api/groups/{row['id']}/close") == (204, None)
    assert sizes(adapter, 3) == [1, 2, 2]


# --- limits and orders


def test_group_with_enough_instances_closes_at_once(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, max_instances=3, timeout_s=LONG_S)
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for number in range(7):
            assert store(wire, f"1.2.3.{number}") == 0
        assert sizes(adapter, 2) == [3, 3]
        assert len(groups_with(adapter, 1)) == 1
        wire.release()


def open_group(adapter: Adapter) -> str:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert store(wire, "1.2.3.1") == 0
        wire.release()
    (row,) = eventually(lambda: adapter.get("/api/groups"))
    return str(row["id"])


def test_operator_closes_a_group(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, timeout_s=LONG_S)
    group = open_group(adapter)
    assert post(adapter, f"/api/groups/{group}/close") == (204, None)
    assert sizes(adapter, 1) == [1]
    status, problem = post(adapter, f"/api/groups/{group}/close")
    assert (status, problem["status"], group in problem["detail"]) == (404, 404, True)


def test_held_group_stays_open_over_a_kill_until_it_is_extended(make_adapter: MakeAdapter) -> None:
    """It is held while its time is long, so that no slow machine is late with the order."""
    adapter = with_entity(make_adapter, timeout_s=LONG_S)
    group = open_group(adapter)
    assert post(adapter, f"/api/groups/{group}/hold") == (204, None)
    adapter.kill()
    adapter.settings["application_entities"][0]["timeout_s"] = 1
    adapter.start()
    pass_time(2.5)
    (held,) = adapter.get("/api/groups")
    assert (held["held"], held["why"], held["leftS"]) == (True, "operator", None)
    assert post(adapter, f"/api/groups/{group}/extend", {"seconds": LONG_S}) == (204, None)
    (extended,) = eventually(lambda: [r for r in adapter.get("/api/groups") if not r["held"]])
    assert LONG_S - 60 < extended["leftS"] <= LONG_S
    assert adapter.payload_folders() == []
    assert post(adapter, f"/api/groups/{group}/extend", {"seconds": 1}) == (204, None)
    assert sizes(adapter, 1) == [1]


def test_extension_that_makes_no_sense_is_refused(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, timeout_s=LONG_S)
    path = f"/api/groups/{open_group(adapter)}/extend"
    nonsense: list[object] = [
        None, {}, {"seconds": -1}, {"seconds": 2_592_001}, {"seconds": "soon"}, {"minutes": 1}, [],
    ]  # fmt: skip
    for body in nonsense:
        status, problem = post(adapter, path, body)
        assert (status, problem["status"]) == (400, 400)
    assert post(adapter, path, {"seconds": 0}) == (204, None)


def test_foreign_page_gives_no_orders(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, timeout_s=LONG_S)
    group = open_group(adapter)
    path = f"/api/groups/{group}/close"
    assert post(adapter, path, Origin="http://evil.example")[0] == 403
    assert len(adapter.groups_on_disk()) == 1
    assert post(adapter, path, Origin=adapter.url)[0] == 204


# --- late arrivals


@pytest.mark.parametrize("policy", ["new-job", "ignore", "supplement"])
def test_late_instance_follows_the_policy_also_after_a_kill(
    make_adapter: MakeAdapter, policy: str
) -> None:
    adapter = with_entity(make_adapter, late_arrivals=policy)
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert store(wire, "1.2.3.1") == 0
        wire.release()
    (first,) = jobs(adapter, 1)
    eventually(lambda: adapter.groups_on_disk() == [], what="the group goes after its job is known")
    adapter.kill()
    adapter.start()
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert store(wire, "1.2.3.2") == 0
        wire.release()
    if policy == "ignore":
        assert adapter.groups_on_disk() == []
        assert len(list(adapter.instances("payloads"))) == 1
        return
    (second,) = (job for job in jobs(adapter, 2) if job.name != first.name)
    meta = json.loads((second / "job.meta").read_bytes())
    assert meta["supplements"] == (first.name if policy == "supplement" else "")
    rows = eventually(lambda: [
        row for row in adapter.get("/api/jobs") if row["id"] == second.name
    ], what="the job is known, after its folder")  # fmt: skip
    assert [row["supplements"] for row in rows] == [meta["supplements"]]


# --- the same instance twice


def test_second_instance_that_differs_is_kept_beside_the_first(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, overwrite_same_instance="keep-both", timeout_s=3)
    sent = [data_set("1.2.3.1", tail=explicit(0x00204000, b"LT", text)) for text in (b"1", b"2")]
    for content in (*sent, *sent):
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            assert wire.store("1.2.3.1", content) == ("response", 0)
            wire.release()
    (job,) = jobs(adapter, 1)
    found = {path.name: split_part10(path.read_bytes())[1] for path in job.rglob("*.dcm")}
    assert found == {"1.2.3.1.dcm": sent[0], "1.2.3.1_2.dcm": sent[1]}
    assert adapter.metrics("dicom_adapter_events")["instance.duplicate"] == 3


# --- aborted associations


def leave(how: str, wire: Wire) -> None:
    match how:
        case "release":
            assert wire.release() == ("released",)
        case "abort":
            wire.abort()
        case "close":
            wire.end()
        case "reset":
            wire.reset()


@pytest.mark.parametrize("how", ["release", "abort", "close", "reset"])
@pytest.mark.parametrize("policy", ["keep", "drop", "hold"])
def test_end_of_an_association_decides_as_configured(
    make_adapter: MakeAdapter, policy: str, how: str
) -> None:
    """W-18: what was acknowledged by an association, by how it ends; another one is released."""
    adapter = with_entity(make_adapter, on_abort=policy, timeout_s=2)
    with Wire(adapter.dicom_port) as good, Wire(adapter.dicom_port) as wire:
        good.associate()
        wire.associate()
        assert store(good, "1.2.3.1") == 0
        for number in range(2, 5):
            assert store(wire, f"1.2.3.{number}", series="1.2.3.2") == 0
        assert good.release() == ("released",)
        leave(how, wire)
    if policy == "hold" and how != "release":
        (row,) = eventually(lambda: [r for r in adapter.get("/api/groups") if r["held"]], 5)
        assert row["why"] == "an association was aborted"
        pass_time(2.5)
        assert adapter.payload_folders() == []
        assert post(adapter, f"/api/groups/{row['id']}/close") == (204, None)
    assert sizes(adapter, 1) == [1 if policy == "drop" and how != "release" else 4]


@pytest.mark.parametrize("policy", ["keep", "drop", "hold"])
def test_kill_before_the_release_is_an_abort_and_after_it_none(
    make_adapter: MakeAdapter, policy: str
) -> None:
    adapter = with_entity(make_adapter, on_abort=policy, timeout_s=LONG_S)
    with Wire(adapter.dicom_port) as released, Wire(adapter.dicom_port) as wire:
        released.associate()
        wire.associate()
        assert store(released, "1.2.3.1", study="1.2.1") == 0
        assert store(wire, "1.2.3.2", study="1.2.2") == 0
        assert released.release() == ("released",)
        adapter.kill()
    adapter.settings["application_entities"][0]["timeout_s"] = 1
    adapter.start()
    if policy == "hold":
        (row,) = eventually(lambda: [r for r in adapter.get("/api/groups") if r["held"]], 5)
        assert post(adapter, f"/api/groups/{row['id']}/close") == (204, None)
    expected = {"keep": 2, "drop": 1, "hold": 2}[policy]
    jobs(adapter, expected)
    names = sorted(path.stem for path in adapter.instances("payloads"))
    assert names == ["1.2.3.1", "1.2.3.2"][:expected]


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("policy", ["keep", "drop"])
def test_storescu_that_aborts_is_an_aborted_association(
    make_adapter: MakeAdapter, policy: str
) -> None:
    adapter = with_entity(make_adapter, on_abort=policy)
    source = str(get_testdata_file("CT_small.dcm"))
    run_peer("storescu", "--abort", "-aec", "MAIN", "127.0.0.1", str(adapter.dicom_port), source)
    if policy == "keep":
        assert sizes(adapter, 1) == [1]
    else:
        eventually(lambda: adapter.metrics("dicom_adapter_events").get("group.dropped"), 5)
        eventually(lambda: adapter.groups_on_disk() == [], 5)
        assert list(adapter.instances("")) == []


# --- what is not stored


def test_required_attribute_that_misses_is_named(make_adapter: MakeAdapter) -> None:
    adapter = with_entity(make_adapter, required_attributes=["0008,0050"])
    ae = AE(ae_title="CT1")
    ae.add_requested_context(CT, EXPLICIT)
    association = ae.associate("127.0.0.1", adapter.dicom_port, ae_title="MAIN")
    dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.PatientID = ""
    dataset.AccessionNumber = ""
    refused = association.send_c_store(dataset)
    assert (refused.Status, refused.ErrorComment) == (0xA900, "absent or empty: 0008,0050")
    assert adapter.groups_on_disk() == []
    dataset.AccessionNumber = "A1"
    assert association.send_c_store(dataset).Status == 0
    association.release()
    assert sizes(adapter, 1) == [1]


def test_instances_of_ignored_classes_leave_nothing(make_adapter: MakeAdapter) -> None:
    """T-013, W-46: success, no folder, no job; allowed ones beside them are stored."""
    mr = "1.2.840.10008.5.1.4.1.1.4"
    adapter = with_entity(make_adapter, ignored_sop_classes=[CT], timeout_s=LONG_S)
    with Wire(adapter.dicom_port) as wire:
        wire.associate((context(3, CT, EXPLICIT), context(5, mr, EXPLICIT)))
        for number in range(3):
            assert store(wire, f"1.2.3.{number}") == 0
        wire.release()
    incoming = adapter.root / "incoming"
    assert [path.name for path in incoming.iterdir()] == [".part"]
    assert list((incoming / ".part").iterdir()) == []
    assert adapter.metrics("dicom_adapter_events")["instance.ignored"] == 3


def test_grouping_that_cannot_be_is_refused_at_the_start(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(start=False)
    for entity, words in (
        ({"grouping": "0040,0275.0040,1001"}, "grouping: '0040,0275.0040,1001' is inside"),
        ({"timeout_s": 0}, 'timeout_s: 0 needs "association" in grouping'),
    ):
        adapter.settings["application_entities"][0] |= entity
        adapter.file.write_text(json.dumps(adapter.settings))
        done = run_cli("serve", "-c", str(adapter.file))
        assert done.returncode == 2
        assert f"application_entities[0].{words}" in done.stderr
