"""The configuration that counts now, key by key, with where each value comes from."""

from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from adapter.protocols.web.health import State
from adapter.protocols.web.paging import PAGE_MAX, PAGED, AnyRequest, Limit, Offset, paged
from adapter.protocols.web.roles import ADMINISTRATOR

Below = Annotated[
    str | None,
    QueryParameter(
        name="key", max_length=128, description="A key, or the table of keys: `dicom.scp`."
    ),
]


@get(
    "/api/configuration",
    opt=ADMINISTRATOR,
    summary="The configuration that counts now",
    response_headers=PAGED,
)
async def configuration(
    web: State,
    request: AnyRequest,
    key: Below = None,
    limit: Limit = PAGE_MAX,
    offset: Offset = 0,
) -> Response[list[dict[str, Any]]]:
    """Return a page of its keys in the order of the file, as `config show --origin` does.

    What was made over REST is not in it. Of a secret only whether it is set is told.
    """
    rows = [
        msgspec.to_builtins(one)
        for one in web.configuration()
        if key is None or one.key == key or one.key.startswith(f"{key}.")
    ]
    return paged(request, rows, limit, offset)
