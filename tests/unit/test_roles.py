"""Every route states who may use it (adapter/protocols/web/roles.py)."""

import pytest
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler

from adapter.domain.access import Role
from adapter.protocols.web.app import make_app
from adapter.protocols.web.roles import ROLE

OPEN = {"/health/live", "/health/ready", "/api/openapi.json", "/docs", "/", "/static/{name:str}"}


def handlers():
    """Yield (path, handler) of our routes; Litestar's own are for administrators."""
    for route in make_app(None).routes:
        for handler in getattr(route, "route_handlers", None) or [route.route_handler]:
            module = getattr(handler.fn, "__module__", "")
            if module.startswith("adapter."):
                yield route.path, handler


@pytest.mark.parametrize(
    ("path", "handler"), [pytest.param(*pair, id=f"{pair[0]} {pair[1]}") for pair in handlers()]
)
class TestRoute:
    def test_states_its_role(self, path, handler):
        assert isinstance(handler.opt.get(ROLE), Role), (
            f"{path}: opt= of adapter.protocols.web.roles"
        )

    def test_is_open_only_where_it_tells_nothing(self, path, handler):
        assert (handler.opt[ROLE] is Role.OPEN) == (path in OPEN)

    def test_changes_nothing_for_viewers(self, path, handler):
        if isinstance(handler, HTTPRouteHandler) and handler.http_methods - {"GET", "HEAD"}:
            assert handler.opt[ROLE].includes(Role.OPERATOR)


def test_configuration_and_keys_are_changed_by_administrators():
    for path, handler in handlers():
        if isinstance(handler, WebsocketRouteHandler) or not handler.http_methods - {"GET", "HEAD"}:
            continue
        if path.startswith(("/api/config/", "/api/keys", "/api/logging", "/api/audit")):
            is_order = path.endswith(("/restart", "/echo", "/selftest"))
            assert is_order or handler.opt[ROLE] is Role.ADMINISTRATOR, path


def test_there_are_routes():
    assert len(list(handlers())) > 30
