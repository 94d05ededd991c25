"""Self-test: a small study of our own, sent to an AE Title of ours over a real association.

Nothing is special about it: it is admitted by the same rules, grouped, becomes jobs, is exported
like any other. Its calling AE Title is ours as a requestor, so that has to be among the sources.
"""

import tempfile
import time
import uuid
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path

import trio
from litestar import post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from msgspec import Struct

from adapter.domain.dimse_ports import SendResult
from adapter.domain.entities import ApplicationEntity, Destination
from adapter.domain.refusals import Cause, Parties, advice
from adapter.domain.statuses import is_success, status_words
from adapter.domain.views import Views
from adapter.errors import PeerRefusalError
from adapter.protocols.dimse.sample_study import CONTEXT, write_sample_study
from adapter.protocols.web.entity_forms import AE_TITLES
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import OPERATOR

INSTANCES = 3
FOLDER = "dicom-adapter-self-test-"


class SelfTest(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of it so far; events tell the rest."""

    calling_ae_title: str
    study_instance_uid: str
    instances: int
    stored: int
    seconds: float
    """For association and responses."""
    problems: list[str]
    """Of instances that were not stored."""


@post(
    f"{AE_TITLES.route}/{{name:str}}/selftest",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
    summary="Send a small study to an AE Title",
)
async def self_test(web: State, name: FromPath[str]) -> SelfTest:
    """Send it, and return when it is answered; one at a time.

    404, 409 if the AE Title cannot run as it is, 502 with what was refused and what to check.
    """
    listed = web.listed[AE_TITLES.kind].get(name)
    if listed is None:
        raise NotFoundException(f"no {AE_TITLES.words} is named {name!r}")
    if not isinstance(listed.entity, ApplicationEntity):
        raise HTTPException("; ".join(listed.problems), status_code=HTTPStatus.CONFLICT)
    host, port = web.dicom_address
    to = Destination(
        name="self-test",
        ae_title=listed.entity.ae_title,
        host=host,
        port=listed.entity.port or port,
    )
    async with web.echoing.setdefault(AE_TITLES.kind, trio.Lock()):
        return await _sent(web, to)


async def _sent(web: Views, to: Destination) -> SelfTest:
    study = _new_uid()
    with tempfile.TemporaryDirectory(prefix=FOLDER) as folder:
        write = partial(write_sample_study, Path(folder), INSTANCES, _new_uid, study)
        instances = await trio.to_thread.run_sync(write)
        begun = time.monotonic()
        try:
            async with web.requestor.associate(to, [CONTEXT]) as association:
                results = await association.store(instances)
        except PeerRefusalError as error:
            parties = Parties(web.calling_ae_title, to.ae_title, to.host, to.port)
            hint = advice(Cause(error.cause), error.codes, parties)
            raise HTTPException(f"{error}; {hint}", status_code=HTTPStatus.BAD_GATEWAY) from error
    return SelfTest(
        calling_ae_title=web.calling_ae_title,
        study_instance_uid=study,
        instances=INSTANCES,
        stored=sum(_is_stored(result) for result in results),
        seconds=round(time.monotonic() - begun, 3),
        problems=_problems(results),
    )


def _is_stored(result: SendResult) -> bool:
    return result.status is not None and is_success(result.status)


def _problems(results: Sequence[SendResult]) -> list[str]:
    return sorted(
        {
            status_words(result.status) if result.status is not None else result.error
            for result in results
            if not _is_stored(result)
        }
    )


def _new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"  # PS3.5 B.2
