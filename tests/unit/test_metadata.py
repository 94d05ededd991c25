"""Clara's metadata: names, numbering, what is cut, and how files are read."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from adapter.domain.metadata import METADATA_TAGS, VALUE_LENGTH_MAX, VALUES_MAX, MetadataValues
from adapter.protocols.dimse.file_meta import FileMetaWriter
from adapter.protocols.dimse.stored_attributes import StoredAttributes

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT, DEFLATED, BIG = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
)  # fmt: skip


def collected(*instances):
    values = MetadataValues()
    for attributes in instances:
        values.add(attributes.items())
    return values.metadata()


def write(path, elements, syntax=EXPLICIT):
    """Write an instance with these elements as this program would store it."""
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = CT, "1.2.3"
    for keyword, value in elements.items():
        setattr(data_set, keyword, value)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax != BIG, syntax == IMPLICIT
    write_dataset(buffer, data_set)
    encoded = buffer.getvalue()
    if syntax == DEFLATED:
        deflate = zlib.compressobj(wbits=-15)
        encoded = deflate.compress(encoded) + deflate.flush()
    path.write_bytes(FileMetaWriter(CT, syntax, "CT1").encode("1.2.3") + encoded)
    return path


def test_value_all_instances_agree_on_has_the_plain_name():
    assert collected({"00080060": "CT"}, {"00080060": "CT"}, {}) == {"00080060": "CT"}


def test_different_values_are_numbered_in_the_order_found():
    found = collected({"0008103E": "b"}, {"0008103E": "a"}, {"0008103E": "b"})
    assert found == {"0008103E-0": "b", "0008103E-1": "a"}


def test_blank_values_do_not_count():
    assert collected({"00100020": " \0"}, {"00100020": "7 "}) == {"00100020": "7"}
    assert collected({"00100020": ""}) == {}


@given(st.lists(st.text(max_size=400), max_size=2 * VALUES_MAX))
def test_metadata_is_bounded_whatever_the_instances_say(texts):
    found = collected(*({"00080060": text} for text in texts))
    assert len(found) <= VALUES_MAX
    assert all(0 < len(value) <= VALUE_LENGTH_MAX for value in found.values())


def test_only_so_many_values_are_kept():
    found = collected(*({"00080060": str(n)} for n in range(VALUES_MAX + 1)))
    assert len(found) == VALUES_MAX


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, DEFLATED, BIG])
def test_attributes_are_read_in_every_encoding(tmp_path, syntax):
    path = write(
        tmp_path / "a.dcm",
        {"PatientID": "P1", "StudyDescription": "Head ", "ImageType": ["A", "B"]},
        syntax,
    )
    read = StoredAttributes(["0010,0020", "0008,1030", "0008,0008", "0010,0030"])
    assert read(path) == {
        "00100020": "P1", "00081030": "Head", "00080008": "A\\B",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("character_set", "text"),
    [
        ("ISO_IR 192", "Kopf \u00fcber \u808c"),
        ("ISO_IR 100", "Kopf \u00fcber"),
        (["", "ISO 2022 IR 87"], "\u5c71\u7530"),
    ],
)
def test_text_is_decoded_by_its_character_set(tmp_path, character_set, text):
    elements = {"SpecificCharacterSet": character_set, "StudyDescription": text}
    read = StoredAttributes(["0008,1030"])
    assert read(write(tmp_path / "a.dcm", elements)) == {"00081030": text}


@pytest.mark.parametrize("character_set", ["NONSENSE", ["", "NONSENSE"]])
def test_unknown_character_set_still_gives_text(tmp_path, character_set):
    path = write(tmp_path / "a.dcm", {"StudyDescription": "Kopf"})
    raw = path.read_bytes()
    names = character_set if isinstance(character_set, str) else "\\".join(character_set)
    value = names.encode() + b" " * (len(names) % 2)
    element = b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value
    head = FileMetaWriter(CT, EXPLICIT, "CT1").encode("1.2.3")
    path.write_bytes(head + element + raw[len(head) :])
    assert StoredAttributes(["0008,1030"])(path) == {"00081030": "Kopf"}


def test_tag_that_is_no_text_is_not_read(tmp_path):
    path = write(tmp_path / "a.dcm", {"PatientID": "P1"})
    assert StoredAttributes(["7FE0,0010", "0008,1140", "0028,0010"])(path) == {}


@pytest.mark.parametrize(
    "content", [b"", b"no DICOM", bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\2" * 400]
)
def test_file_that_is_no_instance_says_nothing(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    assert StoredAttributes(METADATA_TAGS)(str(tmp_path / "a.dcm")) == {}


def test_instance_that_breaks_off_says_what_came_before(tmp_path):
    path = write(tmp_path / "a.dcm", {"Modality": "CT", "PatientID": "P1", "StudyID": "S" * 16})
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    found = StoredAttributes(["0008,0060", "0010,0020", "0020,0010"])(path)
    assert found == {"00080060": "CT", "00100020": "P1"}


def test_deflate_bomb_costs_no_memory(tmp_path):
    """Behind the first MiB nothing is looked at, inflated or not (reads stay bounded)."""
    deflate = zlib.compressobj(wbits=-15)
    encoded = b"\x08\x00\x60\x00CS\2\0CT" + b"\x09\x00\x10\x00UT\0\0\xff\xff\xff\x7f"
    encoded = deflate.compress(encoded)
    for _ in range(64):
        encoded += deflate.compress(bytes(1 << 20))
    encoded += deflate.flush()
    head = FileMetaWriter(CT, DEFLATED, "CT1").encode("1.2.3")
    (tmp_path / "a.dcm").write_bytes(head + encoded)
    read = StoredAttributes(["0008,0060", "0010,0020"])
    assert read(str(tmp_path / "a.dcm")) == {"00080060": "CT"}


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "image_dfl.dcm", "rtplan.dcm"])
def test_real_files_say_what_pydicom_reads(name):
    path = str(get_testdata_file(name))
    whole = dcmread(path)
    expected = {}
    for tag in METADATA_TAGS:
        number = int(tag.replace(",", ""), 16)
        if number in whole and whole[number].value not in ("", None):
            expected[f"{number:08X}"] = str(whole[number].value)
    found = {key: value for key, value in StoredAttributes(METADATA_TAGS)(path).items() if value}
    assert found == expected
