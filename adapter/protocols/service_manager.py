"""What systemd is told about the process: sd_notify(3), by datagrams to the socket it names.

READY=1 once senders are served, STOPPING=1 when the drain begins, WATCHDOG=1 twice in each
WATCHDOG_USEC as long as the event loop turns. Without NOTIFY_SOCKET nothing is said; WATCHDOG_PID
may name another process as the one watched. What cannot be sent is logged; nothing waits for it.
"""

import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger("adapter.service_manager")

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


class ServiceManager:
    """The service manager that started this process, if one did that wants to be told."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # in the abstract namespace (unix(7))
            self._address = "\0" + self._address[1:]
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        allowed_us = environment.get("WATCHDOG_USEC", "") if self._address and ours else ""
        self.watchdog_s = int(allowed_us) / 1e6 if allowed_us.isdecimal() else 0.0
        """Seconds after which silence counts as a hang; 0: nobody watches."""

    def tell(self, *states: str) -> None:
        """Send states, such as READY."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
                out.sendto("\n".join(states).encode(), self._address)
        except OSError as error:
            log.warning("service_manager.not_told", states=list(states), error=str(error))
