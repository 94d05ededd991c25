"""What the configuration is, key by key, and where it comes from."""

from typing import Any

from msgspec import Struct


class EffectiveValue(Struct, frozen=True, kw_only=True):
    """A key of the configuration as it counts now."""

    key: str
    value: Any
    """As in JSON; of a secret that is set, a word that says so."""
    origin: str
    """Path of a file, name of a variable, `--set KEY`, or `default`."""
    secret: bool
    restart: bool = False
    """Another value counts when the adapter is restarted."""
