"""Exports to several destinations at once: DCMTK, Orthanc, pynetdicom, a dead and a hostile one."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import ScriptedDestination, dcmtk_storescp, free_port, orthanc
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from hostile_peers import Destination
from wire import CT, EXPLICIT, Wire, data_set

COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
STUDIES, INSTANCES = 10, 3
UIDS = {f"1.2.6.{study}.{number}" for study in range(STUDIES) for number in range(INSTANCES)}


def exporting(make_adapter: MakeAdapter, *destinations: dict[str, Any], **export: Any) -> Adapter:
    """Start an adapter that exports what it receives to the first of these, or to all."""
    only = export.pop("only", [one["name"] for one in destinations])
    scu = {"connect_s": 2, "acse_s": 10, "dimse_s": 20, **export.pop("scu", {})}
    return make_adapter({
        "dicom": {"scu": {
            "export": {"max_retries": 1, "retry_delay_s": 0.2, **export}, **scu,
        }},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"copy": "copy"},
            "destinations": only,
        }],
        "platform": {"engine": "command", "pipelines": [
            {"id": "copy", "command": COPY, "max_concurrent": 8}
        ]},
        "destinations": [
            {"ae_title": "PEER", "host": "127.0.0.1", **one} for one in destinations
        ],
    })  # fmt: skip


def store(adapter: Adapter, uids: set[str]) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for uid in sorted(uids):
            content = data_set(uid, study=uid.rpartition(".")[0])
            assert wire.store(uid, content) == ("response", 0)
        wire.release()


def completed(adapter: Adapter, destination: str) -> int:
    path = f"/api/exports?state=Completed&destination={destination}&limit=1000"
    return len(adapter.get(path))


@pytest.mark.peer("dcmtk")
@pytest.mark.peer("orthanc")
def test_everybody_who_can_gets_everything(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    """One is dead, one accepts associations and hangs; the others are served meanwhile."""
    folder = tmp_path / "dcmtk"
    scripted = ScriptedDestination({CT: [EXPLICIT]})
    with (
        dcmtk_storescp(folder, "--fork") as dcmtk_port,
        orthanc(tmp_path / "orthanc") as archive,
        scripted.listening(),
        Destination(lambda peer, wire: (peer.accept(wire), peer.hold(wire))) as hanging,
    ):
        adapter = exporting(
            make_adapter,
            {"name": "dcmtk", "port": dcmtk_port, "max_associations": 3},
            {"name": "orthanc", "ae_title": "ORTHANC", "port": archive.dicom_port},
            {"name": "scripted", "port": scripted.port},
            {"name": "dead", "port": free_port()},
            {"name": "hanging", "port": hanging.port, "max_associations": 3},
        )
        store(adapter, UIDS)
        for name in ("dcmtk", "orthanc", "scripted"):
            eventually(lambda name=name: completed(adapter, name) == STUDIES, 30, name)
        assert {path.name.partition(".")[2] for path in folder.iterdir()} == UIDS
        assert len(archive.get("/instances")) == len(UIDS)
        received = {one.sop_instance_uid: one.data for one in scripted.received}
        assert received == {uid: data_set(uid, study=uid.rpartition(".")[0]) for uid in UIDS}, (
            "byte for byte"
        )
        assert len(scripted.received) == len(UIDS)
        eventually(lambda: adapter.metrics("dicom_adapter_destination_outages")["dead"] >= 1)
        assert completed(adapter, "dead") == completed(adapter, "hanging") == 0
        sent = adapter.metrics("dicom_adapter_instances_sent")
        assert sent["dcmtk"] == sent["orthanc"] == sent["scripted"] == len(UIDS)
        assert sent["dead"] == 0
        up = adapter.metrics("dicom_adapter_destination_up")
        assert (up["dcmtk"], up["dead"]) == (1, 0)
        assert adapter.metrics("dicom_adapter_export_queue_age_seconds")["dead"] > 0
        outages = adapter.get("/health/status")["destinationOutages"]
        assert "no connection" in outages["dead"]
        assert adapter.request("GET", "/health/ready")[0] == 200


def test_association_is_kept_while_exports_wait(make_adapter: MakeAdapter) -> None:
    port = free_port()
    adapter = exporting(make_adapter, {"name": "peer", "port": port}, max_retries=0)
    store(adapter, UIDS)
    eventually(lambda: len(adapter.get("/api/exports?state=Queued")) == STUDIES, 20)
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening(port):
        eventually(lambda: completed(adapter, "peer") == STUDIES, 20)
    assert peer.associations <= 3, "a probe, and one or two for all"
    assert len(peer.received) == len(UIDS)


def test_export_that_was_given_up_is_retried_by_order(make_adapter: MakeAdapter) -> None:
    full = True
    peer = ScriptedDestination({CT: [EXPLICIT]}, status=lambda _: 0xC000 if full else 0)
    with peer.listening():
        adapter = exporting(make_adapter, {"name": "peer", "port": peer.port})
        store(adapter, {"1.2.6.1.1", "1.2.6.1.2"})
        (row,) = eventually(lambda: adapter.get("/api/exports?state=Failed"), 15)
        full = False
        path = f"/api/exports/{row['id']}/retry"
        status, _, body = adapter.request("POST", path, {"Idempotency-Key": "one"})
        assert (status, json.loads(body)["state"]) == (200, "Queued")
        eventually(lambda: completed(adapter, "peer") == 1, 15)
        assert adapter.request("POST", path, {"Idempotency-Key": "one"})[0] == 200
        assert adapter.request("POST", path)[0] == 409
        assert adapter.request("POST", "/api/exports/export-9/retry")[0] == 404
        assert adapter.request("POST", path, {"Origin": "http://elsewhere.example"})[0] == 403
    assert len(peer.received) == 2


def test_what_a_dead_destination_cannot_get_goes_to_its_fallback(
    make_adapter: MakeAdapter,
) -> None:
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening():
        adapter = exporting(
            make_adapter,
            {"name": "dead", "port": free_port(), "fallback": "other", "fallback_after_s": 1},
            {"name": "other", "port": peer.port},
            only=["dead"],
        )
        store(adapter, {"1.2.6.1.1", "1.2.6.1.2"})
        for name in ("other", "dead"):
            eventually(lambda name=name: completed(adapter, name) == 1, 20, name)
        rows = {row["destination"]: row for row in adapter.get("/api/exports")}
        assert (rows["dead"]["given"], rows["dead"]["givenTo"]) == (2, "other")
        assert rows["other"]["insteadOf"] == "dead"
    assert len(peer.received) == 2


def test_association_that_is_aborted_again_and_again_delivers_everything(
    make_adapter: MakeAdapter,
) -> None:
    """It takes two instances, then it has enough; no try is lost that brought something."""

    def tired(peer: Destination, wire: Wire) -> None:
        peer.accept(wire)
        for _ in range(2):
            wire.sock.sendall(peer.take(wire))

    with Destination(tired) as peer:
        adapter = exporting(make_adapter, {"name": "peer", "port": peer.port}, max_retries=0)
        uids = {f"1.2.6.1.{number}" for number in range(15)}
        store(adapter, uids)
        eventually(lambda: completed(adapter, "peer") == 1, 20)
        assert {uid.rstrip(b"\0").decode() for uid in peer.delivered} == uids
        assert len(peer.delivered) == len(uids)


def test_exports_on_the_command_line(make_adapter: MakeAdapter) -> None:
    refuses = True
    peer = ScriptedDestination({CT: [EXPLICIT]}, status=lambda _: 0xC001 if refuses else 0)
    with peer.listening():
        adapter = exporting(make_adapter, {"name": "peer", "port": peer.port})
        url = ("--url", adapter.url)
        store(adapter, {"1.2.6.1.1", "1.2.6.1.2"})
        (row,) = eventually(lambda: adapter.get("/api/exports?state=Failed"), 15)
        (line,) = run_cli("exports", "--state", "Failed", *url).stdout.splitlines()[1:]
        assert line.split()[:3] == [row["id"], "Failed", "peer"]
        assert json.loads(run_cli("exports", "--destination", "peer", "--json", *url).stdout)
        assert (
            json.loads(run_cli("exports", "--destination", "nobody", "--json", *url).stdout) == []
        )
        (as_csv,) = csv.DictReader(run_cli("exports", "--csv", *url).stdout.splitlines())
        assert (as_csv["id"], as_csv["failed"]) == (row["id"], "2")
        shown = run_cli("exports", "show", row["id"], *url).stdout
        for uid in ("1.2.6.1.1", "1.2.6.1.2"):
            assert re.search(rf"{re.escape(uid)} +False +0xC001 ", shown)
        refuses = False
        some = run_cli("exports", "retry", row["id"], "--instance", "1.2.6.1.2", *url)
        assert some.stdout == f"{row['id']}: Queued\n"
        eventually(lambda: adapter.get(f"/api/exports/{row['id']}")["sent"] == 1, 15)
        eventually(lambda: adapter.get("/api/exports?state=Failed"), 15)
        assert {one.sop_instance_uid for one in peer.received} == {"1.2.6.1.2"}
        stray = run_cli("exports", "retry", row["id"], "--instance", "1.2.6.1.2", *url)
        assert (stray.returncode, "1.2.6.1.2" in stray.stderr) == (1, True)
        assert run_cli("exports", "retry", row["id"], *url).stdout == f"{row['id']}: Queued\n"
        eventually(lambda: completed(adapter, "peer") == 1, 15)
        again = run_cli("exports", "retry", row["id"], *url)
        assert (again.returncode, "Completed" in again.stderr) == (1, True)
        both = run_cli("exports", "--json", "--csv", *url)
        assert (both.returncode, len(both.stderr.splitlines())) == (2, 1)


def test_held_destination_gets_nothing_also_after_a_kill(make_adapter: MakeAdapter) -> None:
    peer = ScriptedDestination({CT: [EXPLICIT]})
    with peer.listening():
        adapter = exporting(make_adapter, {"name": "peer", "port": peer.port})
        hold = "/api/destinations/peer/hold"
        kind = {"Content-Type": "application/json"}
        status, _, body = adapter.request("POST", hold, kind, b'{"why": "migration"}')
        assert (status, json.loads(body)["state"]) == (200, "held")
        store(adapter, {"1.2.6.1.1", "1.2.6.1.2"})
        eventually(lambda: adapter.get("/api/exports?state=Queued"), 15)
        adapter.kill()
        adapter.start()
        (row,) = adapter.get("/api/destinations")
        assert (row["state"], row["why"], row["exports"]) == ("held", "migration", {"Queued": 1})
        assert adapter.metrics("dicom_adapter_destination_held") == {"peer": 1.0}
        assert not peer.received
        assert adapter.request("POST", "/api/destinations/peer/release")[0] == 200
        eventually(lambda: completed(adapter, "peer") == 1, 15)
        (row,) = adapter.get("/api/destinations")
        assert (row["state"], row["heldAt"]) == ("up", None)
        assert adapter.request("POST", "/api/destinations/nobody/release")[0] == 404
        assert adapter.request("POST", hold, kind, b'{"because": 1}')[0] == 400
        assert adapter.request("POST", hold, {"Origin": "http://elsewhere.example"})[0] == 403
    assert len(peer.received) == 2
