"""Uncompressed copies: the same instance, the same pixels, and no loss forgotten."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from adapter.protocols.dimse.part10 import describe
from adapter.protocols.dimse.user_information import OUR_CLASS_UID
from adapter.protocols.transcoding.copies import NotMadeError
from adapter.protocols.transcoding.decoding import transcode

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
COMPRESSED = {
    "RLE": "MR_small_RLE.dcm",
    "RLE in colour, several frames": "SC_rgb_rle_2frame.dcm",
    "JPEG": "SC_rgb_jpeg_dcmtk.dcm",
    "JPEG 2000": "JPEG2000.dcm",
    "JPEG 2000 without loss": "MR_small_jp2klossless.dcm",
}


def stored(name):
    path = str(get_testdata_file(name))
    return path, dcmread(path)


def check_copy(tmp_path, name, syntax):
    path, before = stored(name)
    transcode(path, str(tmp_path / "copy"), syntax)
    after = dcmread(tmp_path / "copy")
    described = describe(str(tmp_path / "copy"))
    assert described.sop_instance_uid == before.SOPInstanceUID
    assert described.transfer_syntax_uid == syntax
    assert after.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID
    assert after.file_meta.ImplementationClassUID == OUR_CLASS_UID
    assert after.preamble == bytes(128)
    assert np.array_equal(after.pixel_array, before.pixel_array)
    changed = ("PixelData", "PhotometricInterpretation", "LossyImageCompression")
    for element in before:
        # Implicit VR leaves the VR of a private element to who reads it.
        if element.keyword not in changed and not element.is_private:
            assert after[element.tag].value == element.value, element.keyword
    return before, after


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("kind", COMPRESSED)
def test_copy_is_the_same_instance_with_the_same_pixels(tmp_path, kind, syntax):
    check_copy(tmp_path, COMPRESSED[kind], syntax)


def test_copy_of_jpeg_ls(tmp_path):
    pytest.importorskip("gdcm", exc_type=ImportError)
    check_copy(tmp_path, "JPEGLSNearLossless_08.dcm", EXPLICIT)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "image_dfl.dcm"])
def test_value_representations_are_made_explicit_or_implicit(tmp_path, name, syntax):
    path, before = stored(name)
    transcode(path, str(tmp_path / "copy"), syntax)
    after = dcmread(tmp_path / "copy")
    assert after.PixelData == before.PixelData
    assert {element.tag for element in after} == {element.tag for element in before}


def test_loss_stays_on_record(tmp_path):
    _, after = check_copy(tmp_path, "SC_rgb_jpeg_dcmtk.dcm", EXPLICIT)
    assert after.LossyImageCompression == "01"


def test_loss_that_was_not_on_record_is_put_there(tmp_path):
    path, data_set = stored("SC_rgb_jpeg_dcmtk.dcm")
    if "LossyImageCompression" in data_set:
        del data_set.LossyImageCompression
    data_set.save_as(tmp_path / "source")
    transcode(str(tmp_path / "source"), str(tmp_path / "copy"), EXPLICIT)
    assert dcmread(tmp_path / "copy").LossyImageCompression == "01"
    path, _ = stored("MR_small_jp2klossless.dcm")
    transcode(path, str(tmp_path / "copy"), EXPLICIT)
    assert "LossyImageCompression" not in dcmread(tmp_path / "copy")


def test_big_endian_is_left_alone(tmp_path):
    path, _ = stored("MR_small_bigendian.dcm")
    with pytest.raises(NotMadeError, match="Big Endian"):
        transcode(path, str(tmp_path / "copy"), EXPLICIT)


def test_compressed_without_pixels_is_told(tmp_path):
    _, data_set = stored("MR_small_RLE.dcm")
    del data_set.PixelData
    data_set.save_as(tmp_path / "source")
    with pytest.raises(NotMadeError, match="no Pixel Data"):
        transcode(str(tmp_path / "source"), str(tmp_path / "copy"), EXPLICIT)


def test_video_is_told_to_have_no_decoder(tmp_path):
    _, data_set = stored("MR_small_RLE.dcm")
    data_set.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4 AVC
    data_set.save_as(tmp_path / "source")
    with pytest.raises(NotMadeError, match="no decoder is known"):
        transcode(str(tmp_path / "source"), str(tmp_path / "copy"), EXPLICIT)
