"""Makes what instances come in by: ports, the processes that receive, and who is asked in."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import trio

from adapter.domain.dimse_ports import IdentityCheck
from adapter.errors import PortUnavailableError
from adapter.live_settings import LiveSettings
from adapter.protocols.dimse.acceptor import AcceptorOptions, TcpDimseListener
from adapter.protocols.dimse.receiver_process import ReceiverProcess, Receivers, receiver_count
from adapter.protocols.dimse.scp import ScpLimits
from adapter.protocols.dimse.tls_contexts import TlsContext
from adapter.protocols.dimse.turns import Turns
from adapter.protocols.identities import UserCheck, accept_any
from adapter.relations import listening_ports
from adapter.requestors import transcription
from adapter.settings import Settings
from adapter.store.layout import Layout
from adapter.store.parts import PartFiles, clear_parts

TURNS_MIN = 2
"""Associations that receive in bulk at a time, on a machine with fewer processors."""
IDENTITY_THREADS = 1
"""Hashing takes a core; the others are for instances."""


def make_receivers(settings: Settings, layout: Layout, lock: int) -> Receivers:
    """Return the processes that serve associations; they hold the root's lock as well."""
    root, durability = str(layout.root), settings.storage.durability
    command = [sys.executable, "-m", "adapter.receiver", durability, root]
    count = receiver_count(settings.dicom.scp.receivers)
    clear_away = partial(clear_parts, layout.parts)
    return Receivers(
        [
            ReceiverProcess(number, command, kept_open=[lock], clear_away=clear_away)
            for number in range(1, count + 1)
        ]
    )


def make_listeners(
    live: LiveSettings, layout: Layout, receivers: Receivers, tls: TlsContext | None
) -> dict[str, TcpDimseListener]:
    """Bind every port that is listened on.

    Raises:
        PortUnavailableError: One cannot be bound.
    """
    settings, options = live.settings, _acceptor(live, layout, receivers)
    listeners = {}
    for listening in listening_ports(settings):
        with named(listening.key):
            listeners[listening.key] = TcpDimseListener.bind(
                settings.dicom.scp.host,
                listening.port,
                replace(options, tls=tls if listening.tls else None),
            )
    return listeners


@contextmanager
def named(key: str) -> Iterator[None]:
    """Say which key a port that cannot be had comes from."""
    try:
        yield
    except PortUnavailableError as error:
        raise PortUnavailableError(f"{key}: {error}") from error


def scp_limits_of(settings: Settings) -> ScpLimits:
    """Return the deadlines of associations."""
    return ScpLimits(idle_s=settings.dicom.scp.idle_s, dimse_s=settings.dicom.scp.dimse_s)


def _acceptor(live: LiveSettings, layout: Layout, receivers: Receivers) -> AcceptorOptions:
    settings, scp = live.settings, live.settings.dicom.scp
    parts = PartFiles(layout, settings.storage.durability)
    return AcceptorOptions(
        max_pdu=scp.max_pdu,
        verification_syntaxes=scp.verification.transfer_syntaxes
        if scp.verification.enabled
        else (),
        limits=live.kept(scp_limits_of),
        open_part=parts.open,
        threads=_association_threads(live),
        turns=Turns(max(os.cpu_count() or 1, TURNS_MIN)),
        receivers=receivers,
        preferred_transfer_syntaxes=scp.preferred_transfer_syntaxes,
        transcription=transcription(scp),
    )


def _association_threads(live: LiveSettings) -> trio.CapacityLimiter:
    threads = trio.CapacityLimiter(live.settings.dicom.scp.max_associations)

    def limit(settings: Settings) -> None:
        threads.total_tokens = settings.dicom.scp.max_associations

    live.follow(limit)
    return threads


def make_identity_check(settings: Settings) -> IdentityCheck:
    """Return who checks the user identity of a requestor."""
    identities = settings.dicom.scp.user_identity
    if identities.mode == "accept":
        return accept_any
    return UserCheck(identities.users, trio.CapacityLimiter(IDENTITY_THREADS)).check
