"""Well-behaved requestors: one that stores, one that holds an association, one that comes and goes.

Each knows how its associations went, to the microsecond, and why one that failed did. Nothing is
repeated: a rejected association is a rejected association.
"""

import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from adapter.domain.admission import VERIFICATION
from adapter.domain.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from adapter.protocols.dimse import command_set, pdu
from adapter.protocols.dimse.associate import ProposedContext, decode_associate_ac
from adapter.protocols.dimse.items import MalformedPDUError
from benchmarks.instances import Template, uid
from benchmarks.loop import Connection, Loop
from benchmarks.messages import CONTEXT, Cut, Views, stock_writes

clock = time.perf_counter
MESSAGE_IDS = 0xFFFF
CONNECTION = "connection"
_STORE_RSP = b"\0\0\0\x01\2\0\0\0\x01\x80"  # (0000,0100) Command Field, PS3.7 E.1
_ECHO_RSP = b"\0\0\0\x01\2\0\0\0\x30\x80"
_RESPONDED_ID = b"\0\0\x20\x01\2\0\0\0"
_STATUS = b"\0\0\0\x09\2\0\0\0"
_INSTANCE = b"\0\0\0\x10"


@dataclass(slots=True)
class Course:
    """How one association went; times of `time.perf_counter`."""

    number: int
    planned: int
    started_at: float = 0.0
    up_at: float = 0.0
    """When A-ASSOCIATE-AC was there; 0: never."""
    finished_at: float = 0.0
    """When the last response had come."""
    response_times: array = field(default_factory=lambda: array("d"))  # type: ignore[type-arg]
    """When each response had come."""
    latencies: array = field(default_factory=lambda: array("d"))  # type: ignore[type-arg]
    """From the first byte of each request to its response, in seconds."""
    statuses: Counter[int] = field(default_factory=Counter)
    sent: int = 0
    """Requests of which at least the first byte was handed to the kernel."""
    failure: str = ""
    """Why it did not end as it should have."""


class Requestor(Connection):
    """An association: set-up, the deadline of each answer, release."""

    __slots__ = ("_asked_at", "_awaited", "_on_pdu", "_over", "_request", "course",
                 "fragment_limit", "on_end", "on_up", "timeout_s")  # fmt: skip

    def __init__(self, loop: Loop, course: Course, request: bytes, timeout_s: float, *,
                 nagle: bool = False) -> None:  # fmt: skip
        super().__init__(loop, nagle=nagle)
        self.course = course
        self.timeout_s = timeout_s
        self.fragment_limit = 0
        self.on_up: Callable[[], None] = lambda: None
        self.on_end: Callable[[Requestor], None] = lambda _: None
        self._request = request
        self._on_pdu: Callable[[bytes], None] = self._associated
        self._awaited = ""
        self._asked_at = 0.0
        self._over = False

    def start(self) -> None:
        """Begin; `on_end` is called exactly once."""
        self.course.started_at = clock()
        self._await(CONNECTION)
        self.loop.call_at(self._asked_at + self.timeout_s, self._watch)
        self.open()

    def connected(self) -> None:
        """See `Connection`."""
        self._await("A-ASSOCIATE-AC")
        self.send([self._request])

    def received(self, pdu: bytes) -> None:
        """See `Connection`."""
        self._on_pdu(pdu)

    def lost(self, reason: str) -> None:
        """See `Connection`."""
        plain = self._awaited in ("", CONNECTION)
        self._end(reason if plain else f"{reason} instead of {self._awaited}")

    def associated(self) -> None:
        """The association is up: do what it is for."""
        raise NotImplementedError

    def release(self) -> None:
        """Release; the association ends well if the peer agrees."""
        self._on_pdu = self._released
        self._await("A-RELEASE-RP")
        self.send([pdu.RELEASE_RQ_PDU])

    def fail(self, reason: str) -> None:
        """Abort."""
        self.send([pdu.abort(pdu.BY_USER, 0)])
        self.close()
        self._end(reason)

    def _await(self, what: str) -> None:
        self._awaited, self._asked_at = what, clock()

    def _watch(self) -> None:
        """Look at the deadline of the answer that is awaited now; come back at the next one."""
        if not self.is_open:
            return
        due = (self._asked_at if self._awaited else clock()) + self.timeout_s
        if due <= clock():
            self.fail(f"timeout: no {self._awaited}")
        else:
            self.loop.call_at(due, self._watch)

    def _associated(self, answer: bytes) -> None:
        if answer[0] != pdu.ASSOCIATE_AC:
            self._unexpected(answer)
            return
        try:
            accept = decode_associate_ac(answer)
        except MalformedPDUError as error:
            self.fail(f"malformed: {error}")
            return
        if accept.contexts.get(CONTEXT, (None, ""))[0] != 0:
            self.fail("presentation context not accepted")
            return
        self.fragment_limit = accept.user.max_length
        self.course.up_at = clock()
        self._awaited = ""
        self.on_up()
        self.associated()

    def _released(self, answer: bytes) -> None:
        if answer[0] != pdu.RELEASE_RP:
            self._unexpected(answer)
            return
        self.close()
        self._end("")

    def _unexpected(self, answer: bytes) -> None:
        ending = ending_of(answer)
        if ending:
            self.close()
            self._end(ending)
        else:
            self.fail(f"PDU type {answer[0]} instead of {self._awaited}")

    def _end(self, failure: str) -> None:
        if not self._over:
            self._over = True
            self.course.failure = failure
            self.on_end(self)


