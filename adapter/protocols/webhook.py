"""Posts to a webhook: signed, over connections that are bounded like those of our other clients."""

from collections.abc import Callable

from adapter.domain.webhooks import Webhook, signature
from adapter.protocols.dimse.tls_contexts import TlsContext
from adapter.protocols.http_exchange import HttpConnections, bounded, exchange_errors

ANSWER_BYTES_MAX = 64 << 10
"""Nothing of it is used; a server that sends more is cut off."""


class WebhookClient:
    """Reaches one webhook (port `HookClient`)."""

    def __init__(
        self, settings: Webhook, secret: Callable[[], str], tls: TlsContext | None
    ) -> None:
        self._url = settings.url
        self._secret = secret
        self._connections = HttpConnections(tls, settings.connect_s, settings.answer_s)

    async def post(self, identity: str, timestamp: int, body: bytes) -> int:
        """See `HookClient.post`."""
        headers = {
            "Content-Type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secret(), identity, timestamp, body),
        }
        client = self._connections.current()
        with exchange_errors():
            async with client.stream("POST", self._url, content=body, headers=headers) as response:
                await bounded(response, ANSWER_BYTES_MAX)
                return int(response.status_code)

    async def close(self) -> None:
        """See `HookClient.close`."""
        await self._connections.close()
