"""One instance on its way in: fragments to a part file, attributes from its head, a status.

The duties of a Storage SCP (PS3.4 B.2) in the order in which they can fail; what fails first is
answered, the rest of the data set is then read and thrown away, and the association goes on.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import msgspec

from adapter.domain.admission import VERIFICATION
from adapter.domain.dimse_ports import PartFile
from adapter.domain.identifiers import is_uid
from adapter.domain.messages import (
    Arrival,
    Ignored,
    InstanceSettled,
    Placement,
    ReceivedInstance,
    Refused,
    StoreAnswer,
)
from adapter.domain.statuses import (
    CANNOT_UNDERSTAND,
    DATA_SET_DOES_NOT_MATCH,
    INVALID_INSTANCE,
    MISTYPED_ARGUMENT,
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
)
from adapter.errors import GroupClosedError, StorageFaultError, StorageFullError
from adapter.protocols.dimse.command_set import Command
from adapter.protocols.dimse.elements import Layout, MalformedDataSetError
from adapter.protocols.dimse.file_meta import FileMetaWriter
from adapter.protocols.dimse.head import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Head,
)

ALWAYS_WANTED = frozenset(
    (SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID)
)


class Entity(Protocol):
    """The application entity as an association thread sees it: both calls may block."""

    def place(self, instance: ReceivedInstance) -> StoreAnswer: ...

    def ask(self, instance: ReceivedInstance) -> StoreAnswer: ...

    def settled(self, settled: InstanceSettled) -> None: ...


class AcceptedContext:
    """An accepted presentation context and what all its instances share."""

    __slots__ = ("abstract_syntax", "layout", "meta", "transfer_syntax_uid")

    def __init__(
        self,
        abstract_syntax: str,
        transfer_syntax_uid: str,
        calling_ae_title: str,
        wanted: frozenset[int],
    ) -> None:
        """Take what was negotiated, and the tags to read besides the UIDs every instance has."""
        self.abstract_syntax = abstract_syntax
        self.transfer_syntax_uid = transfer_syntax_uid
        self.meta = FileMetaWriter(abstract_syntax, transfer_syntax_uid, calling_ae_title)
        self.layout = Layout(transfer_syntax_uid, wanted | ALWAYS_WANTED)


@lru_cache
def tag_name(tag: int) -> str:
    """Return a tag as `GGGG,EEEE`."""
    return f"{tag >> 16:04X},{tag & 0xFFFF:04X}"


class Reception:
    """One C-STORE request from its command to its status."""

    def __init__(
        self,
        command: Command,
        context: AcceptedContext,
        open_part: Callable[[], PartFile],
    ) -> None:
        self.command = command
        self.payload_bytes = 0
        self._began = time.monotonic()
        self._context = context
        self._part: PartFile | None = None
        self._unwritten: list[bytes | memoryview] = []
        self._refused: Refused | None = None
        self._arrivals: tuple[Arrival, ...] = ()
        self._joined: tuple[str, ...] = ()
        self._settled: InstanceSettled | None = None
        self._head = Head(context.layout)
        if command.mistyped:
            self._refuse(MISTYPED_ARGUMENT, command.mistyped)
        elif command.sop_class_uid != context.abstract_syntax:
            self._refuse(SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the context")
        elif command.sop_class_uid == VERIFICATION:
            self._refuse(SOP_CLASS_NOT_SUPPORTED, "Verification has no instances")
        elif not is_uid(command.sop_instance_uid):
            self._refuse(INVALID_INSTANCE, "Affected SOP Instance UID is no UID")
        elif not command.has_data_set:
            self._refuse(CANNOT_UNDERSTAND, "no data set")
        else:
            self._begin(open_part)

    def _begin(self, open_part: Callable[[], PartFile]) -> None:
        try:
            self._part = open_part()
            self._unwritten.append(self._context.meta.encode(self.command.sop_instance_uid))
        except (StorageFullError, StorageFaultError) as error:
            self._refuse(OUT_OF_RESOURCES, str(error))

    def fragment(self, view: memoryview, *, last: bool) -> None:
        """Take the next piece of the data set; `view` must stay valid until `flush`."""
        self.payload_bytes += len(view)
        if self._refused is not None:
            return
        try:
            if not self._head.complete:
                self._head.feed(view, last=last)
        except MalformedDataSetError as error:
            self._refuse(CANNOT_UNDERSTAND, str(error))
        else:
            self._unwritten.append(view)

    def flush(self) -> None:
        """Write what has been taken, in one call, before the receive buffer is used again."""
        views, self._unwritten = self._unwritten, []
        if self._refused is not None or not views:
            return
        assert self._part is not None
        try:
            self._part.write(views)
        except (StorageFullError, StorageFaultError) as error:
            self._refuse(OUT_OF_RESOURCES, str(error))

    def finish(self, association: str, calling_ae_title: str, entity: Entity) -> tuple[int, str]:
        """Place and commit the instance; return the status and a comment for the response."""
        self.flush()
        values = self._head.values
        command = self.command
        if self._refused is None and not self.payload_bytes:
            self._refuse(CANNOT_UNDERSTAND, "the data set is empty")
        elif self._refused is None and (
            values.get(SOP_INSTANCE_UID, command.sop_instance_uid) != command.sop_instance_uid
            or values.get(SOP_CLASS_UID, command.sop_class_uid) != command.sop_class_uid
        ):
            self._refuse(DATA_SET_DOES_NOT_MATCH, "data set and command name different UIDs")
        if self._refused is not None:
            return self._refused.status, self._refused.comment
        instance = ReceivedInstance(
            association=association,
            calling_ae_title=calling_ae_title,
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=self._context.transfer_syntax_uid,
            attributes={tag_name(tag): text for tag, text in values.items() if text},
            payload_bytes=self.payload_bytes,
            priority=command.priority,
            move_originator=command.move_originator,
        )
        answer = entity.place(instance)
        if isinstance(answer, Placement):
            try:
                return self._commit(instance, answer)
            except GroupClosedError:  # it fell quiet while we held a lease on it
                if self._joined:  # others have not, and are not to get it once more
                    instance = msgspec.structs.replace(instance, joined=self._joined)
                answer = entity.ask(instance)
        return self._settle(instance, answer)

    def _settle(self, instance: ReceivedInstance, answer: StoreAnswer) -> tuple[int, str]:
        match answer:
            case Placement():
                try:
                    return self._commit(instance, answer)
                except GroupClosedError as error:
                    return self._not_stored(instance, str(error))
            case Ignored():
                if self._arrivals:
                    self._settle_as(instance, stored=True)
                return SUCCESS, ""
            case Refused(status=status, comment=comment):
                if self._arrivals:
                    self._settle_as(instance, stored=False)
                self._refuse(status, comment)
                return status, comment

    def _commit(self, instance: ReceivedInstance, placement: Placement) -> tuple[int, str]:
        """Commit into every group, one after the other.

        Raises:
            GroupClosedError: One of them is no more; the part file is still there.
        """
        assert self._part is not None
        for processor, group_id in placement.groups.items():
            try:
                duplicate = self._part.commit(placement, group_id)
            except GroupClosedError:
                self._miss(placement, closed=group_id)
                raise
            except (StorageFullError, StorageFaultError) as error:
                self._miss(placement)
                return self._not_stored(instance, str(error))
            self._arrivals += (Arrival(group_id=group_id, duplicate=duplicate),)
            self._joined += (processor,)
        self._settle_as(instance, stored=True)
        return SUCCESS, ""

    def _miss(self, placement: Placement, closed: str = "") -> None:
        """It does not get into those groups of the placement that it has not joined by now.

        Nobody waits for it in the one that has closed.
        """
        self._arrivals += tuple(
            Arrival(group_id=group_id, stored=False)
            for processor, group_id in placement.groups.items()
            if processor not in self._joined and group_id != closed
        )

    def _not_stored(self, instance: ReceivedInstance, why: str) -> tuple[int, str]:
        self._refuse(OUT_OF_RESOURCES, why)
        self._settle_as(instance, stored=False)
        return OUT_OF_RESOURCES, why

    def _settle_as(self, instance: ReceivedInstance, *, stored: bool) -> None:
        self._settled = InstanceSettled(
            instance=instance, stored=stored, arrivals=self._arrivals,
            receive_s=time.monotonic() - self._began,
        )  # fmt: skip

    def conclude(self, entity: Entity) -> None:
        """Do what nobody waits for: clear away the part file, tell the entity.

        Called behind the answer, also if that could not be sent.
        """
        self.discard()
        if self._settled is not None:
            entity.settled(self._settled)

    def _refuse(self, status: int, comment: str) -> None:
        self._refused = Refused(status=status, comment=comment)
        self._unwritten.clear()
        self.discard()

    def discard(self) -> None:
        """Delete what was received, unless it has been committed."""
        if self._part is not None:
            self._part.discard()
