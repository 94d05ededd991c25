"""A pipeline: writes one Basic Text SR for each study of its input, with references to all of it.

An ordinary program. It knows nothing of the adapter but the folder it is started in, and reads no
pixels. Run again on the same input it makes the same instances (same UIDs), so a repeated run is no
second report for whoever receives it.

The SR is a Basic Text SR (PS3.3 A.35.1): Patient and General Study as in the source, SR Document
Series (C.17.1), General Equipment (C.7.5.1), SR Document General (C.17.2) with every source
instance in Current Requested Procedure Evidence Sequence, SR Document Content (C.17.3).
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian, generate_uid

PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")  # C.7.1.1, type 2
STUDY = (
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)  # C.7.2.1
WANTED = [
    *PATIENT, *STUDY, "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID",
    "SeriesInstanceUID", "Modality",
]  # fmt: skip


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def reference(source: Dataset) -> Dataset:
    """Return an item of a Referenced SOP Sequence (PS3.3 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return item


def evidence(sources: list[Dataset]) -> Dataset:
    """Return one study of a Hierarchical SOP Instance Reference Macro (PS3.3 C.17.2.1)."""
    study = Dataset()
    study.StudyInstanceUID = sources[0].StudyInstanceUID
    study.ReferencedSeriesSequence = []
    for uid in dict.fromkeys(source.SeriesInstanceUID for source in sources):
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ReferencedSOPSequence = [
            reference(source) for source in sources if source.SeriesInstanceUID == uid
        ]
        study.ReferencedSeriesSequence.append(series)
    return study


def text(concept: Dataset, value: str) -> Dataset:
    """Return a TEXT content item (PS3.3 C.17.3.2)."""
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.ConceptNameCodeSequence = [concept]
    item.TextValue = value
    return item


def report(sources: list[Dataset], now: datetime) -> Dataset:
    """Return the report on the instances of one study."""
    first, result = sources[0], Dataset()
    if "SpecificCharacterSet" in first:
        result.SpecificCharacterSet = first.SpecificCharacterSet
    for keyword in (*PATIENT, *STUDY):
        setattr(result, keyword, first.get(keyword, ""))
    result.StudyInstanceUID = first.StudyInstanceUID
    names = sorted(source.SOPInstanceUID for source in sources)
    result.SeriesInstanceUID = generate_uid(entropy_srcs=["report series", *names])
    result.SOPInstanceUID = generate_uid(entropy_srcs=["report", *names])
    result.SOPClassUID = BasicTextSRStorage
    result.Modality, result.SeriesNumber, result.InstanceNumber = "SR", "1", "1"
    result.ReferencedPerformedProcedureStepSequence = []
    result.Manufacturer = ""
    result.CompletionFlag, result.VerificationFlag = "COMPLETE", "UNVERIFIED"
    result.ContentDate, result.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    result.TimezoneOffsetFromUTC = "+0000"
    result.PerformedProcedureCodeSequence = []
    result.CurrentRequestedProcedureEvidenceSequence = [evidence(sources)]
    result.ValueType, result.ContinuityOfContent = "CONTAINER", "SEPARATE"
    result.ConceptNameCodeSequence = [code("11528-7", "LN", "Radiology Report")]
    modalities = ", ".join(sorted({source.get("Modality", "") or "none" for source in sources}))
    series = len(evidence(sources).ReferencedSeriesSequence)
    result.ContentSequence = [
        text(
            code("121071", "DCM", "Finding"),
            f"{len(sources)} instances in {series} series; modalities: {modalities}",
        )
    ]
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return result


def studies(files: Iterable[Path]) -> list[list[Dataset]]:
    """Return what is needed of the files, by study."""
    found: dict[str, list[Dataset]] = {}
    for file in files:
        source = dcmread(file, stop_before_pixels=True, specific_tags=WANTED)
        found.setdefault(source.StudyInstanceUID, []).append(source)
    return list(found.values())


def main() -> None:
    """Read the input folder, write the output folder."""
    output = Path(os.environ["DICOM_ADAPTER_OUTPUT"])
    files = sorted(Path(os.environ["DICOM_ADAPTER_INPUT"]).rglob("*.dcm"))
    for number, sources in enumerate(studies(files)):
        path = output / f"report-{number}.dcm"
        report(sources, datetime.now(UTC)).save_as(path, enforce_file_format=True)
        print(f"{path.name}: {len(sources)} instances")


if __name__ == "__main__":
    main()
