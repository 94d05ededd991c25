"""What the main process and one that decodes say to each other: a line of JSON each."""

from typing import Literal

from msgspec import Struct

Why = Literal["form", "size", "time"]
"""What it is by its form, that it needs more than it may have, or longer than it may take."""


class NotMadeError(Exception):
    """There is no copy, or no picture; the text is free of patient data."""

    def __init__(self, text: str, why: Why = "form") -> None:
        super().__init__(text)
        self.why = why


class Wanted(Struct, frozen=True, kw_only=True, tag_field="what", tag="copy"):
    """A copy that is wanted."""

    source: str
    target: str
    transfer_syntax_uid: str


class WantedPicture(Struct, frozen=True, kw_only=True, tag_field="what", tag="picture"):
    """A picture that is wanted: PNG, no side longer than `side_max`."""

    source: str
    target: str
    side_max: int
    pixels_max: int
    """Of the frame it shows, as stored."""


class Made(Struct, frozen=True, kw_only=True):
    """What became of it."""

    error: str = ""
    """Free of patient data; empty: it is there."""
    why: Why = "form"
