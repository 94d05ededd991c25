"""The head scan against pydicom: the same values, whatever the pieces and the transfer syntax."""

import functools
import itertools
import tracemalloc
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import AllTransferSyntaxes

from adapter.protocols.dimse.elements import NESTING_MAX, Layout, MalformedDataSetError
from adapter.protocols.dimse.head import (
    HEAD_BYTES_MAX,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Head,
)

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG, DEFLATED, JPEG = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"
WANTED = frozenset((SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID))
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


@functools.cache
def instances():
    """Return (name, transfer syntax, values by pydicom, data set) of pydicom's own files."""
    found = []
    for path in sorted(TEST_FILES.rglob("*.dcm")):
        raw = path.read_bytes()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = pydicom.dcmread(BytesIO(raw), stop_before_pixels=True)
                stream = BytesIO(raw)
                read_preamble(stream, force=False)
                _read_file_meta_info(stream)
                values = {tag: str(dataset[tag].value) for tag in WANTED if tag in dataset}
        except (InvalidDicomError, EOFError):
            continue
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if syntax and SOP_INSTANCE_UID in values:
            found.append((str(path.name), str(syntax), values, raw[stream.tell() :]))
    return found


def scanned(data, syntax, size=1 << 30, wanted=WANTED):
    """Return the values a head finds in a data set that arrives in pieces of this size."""
    head = Head(Layout(syntax, wanted))
    for start in range(0, max(len(data), 1), size):
        piece = data[start : start + size]
        head.feed(memoryview(piece), last=start + size >= len(data))
        if head.complete:
            break
    assert head.complete
    return head.values


def only_values(values):
    return {tag: value for tag, value in values.items() if value}


def test_pydicoms_files_cover_the_transfer_syntaxes_that_matter():
    syntaxes = {syntax for _, syntax, _, _ in instances()}
    assert {IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG} <= syntaxes
    assert len(instances()) > 50


def test_values_are_those_of_pydicom_for_all_its_files():
    wrong = [
        name
        for name, syntax, values, data in instances()
        if only_values(scanned(data, syntax)) != only_values(values)
    ]
    assert wrong == []


@pytest.mark.parametrize("size", [7, 64, 1000, 16384])
def test_pieces_make_no_difference_for_pydicoms_files(size):
    wrong = [
        name
        for name, syntax, values, data in instances()
        if only_values(scanned(data, syntax, size)) != only_values(values)
    ]
    assert wrong == []


def nested(depth):
    inner = Dataset()
    inner.CodeValue = "T-A0100"
    if depth:
        inner.ConceptCodeSequence = Sequence([nested(depth - 1), nested(0)])
        inner["ConceptCodeSequence"].is_undefined_length = bool(depth % 2)
        for item in inner.ConceptCodeSequence:
            item.is_undefined_length_sequence_item = depth % 3 != 0
    return inner


def sample():
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5"
    dataset.StudyDate, dataset.Modality = "20260101", "CT"
    dataset.ProcedureCodeSequence = Sequence([nested(3), nested(0)])
    dataset["ProcedureCodeSequence"].is_undefined_length = True
    dataset.ReferencedImageSequence = Sequence([])
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "4711"
    dataset.add_new(0x00190010, "LO", "PRIVATE")
    dataset.add_new(0x00191001, "UN", b"\1\2\3\4")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.44"
    dataset.Rows = dataset.Columns = 2
    dataset.PixelData = bytes(8)
    dataset["PixelData"].VR = "OW"
    return dataset


EXPECTED = {
    SOP_CLASS_UID: "1.2.840.10008.5.1.4.1.1.2",
    SOP_INSTANCE_UID: "1.2.3.4.5",
    STUDY_INSTANCE_UID: "1.2.3.4",
    SERIES_INSTANCE_UID: "1.2.3.44",
}


def by_pydicom(dataset, syntax):
    stream = DicomBytesIO()
    stream.is_implicit_VR = syntax == IMPLICIT
    stream.is_little_endian = syntax != BIG
    write_dataset(stream, dataset)
    return stream.getvalue()


