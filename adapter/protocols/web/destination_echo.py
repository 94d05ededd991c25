"""Echo: asks a destination whether it is there, as its exporter would, for an operator."""

from contextlib import suppress
from http import HTTPStatus
from typing import Any

import trio
from litestar import post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from adapter.channels import UNANSWERED, ask
from adapter.domain.dimse_ports import EchoResult
from adapter.domain.entities import Destination
from adapter.domain.exporter_orders import DestinationAnswered
from adapter.domain.messages import OrderRefused
from adapter.domain.refusals import Cause, Parties, advice
from adapter.domain.statuses import SUCCESS, status_words
from adapter.domain.views import Views
from adapter.errors import PeerRefusalError, UnavailableError
from adapter.protocols.web.entity_forms import DESTINATIONS
from adapter.protocols.web.health import State
from adapter.protocols.web.orders import ANSWER_S
from adapter.protocols.web.roles import OPERATOR


class UnansweredEcho(HTTPException):
    """The destination did not say that it is there."""


@post(
    f"{DESTINATIONS.route}/{{name:str}}/echo",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
    summary="Verify a destination",
)
async def echo(web: State, name: FromPath[str]) -> dict[str, Any]:
    """Ask it by C-ECHO, or by what its type has for that; say how long each step took.

    If it was down and answers, what waits for it is sent now, not at the end of a pause.

    404, 409 if it cannot be used as it is, 502 with what was refused and what to check.
    """
    listed = web.listed[DESTINATIONS.kind].get(name)
    if listed is None:
        raise NotFoundException(f"no {DESTINATIONS.words} is named {name!r}")
    if not isinstance(listed.entity, Destination):
        raise HTTPException("; ".join(listed.problems), status_code=HTTPStatus.CONFLICT)
    result = await _echoed(web, listed.entity)
    await _tell_exporter(web, name)
    return _shown(result)


async def _tell_exporter(web: Views, name: str) -> None:
    """Have what waits for the destination sent; one that is parked sends nothing."""

    def answered(reply: trio.MemorySendChannel[bool | OrderRefused]) -> DestinationAnswered:
        return DestinationAnswered(reply=reply)

    if orders := web.export_orders.get(name):
        with suppress(*UNANSWERED):
            await ask(orders, answered, ANSWER_S)


async def _echoed(web: Views, destination: Destination) -> EchoResult:
    """Return the answer of a destination; one operator asks it at a time.

    Raises:
        UnansweredEcho: There is none, or it is no success.
    """
    try:
        async with web.echoing.setdefault(destination.name, trio.Lock()):
            result = await web.requestor.echo(destination)
    except PeerRefusalError as error:
        hint = advice(Cause(error.cause), error.codes, _parties(web, destination))
        raise UnansweredEcho(f"{error}; {hint}", status_code=HTTPStatus.BAD_GATEWAY) from error
    except UnavailableError as error:
        raise UnansweredEcho(str(error), status_code=HTTPStatus.BAD_GATEWAY) from error
    if result.status != SUCCESS:
        words = f"it answered {status_words(result.status)}"
        raise UnansweredEcho(words, status_code=HTTPStatus.BAD_GATEWAY)
    return result


def _parties(web: Views, to: Destination) -> Parties:
    return Parties(web.calling_ae_title, to.label, to.host, to.port)


def _shown(result: EchoResult) -> dict[str, Any]:
    steps = {"connect": result.connect_s, "associate": result.associate_s, "echo": result.echo_s}
    return {
        "status": result.status,
        "statusText": status_words(result.status),
        **{f"{step}Ms": round(seconds * 1000, 3) for step, seconds in steps.items()},
    }
