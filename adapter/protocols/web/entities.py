"""AE Titles, sources and destinations while the adapter runs: Clara's routes, the same for each.

The key is the `name`. Changes are conditional if they say so (`If-Match`, RFC 9110 13.1.1): whoever
has seen something old changes nothing.
"""

import re
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

import trio
from litestar import Response, delete, get, post, put
from litestar.datastructures import ResponseHeader
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body, FromPath, HeaderParameter, QueryParameter

from adapter.channels import UNANSWERED, ask
from adapter.domain.entity_orders import EntityAction, EntityOrder, EntityRefusal, EntityRefused
from adapter.domain.entity_rows import Configured, ListedEntity
from adapter.domain.views import Views
from adapter.protocols.web.entity_forms import FORMS, Form, Objections
from adapter.protocols.web.health import State
from adapter.protocols.web.paging import PAGE_MAX, PAGED, AnyRequest, Limit, Offset, page_of
from adapter.protocols.web.roles import ADMINISTRATOR, OPERATOR, VIEWER

ANSWER_S = 10.0
_STATUS = {
    EntityRefusal.UNKNOWN: HTTPStatus.NOT_FOUND,
    EntityRefusal.CONFLICT: HTTPStatus.CONFLICT,
    EntityRefusal.INVALID: HTTPStatus.BAD_REQUEST,
    EntityRefusal.CHANGED: HTTPStatus.PRECONDITION_FAILED,
}
_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_TAGS = re.compile(rf"\s*(?:{_TAG.pattern}\s*(?:,\s*|$))+")
TAGGED = [
    ResponseHeader(
        name="ETag",
        description="Of what is configured; its state may change without it. For `If-Match`.",
        documentation_only=True,
    )
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The `ETag` of what is to be changed: 412 if it is another by now.",
        max_length=1024,
    ),
]
Drain = Annotated[
    bool | None,
    QueryParameter(
        description=(
            "Remove it also if there is work left for it, when that is done: exports of a "
            "destination, groups and associations of an AE Title. Missing: an AE Title drains, "
            "a destination does not."
        )
    ),
]
Document = Annotated[
    dict[str, Any],
    Body(
        description=(
            "The keys of its table in the configuration file in camelCase. AE Titles: `settings` "
            "as `processorSettings`, also in `processors`. Sources, destinations: `host`, or "
            "`hostIp`. `name` is the AE Title if it is missing, but a destination needs one."
        )
    ),
]


def _looking(form: Form) -> list[HTTPRouteHandler]:
    """Return the routes that show what there is of one kind."""
    words = form.words

    @get(form.route, opt=VIEWER, summary=f"Every {words}", response_headers=PAGED)
    async def entities(
        web: State, request: AnyRequest, limit: Limit = PAGE_MAX, offset: Offset = 0
    ) -> Response[list[dict[str, Any]]]:
        """Return all, those of the configuration file first."""
        listed = web.listed[form.kind].values()
        rows = sorted(listed, key=lambda row: (row.origin != "file", row.name))
        page, headers = page_of(request, rows, limit, offset)
        return Response([form.shown(web, row) for row in page], headers=headers)

    @get(form.one, opt=VIEWER, summary=f"One {words}", response_headers=TAGGED)
    async def entity(web: State, name: FromPath[str]) -> Response[dict[str, Any]]:
        """Return one; its `state` is `running`, `parked` or `draining`."""
        if listed := web.listed[form.kind].get(name):
            return answer(form, web, listed)
        raise NotFoundException(f"no {words} is named {name!r}")

    return [entities, entity]


