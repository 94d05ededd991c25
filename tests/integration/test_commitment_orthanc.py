"""Storage commitment with Orthanc, which is not ours: it commits what we send it, and asks us."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import free_port, orthanc
from harness import eventually, run_cli
from health import MakeAdapter
from pydicom.data import get_testdata_file

pytestmark = pytest.mark.peer("orthanc")

FILES = [str(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]


def configured(dicom_port: int, archive: Any, **destination: Any) -> dict[str, Any]:
    """Return changes for an adapter that Orthanc can call back on this port."""
    return {
        "dicom": {"scp": {"port": dicom_port, "commitment": {"retry_delay_s": 0.5}}},
        "storage": {"durability": "fsync", "retention": {"completed_s": 0}},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1, "storage_commitment": "held",
            "pipelines": {"copy": "copy"}, "destinations": ["orthanc"],
        }],
        "platform": {
            "engine": "command",
            "pipelines": [{"id": "copy", "command": ["/bin/cp", "-r", "input/dcm", "output/"]}],
        },
        "destinations": [{
            "name": "orthanc", "ae_title": "ORTHANC", "host": "127.0.0.1",
            "port": archive.dicom_port, **destination,
        }],
    }  # fmt: skip


def post(archive: Any, path: str, body: Any) -> Any:
    """Return the JSON of a POST to Orthanc's REST API."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{archive.http_port}{path}", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_orthanc_commits_before_anything_is_reclaimed(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """Orthanc reports on an association of its own, as SCP by role selection."""
    port = free_port()
    known = {"adapter": ["ADAPTER", "127.0.0.1", port]}
    with orthanc(tmp_path / "orthanc", DicomModalities=known) as archive:
        adapter = make_adapter(configured(port, archive, storage_commitment=True))
        assert run_cli("send", adapter.destination(), *FILES).returncode == 0
        eventually(lambda: len(archive.get("/instances")) == 2, 15)
        eventually(lambda: not adapter.groups_on_disk() and not adapter.payload_folders(), 30)
        counts = adapter.request("GET", "/metrics")[2].decode()
    assert 'dicom_adapter_events_total{type="commitment.reported"} 2.0' in counts
    assert 'type="export.failed"' not in counts


def test_orthanc_is_told_what_we_hold(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    """Orthanc stores to us and asks: what it sent is committed, and nothing else."""
    port = free_port()
    known = {"adapter": ["MAIN", "127.0.0.1", port]}
    with orthanc(tmp_path / "orthanc", DicomModalities=known) as archive:
        changes = configured(port, archive)
        changes["storage"]["retention"]["completed_s"] = 3600
        make_adapter(changes)
        for file in FILES:
            request = urllib.request.Request(
                f"http://127.0.0.1:{archive.http_port}/instances", Path(file).read_bytes(),
                method="POST",
            )  # fmt: skip
            urllib.request.urlopen(request, timeout=20).close()
        job = post(
            archive, "/modalities/adapter/store",
            {"Resources": archive.get("/instances"), "StorageCommitment": True,
             "Synchronous": False},
        )  # fmt: skip
        eventually(lambda: archive.get(f"/jobs/{job['ID']}")["State"] == "Success", 20)
        transaction = archive.get(f"/jobs/{job['ID']}")["Content"][
            "StorageCommitmentTransactionUID"
        ]
        report = eventually(lambda: _reported(archive, transaction), 20)
        assert report["Status"] == "Success"
        asked = post(
            archive, "/modalities/adapter/storage-commitment",
            {"DicomInstances": [["1.2.840.10008.5.1.4.1.1.2", "1.2.3.99"]]},
        )  # fmt: skip
        report = eventually(lambda: _reported(archive, asked["ID"]), 20)
    assert report["Status"] == "Failure"
    (failure,) = report["Failures"]
    assert failure["SOPInstanceUID"] == "1.2.3.99"
    assert failure["FailureReason"] == 0x0112


def _reported(archive: Any, transaction: str) -> Any:
    report = archive.get(f"/storage-commitment/{transaction}")
    return report if report["Status"] != "Pending" else None
