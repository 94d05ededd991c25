"""pynetdicom on the other end of storage commitment (PS3.4 J), in both roles."""

import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dicom_peers import serving
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)
from wire import EXPLICIT, IMPLICIT

Where = str
"""Of a report: "here", on the association of the request; "anew", on another; "never"."""


def _item(sop_class: str, instance: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = instance
    if reason is not None:
        item.FailureReason = reason
    return item


def report(asked: Dataset, failures: dict[str, int]) -> tuple[Dataset, int]:
    """Return Event Information about what was asked, and its Event Type ID."""
    said = Dataset()
    said.TransactionUID = asked.TransactionUID
    pairs = [
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for item in asked.ReferencedSOPSequence
    ]
    kept = [_item(*pair) for pair in pairs if pair[1] not in failures]
    lost = [_item(*pair, failures[pair[1]]) for pair in pairs if pair[1] in failures]
    if kept:
        said.ReferencedSOPSequence = kept
    if lost:
        said.FailedSOPSequence = lost
    return said, 2 if lost else 1


@dataclass
class CommittingDestination:
    """A Storage SCP that is asked to commit, and says what the test wants."""

    where: Callable[[int], Sequence[Where]] = lambda _: ("here",)
    """Where the n-th request (from 0) is reported, in order."""
    failures: Callable[[int], dict[str, int]] = lambda _: {}
    """Failure reasons by SOP Instance UID, for the n-th request."""
    status: Callable[[int], int] = lambda _: 0x0000
    """Of the response to the n-th request."""
    change: Callable[[Dataset], None] = lambda _: None
    """What is done to a report before it is sent."""
    asked_first: int = 1
    """So many requests are answered before the first report goes out."""
    offers_commitment: bool = True
    adapter_port: int = 0
    called: str = "ADAPTER"
    port: int = 0
    stored: list[str] = field(default_factory=list)
    asked: list[Dataset] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    """Statuses of our reports; None: there was no answer, or no association."""
    threads: list[threading.Thread] = field(default_factory=list)
    _asked_enough: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    """Reports go one by one: an association of pynetdicom has one request of its own at a time."""

    @contextmanager
    def listening(self, port: int = 0) -> Any:
        """Listen until the block ends."""
        ae = AE("PEER")
        ae.add_supported_context(CTImageStorage, [EXPLICIT, IMPLICIT])
        ae.add_supported_context(Verification)
        if self.offers_commitment:
            ae.add_supported_context(StorageCommitmentPushModel, [IMPLICIT])
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._action)]
        with serving(ae, handlers, port) as self.port:
            try:
                yield self
            finally:
                self._asked_enough.set()
                for thread in self.threads:
                    thread.join(20)

    def _store(self, event: Any) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _action(self, event: Any) -> tuple[int, None]:
        number, asked = len(self.asked), event.action_information
        self.asked.append(asked)
        if len(self.asked) >= self.asked_first:
            self._asked_enough.set()
        status = self.status(number)
        if status == 0x0000:
            said = report(asked, self.failures(number))
            self.change(said[0])
            thread = threading.Thread(
                target=self._report_all, args=(event.assoc, said, self.where(number))
            )
            self.threads.append(thread)
            thread.start()
        return status, None

    def _report_all(self, here: Any, said: tuple[Dataset, int], places: Sequence[Where]) -> None:
        self._asked_enough.wait()
        for place in places:
            with self._turn:
                if place == "here":
                    # It waits until the thread that asked us has sent its response (`Pause`).
                    self._send(here, said)
                elif place == "anew":
                    self.report_anew(said)

    def report_anew(self, said: tuple[Dataset, int]) -> None:
        """Report on an association of our own, as SCP."""
        ae = AE("PEER")
        ae.add_requested_context(StorageCommitmentPushModel, [IMPLICIT])
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        association = ae.associate(
            "127.0.0.1", self.adapter_port, ae_title=self.called, ext_neg=[role]
        )
        if not association.is_established:
            self.answers.append(None)
            return
        self._send(association, said)
        association.release()

    def _send(self, association: Any, said: tuple[Dataset, int]) -> None:
        status, _ = association.send_n_event_report(
            said[0], said[1], StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        self.answers.append(status.get("Status"))

    def instances(self, number: int) -> list[str]:
        """Return what the n-th request was about."""
        return [str(i.ReferencedSOPInstanceUID) for i in self.asked[number].ReferencedSOPSequence]
