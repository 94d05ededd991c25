"""Results in an output folder: what counts, what is skipped, and what is said about a file."""

from pathlib import Path

import pydicom
import pytest
import trio
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from adapter.errors import UnavailableError
from adapter.protocols.dimse.file_meta import NotPart10Error
from adapter.protocols.dimse.part10 import READ_BYTES, describe
from adapter.protocols.results.folder import FolderResults

SC = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT = "1.2.840.10008.1.2.1"
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def write(path, uid="1.2.3", *, meta_uid=None, sop_class=SC, pixels=b"\0\0", private=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset()
    if private:
        dataset.add_new(0x00080005, "CS", "ISO_IR 100")
    if uid:
        dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = SC
    dataset.file_meta.MediaStorageSOPInstanceUID = meta_uid or uid
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "job-1" / "output"
    folder.mkdir(parents=True)
    return folder


def source(tmp_path):
    return FolderResults(tmp_path, trio.CapacityLimiter(1))


async def test_instances_are_found_in_all_folders_in_order(tmp_path, output):
    for name in ("b.dcm", "a.dcm", "deep/er/c", "deep/d.dcm"):
        write(output / name, f"1.2.{len(name)}")
    results = await source(tmp_path).results("job-1")
    assert list(results.files) == ["a.dcm", "b.dcm", "deep/d.dcm", "deep/er/c"]
    assert results.skipped == []


async def test_instance_is_described(tmp_path, output):
    write(output / "a.dcm", "1.2.3")
    (result,) = (await source(tmp_path).results("job-1")).files.values()
    assert (result.sop_class_uid, result.sop_instance_uid) == (SC, "1.2.3")
    assert result.transfer_syntax_uid == EXPLICIT
    content = (output / "a.dcm").read_bytes()
    assert result.path == str(output / "a.dcm")
    assert result.data_set_bytes == len(content) - result.data_set_offset
    assert content[result.data_set_offset :][:4] == b"\x08\0\x16\0"


async def test_anything_else_is_skipped_and_left_alone(tmp_path, output):
    write(output / "a.dcm")
    (output / "report.json").write_text("{}")
    (output / "empty").write_bytes(b"")
    (output / "half.dcm").write_bytes((output / "a.dcm").read_bytes()[:200])
    (output / "deep").mkdir()
    (output / "deep" / "job.done").write_bytes(b"")
    results = await source(tmp_path).results("job-1")
    assert sorted(results.skipped) == ["deep/job.done", "empty", "half.dcm", "report.json"]
    assert list(results.files) == ["a.dcm"]
    assert (output / "report.json").read_text() == "{}"


async def test_flag_is_neither_a_result_nor_skipped(tmp_path, output):
    (output / "job.done").write_bytes(b"")
    results = await source(tmp_path).results("job-1")
    assert (results.files, results.skipped) == ({}, [])


async def test_link_is_skipped(tmp_path, output):
    write(tmp_path / "outside.dcm")
    (output / "link.dcm").symlink_to(tmp_path / "outside.dcm")
    (output / "folder").symlink_to(tmp_path)
    results = await source(tmp_path).results("job-1")
    assert results.files == {}
    assert "link.dcm" in results.skipped


async def test_directory_of_a_medium_is_skipped(tmp_path, output):
    (output / "DICOMDIR").write_bytes((TEST_FILES / "dicomdirtests" / "DICOMDIR").read_bytes())
    results = await source(tmp_path).results("job-1")
    assert results.skipped == ["DICOMDIR"]


async def test_folder_that_cannot_be_read_is_unavailable_not_empty(tmp_path, output):
    """A disk that fails for a moment must not make a job without results."""
    output.rmdir()
    output.symlink_to(output)  # reading it fails with ELOOP, also for root
    with pytest.raises(UnavailableError):
        await source(tmp_path).results("job-1")


# --- one file


def test_data_set_counts_where_the_meta_information_differs(tmp_path):
    write(tmp_path / "a.dcm", "1.2.3", meta_uid="1.2.9")
    assert describe(str(tmp_path / "a.dcm")).sop_instance_uid == "1.2.3"


def test_meta_information_counts_where_the_data_set_is_silent(tmp_path):
    write(tmp_path / "a.dcm", "", meta_uid="1.2.9")
    described = describe(str(tmp_path / "a.dcm"))
    assert (described.sop_class_uid, described.sop_instance_uid) == (SC, "1.2.9")


def test_long_file_is_described_by_its_start(tmp_path):
    write(tmp_path / "a.dcm", "1.2.3", pixels=bytes(4 * READ_BYTES))
    assert describe(str(tmp_path / "a.dcm")).sop_instance_uid == "1.2.3"


def test_file_without_a_data_set_is_no_result(tmp_path):
    write(tmp_path / "a.dcm")
    offset = describe(str(tmp_path / "a.dcm")).data_set_offset
    (tmp_path / "b.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:offset])
    with pytest.raises(NotPart10Error, match="no data set"):
        describe(str(tmp_path / "b.dcm"))


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "image_dfl.dcm",
        "JPEG2000.dcm",
    ],
)
def test_files_of_pydicom_are_described_as_pydicom_reads_them(name):
    dataset = pydicom.dcmread(TEST_FILES / name, stop_before_pixels=True)
    described = describe(str(TEST_FILES / name))
    assert described.sop_class_uid == dataset.SOPClassUID
    assert described.sop_instance_uid == dataset.SOPInstanceUID
    assert described.transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID
