"""The HTTP application: routes, problem bodies (RFC 9457), OpenAPI."""

from http import HTTPStatus
from typing import Any
from uuid import uuid4

import structlog
from litestar import Litestar, Request, Response, get
from litestar.di import Provide
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    ValidationException,
)
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Reference, SecurityScheme

from adapter import __version__
from adapter.domain.views import Views
from adapter.protocols.web.access import Access
from adapter.protocols.web.actors import ACTORS
from adapter.protocols.web.allow import ALLOW
from adapter.protocols.web.associations import ASSOCIATIONS
from adapter.protocols.web.audit import audit
from adapter.protocols.web.configuration import configuration
from adapter.protocols.web.dashboard import DASHBOARD
from adapter.protocols.web.description import described
from adapter.protocols.web.destination_echo import echo
from adapter.protocols.web.destinations import DESTINATIONS
from adapter.protocols.web.docs_page import DOCS
from adapter.protocols.web.entities import ENTITIES
from adapter.protocols.web.entity_forms import Objections
from adapter.protocols.web.event_stream import event_stream
from adapter.protocols.web.events import events
from adapter.protocols.web.export_orders import EXPORT_ORDERS
from adapter.protocols.web.group_orders import GROUP_ORDERS
from adapter.protocols.web.health import HEALTH
from adapter.protocols.web.idempotency import Idempotency
from adapter.protocols.web.jobs import JOBS
from adapter.protocols.web.keys import KEYS
from adapter.protocols.web.log_levels import LOGGING
from adapter.protocols.web.methods import methods_of, options
from adapter.protocols.web.paging import KnownQueries
from adapter.protocols.web.previews import PREVIEWS
from adapter.protocols.web.reload import RELOAD
from adapter.protocols.web.roles import OPEN
from adapter.protocols.web.self_test import self_test
from adapter.protocols.web.storage import STORAGE
from adapter.protocols.web.storage_items import STORAGE_ITEMS
from adapter.protocols.web.tasks import TASKS
from adapter.protocols.web.timeline import TIMELINE
from adapter.protocols.web.views import VIEWS

log = structlog.get_logger("adapter.web")

BODY_BYTES_MAX = 1 << 20
SECURITY_SCHEMES: dict[str, SecurityScheme | Reference] = {
    "bearer": SecurityScheme(
        type="http", scheme="bearer",
        description='A key of `dicom-adapter keys create`; not asked for under `api.auth = "none"`',
    ),
    "apiKey": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header"),
}  # fmt: skip


@get("/api/openapi.json", opt=OPEN, include_in_schema=False, sync_to_thread=False)
def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return described(request.app)


ROUTES = [
    *ASSOCIATIONS,
    *ALLOW,
    *ACTORS,
    *STORAGE,
    *TIMELINE,
    *PREVIEWS,
    *VIEWS,
    *GROUP_ORDERS,
    *JOBS,
    *DESTINATIONS,
    *EXPORT_ORDERS,
    *TASKS,
    *ENTITIES,
    *RELOAD,
    configuration,
    echo,
    self_test,
    *DASHBOARD,
    *DOCS,
    *KEYS,
    audit,
    *LOGGING,
    *STORAGE_ITEMS,
    events,
    event_stream,
    *HEALTH,
    openapi,
]


def make_app(
    web: Views | None, access: Access | None = None, idempotency: Idempotency | None = None
) -> Litestar:
    """Return the application for this process; without a state it can only be described."""
    idempotency = idempotency or Idempotency()
    return Litestar(
        route_handlers=ROUTES,
        middleware=[options, idempotency.middleware],
        before_request=idempotency.ask,
        dependencies={
            "web": Provide(lambda: web, sync_to_thread=False),
            "access": Provide(lambda: access, sync_to_thread=False),
        },
        guards=[*([access.guard] if access else ()), KnownQueries()],
        exception_handlers={
            HTTPException: _problem,
            RecursionError: _too_deep,
            UnicodeDecodeError: _no_text,
            Exception: _failure,
        },
        openapi_config=OpenAPIConfig(
            title="DICOM Adapter",
            version=__version__,
            use_handler_docstrings=True,
            path="/api/openapi",  # litestar answers below this path by itself, in HTML
            render_plugins=[JsonRenderPlugin(path="/schema.json")],
            components=Components(security_schemes=SECURITY_SCHEMES),
            security=[{name: []} for name in SECURITY_SCHEMES],
        ),
        logging_config=None,
        request_max_body_size=BODY_BYTES_MAX,
    )


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return described(make_app(None))


def _problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    if isinstance(error, Objections):
        return _problem_response(error.status_code, error.detail, error.problems)
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        problems = [f"{one.get('key', 'body')}: {one['message']}" for one in error.extra]
        return _problem_response(error.status_code, "; ".join(problems), problems)
    response = _problem_response(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    if isinstance(error, MethodNotAllowedException):
        response.headers["Allow"] = ", ".join(methods_of(request.app, request.scope["path"]))
    return response


def _too_deep(_: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A body of brackets; handlers that look into one have a limit of their own."""
    log.warning("web.request_too_deep", error=str(error))
    return _problem_response(400, "the body is nested too deeply")


def _no_text(_: Request[Any, Any, Any], __: Exception) -> Response[dict[str, Any]]:
    """A body whose bytes are no UTF-8: the decoder of JSON says so in its own way."""
    return _problem_response(400, "the body is not UTF-8")


def _failure(_: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A bug in a handler: the request fails, the process goes on, the log has the traceback.

    `instance` (RFC 9457 3.1.5) is the same in both.
    """
    instance = uuid4().urn
    log.error("web.handler_failed", instance=instance, exc_info=error)
    response = _problem_response(500, "internal failure; the log has the details")
    response.content["instance"] = instance
    return response


def _problem_response(
    status: int, detail: str, problems: list[str] | None = None
) -> Response[dict[str, Any]]:
    """Return a problem body; `problems` is an extension member (RFC 9457 3.2)."""
    return Response(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            **({"problems": problems} if problems else {}),
        },
        status_code=status,
        media_type="application/problem+json",
    )
