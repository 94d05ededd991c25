"""Certificates: warns before those of ours expire.

Consumes: nothing. Produces: lines in the log, `config.refused` events. Owns: the rhythm of looking,
so that a renewed file is noticed also while nobody associates. Rebuilds from: the files. Restart
policy: replica.
"""

from dataclasses import dataclass, field

import structlog
import trio

from adapter.domain.dimse_ports import CertificateExpiries, CertificateTroubles
from adapter.domain.events import Publish
from adapter.domain.ports import WallClock
from adapter.domain.repetition import Repetition
from adapter.domain.system_events import ConfigProblems, ConfigRefused

log = structlog.get_logger("adapter.certificates")

DAY_S = 86_400.0
LOOK_S = 60.0
WARNING_S = 30 * DAY_S
TOLD_AGAIN_S = DAY_S
CERTIFICATES_MAX = 1000
"""More than there are destinations: it only bounds what is remembered."""


@dataclass(slots=True)
class Certificates:
    """Looks at the certificates every minute, and warns once a day."""

    expiries: CertificateExpiries
    troubles: CertificateTroubles
    publish: Publish
    now: WallClock
    stop: trio.Event
    name: str = "certificates"
    _told: Repetition = field(default_factory=lambda: Repetition(TOLD_AGAIN_S, CERTIFICATES_MAX))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        task_status.started()
        while not self.stop.is_set():
            self._look()
            with trio.move_on_after(LOOK_S):
                await self.stop.wait()

    def close(self) -> None:
        """See `Actor.close`."""

    def _look(self) -> None:
        now = self.now()
        for key, why in self.troubles().items():
            if self._told.is_news((key, why), now):
                facts = ConfigProblems(kind="certificate", name=key, why=why)
                self.publish(ConfigRefused(data=facts))
        for key, at in self.expiries().items():
            left_s = at - now
            if left_s < WARNING_S and self._told.is_news((key, at), now):
                if left_s > 0:
                    log.warning("certificate.expires", key=key, days=round(left_s / DAY_S, 1))
                else:
                    log.error("certificate.expired", key=key, days=round(-left_s / DAY_S, 1))
