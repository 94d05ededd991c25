"""One process for one storage root."""

import fcntl
import os
import time

from adapter.errors import ConfigurationError
from adapter.store.files import FOLDER_MODE
from adapter.store.layout import Layout

LOCK_WAIT_S = 2.0
"""For the receiver processes of an adapter that was killed: they hold its lock, and are ending."""
_LOOK_AGAIN_S = 0.02


def lock_root(layout: Layout) -> int:
    """Take the storage root for this process; the kernel gives it back however the process ends.

    Blocks for up to `LOCK_WAIT_S`; at boot.

    Returns:
        The descriptor that holds the lock; keep it open.

    Raises:
        ConfigurationError: Another process has it, or the folder cannot be used.
    """
    try:
        layout.root.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigurationError([f"storage.root: {layout.root}: {error.strerror}"]) from error
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            if time.monotonic() < deadline:
                time.sleep(_LOOK_AGAIN_S)
                continue
            os.close(fd)
            raise ConfigurationError(
                [f"storage.root: {layout.root}: another adapter uses this folder"]
            ) from taken
        return fd
