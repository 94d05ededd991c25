"""Real DICOM files to send: the ones pydicom ships for its own tests."""

from pathlib import Path

import pydicom
from pydicom import dcmread

from adapter.client.dicom import files_below, outgoing

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
CHOSEN = (
    "dicomdirtests/77654033",  # CR, CT
    "dicomdirtests/98892001",  # CT
    "dicomdirtests/98892003",  # MR
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "JPEG2000.dcm",
    "MR_small_jp2klossless.dcm",
    "ExplVR_BigEnd.dcm",
    "image_dfl.dcm",  # deflated
    "rtplan.dcm",
    "reportsi.dcm",  # structured report
    "waveform_ecg.dcm",
)


def sample_files() -> tuple[list[Path], int]:
    """Return files with distinct SOP Instance UIDs, and the number of studies among them."""
    files: dict[str, Path] = {}
    studies: set[str] = set()
    for path in files_below([SAMPLES / name for name in CHOSEN]):
        uid = outgoing(path).sop_instance_uid
        if uid not in files:
            files[uid] = path
            found = dcmread(path, specific_tags=["StudyInstanceUID"], stop_before_pixels=True)
            studies.add(str(found.StudyInstanceUID))
    return list(files.values()), len(studies)
