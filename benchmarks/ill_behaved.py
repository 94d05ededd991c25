"""Ill-behaved requestors: each does one thing that real ones do, for a bounded time.

A behaviour is a generator: what it yields is how long to wait (seconds), or ANSWER for the next
PDU. Where it ends the connection is closed; if the peer ends it first, or its time is over, so be
it: how each one ended is all that is reported.
"""

import random
import time
from collections.abc import Callable, Iterator
from functools import partial

from adapter.protocols.dimse import pdu
from adapter.protocols.dimse.associate import decode_associate_ac
from benchmarks.instances import Template, uid
from benchmarks.loop import Connection, Loop
from benchmarks.messages import Cut, Views, stock_writes
from benchmarks.senders import ending_of

ANSWER = -1.0
STALL_S = 1.0
BYTE_S = 0.05
Behaviour = Callable[["IllBehaved"], Iterator[float]]


class IllBehaved(Connection):
    """A connection that is used as a behaviour wants it."""

    __slots__ = ("_ended", "_generation", "_on_end", "_steps", "_waits_for_answer", "behaviour",
                 "fragment_limit", "request", "run", "started_at", "study")  # fmt: skip

    def __init__(self, loop: Loop, behaviour: Behaviour, request: bytes, study: Template, run: int,
                 on_end: Callable[["IllBehaved", str], None]) -> None:  # fmt: skip
        super().__init__(loop, nagle=behaviour is nagle)
        self.behaviour = behaviour
        self.request = request
        self.study, self.run = study, run
        self.fragment_limit = 0
        self.started_at = 0.0
        self._on_end = on_end
        self._ended = True
        self._generation = 0
        self._waits_for_answer = False
        self._steps: Iterator[float] = iter(())

    def start(self, limit_s: float) -> None:
        """Begin; `on_end` is called once, within the limit."""
        self.started_at = time.perf_counter()
        self._generation += 1
        self._ended = False
        self._steps = self.behaviour(self)
        self.loop.call_at(self.started_at + limit_s, partial(self._time_over, self._generation))
        self.open()

    def connected(self) -> None:
        """See `Connection`."""
        self._step()

    def received(self, answer: bytes) -> None:
        """See `Connection`."""
        ending = ending_of(answer)
        if ending:
            self.close()
            self._end(f"{ending} by the peer")
        elif self._waits_for_answer:
            if answer[0] == pdu.ASSOCIATE_AC:
                self.fragment_limit = decode_associate_ac(answer).user.max_length
            self._waits_for_answer = False
            self._step()

    def lost(self, reason: str) -> None:
        """See `Connection`."""
        self._end(reason)

    def message(self) -> Views:
        """Return a whole C-STORE request for an instance that nobody has sent."""
        instance = uid(self.run, 3, 10**8 - 1 - random.randrange(10**7))
        return Cut(self.study, self.fragment_limit).message(1, instance)

    def half_a_message(self) -> Views:
        """Return a request that breaks off within the data set."""
        whole = b"".join(self.message())
        return [whole[: len(whole) // 2]]

    def _step(self) -> None:
        while self.is_open:
            wait_s = next(self._steps, None)
            if not self.is_open:
                return
            if wait_s is None:
                self.close()
                self._end("done")
            elif wait_s == ANSWER:
                self._waits_for_answer = True
                return
            elif wait_s:
                resume = partial(self._resume, self._generation)
                self.loop.call_at(time.perf_counter() + wait_s, resume)
                return

    def _resume(self, generation: int) -> None:
        if generation == self._generation and not self._ended:
            self._step()

    def _time_over(self, generation: int) -> None:
        if generation == self._generation and not self._ended:
            self.close()
            self._end("still connected at the end of its time")

    def _end(self, how: str) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(self, how)


def _forever() -> Iterator[float]:
    while True:
        yield 3600.0


def silent(_: IllBehaved) -> Iterator[float]:
    """Connect and say nothing."""
    yield from _forever()


def slow_request(me: IllBehaved) -> Iterator[float]:
    """Send A-ASSOCIATE-RQ one byte at a time."""
    for byte in me.request:
        me.send([bytes((byte,))])
        yield BYTE_S
    yield from _forever()


def slow_instance(me: IllBehaved) -> Iterator[float]:
    """Associate, then send an instance one byte at a time."""
    yield from _associate(me)
    for byte in b"".join(me.message()):
        me.send([bytes((byte,))])
        yield BYTE_S


def stalled(me: IllBehaved) -> Iterator[float]:
    """Send half an instance, and nothing more."""
    yield from _associate(me)
    me.send(me.half_a_message())
    yield from _forever()


def stalling(me: IllBehaved) -> Iterator[float]:
    """Send a whole instance, with a pause before the data of each PDU."""
    yield from _associate(me)
    for write in stock_writes(me.message()):
        me.send([write])
        yield STALL_S
    yield ANSWER


def aborting(me: IllBehaved) -> Iterator[float]:
    """Send A-ABORT in the middle of an instance."""
    yield from _associate(me)
    me.send([*me.half_a_message(), pdu.abort(pdu.BY_USER, 0)])
    yield 0.1


def leaving(me: IllBehaved) -> Iterator[float]:
    """Close without a release."""
    yield from _associate(me)
    yield 0.1


def vanishing(me: IllBehaved) -> Iterator[float]:
    """Reset the connection in the middle of an instance."""
    yield from _associate(me)
    me.send(me.half_a_message())
    yield 0.1
    me.close(reset=True)
    me.lost("done")


def half_closing(me: IllBehaved) -> Iterator[float]:
    """Send a request, and say that nothing more comes."""
    me.send([me.request])
    me.shut_down_sending()
    yield from _forever()


def garbage(me: IllBehaved) -> Iterator[float]:
    """Send something else than DICOM."""
    me.send([random.Random(4711).randbytes(4096)])
    yield from _forever()


def garbage_later(me: IllBehaved) -> Iterator[float]:
    """Associate, then send PDUs of no known type."""
    yield from _associate(me)
    me.send([pdu.HEADER.pack(0x99, 16) + bytes(16)])
    yield from _forever()


def giant(me: IllBehaved) -> Iterator[float]:
    """Associate, then announce a PDU of 4 GB."""
    yield from _associate(me)
    me.send([pdu.HEADER.pack(pdu.P_DATA_TF, 0xFFFFFFFF) + bytes(64)])
    yield from _forever()


def unasked(me: IllBehaved) -> Iterator[float]:
    """Send an instance without an association."""
    me.send(me.half_a_message())
    yield from _forever()


def nagle(me: IllBehaved) -> Iterator[float]:
    """Store one instance as stock senders do: small writes, Nagle's algorithm, delayed ACK."""
    yield from _associate(me)
    me.send(stock_writes(me.message()))
    yield ANSWER
    me.send([pdu.RELEASE_RQ_PDU])
    yield ANSWER


def _associate(me: IllBehaved) -> Iterator[float]:
    me.send([me.request])
    yield ANSWER


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.__name__.replace("_", "-"): behaviour
    for behaviour in (
        silent, slow_request, slow_instance, stalled, stalling, aborting, leaving, vanishing,
        half_closing, garbage, garbage_later, giant, unasked, nagle,
    )
}  # fmt: skip
