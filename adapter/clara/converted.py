"""What a file of Clara's has become so far, and what is to be said of it."""

import re
from typing import Any

from msgspec import Struct, field

from adapter.domain.conversion import Reader
from adapter.settings import Settings

_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")


class Converted(Struct, kw_only=True):
    """What became of a file."""

    tree: dict[str, Any] = field(default_factory=dict)
    """Keys and values of ours."""
    lines: list[str] = field(default_factory=list)
    """What could not be carried, and what to know of what was; one line each."""
    problems: list[str] = field(default_factory=list)
    """Why the result is not valid; empty: it is."""

    def at(self, key: str) -> Any:
        """Return the value of a key of ours as it is now."""
        node: Any = self.settings()
        for name in key.split("."):
            node = getattr(node, name)
        return node

    def put(self, key: str, value: Any) -> None:
        """Set a key of ours."""
        *tables, last = key.split(".")
        node = self.tree
        for table in tables:
            node = node.setdefault(table, {})
        node[last] = value

    def lost(self, path: str, why: str) -> None:
        """Say that something is not in the result."""
        self.lines.append(f"{path}: not carried: {why}")

    def note(self, path: str, what: str) -> None:
        """Say what whoever reads the result should know."""
        self.lines.append(f"{path}: note: {what}")

    def settings(self) -> Settings:
        """Return the result so far; everything in it was read before it was put there."""
        settings: Settings = Reader().read(self.tree, Settings)
        return settings


def tag_of(text: Any) -> str | None:
    """Return a tag as we spell it; None: it is none, or one of a private creator."""
    found = _TAG.fullmatch(text.strip()) if isinstance(text, str) else None
    return f"{found[1]},{found[2]}".upper() if found else None
