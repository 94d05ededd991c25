"""Destinations with `transcode = "uncompressed"` (port `Requestor`, around that of DIMSE).

Besides what is stored, Explicit and Implicit VR Little Endian are proposed. An instance goes as it
is stored if that was accepted; else a copy is made, sent and deleted, and the result says so.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from msgspec import structs

from adapter.domain.commitment import STORAGE_COMMITMENT, CommitmentReport, CommitmentRequest
from adapter.domain.dimse_ports import (
    CONTEXTS_MAX,
    Context,
    EchoResult,
    OutboundAssociation,
    Requestor,
    SendResult,
)
from adapter.domain.entities import Destination
from adapter.domain.records import OutgoingInstance
from adapter.domain.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from adapter.protocols.dimse.file_meta import NotPart10Error
from adapter.protocols.dimse.part10 import describe
from adapter.protocols.transcoding.copies import NotMadeError, Wanted
from adapter.protocols.transcoding.decoder_process import DecoderProcess, DecodingLimits
from adapter.protocols.uncommitted import ABORTED

UNCOMPRESSED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
"""In the order of preference: an explicit VR says more (PS3.5 7.1.2)."""
END_S = 5.0
AT_ONCE = 2
"""Copies that are being made, for all destinations: each may take all the memory it may have."""


def with_uncompressed(contexts: Sequence[Context]) -> list[Context]:
    """Return the contexts to propose: these, and the uncompressed ones of their SOP classes."""
    classes = dict.fromkeys(c for c, _ in contexts if c != STORAGE_COMMITMENT)
    more = [(sop_class, syntax) for syntax in UNCOMPRESSED for sop_class in classes]
    return list(dict.fromkeys([*contexts, *more]))[:CONTEXTS_MAX]


class TranscodingAssociation:
    """An association that sends copies where it has to (port `OutboundAssociation`)."""

    def __init__(
        self,
        association: OutboundAssociation,
        decoder: DecoderProcess,
        places: trio.CapacityLimiter,
        scratch: str,
    ) -> None:
        """Send by an association.

        Args:
            association: To the destination.
            decoder: Makes the copies.
            places: To make one.
            scratch: A folder for them.
        """
        self._association = association
        self._decoder = decoder
        self._places = places
        self._copy = os.path.join(scratch, "copy")
        self._scope = trio.CancelScope()
        self._is_aborted = False

    async def store(self, instances: Sequence[OutgoingInstance]) -> list[SendResult]:
        """See `OutboundAssociation.store`."""
        results: list[SendResult] = []
        as_stored: list[OutgoingInstance] = []
        for instance in instances:
            syntax = self._syntax_for(instance)
            if not syntax:
                as_stored.append(instance)
                continue
            results += await self._association.store(as_stored) if as_stored else []
            as_stored = []
            results.append(await self._store_copy(instance, syntax))
        return results + (await self._association.store(as_stored) if as_stored else [])

    def _syntax_for(self, instance: OutgoingInstance) -> str:
        """Return the transfer syntax to transcode to; empty: it goes as it is, or not at all."""
        accepted = self._association.accepted
        if accepted(instance.context):
            return ""
        taken = (s for s in UNCOMPRESSED if accepted((instance.sop_class_uid, s)))
        return next(taken, "")

    async def _store_copy(self, instance: OutgoingInstance, syntax: str) -> SendResult:
        words = f"{instance.transfer_syntax_uid} to {syntax}"
        try:
            with trio.CancelScope() as self._scope:
                if self._is_aborted:
                    return ABORTED
                copy = await self._transcoded(instance, syntax)
            if self._scope.cancelled_caught:
                return ABORTED
        except (NotMadeError, NotPart10Error) as error:
            text = f"not transcoded from {words}: {error}"
            return SendResult(status=None, permanent=True, error=text)
        (result,) = await self._association.store([copy])
        await trio.to_thread.run_sync(os.unlink, self._copy)
        return structs.replace(result, transcoded=words)

    async def _transcoded(self, instance: OutgoingInstance, syntax: str) -> OutgoingInstance:
        wanted = Wanted(source=instance.path, target=self._copy, transfer_syntax_uid=syntax)
        async with self._places:
            await self._decoder.make(wanted)
        copy = await trio.to_thread.run_sync(describe, self._copy)
        same = (instance.sop_class_uid, instance.sop_instance_uid, syntax)
        if (copy.sop_class_uid, copy.sop_instance_uid, copy.transfer_syntax_uid) != same:
            raise NotMadeError("the copy is another instance")
        return structs.replace(copy, priority=instance.priority)

    def accepted(self, context: Context) -> bool:
        """See `OutboundAssociation.accepted`."""
        return self._association.accepted(context)

    async def request_commitment(self, request: CommitmentRequest) -> SendResult:
        """See `OutboundAssociation.request_commitment`."""
        return await self._association.request_commitment(request)

    async def next_report(self, wait_s: float) -> CommitmentReport | None:
        """See `OutboundAssociation.next_report`."""
        return await self._association.next_report(wait_s)

    async def answer_report(self, status: int) -> None:
        """See `OutboundAssociation.answer_report`."""
        await self._association.answer_report(status)

    def abort(self) -> None:
        """See `OutboundAssociation.abort`."""
        self._is_aborted = True
        self._scope.cancel()
        self._association.abort()


class TranscodingRequestor:
    """Reaches application entities, some of them with copies (port `Requestor`)."""

    def __init__(self, requestor: Requestor, limits: DecodingLimits, scratch: Path | None) -> None:
        """Reach them by a requestor; scratch: a folder for copies, or None: that of the system."""
        self._requestor = requestor
        self._limits = limits
        self._scratch = scratch
        self._places = trio.CapacityLimiter(AT_ONCE)

    @asynccontextmanager
    async def associate(
        self, destination: Destination, contexts: Sequence[Context]
    ) -> AsyncIterator[OutboundAssociation]:
        """See `Requestor.associate`."""
        if destination.transcode == "never":
            async with self._requestor.associate(destination, contexts) as association:
                yield association
            return
        async with self._requestor.associate(
            destination, with_uncompressed(contexts)
        ) as association:
            decoder = DecoderProcess(self._limits)
            scratch = tempfile.mkdtemp(prefix="copy-", dir=self._scratch)
            try:
                yield TranscodingAssociation(association, decoder, self._places, scratch)
            finally:
                with trio.move_on_after(END_S, shield=True):
                    await decoder.close()
                    await trio.to_thread.run_sync(
                        partial(shutil.rmtree, ignore_errors=True), scratch
                    )

    async def report(
        self, destination: Destination, report: CommitmentReport, calling_ae_title: str
    ) -> int:
        """See `Requestor.report`."""
        return await self._requestor.report(destination, report, calling_ae_title)

    async def echo(self, destination: Destination) -> EchoResult:
        """See `Requestor.echo`."""
        return await self._requestor.echo(destination)
