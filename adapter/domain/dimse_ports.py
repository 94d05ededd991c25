"""The seams to DIMSE: what the listener and the exporters need from `protocols/dimse/`.

See `adapter.domain.ports` for the rules all ports keep.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum, auto
from typing import Protocol

from msgspec import Struct

from adapter.domain.admission import AssociationRequest, Rejection, UserIdentity
from adapter.domain.commitment import CommitmentReport, CommitmentRequest
from adapter.domain.entities import Destination
from adapter.domain.messages import (
    CommitmentAnswer,
    InstanceSettled,
    Placement,
    ReceivedInstance,
    ReportEnded,
    StoreAnswer,
)
from adapter.domain.records import Duplicate, OutgoingInstance

Context = tuple[str, str]
"""A presentation context: SOP class, transfer syntax."""

# --- DIMSE, as acceptor


class ServiceClass(Enum):
    """What an association can be for."""

    VERIFICATION = auto()
    STORAGE = auto()
    STORAGE_COMMITMENT = auto()


class AssociationService(Protocol):
    """What an established association asks of the application entity it called."""

    offered: frozenset[ServiceClass]
    """Presentation contexts of others are refused."""
    attributes: frozenset[str]
    """Tags `GGGG,EEEE` to read from each instance."""
    grouping: frozenset[str]
    """Those of them that decide about the group: what a lease depends on."""

    async def place(self, instance: ReceivedInstance) -> StoreAnswer:
        """Return where the instance goes. Never raises an expected error: refusal is an answer."""

    def settled(self, settled: Sequence[InstanceSettled]) -> None:
        """Take note of what became of placed instances."""

    async def released(self) -> bool:
        """Take what was staged into its groups; False: it could not be, abort the association."""

    def ended(self) -> None:
        """Give the association's place back, before the peer can know that it is over.

        From any thread; again is harmless.
        """

    async def commitment_asked(self, request: CommitmentRequest) -> CommitmentAnswer:
        """Return the answer to a storage commitment request. Never raises an expected error."""

    def report_ended(self, ended: ReportEnded) -> None:
        """Take note of what became of the report in a `CommitmentAnswer`."""

    async def report_received(self, report: CommitmentReport) -> int:
        """Return the status to answer a destination's report with. As `commitment_asked`."""


class PartFile(Protocol):
    """An instance while it is being received. Blocking; for association threads only.

    Raises (write, commit):
        StorageFullError: No room; call `discard`.
        StorageFaultError: The file system failed; call `discard`.
    """

    def write(self, views: Sequence[bytes | memoryview]) -> None:
        """Append."""

    def commit(self, placement: Placement, group_id: str) -> Duplicate | None:
        """Make the instance durable under its final name in this group, or say that there was one.

        Either way an instance of that name is durable on return. Once for each group of the
        placement; all get the same file.

        Raises:
            GroupClosedError: The group closed meanwhile; go on with others, or call `discard`.
        """

    def discard(self) -> None:
        """Delete what was received. Again, or after a commit, it is harmless."""


class AssociationReport(Struct, frozen=True, kw_only=True):
    """How an association went."""

    released: bool
    why: str
    """For the operator: "released", or what ended it; free of patient data."""
    instances: int
    payload_bytes: int
    refused: int


class Unasked(Enum):
    """How a connection ended that brought no A-ASSOCIATE-RQ."""

    LEFT = "left"
    """The peer closed or aborted: a port scanner, a load balancer's probe."""
    REFUSED = "refused"
    """It sent something else, and was told so (PS3.8 Table 9-10, Sta2)."""
    TLS = "tls"
    """No handshake."""


class CertificateExpiries(Protocol):
    """When certificates of ours expire, whatever they are for."""

    def __call__(self) -> Mapping[str, float]:
        """Return the wall time by the key of the configuration; looks at files that changed."""


class CertificateTroubles(Protocol):
    """What is wrong with files of certificates that have changed; the old ones are used."""

    def __call__(self) -> Mapping[str, str]:
        """Return why, by the key of the configuration; looks at files that changed."""


class ReceiverLoads(Protocol):
    """What the receiver processes have in hand."""

    def __call__(self) -> Mapping[str, int]:
        """Return the number of associations by receiver; one that is down is missing."""


