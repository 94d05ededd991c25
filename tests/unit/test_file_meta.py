"""File Meta Information, written for pydicom to read and read as pydicom reads it."""

import warnings
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_preamble

from adapter.protocols.dimse.file_meta import (
    FileMeta,
    FileMetaWriter,
    NotPart10Error,
    read_file_meta,
)
from adapter.protocols.dimse.user_information import OUR_CLASS_UID, OUR_VERSION_NAME

CT, JPEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.50"
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def written(uid="1.2.3", calling="CT1"):
    return FileMetaWriter(CT, JPEG, calling).encode(uid)


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
@pytest.mark.parametrize("calling", ["CT1", "MR SCANNER"])
def test_pydicom_reads_what_is_written(uid, calling):
    meta = pydicom.dcmread(BytesIO(written(uid, calling))).file_meta
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == CT
    assert meta.MediaStorageSOPInstanceUID == uid
    assert meta.TransferSyntaxUID == JPEG
    assert meta.ImplementationClassUID == OUR_CLASS_UID
    assert meta.ImplementationVersionName == OUR_VERSION_NAME
    assert meta.SourceApplicationEntityTitle == calling


def test_pydicom_would_write_the_same():
    dataset = pydicom.dcmread(BytesIO(written()))
    again = BytesIO()
    pydicom.filewriter.write_file_meta_info(again, dataset.file_meta)
    assert written()[132:] == again.getvalue()


def test_preamble_is_zero():
    assert written()[:132] == bytes(128) + b"DICM"


def test_group_length_counts_what_follows_it():
    encoded = written()
    assert int.from_bytes(encoded[140:144], "little") == len(encoded) - 144


def test_written_meta_is_read_back():
    assert read_file_meta(written() + b"\x08\0\5\0CS\0\0") == FileMeta(
        CT, "1.2.3", JPEG, len(written())
    )


def test_implementation_identifiers_obey_the_standard():
    assert len(OUR_CLASS_UID) <= 64
    assert int(OUR_CLASS_UID.removeprefix("2.25.")) < 1 << 128  # PS3.5 B.2
    assert len(OUR_VERSION_NAME) <= 16


def test_meta_of_pydicoms_files_is_read_as_pydicom_reads_it():
    wrong, checked = [], 0
    for path in sorted(TEST_FILES.rglob("*.dcm")):
        raw = path.read_bytes()
        stream = BytesIO(raw)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read_preamble(stream, force=False)
                meta = _read_file_meta_info(stream)
        except (InvalidDicomError, EOFError):
            continue
        if not meta.get("TransferSyntaxUID"):
            continue
        expected = FileMeta(
            str(meta.get("MediaStorageSOPClassUID", "")),
            str(meta.get("MediaStorageSOPInstanceUID", "")),
            str(meta.TransferSyntaxUID),
            stream.tell(),
        )
        checked += 1
        if read_file_meta(raw) != expected:
            wrong.append(path.name)
    assert wrong == []
    assert checked > 50


def test_group_length_that_lies_is_not_believed():
    encoded = bytearray(written())
    encoded[140:144] = (9999).to_bytes(4, "little")
    assert read_file_meta(bytes(encoded) + bytes(8)).data_set_offset == len(encoded)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        bytes(200),
        b"DICM" * 40,
        written()[:132],
        written()[:200],
        bytes(128) + b"DICM" + b"\x02\0\x10\0UI\xff\xff1.2",
        bytes(128) + b"DICM" + b"\x02\0\x02\0UI\x04\x001.2\0",
        bytes(128) + b"DICM" + b"\x02\0\x10\0UI\x04\x00ABCD",
    ],
)
def test_file_without_usable_meta_is_not_part_10(head):
    with pytest.raises(NotPart10Error):
        read_file_meta(head)


@settings(max_examples=150)
@given(
    st.binary(max_size=60),
    st.lists(st.tuples(st.integers(132, 400), st.integers(0, 255)), max_size=4),
)
def test_damaged_meta_is_refused_or_ends_inside_the_file(tail, damage):
    raw = bytearray(written() + tail)
    for place, value in damage:
        raw[place % len(raw)] = value
    try:
        meta = read_file_meta(bytes(raw))
    except NotPart10Error:
        return
    assert 132 < meta.data_set_offset <= len(raw)
