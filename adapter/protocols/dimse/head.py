"""Reads a few attributes from the first bytes of a data set, never the pixels (PS3.5 7).

Rules: works on whatever has arrived so far and says if it needs more. A deflated data set is
inflated as far as needed and no further.
"""

from dataclasses import dataclass, field

from adapter.domain.transfer_syntaxes import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
from adapter.protocols.dimse.elements import (
    Layout,
    MalformedDataSetError,
    NeedMore,
    NoMore,
    scan,
)
from adapter.protocols.dimse.inflation import Inflater

HEAD_BYTES_MAX = 1 << 20
"""So much of an instance is searched for its attributes; what lies behind counts as absent."""
SCAN_BYTES_FIRST = 16 << 10
"""So much is looked at first: nearly every head is shorter, and it is copied."""

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E


@dataclass(slots=True)
class Head:
    """Attributes found so far; feed it the first fragments until `complete`."""

    layout: Layout
    values: dict[int, str] = field(default_factory=dict)
    complete: bool = False
    _bytes: bytearray = field(default_factory=bytearray)
    _scan_at: int = 0
    _inflater: Inflater | None = None

    def feed(self, fragment: memoryview, *, last: bool) -> None:
        """Look at the next piece of the data set.

        Raises:
            MalformedDataSetError: This is not a data set in this transfer syntax.
        """
        if self.complete:
            return
        broken = False
        if self.layout.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            fragment, broken = self._inflate(fragment)
        if not self._bytes and len(fragment) > SCAN_BYTES_FIRST:
            try:
                self.values = scan(bytes(fragment[:SCAN_BYTES_FIRST]), self.layout)
                self.complete = True
            except NeedMore:
                pass  # a long head
            else:
                return
        if self._bytes:
            self._bytes += fragment
            if len(self._bytes) < self._scan_at and not (last or broken):
                return  # tiny fragments must not cost a scan each
        self._judge(bytes(self._bytes or fragment), last=last and not broken)
        if broken and not self.complete:
            raise MalformedDataSetError("not a deflated data set")
        if self.complete:
            self._bytes = bytearray()
            self._inflater = None

    def _judge(self, data: bytes, *, last: bool) -> None:
        try:
            self.values = scan(data, self.layout)
            self.complete = True
        except NeedMore as found:
            self.values = found.args[0]
            whole = last and isinstance(found, NoMore)
            if whole or (len(data) >= HEAD_BYTES_MAX and self.values):
                self.complete = True
            elif len(data) >= HEAD_BYTES_MAX:
                raise MalformedDataSetError("no UID in the first MiB") from None
            elif last:
                raise MalformedDataSetError("the data set ends inside an element") from None
            else:
                self._scan_at = min(2 * len(data), HEAD_BYTES_MAX)
                self._bytes = self._bytes or bytearray(data)

    def _inflate(self, fragment: memoryview) -> tuple[memoryview, bool]:
        if self._inflater is None:
            self._inflater = Inflater()
        inflated, broken = self._inflater.feed(fragment, HEAD_BYTES_MAX - len(self._bytes))
        return memoryview(inflated), broken
