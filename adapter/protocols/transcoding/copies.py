"""What the main process and one that decodes say to each other: a line of JSON each."""

from msgspec import Struct


class NotTranscodedError(Exception):
    """There is no copy; the text is free of patient data."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A copy that is wanted."""

    source: str
    target: str
    transfer_syntax_uid: str


class Made(Struct, frozen=True, kw_only=True):
    """What became of it."""

    error: str = ""
    """Free of patient data; empty: it is there."""
