"""Results in the configuration: those registered here, and those of a service elsewhere."""

from typing import Annotated

from msgspec import Meta, Struct


class ResultsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`results`."""

    report_s: Annotated[float, Meta(ge=1, le=604_800)] = 3600.0
    """So long an agent that has taken a task has to report; then it is offered again."""
    retry_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """Before a task is offered again whose agent wants to retry it later."""
