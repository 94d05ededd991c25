"""Real DICOM files to send: the ones pydicom ships for its own tests."""

from pathlib import Path

import pydicom
from pydicom import dcmread

from adapter.client.send import instances_below
from adapter.domain.records import OutgoingInstance

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


def sample_instances() -> tuple[list[OutgoingInstance], int]:
    """Return files with distinct SOP Instance UIDs, and the number of studies among them."""
    instances: dict[str, OutgoingInstance] = {}
    studies: set[str] = set()
    for instance in instances_below([SAMPLES / name for name in CHOSEN]).instances:
        if instances.setdefault(instance.sop_instance_uid, instance) is instance:
            found = dcmread(
                instance.path, specific_tags=["StudyInstanceUID"], stop_before_pixels=True
            )
            studies.add(str(found.StudyInstanceUID))
    return list(instances.values()), len(studies)
