"""What is said on associations, in the log: messages and PDUs in both roles, and nobody's name."""

from pathlib import Path

import pydicom
import pytest
from dicom_peers import dcmtk_storescp, run_peer
from harness import Adapter, eventually
from health import MakeAdapter
from pydicom.data import get_testdata_file

CT = str(get_testdata_file("CT_small.dcm"))
COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
ON = {"log_dimse_datasets": True, "log_data_pdus": True}


def relaying(make_adapter: MakeAdapter, port: int, **dicom: object) -> Adapter:
    return make_adapter({
        "dicom": dicom,
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1,
            "pipelines": {"copy": "copy"}, "destinations": ["pacs"],
        }],
        "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
        "destinations": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port}],
    })  # fmt: skip


def relay(adapter: Adapter) -> None:
    """Send one CT through the adapter to its destination."""
    run_peer("storescu", "-aec", "MAIN", "127.0.0.1", str(adapter.dicom_port), CT)
    eventually(lambda: adapter.get("/api/exports?state=Completed"), 20, "exported")


@pytest.mark.peer("dcmtk")
def test_messages_and_pdus_of_both_roles_are_written(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    with dcmtk_storescp(tmp_path) as port:
        adapter = relaying(make_adapter, port, scp=ON, scu=ON)
        relay(adapter)
    sent = pydicom.dcmread(CT)
    lines = adapter.events("dimse.message")
    told = [(line["direction"], line["command"]) for line in lines]
    assert told == [
        ("received", "C-STORE-RQ"), ("sent", "C-STORE-RSP"),
        ("sent", "C-STORE-RQ"), ("received", "C-STORE-RSP"),
    ]  # fmt: skip
    assert {line["sop_instance_uid"] for line in lines} == {sent.SOPInstanceUID}
    assert [line.get("status") for line in lines] == [None, "0x0000", None, "0x0000"]
    assert lines[0]["association"] == lines[1]["association"]
    assert lines[2]["destination"] == lines[3]["destination"] == "pacs"
    received, exported = adapter.events("dimse.data_set")
    fragments = adapter.events("dimse.data")
    for whole in (received, exported):
        assert whole["bytes"] > len(sent.PixelData)
        pieces = [f for f in fragments if f["direction"] == whole["direction"]]
        assert sum(piece["bytes"] for piece in pieces) == whole["bytes"]
        assert [piece["last"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@pytest.mark.peer("dcmtk")
def test_values_of_data_sets_are_never_written(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    with dcmtk_storescp(tmp_path) as port:
        adapter = relaying(make_adapter, port, scp=ON, scu=ON)
        relay(adapter)
    sent = pydicom.dcmread(CT)
    log = "\n".join(adapter.log)
    for secret in (sent.PatientName, sent.PatientID, sent.InstitutionName, sent.Manufacturer):
        assert str(secret) not in log


@pytest.mark.peer("dcmtk")
def test_nothing_is_written_unless_asked_for(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    with dcmtk_storescp(tmp_path) as port:
        adapter = relaying(make_adapter, port, scu={"log_dimse_datasets": True})
        relay(adapter)
    assert {line.get("destination") for line in adapter.events("dimse.message")} == {"pacs"}
    assert not adapter.events("dimse.data")
    assert adapter.events("receiver.started")
