"""The demo's pipeline: passes its input on and adds one result of its own for each study.

An ordinary program: it knows nothing of the adapter but the folder it is started in.
"""

import shutil
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

ROWS = COLUMNS = 64


def main() -> None:
    """Read input/, write output/."""
    sources = sorted(Path("input").rglob("*.dcm"))
    output = Path("output")
    for number, source in enumerate(sources):
        shutil.copyfile(source, output / f"{number:05}.dcm")
    finding(dcmread(sources[0], stop_before_pixels=True), len(sources)).save_as(
        output / "finding.dcm", enforce_file_format=True
    )
    (output / "summary.txt").write_text(f"{len(sources)} instances\n")


def finding(source: Dataset, instances: int) -> Dataset:
    """Return a Secondary Capture image that belongs to the study of `source`."""
    result = Dataset()
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        setattr(result, keyword, source.get(keyword, ""))
    result.SOPClassUID = SecondaryCaptureImageStorage
    result.SOPInstanceUID = generate_uid()
    result.SeriesInstanceUID = generate_uid()
    result.Modality = "OT"
    result.ConversionType = "WSD"
    result.SeriesDescription = f"Demo finding from {instances} instances"
    result.Rows, result.Columns = ROWS, COLUMNS
    result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.BitsAllocated = result.BitsStored = 8
    result.HighBit, result.PixelRepresentation = 7, 0
    result.PixelData = bytes((row ^ column) * 4 for row in range(ROWS) for column in range(COLUMNS))
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return result


if __name__ == "__main__":
    main()
