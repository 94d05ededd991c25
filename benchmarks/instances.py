"""Instances to send: real ones of pydicom, enlarged or cut to size, each with a UID of its own.

All instances of a kind share their pixel data, so that a thousand CTs fit into memory; a large
multi-frame instance has pixels that nobody ever wrote, which take no memory at all.
"""

import io
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from struct import Struct

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from adapter.domain.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from adapter.protocols.dimse.file_meta import FileMetaWriter, read_file_meta

CT_SIDE, MR_SIDE = 512, 256
FRAME_BYTES = 2 * CT_SIDE * CT_SIDE
MULTI_FRAME_BYTES = 128 * FRAME_BYTES
SR_BYTES = 5000
_UID_ROOT = "2.25.3141592653589793238462"
_PIXEL_DATA = Struct("<HH2sxxI")


def uid(run: int, level: int, number: int) -> bytes:
    """Return a UID, always equally long: below 2^128, as PS3.5 B.2 asks.

    Args:
        run: Below 10^8; another one for each run, so that no receiver has seen its instances.
        level: 1 a study, 2 a series, 3 an instance.
        number: Below 10^8.
    """
    return f"{_UID_ROOT}{run:08d}{level}{number:08d}".encode()


STUDY, SERIES, INSTANCE = (uid(0, level, 0) for level in (1, 2, 3))
"""Placeholders in a template's head."""


@dataclass(frozen=True, slots=True)
class Template:
    """An encoded data set (Explicit VR Little Endian) in two parts; only `head` holds UIDs."""

    sop_class_uid: str
    head: bytes
    tail: memoryview

    @property
    def size(self) -> int:
        """Bytes of one data set."""
        return len(self.head) + len(self.tail)

    def of_study(self, run: int, number: int) -> "Template":
        """Return the template of the instances of one study with one series."""
        head = self.head.replace(STUDY, uid(run, 1, number)).replace(SERIES, uid(run, 2, number))
        return replace(self, head=head)

    def part10(self, sop_instance_uid: bytes) -> tuple[bytes, memoryview]:
        """Return an instance as a file (PS3.10): what stands before the pixels, and the pixels."""
        writer = FileMetaWriter(self.sop_class_uid, EXPLICIT_VR_LITTLE_ENDIAN, "BENCHMARK")
        head = self.head.replace(INSTANCE, sop_instance_uid)
        return writer.encode(sop_instance_uid.decode()) + head, self.tail


def new_run() -> int:
    """Return a number for `uid` that no run had before, as far as chance goes."""
    return int.from_bytes(os.urandom(8), "big") % 10**8


def template(kind: str, payload_bytes: int = 0) -> Template:
    """Return what all instances of a kind are made from.

    Args:
        kind: One of KINDS.
        payload_bytes: About so long is an instance of `mf`; 0: as long as it usually is.
    """
    return multi_frame(payload_bytes) if kind == "mf" and payload_bytes else KINDS[kind]()


def multi_frame(payload_bytes: int) -> Template:
    """Return a CT with as many frames as fit into that size, at least one."""
    frames = max(payload_bytes // FRAME_BYTES, 1)
    dataset = _read("CT_small.dcm")
    dataset.Rows = dataset.Columns = CT_SIDE
    dataset.NumberOfFrames = frames
    # Private and never written: the kernel maps its one page of zeros everywhere.
    pixels = mmap.mmap(
        -1, frames * FRAME_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ
    )
    return _with_pixels(dataset, memoryview(pixels))


def _image(name: str, side: int) -> Template:
    dataset = _read(name)
    pixels = dataset.PixelData
    pixels *= 2 * side * side // len(pixels)
    dataset.Rows = dataset.Columns = side
    return _with_pixels(dataset, memoryview(pixels))


def _with_pixels(dataset: Dataset, pixels: memoryview) -> Template:
    assert len(pixels) % 2 == 0, "PS3.5 8.1.1: OW has an even length"
    if 0xFFFCFFFC in dataset:
        del dataset[0xFFFCFFFC]  # padding behind the pixels
    del dataset.PixelData
    head = _encoded(dataset) + _PIXEL_DATA.pack(0x7FE0, 0x0010, b"OW", len(pixels))
    return Template(str(dataset.SOPClassUID), head, pixels)


def _sr() -> Template:
    dataset = _read("test-SR.dcm")
    while len(head := _encoded(dataset)) > SR_BYTES:
        del dataset.ContentSequence[-1]
    text = next(item for item in dataset.ContentSequence if "TextValue" in item)
    text.TextValue += "." * (SR_BYTES - len(head))
    return Template(str(dataset.SOPClassUID), _encoded(dataset), memoryview(b""))


def _read(name: str) -> Dataset:
    path = get_testdata_file(name)
    assert isinstance(path, str), f"pydicom without {name}"
    return pydicom.dcmread(path)


def _encoded(dataset: Dataset) -> bytes:
    dataset.StudyInstanceUID = UID(STUDY.decode())
    dataset.SeriesInstanceUID = UID(SERIES.decode())
    dataset.SOPInstanceUID = UID(INSTANCE.decode())
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(INSTANCE.decode())
    file = io.BytesIO()
    dcmwrite(file, dataset)
    whole = file.getvalue()
    return whole[read_file_meta(whole).data_set_offset :]


KINDS: dict[str, Callable[[], Template]] = {
    "ct": lambda: _image("CT_small.dcm", CT_SIDE),
    "mr": lambda: _image("MR_small.dcm", MR_SIDE),
    "sr": _sr,
    "mf": lambda: multi_frame(MULTI_FRAME_BYTES),
}
"""CT 512x512 (0.5 MB), MR 256x256 (0.13 MB), a report (5 kB), a multi-frame CT (67 MB)."""
