"""What power cuts take from receivers that had answered 0x0000: this one, and others.

`python -m benchmarks.power_cut --cuts 40`: needs root, FUSE and loop devices (`power_disk`). Each
receiver stores on a disk whose writes since its last flush are lost at a cut. Instances that were
acknowledged before the moment and are not on what is left, whole, are counted.
"""

import argparse
import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from adapter import __version__
from benchmarks.peers import (
    ADAPTER,
    ADAPTER_FSYNC,
    ORTHANC_DEFAULT,
    ORTHANC_UNSYNCED,
    STORESCP,
    Receiver,
    running,
)
from benchmarks.power_disk import PowerDisk

RECEIVERS = (ADAPTER_FSYNC, ADAPTER, STORESCP, ORTHANC_DEFAULT, ORTHANC_UNSYNCED)
SENDERS = 2
STUDIES = 3
PIXELS = 24_000
MARK = b"1.2.826.0.1.3680043.10.1.7."
"""Begins the UID of each instance, and is found in what was stored of it."""
UID_STORED = re.compile(re.escape(MARK) + rb"\d+\.\d+")


class Sender(threading.Thread):
    """Sends one instance after the other until the receiver has gone."""

    def __init__(self, number: int, port: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[bytes] = []
        self.over = threading.Event()
        self._number = number
        self._port = port

    def run(self) -> None:
        """Send."""
        ae = AE("BENCH")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", self._port, ae_title="BENCH")
        for count in range(1_000_000):
            uid, data_set = _instance(self._number, count)
            if self.over.is_set() or not association.is_established:
                break
            if association.send_c_store(data_set).get("Status") == 0:
                self.acknowledged.append(uid)
        association.abort()


def _instance(sender: int, count: int) -> tuple[bytes, Dataset]:
    uid = MARK + f"{sender}.{count}".encode()
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID = CTImageStorage
    data_set.SOPInstanceUID = UID(uid.decode())
    data_set.PatientID = "P"
    data_set.StudyInstanceUID = UID(f"1.2.9.{count % STUDIES}")
    data_set.SeriesInstanceUID = UID(f"1.2.9.{count % STUDIES}.1")
    data_set.PixelData = uid.ljust(64, b".") * (PIXELS // 64)
    data_set["PixelData"].VR = "OW"
    return uid, data_set


def lost_to(receiver: Receiver, cuts: int, seed: int) -> tuple[int, int]:
    """Return how many instances had been acknowledged before each cut, and lost by it, summed."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        acknowledged = lost = 0
        with PowerDisk(Path(name)) as disk:
            moments = list(_load(receiver, disk, cuts, rng))
        for number, (moment, known) in enumerate(moments):
            with disk.after_cut(moment, rng if number % 2 else None) as mounted:
                acknowledged += len(known)
                lost += len(known - _whole(mounted))
        return acknowledged, lost


def _load(
    receiver: Receiver, disk: PowerDisk, cuts: int, rng: random.Random
) -> Iterator[tuple[int, set[bytes]]]:
    with running(receiver, disk.mounted) as at:
        senders = [Sender(number, at.port) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        for _ in range(cuts):
            time.sleep(0.3 * rng.random())
            known = {uid for sender in senders for uid in list(sender.acknowledged)}
            yield disk.now(), known
        for sender in senders:
            sender.over.set()
        for sender in senders:
            sender.join()


def _whole(mounted: Path) -> set[bytes]:
    """Return the UIDs of instances that are there with all their pixels."""
    found = set()
    for path in mounted.rglob("*"):
        if path.is_file() and path.stat().st_size >= PIXELS:
            content = path.read_bytes()
            uid = UID_STORED.search(content)
            if uid and content.endswith(uid[0].ljust(64, b".") * (PIXELS // 64)):
                found.add(uid[0])
    return found


def main() -> None:
    """Measure every receiver that is there, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"adapter {__version__}\n\n| receiver | cuts | acknowledged before | of these lost |")
    print("| --- | --- | --- | --- |")
    for receiver in RECEIVERS:
        if receiver.available():
            known, lost = lost_to(receiver, given.cuts, given.seed)
            print(f"| {receiver.name} | {given.cuts} | {known} | {lost} |", flush=True)


if __name__ == "__main__":
    main()
