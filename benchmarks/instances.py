"""Instances to send: real ones of pydicom, enlarged or cut to size, each with a UID of its own.

All instances of a kind share their pixel data, so that a thousand CTs fit into memory.
"""

import io
from dataclasses import dataclass
from struct import Struct
from typing import Literal

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from adapter.protocols.dimse.file_meta import read_file_meta

Kind = Literal["ct", "sr"]
KINDS: tuple[Kind, ...] = ("ct", "sr")

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
CT_SIDE = 512
SR_BYTES = 5000
_UID_ROOT = "2.25.3141592653589793238462643383279"
_PLACEHOLDER = f"{_UID_ROOT}00000000"
_PIXEL_DATA = Struct("<HH2sxxI")


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

    def instance(self, number: int) -> tuple[str, bytes]:
        """Return the SOP Instance UID and the head of an instance."""
        uid = f"{_UID_ROOT}{number:08d}"
        return uid, self.head.replace(_PLACEHOLDER.encode(), uid.encode())


def template(kind: Kind) -> Template:
    """Return what all instances of a kind are made from."""
    return _ct() if kind == "ct" else _sr()


def ct_head(
    pixel_bytes: int, frames: int = 1, sop_instance_uid: str = _PLACEHOLDER
) -> tuple[str, bytes]:
    """Return the SOP class and everything of a CT that stands before its pixels."""
    assert pixel_bytes % 2 == 0, "PS3.5 8.1.1: OW has an even length"
    dataset = _read("CT_small.dcm")
    del dataset[0xFFFCFFFC]  # padding behind the pixels
    del dataset.PixelData
    dataset.Rows = dataset.Columns = CT_SIDE
    if frames > 1:
        dataset.NumberOfFrames = frames
    head = _encoded(dataset, sop_instance_uid) + _PIXEL_DATA.pack(
        0x7FE0, 0x0010, b"OW", pixel_bytes
    )
    return str(dataset.SOPClassUID), head


def _ct() -> Template:
    pixels = _read("CT_small.dcm").PixelData
    pixels *= 2 * CT_SIDE * CT_SIDE // len(pixels)
    sop_class_uid, head = ct_head(len(pixels))
    return Template(sop_class_uid, head, memoryview(pixels))


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


def _encoded(dataset: Dataset, sop_instance_uid: str = _PLACEHOLDER) -> bytes:
    dataset.SOPInstanceUID = UID(sop_instance_uid)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    file = io.BytesIO()
    dcmwrite(file, dataset)
    whole = file.getvalue()
    return whole[read_file_meta(whole).data_set_offset :]
