"""Instances of a study, and a picture of one.

A picture shows a patient, which nothing else of this API does: it is for operators, so that each
one that was seen is in the audit trail, and there is none unless that was configured.
"""

from http import HTTPStatus

from litestar import Response, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from msgspec import Struct

from adapter.domain.identifiers import UID_LENGTH_MAX
from adapter.domain.previews import Instance, NoPicture, Obstacle
from adapter.domain.views import Views
from adapter.errors import UnavailableError
from adapter.protocols.web.health import State
from adapter.protocols.web.paging import PAGED, AnyRequest, Limit, Offset, page_of
from adapter.protocols.web.roles import OPERATOR, VIEWER

PNG = "image/png"
STATUSES: dict[Obstacle, HTTPStatus] = {
    "form": HTTPStatus.NOT_ACCEPTABLE,  # as for rendered resources (PS3.18 8.5)
    "size": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "time": HTTPStatus.GATEWAY_TIMEOUT,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
}
WORDS: dict[Obstacle, str] = {
    "form": "no picture can be drawn of it",
    "size": "it is too large for a picture",
    "time": "drawing it took too long",
    "busy": "no picture now",
}


class StudyInstance(Struct, frozen=True, kw_only=True, rename="camel"):
    """An instance of a study that is held here."""

    series_instance_uid: str
    """Or a digest of what is none."""
    sop_instance_uid: str
    """In the same way; `_2` and so on behind it: one more with other content."""
    bytes: int


@get(
    "/api/studies/{study_instance_uid:str}/instances",
    opt=VIEWER,
    summary="Which instances of a study are held",
    response_headers=PAGED,
)
async def instances(
    request: AnyRequest,
    web: State,
    study_instance_uid: FromPath[str],
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response[list[StudyInstance]]:
    """Return a page of what was received, by series. 404 if nothing is held."""
    found = await _instances(web, study_instance_uid)
    rows = [
        StudyInstance(series_instance_uid=i.series, sop_instance_uid=i.name, bytes=i.size_bytes)
        for i in found
    ]
    page, headers = page_of(request, rows, limit, offset)
    return Response(list(page), headers=headers)


@get(
    "/api/studies/{study_instance_uid:str}/instances/{sop_instance_uid:str}/preview",
    opt=OPERATOR,
    summary="A picture of an instance",
    media_type=PNG,
)
async def preview(
    web: State, study_instance_uid: FromPath[str], sop_instance_uid: FromPath[str]
) -> Response[bytes]:
    """Return a picture: no image for diagnosis. 403 if there are none, 406 if not of this one, 413
    if it is too large, 504 if it takes too long."""
    if web.previews is None:
        raise HTTPException(
            "pictures are switched off; see preview.enabled", status_code=HTTPStatus.FORBIDDEN
        )
    found = await _instances(web, study_instance_uid)
    instance = next((one for one in found if one.name == sop_instance_uid), None)
    if instance is None:
        raise NotFoundException(f"no instance {sop_instance_uid[:UID_LENGTH_MAX]!r} is held")
    try:
        picture = await web.previews.picture(instance)
    except UnavailableError as error:
        raise _unavailable(error) from None
    if isinstance(picture, NoPicture):
        status = STATUSES[picture.why]
        headers = {"Retry-After": "5"} if picture.why == "busy" else None
        words = f"{WORDS[picture.why]}: {picture.text}"
        raise HTTPException(words, status_code=status, headers=headers)
    return Response(picture, media_type=PNG)


async def _instances(web: Views, study_instance_uid: str) -> tuple[Instance, ...]:
    found: tuple[Instance, ...] = ()
    if study_instance_uid.isprintable() and len(study_instance_uid) <= UID_LENGTH_MAX:
        try:
            found = await web.survey.instances(study_instance_uid)
        except UnavailableError as error:
            raise _unavailable(error) from None
    if not found:
        uid = study_instance_uid[:UID_LENGTH_MAX]
        raise NotFoundException(f"no instance of the study {uid!r} is held")
    return found


def _unavailable(error: UnavailableError) -> HTTPException:
    return HTTPException(f"the storage cannot be used: {error}", status_code=503)


PREVIEWS = [instances, preview]
