"""STOW-RS user agent (PS3.18 10.5): sends files as they are stored, several in a request.

A request may be repeated: a service that has an instance says so again. So instances that were
refused or lost together are sent one by one, and only those fail that fail alone.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx2
import trio

from adapter.domain.dimse_ports import SendResult
from adapter.domain.records import OutgoingInstance
from adapter.domain.refusals import Cause
from adapter.errors import PeerRefusalError
from adapter.protocols.dicomweb.http_verdict import (
    LISTING,
    UNAVAILABLE,
    refusal,
    unavailable_words,
)
from adapter.protocols.dicomweb.store_answer import (
    NoListError,
    StoreAnswer,
    failed,
    read_answer,
    unexplained,
)
from adapter.protocols.dicomweb.store_body import StoreBody, UnreadableError, size_of
from adapter.protocols.http_exchange import NoAnswerError, bounded, exchange_errors
from adapter.protocols.uncommitted import ABORTED, UncommittedAssociation

ANSWER_BYTES_MAX = 1 << 20
"""A hundred instances take some 200 KB."""
REQUEST_BYTES_MAX = 256_000_000
"""A request holds more only if one instance is longer: what is lost is sent again."""
LOSSES_MAX = 3
"""So many answers in a row that did not come, and the rest is left for later."""


class Service(NamedTuple):
    """A destination of type `dicomweb`, as a session needs it."""

    url: str
    headers: dict[str, str]
    batch_size: int
    answer_s: float


class Answered(NamedTuple):
    """The answer to one request."""

    status: int
    answer: StoreAnswer | None
    """None: it lists no instances."""


@dataclass(slots=True)
class _Load:
    """What is to be stored, and what became of it."""

    instances: Sequence[OutgoingInstance]
    results: dict[int, SendResult] = field(default_factory=dict)
    batches: deque[list[int]] = field(default_factory=deque)
    """Indices of what one request each is to hold."""

    def divide(self, size_max: int) -> None:
        """Make batches of everything."""
        total = 0
        for index, instance in enumerate(self.instances):
            size = size_of(instance)
            last = self.batches[-1] if self.batches else None
            if last is not None and len(last) < size_max and total + size <= REQUEST_BYTES_MAX:
                last.append(index)
                total += size
            else:
                self.batches.append([index])
                total = size

    def conclude(self, batch: Sequence[int], result: SendResult, *, try_each: bool) -> None:
        """Take the same result for all of a batch, or have each tried alone first."""
        if try_each and len(batch) > 1:
            self.batches.extendleft([index] for index in reversed(batch))
        else:
            self.results.update(dict.fromkeys(batch, result))


class StoreSession(UncommittedAssociation):
    """Stores by STOW-RS (port `OutboundAssociation`)."""

    def __init__(
        self, client: httpx2.AsyncClient, service: Service, threads: trio.CapacityLimiter
    ) -> None:
        """Use a client; `threads` read files."""
        super().__init__()
        self._client = client
        self._service = service
        self._threads = threads

    async def store(self, instances: Sequence[OutgoingInstance]) -> list[SendResult]:
        """See `OutboundAssociation.store`."""
        load = _Load(instances)
        load.divide(self._service.batch_size)
        rest = ABORTED
        with self._until_aborted():
            rest = await self._store(load)
        return [load.results.get(index, rest) for index in range(len(instances))]

    async def _store(self, load: _Load) -> SendResult:
        """Work through the batches; return the result for what is left.

        Raises:
            PeerRefusalError: The service takes nothing now.
        """
        losses = 0
        while load.batches:
            batch = load.batches.popleft()
            try:
                answered = await self._post([load.instances[index] for index in batch])
            except UnreadableError as error:
                spoilt = batch.pop(error.index)
                load.results[spoilt] = SendResult(status=None, permanent=True, error=str(error))
                load.batches.extendleft([batch] if batch else [])
            except NoAnswerError as error:
                losses += 1
                lost = SendResult(status=None, error=str(error))
                if not error.connected and not load.results:
                    raise PeerRefusalError(str(error), Cause.HTTP) from error
                if not error.connected or losses == LOSSES_MAX:
                    return lost
                load.conclude(batch, lost, try_each=True)
            else:
                losses = 0
                self._settle(load, batch, answered)
        return ABORTED

    def _settle(self, load: _Load, batch: Sequence[int], answered: Answered) -> None:
        status, answer = answered
        uids = [load.instances[index].sop_instance_uid for index in batch]
        if status in LISTING or status // 100 == 2:
            if answer is None:
                result = unexplained(f"the answer ({status}) lists no instances")
                load.conclude(batch, result, try_each=False)
            else:
                results = [answer.result(uid, status) for uid in uids]
                load.results.update(zip(batch, results, strict=True))
            return
        result, try_each = refusal(status)
        if len(uids) == 1 and answer is not None and uids[0] in answer.failed:
            result = failed(answer.failed[uids[0]])  # it knows better why
        load.conclude(batch, result, try_each=try_each)

    async def _post(self, instances: Sequence[OutgoingInstance]) -> Answered:
        """Send one request.

        Raises:
            NoAnswerError: There is no answer, or the service takes nothing now.
            UnreadableError: A file is not what it was.
        """
        service = self._service
        body = StoreBody(instances, self._threads)
        headers = {
            **service.headers,
            "Accept": "application/dicom+json",
            "Content-Type": body.content_type,
            "Content-Length": str(body.length),
        }

        def limit() -> None:
            scope.deadline = trio.current_time() + service.answer_s

        with trio.CancelScope() as scope, exchange_errors():
            async with (
                aclosing(body.pieces(taken=limit)) as content,
                self._client.stream(
                    "POST", f"{service.url}/studies", headers=headers, content=content
                ) as response,
            ):
                limit()
                status = response.status_code
                if status in UNAVAILABLE:
                    raise NoAnswerError(unavailable_words(status), connected=False)
                text = await bounded(response, ANSWER_BYTES_MAX)
        if scope.cancelled_caught:
            raise NoAnswerError("no answer in time", connected=True)
        return Answered(status, await self._read(text))

    async def _read(self, text: bytes) -> StoreAnswer | None:
        try:
            return await trio.to_thread.run_sync(read_answer, text, limiter=self._threads)
        except NoListError:
            return None

    async def probe(self) -> int:
        """Return the status of the answer to OPTIONS: a request without effect (RFC 9110 9.3.7).

        Raises:
            PeerRefusalError: There is none, or the service takes nothing now.
        """
        service = self._service
        try:
            with trio.move_on_after(service.answer_s) as scope, exchange_errors():
                async with self._client.stream(
                    "OPTIONS", f"{service.url}/studies", headers=service.headers
                ) as response:
                    status = response.status_code
                    await bounded(response, ANSWER_BYTES_MAX)
            if scope.cancelled_caught:
                raise NoAnswerError("no answer in time", connected=True)
        except NoAnswerError as error:
            raise PeerRefusalError(str(error), Cause.HTTP) from error
        if status in UNAVAILABLE:
            raise PeerRefusalError(unavailable_words(status), Cause.HTTP)
        return status
