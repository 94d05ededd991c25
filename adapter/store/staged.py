"""Instances that wait for the release of their association, in a folder of it inside their group.

    <group>/staged/<association>/<study>/<series>/<instance>.dcm
    <group>/released/<association>/...      on their way to <group>/dcm

The rename between the two decides: before it a kill makes the association an aborted one, after it
the instances belong to the group. Every step can be done again.
"""

import os
import shutil
from collections.abc import Container
from errno import EEXIST, ENOTEMPTY
from pathlib import Path

from adapter.domain.entities import SameInstance
from adapter.domain.records import Merged
from adapter.store.files import FOLDER_MODE, Durability, sync_folder, walk_files
from adapter.store.naming import first_name, name_instance

STAGED, RELEASED = "staged", "released"


def release_staged(group: Path, association: str, durability: Durability) -> None:
    """Make what an association has staged a part of this group, durably; again is harmless.

    Raises:
        OSError: It failed; whether a kill undoes it is not known.
    """
    staged, released = group / STAGED / association, group / RELEASED / association
    if staged.exists():
        released.parent.mkdir(FOLDER_MODE, exist_ok=True)
        sync_folder(group, durability)
        staged.rename(released)
        sync_folder(released.parent, durability)
        sync_folder(staged.parent, durability)


def merge_released(
    group: Path,
    association: str,
    same_instance: SameInstance,
    durability: Durability,
    merged: Merged,
) -> None:
    """Take what an association has released to where its group's instances are.

    Each file is counted once, however often this fails and is done again: what duplicates another
    one is deleted at once, and what has its name is known by its inode, because it stays among the
    released until its name is durable.

    Args:
        merged: Is added to as it goes, also if this fails.

    Raises:
        OSError: It failed; what has been taken in stays so.
    """
    released = group / RELEASED / association
    if not released.exists():
        return
    for study in list(released.iterdir()):
        target = group / "dcm" / study.name
        target.mkdir(FOLDER_MODE, exist_ok=True)
        for series in list(study.iterdir()):
            _move_series(series, target, same_instance, durability, merged)
        sync_folder(target, durability)
    sync_folder(group / "dcm", durability)
    shutil.rmtree(released)


def drop_staged(group: Path, association: str) -> None:
    """Delete what an association has staged in this group folder; again is harmless."""
    for state in (STAGED, RELEASED):  # the latter if its release has failed
        try:
            shutil.rmtree(group / state / association)
        except FileNotFoundError:
            pass  # or it was dropped before the process died


def waiting(
    group: Path, kind: str, taken: Container[int] = frozenset()
) -> dict[str, tuple[int, int, float]]:
    """Return instances, bytes and latest arrival by association, of those in this state.

    Args:
        taken: Inodes of files that are not counted: they have their final name already.
    """
    found = {}
    folder = group / kind
    for association in list(folder.iterdir()) if folder.exists() else ():
        statuses = [os.stat(entry.path) for entry in walk_files(association)]
        statuses = [status for status in statuses if status.st_ino not in taken]
        found[association.name] = (
            len(statuses),
            sum(status.st_size for status in statuses),
            max((status.st_mtime for status in statuses), default=0.0),
        )
    return found


def _move_series(
    series: Path,
    study: Path,
    same_instance: SameInstance,
    durability: Durability,
    merged: Merged,
) -> None:
    target = study / series.name
    try:
        series.rename(target)  # most series come from one association: one step for all of it
        return
    except OSError as error:
        if error.errno not in (EEXIST, ENOTEMPTY):
            raise
    taken = {entry.stat().st_ino for entry in walk_files(target)}
    for path in sorted(series.iterdir()):  # the first copy of an instance first
        status = path.stat()
        if status.st_ino in taken:
            continue
        final = target / first_name(path.name)  # there may be the same bytes under any of its names
        duplicate = name_instance(str(path), str(final), same_instance)
        if duplicate is not None:
            if duplicate.kept != "both":
                path.unlink(missing_ok=True)
            merged.add(final.stem, duplicate, status.st_size)
    sync_folder(target, durability)