class IdentityCheck(Protocol):
    """What is believed of user identities (PS3.7 D.3.3.7)."""

    async def __call__(self, identity: UserIdentity | None, /) -> Rejection | None:
        """Return why the association is refused for it, or None."""


class PendingAssociation(Protocol):
    """An accepted TCP connection, on its way to become an association."""

    peer: str
    peer_port: int
    why: str
    """Why there is no request; empty before. For a log: free of the peer's text."""
    contexts: Sequence[Context]
    """What it is accepted for; empty before."""

    async def request(self) -> AssociationRequest | Unasked:
        """Wait for A-ASSOCIATE-RQ.

        Cancel: the connection is as good as lost; close it.
        """

    async def reject(self, rejection: Rejection) -> None:
        """Send A-ASSOCIATE-RJ and wait a moment for the peer to close."""

    async def serve(self, association: str, service: AssociationService) -> AssociationReport:
        """Accept and serve until the association is over. Not cancellable: use `abort`."""

    async def see_off(self) -> None:
        """After the last word of ours: give the peer a moment to close first (Sta13)."""

    def abort(self) -> None:
        """Make `serve` end soon with A-ABORT, also if it has only been called; else no effect."""

    def close(self) -> None:
        """Close the connection if it is still open."""


class DimseListener(Protocol):
    """A bound listening socket."""

    async def accept(self) -> PendingAssociation:
        """Wait for a TCP connection.

        Raises:
            UnavailableError: No descriptor or memory for it; try again in a moment.
        """

    def close(self) -> None:
        """Stop listening."""


# --- DIMSE, as requestor

CONTEXTS_MAX = 128
"""In one association: ids are odd and one byte long (PS3.8 9.3.2.2)."""


class SendResult(Struct, frozen=True, kw_only=True):
    """The answer to one C-STORE-RQ."""

    status: int | None
    """None: the destination never said."""
    error: str = ""
    permanent: bool = False
    transcoded: str = ""
    """`FROM to TO`, two transfer syntaxes: a copy was sent; empty: it went as it is stored."""


class EchoResult(Struct, frozen=True, kw_only=True):
    """The answer to a C-ECHO-RQ, and what the way to it took, in seconds."""

    status: int
    connect_s: float
    associate_s: float
    echo_s: float


class OutboundAssociation(Protocol):
    """An established association in the role of SCU."""

    async def store(self, instances: Sequence[OutgoingInstance]) -> list[SendResult]:
        """Send instances one after the other; one result each, in order.

        An association that breaks half-way gives results with status None for the rest.
        Not cancellable: use `abort`.

        Raises:
            PeerRefusalError: The destination takes nothing now, none of these either.
        """

    def accepted(self, context: tuple[str, str]) -> bool:
        """Return whether the destination has accepted this (SOP class, transfer syntax) pair."""

    async def request_commitment(self, request: CommitmentRequest) -> SendResult:
        """Ask for storage commitment by N-ACTION (PS3.4 J.3.2); the response is not the report."""

    async def next_report(self, wait_s: float) -> CommitmentReport | None:
        """Return the next N-EVENT-REPORT that comes within wait_s; answer it by `answer_report`.

        Raises:
            UnavailableError: The association is over.
        """

    async def answer_report(self, status: int) -> None:
        """Answer what `next_report` returned last; an association that is over stays so."""

    def abort(self) -> None:
        """Make any of these end soon; what was being sent has an unknown outcome."""


class Requestor(Protocol):
    """Opens associations to destinations."""

    def associate(
        self, destination: Destination, contexts: Sequence[Context]
    ) -> AbstractAsyncContextManager[OutboundAssociation]:
        """Open an association that proposes exactly these (SOP class, transfer syntax) pairs.

        Releases it on leaving.

        Raises:
            PeerRefusalError: No TCP connection, rejected, or no answer in time.
        """

    async def report(
        self, destination: Destination, report: CommitmentReport, calling_ae_title: str
    ) -> int:
        """Report by N-EVENT-REPORT on an association of our own, as SCP; return the status.

        It comes from the AE Title that was asked.

        Raises:
            PeerRefusalError: No TCP connection, rejected, or no answer in time.
        """

    async def echo(self, destination: Destination) -> EchoResult:
        """Verify the destination by C-ECHO, or by what its type has for that.

        Raises:
            PeerRefusalError: No TCP connection, rejected, or no answer in time.
        """
