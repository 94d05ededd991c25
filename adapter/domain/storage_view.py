"""What the web side has to know about storage, to say what holds what."""

from dataclasses import dataclass

from adapter.domain.recovery import ListPutAside, nothing_put_aside
from adapter.domain.retention import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageView:
    """The reclaimer's rules, and what it cannot delete."""

    retention: Retention
    put_aside: ListPutAside


NO_STORAGE = StorageView(retention=Retention(0.0, 0.0), put_aside=nothing_put_aside)
"""Where there are no folders."""
