"""The API as an edge of the program: its port, its guard, and what is around its routes."""

from functools import partial

from adapter.configuration import Layered, effective_values
from adapter.domain.ports import WallClock
from adapter.domain.views import Views
from adapter.protocols.dimse.tls_contexts import TlsContext
from adapter.protocols.web.access import Access
from adapter.protocols.web.answers import SafeAnswers
from adapter.protocols.web.app import make_app
from adapter.protocols.web.audit import Audited
from adapter.protocols.web.idempotency import Idempotency
from adapter.protocols.web.places import Places
from adapter.protocols.web.server import WebServer, bind
from adapter.protocols.web.trail import Trail
from adapter.settings import Settings
from adapter.store.ledger import RowLedger


class ApiEdge:
    """Binds the port at boot, makes the server once its views exist."""

    def __init__(
        self, settings: Settings, ledger: RowLedger, tls: TlsContext | None, now: WallClock
    ) -> None:
        api = settings.api
        self._in_force = {
            path: value
            for path, value, _ in effective_values(Layered(settings=settings, origins={}))
        }
        self._trail = Trail(ledger.audit, now)
        self._tls = tls
        self._idempotency = Idempotency(ledger.answers, now)
        self._places = Places(api.max_connections, api.max_connections_per_address)
        self._access = Access(
            keys=ledger.keys, trail=self._trail, now=now, auth=api.auth or "none",
            host_names=api.host_names, places=self._places,
        )  # fmt: skip
        self._socket = bind(settings.api.host, settings.api.port)
        self.port = int(self._socket.getsockname()[1])

    def __call__(self, views: Views, /) -> WebServer:
        app = Audited(make_app(views, self._access, self._idempotency), self._trail)
        return WebServer(
            app=SafeAnswers(app, is_tls=self._tls is not None),
            sock=self._socket, stop=views.web_stop, places=self._places,
            tls_context=self._tls.current if self._tls else None,
            began=partial(self._trail.began, self._in_force),
        )  # fmt: skip
