"""What is told of a payload to its pipeline: Clara's metadata. It may be patient data.

Rules: each attribute is `GGGGEEEE` if all instances agree, else `GGGGEEEE-<n>`, n from 0, one for
each value in the order found. Values are text, cut to 256 characters; empty ones do not count.
"""

from collections.abc import Callable, Iterable, Mapping

METADATA_TAGS = (
    "0008,0020", "0008,0060", "0008,1030", "0008,103E",
    "0010,0020", "0010,0030", "0010,1010", "0020,000D",
)  # fmt: skip
"""Clara's: Study Date, Modality, Study and Series Description, Patient ID, Birth Date and Age,
Study Instance UID."""
VALUE_LENGTH_MAX = 256
VALUES_MAX = 100
"""Different values of one attribute that are kept; a payload may have as many instances as it
likes, what is told of it stays small."""

ReadAttributes = Callable[[str], Mapping[str, str]]
"""Returns the text of some attributes of a stored instance by `GGGGEEEE`; blocks.

Empty if it cannot be understood. Raises OSError if it cannot be read.
"""


class MetadataValues:
    """The different values of each attribute; feed it the instances."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, None]] = {}

    def add(self, attributes: Iterable[tuple[str, str]]) -> None:
        """Add what one instance says."""
        for key, text in attributes:
            value = text.strip("\0 ")[:VALUE_LENGTH_MAX].strip()
            values = self._values.setdefault(key, {})
            if value and len(values) < VALUES_MAX:
                values[value] = None

    def metadata(self) -> dict[str, str]:
        """Return what all instances say, in order of attribute."""
        found: dict[str, str] = {}
        for key, values in sorted(self._values.items()):
            if len(values) == 1:
                found[key] = next(iter(values))
            else:
                found |= {f"{key}-{n}": value for n, value in enumerate(values)}
        return found
