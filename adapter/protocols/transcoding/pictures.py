"""Draws a picture of an instance, to be looked at in passing; runs in a process of its own.

It is a thumbnail and no image for diagnosis: of several frames the middle one, in the first window
of the instance (PS3.3 C.11.2), without overlays and presentation states.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from adapter.protocols.transcoding.copies import NotMadeError, WantedPicture
from adapter.protocols.transcoding.decoding import check_decoder

Pixels = NDArray[Any]
_FEW, _MOST = 0.5, 99.5
"""Percentiles of the values that become black and white where there is no window."""
_BEYOND = 1e9
"""Farther from zero than any stored value: shows what a window makes of its ends."""
_FRAME_MACROS = ("FrameVOILUTSequence", "PixelValueTransformationSequence")
"""Where enhanced objects have window and rescaling (PS3.3 C.7.6.16.2.9, C.7.6.16.2.10)."""


def draw(wanted: WantedPicture) -> None:
    """Write the picture.

    Raises:
        NotMadeError: There is nothing to be seen, or it is too much.
        MemoryError: It needs more than there is.
        OSError: A file cannot be read or written.
    """
    header = dcmread(wanted.source, stop_before_pixels=True)
    rows, columns = header.get("Rows"), header.get("Columns")
    if not rows or not columns:
        raise NotMadeError("there are no pixels in it")
    count = rows * columns
    if count > wanted.pixels_max:
        raise NotMadeError(f"a frame of {count} pixels; {wanted.pixels_max} are allowed", "size")
    stored = UID(header.file_meta.TransferSyntaxUID)
    check_decoder(stored)
    index = (int(header.get("NumberOfFrames") or 1) - 1) // 2
    is_deflated = stored == DeflatedExplicitVRLittleEndian  # no frame can be read by itself
    frame = pixel_array(dcmread(wanted.source) if is_deflated else wanted.source, index=index)
    step = max(1, max(frame.shape[:2]) // (2 * wanted.side_max))
    frame = frame[::step, ::step]  # before the arithmetic, which takes 8 bytes for each
    for macro in _macros(header, index):
        header.update(macro)
    picture = Image.fromarray(_shown(frame, header))
    picture.thumbnail((wanted.side_max, wanted.side_max))
    picture.save(wanted.target, "PNG")


def _macros(header: Dataset, index: int) -> Iterator[Dataset]:
    """Yield what functional groups say of a frame, those of all frames first."""
    shared = list(header.get("SharedFunctionalGroupsSequence") or ())[:1]
    own = list(header.get("PerFrameFunctionalGroupsSequence") or ())[index : index + 1]
    for group in (*shared, *own):
        for keyword in _FRAME_MACROS:
            yield from list(group.get(keyword) or ())[:1]


def _shown(frame: Pixels, header: Dataset) -> Pixels:
    """Return what a screen shows: 8 bits, grey or RGB."""
    meaning = header.get("PhotometricInterpretation", "MONOCHROME2")
    if frame.ndim == 3:
        return _eight_bits(frame, int(header.BitsStored))
    if meaning == "PALETTE COLOR":
        coloured = apply_color_lut(frame, header)
        return _eight_bits(coloured[..., :3], 8 * coloured.dtype.itemsize)
    grey = _grey(frame, header)
    return 255 - grey if meaning == "MONOCHROME1" else grey


def _eight_bits(colours: Pixels, bits: int) -> Pixels:
    return np.ascontiguousarray(colours >> max(bits - 8, 0), dtype=np.uint8)


def _grey(frame: Pixels, header: Dataset) -> Pixels:
    values = apply_modality_lut(frame, header)
    if "VOILUTSequence" in header:
        seen = apply_voi_lut(np.rint(values).astype(np.int64), header)
        low, high = 0.0, float(2 ** header.VOILUTSequence[0].LUTDescriptor[2] - 1)
    elif header.get("WindowWidth") and "WindowCenter" in header:
        ends = np.array([-_BEYOND, _BEYOND])
        seen = apply_voi_lut(values.astype(np.float64), header)
        low, high = apply_voi_lut(ends, header)
    else:
        seen = values
        low, high = np.percentile(values, (_FEW, _MOST))
    scaled = (seen - low) * (255 / (high - low or 1))
    return np.clip(scaled, 0, 255).astype(np.uint8)
