"""Pictures: what is seen is what the instance says is to be seen."""

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from adapter.protocols.transcoding.copies import NotMadeError, WantedPicture
from adapter.protocols.transcoding.pictures import draw

KINDS = {
    "explicit VR": ("CT_small.dcm", "L", (128, 128)),
    "implicit VR": ("MR_small_implicit.dcm", "L", (64, 64)),
    "big endian": ("MR_small_bigendian.dcm", "L", (64, 64)),
    "deflated": ("image_dfl.dcm", "L", (512, 512)),
    "RLE": ("MR_small_RLE.dcm", "L", (64, 64)),
    "RLE in colour, several frames": ("SC_rgb_rle_2frame.dcm", "RGB", (100, 100)),
    "planes": ("ExplVR_BigEnd.dcm", "RGB", (80, 60)),
    "JPEG": ("SC_rgb_jpeg_dcmtk.dcm", "RGB", (100, 100)),
    "JPEG 2000": ("JPEG2000.dcm", "L", (256, 1024)),
    "JPEG 2000 without loss": ("MR_small_jp2klossless.dcm", "L", (64, 64)),
    "colour of 16 bits": ("SC_rgb_rle_16bit.dcm", "RGB", (100, 100)),
    "palette": ("examples_palette.dcm", "RGB", (800, 350)),
    "32 bits": ("rtdose.dcm", "L", (10, 10)),
    "colour of half the resolution": ("SC_ybr_full_422_uncompressed.dcm", "RGB", (100, 100)),
    "one bit": ("liver_1frame.dcm", "L", (512, 512)),
}


def drawn(source, tmp_path, side_max=1024, pixels_max=10**7):
    target = tmp_path / "picture"
    draw(WantedPicture(source=str(source), target=str(target), side_max=side_max,
                       pixels_max=pixels_max))  # fmt: skip
    with Image.open(target, formats=["PNG"]) as picture:
        picture.load()
        return picture


def written(path, pixels, **more):
    """Write a grey image of 16 bits."""
    data_set = dcmread(get_testdata_file("CT_small.dcm"))
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        if keyword in data_set:
            del data_set[keyword]
    frames = np.asarray(pixels, dtype=np.uint16)
    data_set.NumberOfFrames = len(frames)
    data_set.Rows, data_set.Columns = frames.shape[1:]
    data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 16, 15, 0
    data_set.PixelData = frames.tobytes()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in more.items():
        setattr(data_set, keyword, value)
    data_set.save_as(path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_picture_of_each_kind_shows_something(tmp_path, kind):
    name, mode, size = KINDS[kind]
    picture = drawn(get_testdata_file(name), tmp_path)
    assert (picture.mode, picture.size) == (mode, size)
    assert len(picture.getcolors(1 << 24)) > 1


def test_window_decides_what_is_black_and_white(tmp_path):
    ramp = [[[0, 400, 500, 600, 60_000]]]
    source = written(tmp_path / "a", ramp, WindowCenter=500, WindowWidth=200)
    values = np.asarray(drawn(source, tmp_path))[0]
    assert (values[0], values[1], values[3], values[4]) == (0, 0, 255, 255)
    assert 120 < values[2] < 136


def test_window_is_one_of_rescaled_values(tmp_path):
    ramp = [[[0, 500, 1000]]]
    source = written(tmp_path / "a", ramp, WindowCenter=-500, WindowWidth=10, RescaleSlope=1,
                     RescaleIntercept=-1000)  # fmt: skip
    values = np.asarray(drawn(source, tmp_path))[0]
    assert (values[0], values[2]) == (0, 255)
    assert 100 < values[1] < 156


def test_without_a_window_all_values_are_seen(tmp_path):
    values = np.asarray(drawn(written(tmp_path / "a", [[[7, 8, 9]]]), tmp_path))[0]
    assert list(values) == [0, 127, 255]


def test_table_of_values_is_followed(tmp_path):
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [3, 0, 8], [255, 0, 128]
    for element in (table["LUTDescriptor"], table["LUTData"]):
        element.VR = "US"
    source = written(tmp_path / "a", [[[0, 1, 2]]], VOILUTSequence=Sequence([table]))
    assert list(np.asarray(drawn(source, tmp_path))[0]) == [255, 0, 128]


def test_small_values_may_be_white(tmp_path):
    source = written(tmp_path / "a", [[[0, 9]]], PhotometricInterpretation="MONOCHROME1")
    assert list(np.asarray(drawn(source, tmp_path))[0]) == [255, 0]


def test_frame_in_the_middle_is_shown_in_its_own_window(tmp_path):
    groups = []
    for centre in (0, 500, 0):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 2
        group.FrameVOILUTSequence = Sequence([window])
        groups.append(group)
    source = written(tmp_path / "a", [[[0, 0]], [[400, 600]], [[0, 0]]],
                     PerFrameFunctionalGroupsSequence=Sequence(groups))  # fmt: skip
    assert list(np.asarray(drawn(source, tmp_path))[0]) == [0, 255]


def test_large_image_becomes_a_small_picture(tmp_path):
    source = written(tmp_path / "a", np.arange(3000 * 1000).reshape(1, 3000, 1000) % 60_000)
    assert drawn(source, tmp_path, side_max=256).size == (85, 256)


def test_frame_of_too_many_pixels_is_refused_before_it_is_read(tmp_path):
    source = written(tmp_path / "a", [[[0, 0]]], Rows=60_000, Columns=60_000)
    with pytest.raises(NotMadeError, match="3600000000 pixels; 10000000 are allowed") as caught:
        drawn(source, tmp_path)
    assert caught.value.why == "size"


@pytest.mark.parametrize("name", ["rtplan.dcm", "reportsi.dcm", "waveform_ecg.dcm"])
def test_what_is_no_image_has_no_picture(tmp_path, name):
    with pytest.raises(NotMadeError, match="no pixels") as caught:
        drawn(get_testdata_file(name), tmp_path)
    assert caught.value.why == "form"
