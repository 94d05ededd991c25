"""Real DICOM files to send: the ones pydicom ships for its own tests."""

from collections import Counter
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


def sample_instances() -> tuple[list[OutgoingInstance], list[str]]:
    """Return files with distinct SOP Instance UIDs, and their studies, the largest first."""
    instances: dict[str, OutgoingInstance] = {}
    studies: Counter[str] = Counter()
    for instance in instances_below([SAMPLES / name for name in CHOSEN]).instances:
        if instances.setdefault(instance.sop_instance_uid, instance) is instance:
            found = dcmread(
                instance.path, specific_tags=["StudyInstanceUID"], stop_before_pixels=True
            )
            studies[str(found.StudyInstanceUID)] += 1
    return list(instances.values()), [uid for uid, _ in studies.most_common()]
