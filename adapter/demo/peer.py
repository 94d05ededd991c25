"""The demo's receiving peer: pynetdicom, so that somebody else's stack judges what we send."""

from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.transport import ThreadedAssociationServer

AE_TITLE = "DEMOPACS"


@dataclass(slots=True)
class ReceivingPeer:
    """A Storage SCP that remembers the data sets it got, encoded as they came."""

    contexts: set[tuple[str, str]]
    received: dict[str, bytes] = field(default_factory=dict)
    _server: ThreadedAssociationServer | None = None

    def start(self, port: int) -> int:
        """Listen on loopback; return the port."""
        entity = AE(AE_TITLE)
        syntaxes: dict[str, list[str]] = {}
        for sop_class, syntax in sorted(self.contexts):
            syntaxes.setdefault(sop_class, []).append(syntax)
        entity.supported_contexts = [
            build_context(sop_class, found) for sop_class, found in syntaxes.items()
        ]
        server = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        assert server is not None
        self._server = server
        return int(server.server_address[1])

    def _store(self, event: Any) -> int:
        self.received[str(event.request.AffectedSOPInstanceUID)] = event.encoded_dataset(
            include_meta=False
        )
        return 0

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
