"""Storage Commitment Push Model (PS3.4 Annex J): what is asked and what is reported, in both roles.

As SCP the adapter says of each instance whether it has it now. What follows from a destination's
report is in `committing`.
"""

from collections.abc import Mapping, Set

from msgspec import Struct

from adapter.domain.statuses import CLASS_INSTANCE_CONFLICT, NO_SUCH_INSTANCE
from adapter.domain.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"  # PS3.4 J.5: Push Model SOP Class
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"  # the well-known SOP Instance
COMMITMENT_CONTEXT = STORAGE_COMMITMENT, IMPLICIT_VR_LITTLE_ENDIAN
"""What is proposed: what everybody takes."""
REQUEST_COMMITMENT = 1  # PS3.4 J.3.2.1: Action Type ID
DATA_SET_BYTES_MAX = 1 << 20
"""Of a request or a report: 5 000 instances with UIDs of 64 characters, 15 000 with usual ones, and
about a second of decoding.
"""
ALL_COMMITTED, FAILURES_EXIST = 1, 2  # PS3.4 J.3.3.1: Event Type ID


class Reference(Struct, frozen=True, array_like=True):
    """An instance as Referenced SOP Sequence (0008,1199) names it."""

    sop_class_uid: str
    sop_instance_uid: str


class CommitmentRequest(Struct, frozen=True, kw_only=True):
    """Action Information of N-ACTION (PS3.4 Table J.3-1)."""

    transaction_uid: str
    references: tuple[Reference, ...]


class CommitmentReport(Struct, frozen=True, kw_only=True):
    """Event Information of N-EVENT-REPORT (PS3.4 Table J.3-2)."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...] = ()
    """With Failure Reason (0008,1197)."""

    @property
    def event_type(self) -> int:
        return FAILURES_EXIST if self.failed else ALL_COMMITTED


class ReportRules(Struct, kw_only=True):
    """`dicom.scp.commitment.*`, times in seconds."""

    deadline_s: float
    """For a report to get through to the requestor."""
    retry_delay_s: float
    """Doubles while the requestor is not reached."""


def judged(request: CommitmentRequest, kept: Mapping[str, Set[str]]) -> CommitmentReport:
    """Return what can be said of each instance.

    Args:
        request: What is asked.
        kept: The SOP classes under which an instance is kept, by SOP Instance UID.
    """
    committed: list[Reference] = []
    failed: list[tuple[Reference, int]] = []
    for reference in request.references:
        classes = kept.get(reference.sop_instance_uid)
        if not classes:
            failed.append((reference, NO_SUCH_INSTANCE))
        elif reference.sop_class_uid not in classes:
            failed.append((reference, CLASS_INSTANCE_CONFLICT))
        else:
            committed.append(reference)
    return CommitmentReport(
        transaction_uid=request.transaction_uid, committed=tuple(committed), failed=tuple(failed)
    )
