"""Makes an uncompressed copy of an instance (PS3.5 A.1, A.2); runs in a process of its own.

The pixels are what the decoder makes of them, in the colour space they are stored in; nothing else
of the data set changes, the SOP Instance UID neither. So what was lost by compression stays lost,
and Lossy Image Compression (0028,2110) says so (PS3.3 C.7.6.1.1.5).
"""

from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from adapter.protocols.dimse.user_information import OUR_CLASS_UID, OUR_VERSION_NAME
from adapter.protocols.transcoding.copies import NotMadeError

_ALWAYS_LOSSY = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
"""JPEG Baseline and Extended (PS3.5 8.2.1); other syntaxes may be without loss."""


def transcode(source: str, target: str, transfer_syntax_uid: str) -> None:
    """Write a copy of source to target, in an uncompressed little-endian transfer syntax.

    Raises:
        NotMadeError: It cannot be decoded, or not with what is installed.
        MemoryError: It needs more than there is.
        OSError: A file cannot be read or written.
    """
    data_set = dcmread(source)
    stored = UID(data_set.file_meta.TransferSyntaxUID)
    if stored == ExplicitVRBigEndian:
        raise NotMadeError("Explicit VR Big Endian is not transcoded")
    if stored.is_compressed and stored != "1.2.840.10008.1.2.1.99":  # deflated: not its pixels
        _decompress(data_set, stored)
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    data_set.file_meta.ImplementationClassUID = UID(OUR_CLASS_UID)
    data_set.file_meta.ImplementationVersionName = OUR_VERSION_NAME
    data_set.preamble = bytes(128)
    data_set.save_as(
        target,
        implicit_vr=transfer_syntax_uid == ImplicitVRLittleEndian,
        little_endian=True,
        enforce_file_format=True,
    )


def _decompress(data_set: Dataset, stored: UID) -> None:
    if "PixelData" not in data_set:
        raise NotMadeError("there is no Pixel Data in it")
    check_decoder(stored)
    data_set.decompress(as_rgb=False, generate_instance_uid=False)
    if stored in _ALWAYS_LOSSY and "LossyImageCompression" not in data_set:
        data_set.LossyImageCompression = "01"


def check_decoder(transfer_syntax_uid: UID) -> None:
    """Object if nothing here decodes this transfer syntax.

    Raises:
        NotMadeError: So it is.
    """
    try:
        decoder = get_decoder(transfer_syntax_uid)
    except NotImplementedError as error:
        raise NotMadeError("no decoder is known for its transfer syntax") from error
    if not decoder.is_available:
        raise NotMadeError("no decoder for its transfer syntax is installed (extra 'transcode')")
