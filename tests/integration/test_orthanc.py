"""Orthanc receives an export and lists the study (an archive that is not ours)."""

from pathlib import Path

import pytest
from dicom_peers import orthanc
from harness import eventually, run_cli
from health import MakeAdapter
from pydicom import dcmread
from pydicom.data import get_testdata_file

pytestmark = pytest.mark.peer("orthanc")


def test_orthanc_lists_the_exported_study(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    files = [get_testdata_file(name) for name in ("CT_small.dcm", "MR_small.dcm")]
    with orthanc(tmp_path / "orthanc") as archive:
        adapter = make_adapter({
            "application_entities": [{
                "name": "main", "ae_title": "MAIN", "timeout_s": 1,
                "pipelines": {"copy": "copy"}, "destinations": ["orthanc"],
            }],
            "platform": {
                "engine": "command",
                "pipelines": [
                    {"id": "copy", "command": ["/bin/cp", "-r", "input/dcm", "output/"]}
                ],
            },
            "destinations": [{
                "name": "orthanc", "ae_title": "ORTHANC", "host": "127.0.0.1",
                "port": archive.dicom_port,
            }],
        })  # fmt: skip
        assert run_cli("send", adapter.destination(), *map(str, files)).returncode == 0
        eventually(lambda: len(adapter.get("/api/exports?state=Completed")) == 2, 15)
        studies = [
            archive.get(f"/studies/{study}")["MainDicomTags"]["StudyInstanceUID"]
            for study in archive.get("/studies")
        ]
        echo = run_cli("echo", f"ORTHANC@127.0.0.1:{archive.dicom_port}")
    assert sorted(studies) == sorted(dcmread(str(file)).StudyInstanceUID for file in files)
    assert echo.returncode == 0