def ending_of(answer: bytes) -> str:
    """Return how a PDU ends an association, in words; empty if it does not."""
    match answer[0], answer[6:10]:
        case pdu.ASSOCIATE_RJ, bytes(body) if len(body) == 4:
            return f"rejected {body[1]}/{body[2]}/{body[3]}"
        case pdu.ABORT, bytes(body) if len(body) == 4:
            return f"aborted {body[2]}/{body[3]}"
        case _:
            return ""


def status_of(answer: bytes, response: bytes, message_id: int) -> int | None:
    """Return the status, or None if this is not the response to that message.

    The elements are searched for, not parsed: UIDs cannot look like them. A message id can look
    like the tag of the status, which is the last element that does.
    """
    at = answer.rfind(_STATUS)
    responded = _RESPONDED_ID + message_id.to_bytes(2, "little")
    if at < 0 or answer[0] != pdu.P_DATA_TF or response not in answer or responded not in answer:
        return None
    return int.from_bytes(answer[at + 8 : at + 10], "little")


class Storer(Requestor):
    """Stores the instances of one study, one after the other."""

    __slots__ = ("_cut", "_instance", "_next", "_on_stored", "_run", "_study")

    def __init__(self, requestor: tuple[Loop, Course, bytes, float], study: Template, run: int,
                 on_stored: Callable[[], None], *, nagle: bool = False) -> None:  # fmt: skip
        super().__init__(*requestor, nagle=nagle)
        self._study, self._run, self._on_stored = study, run, on_stored
        self._cut: Cut | None = None
        self._next: tuple[bytes, Views] | None = None
        self._instance = b""

    def associated(self) -> None:
        """See `Requestor`."""
        if 0 < self.fragment_limit < 1024:
            self.fail(f"the peer wants PDUs of {self.fragment_limit} bytes")
            return
        self._cut = Cut(self._study, self.fragment_limit)
        self._on_pdu = self._stored
        self._prepare()
        self._send_next()
        self._prepare()

    def _prepare(self) -> None:
        """Make the next message; done while the peer works on the one before."""
        course = self.course
        self._next = None
        if course.sent < course.planned:
            assert self._cut is not None
            instance = uid(self._run, 3, course.number * course.planned + course.sent)
            message = self._cut.message(course.sent % MESSAGE_IDS + 1, instance)
            self._next = instance, stock_writes(message) if self.nagle else message

    def _send_next(self) -> None:
        if self._next is None:
            self.release()
            return
        self._instance, message = self._next
        course = self.course
        course.sent += 1
        self._awaited, self._asked_at = "C-STORE-RSP", clock()
        self.send(message)

    def _stored(self, answer: bytes) -> None:
        now, course = clock(), self.course
        status = status_of(answer, _STORE_RSP, (course.sent - 1) % MESSAGE_IDS + 1)
        if status is None:
            self._unexpected(answer)
            return
        if _INSTANCE in answer and self._instance not in answer:
            self.fail("C-STORE-RSP for another instance")
            return
        asked_at = self._asked_at
        self._send_next()  # first of all: the receiver does not wait for our bookkeeping
        course.response_times.append(now)
        course.latencies.append(now - asked_at)
        course.statuses[status] += 1
        course.finished_at = now
        self._on_stored()
        if self.is_open:
            self._prepare()


class Echoer(Requestor):
    """Verifies as often as it is told, then waits to be released."""

    __slots__ = ("every_s", "on_last")

    def __init__(self, requestor: tuple[Loop, Course, bytes, float], every_s: float = 0.0,
                 on_last: "Callable[[Echoer], None] | None" = None) -> None:  # fmt: skip
        super().__init__(*requestor)
        self.every_s = every_s
        self.on_last = on_last or (lambda _: None)

    def associated(self) -> None:
        """See `Requestor`."""
        self._on_pdu = self._echoed
        self.verify()

    def verify(self) -> None:
        """Send a C-ECHO, or call `on_last` if all have been answered."""
        course = self.course
        if not self.is_open:
            return
        if course.sent == course.planned:
            course.finished_at = clock()
            self.on_last(self)
            return
        course.sent += 1
        self._await("C-ECHO-RSP")
        message_id = (course.sent - 1) % MESSAGE_IDS + 1
        self.send([command_set.echo_request(CONTEXT, message_id, VERIFICATION)])

    def _echoed(self, answer: bytes) -> None:
        course = self.course
        status = status_of(answer, _ECHO_RSP, (course.sent - 1) % MESSAGE_IDS + 1)
        if status is None:
            self._unexpected(answer)
            return
        now = clock()
        course.response_times.append(now)
        course.latencies.append(now - self._asked_at)
        course.statuses[status] += 1
        self._awaited = ""
        if self.every_s:
            self.loop.call_at(now + self.every_s, self.verify)
        else:
            self.verify()


def store_context(template: Template) -> ProposedContext:
    """Return the presentation context for a kind."""
    return ProposedContext(CONTEXT, template.sop_class_uid, (EXPLICIT_VR_LITTLE_ENDIAN,))


VERIFICATION_CONTEXT = ProposedContext(CONTEXT, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))
