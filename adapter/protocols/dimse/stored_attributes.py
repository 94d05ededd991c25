"""Reads some attributes of a stored instance as text (PS3.5 6), as bounded as on its way in.

Rules: only the head of a file is looked at (`head.HEAD_BYTES_MAX`), by the scanner that reads
untrusted data sets; what it cannot understand counts as absent, and so does what is no text.
"""

from collections.abc import Iterable, Mapping

from pydicom.charset import decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR

from adapter.protocols.dimse.elements import Layout, MalformedDataSetError
from adapter.protocols.dimse.file_meta import NotPart10Error, read_file_meta
from adapter.protocols.dimse.head import HEAD_BYTES_MAX, SOP_CLASS_UID, Head

PIECE_BYTES = 64 << 10
_SPECIFIC_CHARACTER_SET = 0x00080005
_DEFAULT_ENCODING = "iso8859"
_TEXT = frozenset(("SH", "LO", "ST", "PN", "LT", "UC", "UT"))  # PS3.5 6.1.2.3
_NO_TEXT = frozenset(
    ("SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN", "AT",
     "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD")
)  # fmt: skip


class StoredAttributes:
    """Reads the same attributes of any number of files (`domain.metadata.ReadAttributes`)."""

    def __init__(self, tags: Iterable[str]) -> None:
        """Prepare it.

        Args:
            tags: `GGGG,EEEE`.
        """
        numbers = {int(tag.replace(",", ""), 16) for tag in tags}
        self._readable = {number: vr for number in numbers if (vr := _vr(number)) is not None}
        self._wanted = frozenset({*self._readable, _SPECIFIC_CHARACTER_SET, SOP_CLASS_UID})

    def __call__(self, path: str) -> Mapping[str, str]:
        """Return the attributes of a Part 10 file by `GGGGEEEE`; see `ReadAttributes`."""
        if not self._readable:
            return {}
        with open(path, "rb", buffering=0) as file:
            piece = file.read(PIECE_BYTES)
            try:
                meta = read_file_meta(piece)
            except NotPart10Error:
                return {}
            head = Head(Layout(meta.transfer_syntax_uid, self._wanted))
            position = meta.data_set_offset
            seen = 0
            try:
                while not head.complete and seen < HEAD_BYTES_MAX:
                    following = file.read(PIECE_BYTES)
                    seen += len(piece) - position
                    head.feed(memoryview(piece)[position:], last=not following)
                    piece, position = following, 0
                    if not following:
                        break
            except MalformedDataSetError:
                pass  # what came before counts
        character_set = head.values.get(_SPECIFIC_CHARACTER_SET, "")
        return {
            f"{tag:08X}": _text(head.values[tag].encode("latin-1"), vr, character_set)
            for tag, vr in self._readable.items()
            if tag in head.values
        }


def _vr(tag: int) -> str | None:
    """Return the VR of a tag; LO for private ones, None for what is no text."""
    try:
        vr = dictionary_VR(tag)[:2]
    except KeyError:
        return "LO"
    return None if vr in _NO_TEXT else vr


def _text(raw: bytes, vr: str, character_set: str) -> str:
    if vr not in _TEXT:
        return raw.decode("ascii", "replace")
    names = [name.strip() for name in character_set.split("\\")]
    encodings = [python_encoding.get(name, _DEFAULT_ENCODING) for name in names]
    if len(encodings) == 1:
        return raw.decode(encodings[0], "replace")
    try:
        return decode_bytes(raw, encodings, {0x5C, 0x5E, 0x3D})  # PS3.5 6.1.2.5.3
    except (UnicodeError, LookupError):
        return raw.decode(_DEFAULT_ENCODING)
