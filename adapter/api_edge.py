"""The API as an edge of the program: its port, its guard, and what is around its routes."""

from collections.abc import Awaitable, Callable

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
from adapter.settings import Api
from adapter.store.ledger import RowLedger


class ApiEdge:
    """Binds the port at boot, makes the server once its views exist."""

    def __init__(
        self,
        api: Api,
        ledger: RowLedger,
        tls: TlsContext | None,
        trail: Trail,
        began: Callable[[], Awaitable[None]],
    ) -> None:
        """Bind it.

        Args:
            api: Which port.
            ledger: Keeps who may ask, and what was answered.
            tls: None: there is none.
            trail: Of what is asked.
            began: Called at each start of the server, before anything is served.
        """
        self._trail, self._tls, self._began = trail, tls, began
        self._idempotency = Idempotency(ledger.answers, trail.now)
        self._places = Places(api.max_connections, api.max_connections_per_address)
        self._access = Access(
            keys=ledger.keys, trail=trail, now=trail.now, auth=api.auth or "none",
            host_names=api.host_names, places=self._places,
        )  # fmt: skip
        self._socket = bind(api.host, api.port)
        self.port = int(self._socket.getsockname()[1])

    def __call__(self, views: Views, /) -> WebServer:
        app = Audited(make_app(views, self._access, self._idempotency), self._trail)
        return WebServer(
            app=SafeAnswers(app, is_tls=self._tls is not None),
            sock=self._socket, stop=views.web_stop, places=self._places,
            tls_context=self._tls.current if self._tls else None,
            began=self._began,
        )  # fmt: skip
