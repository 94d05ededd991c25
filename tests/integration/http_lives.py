"""What servers that stand for others have in common: a port, and one life after another on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from dicom_peers import free_port

LOOK_S = 0.05
"""How soon a life ends that is to end."""


class HttpLives:
    """What a subclass holds outlives the lives."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        """Serve by a handler whose `server_side` this is."""
        self.port = free_port()
        self._handler = handler
        self._life: tuple[ThreadingHTTPServer, threading.Thread] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve until the block ends."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        names: dict[str, Any] = {"server_side": self}
        handler = type("Handler", (self._handler,), names)
        server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(LOOK_S,), daemon=True)
        thread.start()
        self._life = server, thread

    def stop(self) -> None:
        """End this life, if there is one."""
        self.let_go()
        if self._life is not None:
            (server, thread), self._life = self._life, None
            server.shutdown()
            thread.join()
            server.server_close()

    def let_go(self) -> None:
        """Keep nobody waiting."""
