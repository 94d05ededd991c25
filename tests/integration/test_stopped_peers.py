"""Programs on the other end that are stopped and continued: their machine sleeps, swaps or hangs.

Nobody says goodbye, and the kernel of the stopped program goes on taking and confirming bytes.
"""

import re
import signal
import subprocess
from pathlib import Path

import pytest
from dicom_peers import DCMTK, dcmtk_storescp, free_port, running
from harness import eventually
from health import MakeAdapter
from test_exports import completed, exporting, store
from wire import data_set, echo_works, explicit, part10

PIXELS = 16 << 20
"""So much that a sender is often stopped in the middle of an instance."""
STALL_S = 2.0
ACKNOWLEDGED = re.compile(r"C-STORE RSP.*?Affected SOP Instance UID *: *(\S+).*?0x0000", re.DOTALL)


@pytest.mark.peer("dcmtk")
def test_sender_that_is_stopped_is_aborted_and_what_it_stored_is_kept(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """Its slot is free by then, and there is no trace of the instance it had begun."""
    adapter = make_adapter({
        "dicom": {"scp": {
            "dimse_s": STALL_S, "answer_s": STALL_S / 2, "idle_s": STALL_S, "max_associations": 1,
        }},
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 5, "pipelines": {"one": "one"}}
        ],
    })  # fmt: skip
    file = tmp_path / "large.dcm"
    data = data_set("1.2.7.1", tail=explicit(0x7FE00010, b"OW", bytes(PIXELS)))
    file.write_bytes(part10("1.2.7.1", data))
    log = tmp_path / "storescu.log"
    command = [
        DCMTK["storescu"], "-d", "--repeat", "1000", "+II", "-aec", "MAIN", "127.0.0.1",
        str(adapter.dicom_port), str(file),
    ]  # fmt: skip
    with open(log, "wb") as said:
        sender = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        # The third: the sender has read the answers to two, whatever is lost with its connection.
        eventually(lambda: len(list(adapter.instances("incoming"))) >= 3)
        sender.send_signal(signal.SIGSTOP)
        (told,) = eventually(lambda: adapter.events("association.aborted"), 10 * STALL_S)
        assert echo_works(adapter.dicom_port), "it is stopped still, and others are served"
        sender.send_signal(signal.SIGCONT)
        assert sender.wait(30) != 0
    finally:
        sender.kill()
        sender.wait()
    acknowledged = set(ACKNOWLEDGED.findall(log.read_text(errors="replace")))
    (job,) = eventually(adapter.payload_folders, 20)
    kept = {path.stem for path in (job / "input").rglob("*.dcm")}
    assert len(acknowledged) >= 2
    assert acknowledged <= kept, "answered 0x0000, and lost"
    assert len(kept) == told["instances"]
    assert not any((adapter.root / "incoming" / ".part").iterdir())


@pytest.mark.peer("dcmtk")
def test_destination_that_is_stopped_delays_its_exports_and_no_other(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """It is cut off by the deadline, tried again, and gets the rest once it goes on."""
    uids = {f"1.2.8.1.{number}" for number in range(6)}
    archive, port = tmp_path / "archive", free_port()
    archive.mkdir()
    slow = [DCMTK["storescp"], "--sleep-after", "1", "-od", str(archive), str(port)]
    with (
        running(slow, port, tmp_path / "archive.log") as server,
        dcmtk_storescp(tmp_path / "other") as other,
    ):
        adapter = exporting(
            make_adapter, {"name": "archive", "port": port}, {"name": "other", "port": other},
            scu={"dimse_s": 2 * STALL_S, "acse_s": STALL_S}, max_retries=1000,
        )  # fmt: skip
        store(adapter, uids)
        eventually(lambda: list(archive.iterdir()), 20)
        server.send_signal(signal.SIGSTOP)
        eventually(lambda: adapter.events("export.undelivered"), 10 * STALL_S)
        eventually(lambda: completed(adapter, "other") == 1, 20)
        assert completed(adapter, "archive") == 0
        server.send_signal(signal.SIGCONT)
        eventually(lambda: completed(adapter, "archive") == 1, 60)
    for folder in (archive, tmp_path / "other"):
        assert {path.name.partition(".")[2] for path in folder.iterdir()} == uids
