"""Composition root of a process that decodes: `python -m adapter.transcoder BYTES SECONDS`.

Started by the adapter, never by people. SIGTERM and SIGINT are for the main process, which ends
this one by closing its input.
"""

import signal
import sys

from adapter.protocols.transcoding.worker import serve


def main() -> None:
    """Make copies and pictures until the main process wants no more."""
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.SIG_IGN)
    memory_bytes, deadline_s = sys.argv[1:]
    serve(int(memory_bytes), float(deadline_s))


if __name__ == "__main__":
    main()
