"""One process for one storage root."""

import fcntl
import os

from adapter.errors import ConfigurationError
from adapter.store.files import FOLDER_MODE
from adapter.store.layout import Layout


def lock_root(layout: Layout) -> int:
    """Take the storage root for this process; the kernel gives it back however the process ends.

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
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        os.close(fd)
        raise ConfigurationError(
            [f"storage.root: {layout.root}: another adapter uses this folder"]
        ) from taken
    return fd
