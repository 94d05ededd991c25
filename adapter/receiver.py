"""Composition root of a receiver process: `python -m adapter.receiver DURABILITY ROOT DESCRIPTOR`.

Started by the adapter, never by people. SIGTERM and SIGINT are for the main process, which ends
this one by closing its descriptor.
"""

import gc
import os
import signal
import sys
from pathlib import Path

import msgspec

from adapter.protocols.dimse.receiver import Receiver
from adapter.protocols.dimse.turns import Turns
from adapter.store.files import Durability
from adapter.store.layout import Layout
from adapter.store.parts import PartFiles

TURNS = 1
"""Associations that receive in bulk at a time; the other processors have processes of their own."""


def main() -> None:
    """Serve associations until the main process has no more."""
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.SIG_IGN)
    durability, root, descriptor = sys.argv[1:]
    parts = PartFiles(Layout(Path(root)), msgspec.convert(durability, Durability))
    gc.collect()
    gc.freeze()  # see `adapter.main.spare_what_stays`
    Receiver(open_part=parts.open, turns=Turns(TURNS)).run(int(descriptor))
    os._exit(0)  # associations that still have a thread are over


if __name__ == "__main__":
    main()
