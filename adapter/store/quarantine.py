"""What could not be understood or deleted is put aside, with the reason; never deleted by us.

quarantine/<name>/found         as it was found
quarantine/<name>/why           one line: why, free of patient data
"""

import itertools
import os
import shutil
from pathlib import Path

from adapter.domain.recovery import PutAside
from adapter.store.files import FOLDER_MODE, DiskThreads, Durability, sync_folder, write_file
from adapter.store.layout import Layout

ALIKE_MAX = 10_000
"""Of one name; more means that something is very wrong."""
LISTED_MAX = 1000
WHY, FOUND = "why", "found"


def put_aside(layout: Layout, path: Path, why: str, durability: Durability) -> Path:
    """Move a file or folder to a name in the quarantine that says where it was; return that.

    Raises:
        OSError: It cannot be moved either.
    """
    parts = [part.lstrip(".") for part in path.relative_to(layout.root).parts]
    target = _free_name(layout.quarantine / "-".join(parts))
    target.mkdir(FOLDER_MODE)
    try:
        os.rename(path, target / FOUND)
    except OSError:
        target.rmdir()
        raise
    write_file(target / WHY, f"{why}\n".encode(), durability)
    for folder in (target, layout.quarantine, path.parent):
        sync_folder(folder, durability)
    return target


def delete_folder(layout: Layout, folder: Path, durability: Durability) -> None:
    """Delete a folder with what is in it; what cannot be deleted is put aside.

    Raises:
        OSError: Nor can it be moved.
    """
    try:
        shutil.rmtree(folder)
    except OSError as error:
        why = f"cannot be deleted: {os.strerror(error.errno or 0)}"
        put_aside(layout, folder, why, durability)


def _free_name(path: Path) -> Path:
    others = (path.with_name(f"{path.name}.{n}") for n in range(1, ALIKE_MAX))
    return next(name for name in itertools.chain([path], others) if not os.path.lexists(name))


class Quarantine:
    """What lies there, for those who ask."""

    def __init__(self, layout: Layout, threads: DiskThreads) -> None:
        self._layout = layout
        self._threads = threads

    async def listed(self) -> list[PutAside]:
        """See `ListPutAside`."""
        return await self._threads.run(self._listed)

    def _listed(self) -> list[PutAside]:
        names = sorted(os.listdir(self._layout.quarantine))[:LISTED_MAX]
        return [PutAside(name=name, why=self._why(name)) for name in names]

    def _why(self, name: str) -> str:
        try:
            return (self._layout.quarantine / name / WHY).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return "not known: it was put there by somebody else, or by an older version"
