"""DCMTK, an implementation that is not ours, on both ends and with its defaults (REQ: PS3.4 B)."""

from pathlib import Path

import pytest
from dicom_peers import dcmtk_storescp, run_peer
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

pytestmark = pytest.mark.peer("dcmtk")

COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
ANY_CALLED = ("-aec", "MAIN")


@pytest.fixture
def ct_small() -> Path:
    path = get_testdata_file("CT_small.dcm")
    assert path is not None
    return Path(str(path))


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter()


def decoded(path: Path) -> Dataset:
    """Return the data set without its trailing padding, which DCMTK drops when it sends."""
    dataset = dcmread(path)
    dataset.pop(0xFFFCFFFC, None)
    return dataset


def peer_of(adapter: Adapter) -> tuple[str, str]:
    return "127.0.0.1", str(adapter.dicom_port)


def test_echoscu_is_answered(adapter: Adapter) -> None:
    printed = run_peer("echoscu", "-v", *ANY_CALLED, *peer_of(adapter))
    assert "Received Echo Response (Success)" in printed


def test_echoscu_with_an_unknown_called_title_is_rejected(adapter: Adapter) -> None:
    with pytest.raises(AssertionError, match="Called AE Title Not Recognized"):
        run_peer("echoscu", "-aec", "NOBODY", *peer_of(adapter))


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_sent_file_becomes_a_job_with_the_same_data_set(
    adapter: Adapter, program: str, ct_small: Path
) -> None:
    run_peer(program, *ANY_CALLED, *peer_of(adapter), str(ct_small))
    eventually(adapter.payload_folders, 5)
    (stored,) = adapter.instances("payloads")
    run_peer("dcmdump", "-q", str(stored))
    assert decoded(stored) == decoded(ct_small)


def test_dcmsend_of_a_folder_stores_every_instance(
    adapter: Adapter, tmp_path: Path, ct_small: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(30):
        target = folder / f"{number}.dcm"
        target.write_bytes(ct_small.read_bytes())
    run_peer("dcmodify", "-q", "-nb", "-gin", *map(str, sorted(folder.iterdir())))
    run_peer("dcmsend", *ANY_CALLED, *peer_of(adapter), "+sd", str(folder))
    eventually(lambda: len(list(adapter.instances("payloads"))) == 30, 10, "all are in jobs")


def test_instance_without_study_uid_is_kept(
    adapter: Adapter, tmp_path: Path, ct_small: Path
) -> None:
    """F51: no grouping attribute, no series; it joins a group of its own kind."""
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(ct_small.read_bytes())
    run_peer("dcmodify", "-q", "-nb", "-ea", "(0020,000D)", "-ea", "(0020,000E)", str(bare))
    run_peer("storescu", *ANY_CALLED, *peer_of(adapter), str(bare))
    eventually(adapter.payload_folders, 5)
    assert len(list(adapter.instances("payloads"))) == 1


def test_storescp_receives_the_results(
    make_adapter: MakeAdapter, tmp_path: Path, ct_small: Path
) -> None:
    with dcmtk_storescp(tmp_path / "archive", "-aet", "ARCHIVE") as port:
        adapter = make_adapter({
            "application_entities": [{
                "name": "main", "ae_title": "MAIN", "timeout_s": 1,
                "pipelines": {"copy": "copy"}, "destinations": ["archive"],
            }],
            "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
            "destinations": [
                {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port}
            ],
        })  # fmt: skip
        run_peer("storescu", *ANY_CALLED, *peer_of(adapter), str(ct_small))
        eventually(lambda: adapter.get("/api/exports?state=Completed"), 10)
        (arrived,) = [path for path in (tmp_path / "archive").iterdir() if path.is_file()]
        assert decoded(arrived) == decoded(ct_small)


def test_own_echo_and_send_reach_storescp(tmp_path: Path, ct_small: Path) -> None:
    with dcmtk_storescp(tmp_path / "archive") as port:
        echo = run_cli("echo", f"ANY@127.0.0.1:{port}")
        send = run_cli("send", f"ANY@127.0.0.1:{port}", str(ct_small))
    assert (echo.returncode, send.returncode) == (0, 0), echo.stderr + send.stderr
    assert "sent 1, failed 0" in send.stdout
    assert len([path for path in (tmp_path / "archive").iterdir() if path.is_file()]) == 1