@functools.cache
def encoded(syntax):
    """Return the sample, written by pydicom in this transfer syntax."""
    raw = by_pydicom(sample(), syntax)
    if syntax == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        raw = deflater.compress(raw) + deflater.flush()
    return raw


@pytest.mark.parametrize("syntax", [str(uid) for uid in AllTransferSyntaxes])
def test_values_are_found_in_every_transfer_syntax(syntax):
    assert scanned(encoded(syntax), syntax) == EXPECTED


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG])
def test_pieces_of_every_size_make_no_difference(syntax):
    data = encoded(syntax)
    wrong = [size for size in range(1, len(data) + 1) if scanned(data, syntax, size) != EXPECTED]
    assert wrong == []


@settings(max_examples=60)
@given(
    st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED]), st.lists(st.integers(0, 400), max_size=5)
)
def test_any_two_pieces_make_no_difference(syntax, cuts):
    data = encoded(syntax)
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    head = Head(Layout(syntax, WANTED))
    for start, end in itertools.pairwise(places):
        head.feed(memoryview(data)[start:end], last=end == len(data))
    assert head.values == EXPECTED


def test_fragment_without_bytes_is_no_end():
    head = Head(Layout(EXPLICIT, WANTED))
    head.feed(memoryview(b""), last=False)
    assert not head.complete
    head.feed(memoryview(encoded(EXPLICIT)), last=True)
    assert head.values == EXPECTED


def test_scan_ends_behind_the_last_wanted_attribute():
    head = Head(Layout(EXPLICIT, frozenset((SOP_CLASS_UID,))))
    head.feed(memoryview(encoded(EXPLICIT)[:120]), last=False)
    assert head.complete
    assert head.values == {SOP_CLASS_UID: EXPECTED[SOP_CLASS_UID]}


def test_implicit_vr_in_an_encapsulated_syntax_is_read():
    assert scanned(encoded(IMPLICIT), JPEG) == EXPECTED


def test_missing_attributes_are_absent():
    dataset = Dataset()
    dataset.SOPInstanceUID = "1.2"
    assert scanned(by_pydicom(dataset, EXPLICIT), EXPLICIT) == {SOP_INSTANCE_UID: "1.2"}


def test_undefined_length_un_is_skipped_as_implicit_vr():
    """PS3.5 6.2.2: a UN of undefined length is an Implicit VR Little Endian sequence."""
    item = b"\x08\0\x00\x01\x02\0\0\0AB"
    unknown = (
        b"\x09\0\x01\x10UN\0\0\xff\xff\xff\xff"
         b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + item + b"\xfe\xff\x0d\xe0\0\0\0\0"
        + b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item
        + b"\xfe\xff\xdd\xe0\0\0\0\0"
    )  # fmt: skip
    study = b"\x20\0\x0d\0UI\x04\0" + b"1.2\0"
    assert scanned(unknown + study, EXPLICIT, 1) == {STUDY_INSTANCE_UID: "1.2"}


def test_data_set_that_ends_inside_an_element_is_malformed():
    data = encoded(EXPLICIT)[:100]
    with pytest.raises(MalformedDataSetError):
        scanned(data, EXPLICIT)


@pytest.mark.parametrize("group", [0x0000, 0x0002, 0x0004, 0x0007])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_group_that_is_not_for_data_sets_is_malformed(group, syntax):
    data = group.to_bytes(2, "little") + b"\0\0UL\4\0\0\0\0\0"
    with pytest.raises(MalformedDataSetError):
        scanned(data, syntax)


def test_nesting_is_followed_to_a_limit():
    level = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(MalformedDataSetError, match="nested deeper"):
        scanned(level * (NESTING_MAX + 2), EXPLICIT)


