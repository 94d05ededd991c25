"""Inflates the beginning of a deflated data set (PS3.5 A.5), and no more than is asked for."""

import zlib


class Inflater:
    """One deflated stream; what comes out does not depend on how it was cut."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)  # PS3.5 A.5: no zlib header

    def feed(self, fragment: memoryview, room: int) -> tuple[bytes, bool]:
        """Return what comes out, at most `room` bytes, and whether the stream breaks behind it."""
        before = self._stream.copy()
        try:
            return self._stream.decompress(fragment, room), False
        except zlib.error:
            self._stream = before
            return self._up_to_the_break(fragment, room), True

    def _up_to_the_break(self, fragment: memoryview, room: int) -> bytes:
        """The error has hidden what came out before it: take that byte by byte."""
        inflated = bytearray()
        try:
            for position in range(len(fragment)):
                inflated += self._stream.decompress(fragment[position : position + 1], room)
                if len(inflated) >= room:
                    break
        except zlib.error:
            pass  # found it
        return bytes(inflated[:room])
