"""A small study of our own: nobody's pixels, for a self-test and for the demo's traffic."""

from collections.abc import Callable
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from adapter.domain.records import OutgoingInstance
from adapter.protocols.dimse.part10 import describe

ROWS = COLUMNS = 32
CONTEXT = (str(SecondaryCaptureImageStorage), str(ExplicitVRLittleEndian))
"""What an association that sends it has to propose."""


def write_sample_study(
    folder: Path, count: int, new_uid: Callable[[], str], study: str
) -> list[OutgoingInstance]:
    """Write so many instances of a new series into a folder. Blocks.

    Args:
        folder: It exists.
        count: Instances.
        new_uid: Makes a UID.
        study: Study Instance UID.
    """
    series = new_uid()
    instances = []
    for number in range(count):
        path = folder / f"{number:04}.dcm"
        _instance(study, series, new_uid(), number).save_as(path, enforce_file_format=True)
        instances.append(describe(str(path)))
    return instances


def _instance(study: str, series: str, uid: str, number: int) -> Dataset:
    result = Dataset()
    result.PatientID = result.PatientName = "SELFTEST"
    result.StudyInstanceUID, result.SeriesInstanceUID, result.SOPInstanceUID = study, series, uid
    result.SOPClassUID = SecondaryCaptureImageStorage
    result.StudyID, result.AccessionNumber, result.Modality = "1", "", "OT"
    result.StudyDate = result.StudyTime = result.PatientBirthDate = result.PatientSex = ""
    result.StudyDescription = "Self-test"
    result.ConversionType = "SYN"
    result.SeriesNumber, result.InstanceNumber = 1, number + 1
    result.Rows, result.Columns = ROWS, COLUMNS
    result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.BitsAllocated = result.BitsStored = 8
    result.HighBit, result.PixelRepresentation = 7, 0
    result.PixelData = bytes(
        (row * column + number * 16) % 256 for row in range(ROWS) for column in range(COLUMNS)
    )
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return result
