"""What keeps a demo that stays moving: studies of several senders, one of whom nobody knows."""

import signal
import tempfile
import uuid
from itertools import count
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from adapter.client.send import delivery_to
from adapter.domain.entities import Destination
from adapter.protocols.dimse.sample_study import write_sample_study
from adapter.settings import Settings

PAUSE_S = 4.0
SENDERS = (
    ("CT_ROOM_1", "DEMO", 24),
    ("MR_ROOM_2", "LIVER", 12),
    ("CT_ROOM_1", "DEMO", 8),
    ("PORTABLE_XR", "DEMO", 1),  # among no sources: rejected
    ("MR_ROOM_2", "DEMO", 40),
)
"""Who sends to whom, and how many instances; over and over."""


async def stay_up(console: Console, ports: dict[str, int]) -> None:
    """Say where to look, and send until a signal ends it."""
    api, dicom = ports["api"], ports["dicom"]
    console.print(f"dashboard: http://127.0.0.1:{api}/", highlight=False)
    console.print(f"events: dicom-adapter watch --url http://127.0.0.1:{api}")
    console.print(f"send to DEMO@127.0.0.1:{dicom}; studies come in by themselves, too")
    console.print("Ctrl+C stops it")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_traffic, dicom)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
                return


async def _traffic(port: int) -> None:
    """Send one study after another to the adapter on this port, until it is cancelled."""
    for number in count():
        calling, called, instances = SENDERS[number % len(SENDERS)]
        await _send(port, calling, called, instances)
        await trio.sleep(PAUSE_S)


async def _send(port: int, calling: str, called: str, instances: int) -> None:
    to = Destination(name="demo", ae_title=called, host="127.0.0.1", port=port)
    dicom = Settings().dicom
    scu = msgspec.structs.replace(dicom.scu, ae_title=calling)
    settings = Settings(dicom=msgspec.structs.replace(dicom, scu=scu))
    with tempfile.TemporaryDirectory(prefix="dicom-adapter-demo-") as folder:
        study = write_sample_study(Path(folder), instances, _new_uid, _new_uid())
        await delivery_to(to, settings).run(study, lambda _, __: None)


def _new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"