def _making(form: Form) -> list[HTTPRouteHandler]:
    """Return the routes that make and change one kind."""
    words = form.words

    @post(form.route, opt=ADMINISTRATOR, summary=f"Make a new {words}", response_headers=TAGGED)
    async def create(web: State, data: Document) -> Response[dict[str, Any]]:
        """Make one; it is there from now on, and again after a restart.

        400 with all `problems`, 409 if its name or AE Title is used, 503 if nobody answers now.
        """
        wanted = _wanted(form, data, None)
        made = await ordered(form, web, "create", wanted.name, wanted)
        response = answer(form, web, made, HTTPStatus.CREATED)
        response.headers["Location"] = f"{form.route}/{quote(wanted.name, safe='')}"
        return response

    @put(form.one, opt=ADMINISTRATOR, summary=f"Change one {words}", response_headers=TAGGED)
    async def change(
        web: State, name: FromPath[str], data: Document, if_match: IfMatch = None
    ) -> Response[dict[str, Any]]:
        """Replace it; what is missing gets its default.

        400 with all `problems`, 404, 409 if it is of the file or being removed, 412, 503.
        """
        wanted = _wanted(form, {"name": name, **data}, web.listed[form.kind].get(name))
        if wanted.name != name:
            problem = f"name: {wanted.name!r} is not {name!r}, and cannot be changed"
            raise Objections(HTTPStatus.BAD_REQUEST, [problem])
        tags = _tags(if_match)
        return answer(form, web, await ordered(form, web, "change", name, wanted, tags))

    return [create, change]


def _ending(form: Form) -> list[HTTPRouteHandler]:
    """Return the routes that remove one kind, and start it again."""
    words = form.words

    @delete(
        form.one, status_code=HTTPStatus.OK, opt=ADMINISTRATOR, summary=f"Remove one {words}",
        response_headers=TAGGED,
    )  # fmt: skip
    async def remove(
        web: State, name: FromPath[str], drain: Drain = None, if_match: IfMatch = None
    ) -> Response[dict[str, Any]]:
        """Have nothing new to do with it; it is gone when its work is done.

        404, 409 if it is of the file, if another names it, or if there is work left for it and
        it does not drain, 412, 503.
        """
        tags = _tags(if_match)
        done = await ordered(form, web, "remove", name, tags=tags, drain=drain)
        return answer(form, web, done)

    @post(
        f"{form.one}/restart", status_code=HTTPStatus.OK, opt=OPERATOR,
        summary=f"Start a {words} again that is parked", response_headers=TAGGED,
    )  # fmt: skip
    async def restart(web: State, name: FromPath[str]) -> Response[dict[str, Any]]:
        """Start it again. 404, 409 if it is not parked or cannot run as it is, 503."""
        return answer(form, web, await ordered(form, web, "restart", name))

    return [remove, restart]


def answer(
    form: Form, web: Views, listed: ListedEntity, status: HTTPStatus = HTTPStatus.OK
) -> Response[dict[str, Any]]:
    """Return an entity as an answer, with its tag."""
    document = form.shown(web, listed)
    return Response(document, status_code=status, headers={"ETag": listed.tag})


def _wanted(form: Form, document: dict[str, Any], now: ListedEntity | None) -> Configured:
    """Return what a body describes.

    Raises:
        Objections: It describes none, or says two things of which one would have no effect.
    """
    wanted = form.read(document, now)
    if problems := form.contradictions(document, wanted):
        raise Objections(HTTPStatus.BAD_REQUEST, problems)
    return wanted


def _tags(if_match: str | None) -> frozenset[str] | None:
    """Return the strong entity-tags that will do; None: any.

    Raises:
        Objections: That is no list of tags.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    if not _TAGS.fullmatch(if_match):
        raise Objections(HTTPStatus.BAD_REQUEST, ["If-Match: is no list of entity-tags"])
    return frozenset(tag for weak, tag in _TAG.findall(if_match) if not weak)


async def ordered(
    form: Form,
    web: Views,
    action: EntityAction,
    name: str,
    wanted: Configured | None = None,
    tags: frozenset[str] | None = None,
    *,
    drain: bool | None = None,
) -> ListedEntity:
    """Give an order; return what became of it.

    Raises:
        HTTPException: Nothing was changed, or nobody answers.
    """

    def order(reply: trio.MemorySendChannel[ListedEntity | EntityRefused]) -> EntityOrder:
        return EntityOrder(
            action=action, kind=form.kind, name=name, entity=wanted, tags=tags, drain=drain,
            reply=reply,
        )  # fmt: skip

    try:
        done = await ask(web.entity_orders, order, ANSWER_S)
    except UNANSWERED:
        raise HTTPException("nobody answers now; look, and ask again", status_code=503) from None
    if isinstance(done, EntityRefused):
        problems = [form.in_our_words(each) for each in done.problems]
        raise Objections(_STATUS[done.refusal], problems)
    return done


ENTITIES = [
    route for form in FORMS for routes in (_looking, _making, _ending) for route in routes(form)
]
