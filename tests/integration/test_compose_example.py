"""The files of deploy/compose do what they say: both programs here, without containers."""

import base64
import json
import tomllib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import free_port, orthanc
from harness import REPOSITORY, eventually, merged, run_cli
from health import MakeAdapter
from pydicom import dcmread
from pydicom.data import get_testdata_file

COMPOSE = REPOSITORY / "deploy" / "compose"


def settings_here(adapter_port: int, orthanc_port: int) -> dict[str, Any]:
    """Return the adapter's configuration, with this machine's addresses."""
    settings = tomllib.loads((COMPOSE / "adapter.toml").read_text())
    here = {"host": "127.0.0.1"}
    settings["sources"] = [source | here for source in settings["sources"]]
    (destination,) = settings["destinations"]
    settings["destinations"] = [destination | here | {"port": orthanc_port}]
    del settings["storage"], settings["api"]
    return merged(settings, {"dicom": {"scp": {"port": adapter_port}}})


@pytest.mark.peer("orthanc")
def test_orthanc_gets_back_what_it_sends(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    options = json.loads((COMPOSE / "orthanc.json").read_text())
    (user, password), *_ = options["RegisteredUsers"].items()
    ae_title, _, _ = options["DicomModalities"]["adapter"]
    for inside_the_container in ("DicomPort", "StorageDirectory"):
        del options[inside_the_container]
    adapter_port = free_port()
    options["DicomModalities"] = {"adapter": [ae_title, "127.0.0.1", adapter_port]}
    with orthanc(tmp_path / "orthanc", **options) as archive:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        archive.headers["Authorization"] = f"Basic {token}"
        adapter = make_adapter(settings_here(adapter_port, archive.dicom_port))
        file = get_testdata_file("CT_small.dcm")
        to_orthanc = f"ORTHANC@127.0.0.1:{archive.dicom_port}"
        assert run_cli("send", to_orthanc, str(file)).returncode == 0
        archive.send("POST", "/modalities/adapter/store", archive.get("/instances"))
        (export,) = eventually(lambda: adapter.get("/api/exports?state=Completed"), 30.0)
        assert (export["destination"], export["sent"]) == ("orthanc", 1)
        (held,) = archive.instances()
        assert dcmread(BytesIO(held)).PixelData == dcmread(str(file)).PixelData
    assert adapter.stop() == 0
