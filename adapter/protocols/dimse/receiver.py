"""A receiver process: serves associations that the main process has accepted, a thread for each.

It gets a connection and a link by descriptor (SCM_RIGHTS) and knows nothing else: who is admitted,
where an instance goes and what is told to whom is decided in the main process. When the socket that
brings new associations ends, the process ends, whatever its threads are doing: nobody is there any
more who could be told, and what was acknowledged is on the disk.
"""

import socket
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from adapter.domain.dimse_ports import PartFile
from adapter.protocols.dimse.connection import Connection
from adapter.protocols.dimse.receiver_link import Crashed, Over, ReceiverLink
from adapter.protocols.dimse.scp import StorageScp
from adapter.protocols.dimse.service_link import LinkCutError
from adapter.protocols.dimse.turns import Turns
from adapter.protocols.dimse.upper_layer import UpperLayer

THREADS_MAX = 1000
"""As many as there can be associations."""
TOKEN = b"."
"""Descriptors travel with a byte at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """What all associations of a receiver process share."""

    open_part: Callable[[], PartFile]
    turns: Turns

    def run(self, descriptor: int) -> None:
        """Serve the associations that come over this socket, until no more can come."""
        arrivals = socket.socket(fileno=descriptor)
        threads = ThreadPoolExecutor(THREADS_MAX, "association")
        arrivals.sendall(TOKEN)  # here we are
        while True:
            token, descriptors, _, _ = socket.recv_fds(arrivals, len(TOKEN), 2)
            if not token:
                return
            sockets = [socket.socket(fileno=fd) for fd in descriptors]
            if len(sockets) == 2:
                connection, link = sockets
                threads.submit(self._serve, connection, ReceiverLink(link))
            # Else we have no descriptor left for it: the end of the link tells.

    def _serve(self, sock: socket.socket, link: ReceiverLink) -> None:
        with sock:
            end: Over | Crashed
            try:
                end = self._converse(sock, link)
            except LinkCutError:
                return  # it was over before it came here
            except Exception as bug:  # it crashes in the main process, where it is seen
                end = Crashed(type(bug).__name__, traceback.format_exc())
        link.last_message(end)

    def _converse(self, sock: socket.socket, link: ReceiverLink) -> Over:
        handover = link.handover()
        layer = UpperLayer(acceptor=True, max_pdu=handover.max_pdu)
        layer.use(memoryview(bytearray(handover.received)))
        layer.received(len(handover.received))
        layer.next_event()  # A-ASSOCIATE-RQ, which the main process has answered
        layer.use_own()
        connection = Connection(sock, layer, self.turns)
        connection.is_interrupted = link.is_cut
        return Over(StorageScp(connection, handover.agreement, link, self.open_part).run())