def test_nesting_to_the_limit_is_read():
    level = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    study = b"\x20\0\x0d\0UI\x04\0" + b"1.2\0"
    data = level * (NESTING_MAX - 1) + end * (NESTING_MAX - 1) + study
    assert scanned(data, EXPLICIT) == {STUDY_INSTANCE_UID: "1.2"}


def test_search_ends_at_its_limit():
    long = b"\x09\0\x01\x10OB\0\0" + (2 * HEAD_BYTES_MAX).to_bytes(4, "little")
    class_uid = b"\x08\0\x16\0UI\x04\x001.2\0"
    head = Head(Layout(EXPLICIT, WANTED))
    head.feed(memoryview(class_uid + long), last=False)
    piece = memoryview(bytes(HEAD_BYTES_MAX // 4))
    for _ in range(4):
        assert not head.complete
        head.feed(piece, last=False)
    assert head.complete
    assert head.values == {SOP_CLASS_UID: "1.2"}


def test_deflated_bomb_is_inflated_to_the_limit_only():
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    start = b"\x09\0\x01\x10OB\0\0" + (1 << 30).to_bytes(4, "little")
    bomb = deflater.compress(start + bytes(8 * HEAD_BYTES_MAX)) + deflater.flush()
    assert len(bomb) < 20_000
    tracemalloc.start()
    with pytest.raises(MalformedDataSetError, match="no UID in the first MiB"):
        Head(Layout(DEFLATED, WANTED)).feed(memoryview(bomb), last=False)
    assert tracemalloc.get_traced_memory()[1] < 5 * HEAD_BYTES_MAX
    tracemalloc.stop()


@pytest.mark.parametrize("place", range(0, 60, 3))
def test_broken_deflate_is_judged_the_same_in_any_pieces(place):
    """What comes out before the break counts, also if the break came in the same fragment."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    values = b"".join(
        tag.to_bytes(2, "little") + number.to_bytes(2, "little") + b"UI\4\0" + b"1.23"
        for tag, number in ((8, 0x16), (8, 0x18), (0x20, 0xD), (0x20, 0xE), (0x28, 2), (0x28, 4))
    )
    raw = bytearray(deflater.compress(values) + deflater.flush())
    raw[place % len(raw)] ^= 0x55

    def judged(size):
        try:
            return scanned(bytes(raw), DEFLATED, size)
        except MalformedDataSetError:
            return None

    assert judged(1) == judged(7) == judged(1000)


def test_broken_deflate_is_malformed():
    with pytest.raises(MalformedDataSetError):
        scanned(b"\xff" * 50, DEFLATED)


@settings(max_examples=200)
@given(
    st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG]),
    st.binary(max_size=120),
    st.integers(1, 50),
)
def test_noise_is_malformed_or_has_values(syntax, noise, size):
    try:
        values = scanned(noise, syntax, size)
    except MalformedDataSetError:
        return
    assert set(values) <= WANTED


@settings(max_examples=150)
@given(
    st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(1, 300),
)
def test_damaged_data_set_is_malformed_or_has_values(syntax, damage, size):
    raw = bytearray(encoded(syntax))
    for place, value in damage:
        raw[place % len(raw)] = value
    try:
        values = scanned(bytes(raw), syntax, size)
    except MalformedDataSetError:
        return
    assert set(values) <= WANTED


def test_what_was_received_before_makes_no_difference():
    """An element behind the last one wanted ends the scan, also when its like was met before."""

    def element(tag, value):
        group, number = (tag >> 16).to_bytes(2, "little"), (tag & 0xFFFF).to_bytes(2, "little")
        return group + number + b"UI" + len(value).to_bytes(2, "little") + value

    layout = Layout(EXPLICIT, WANTED)
    behind = element(0x00280010, b"1.23")
    Head(layout).feed(memoryview(element(0x00080005, b"1.23") + behind), last=True)
    second = Head(layout)
    second.feed(memoryview(element(SOP_INSTANCE_UID, b"1.2.") + behind[:-2]), last=True)
    assert second.complete
    assert second.values == {SOP_INSTANCE_UID: "1.2."}
