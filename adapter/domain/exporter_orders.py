"""What an operator wants of an exporter."""

from dataclasses import dataclass

import trio

from adapter.domain.destination_rows import DestinationHold
from adapter.domain.messages import ExportOrder, OrderRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationOrder:
    """Web -> exporter: hold the destination, or (None) go on; answered when that is durable."""

    hold: DestinationHold | None
    reply: trio.MemorySendChannel[bool | OrderRefused]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationAnswered:
    """Web -> exporter: an operator's echo was answered, so a pause of an outage is over."""

    reply: trio.MemorySendChannel[bool | OrderRefused]


ExporterOrder = ExportOrder | DestinationOrder | DestinationAnswered
