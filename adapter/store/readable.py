"""Whether what was acknowledged can be read: asked at the start, before anything is promised."""

from collections.abc import Iterator
from pathlib import Path

from adapter.errors import ConfigurationError
from adapter.store.files import walk_files
from adapter.store.instances import read_record
from adapter.store.layout import Layout

NAMED_MAX = 20
"""Folders that are named, of all that cannot be read."""


def check_groups(layout: Layout) -> None:
    """Look into the folder of each group. Blocks; at boot.

    What cannot be understood is put aside later; what cannot be read stays where it is, because it
    is sound once its owner, or the disk, has been mended.

    Raises:
        ConfigurationError: Some cannot be read; the first of them by name.
    """
    problems = list(_problems(layout))
    more = len(problems) - NAMED_MAX
    if more > 0:
        problems[NAMED_MAX:] = [f"storage.root: and {more} more folders that cannot be read"]
    if problems:
        raise ConfigurationError(problems)


def _problems(layout: Layout) -> Iterator[str]:
    for parent in (layout.incoming, layout.closed):
        for folder in sorted(parent.glob("[!.]*")):
            try:
                _read(folder)
            except OSError as error:
                yield f"storage.root: {error.filename or folder}: {error.strerror}"


def _read(folder: Path) -> None:
    if read_record(folder) is None:
        return
    try:
        for _ in walk_files(folder / "dcm"):
            pass
    except FileNotFoundError:
        pass
