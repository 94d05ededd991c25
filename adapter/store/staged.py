"""Instances that wait for the release of their association, in a folder of it inside their group.

    <group>/staged/<association>/<study>/<series>/<instance>.dcm
    <group>/released/<association>/...      on their way to <group>/dcm

The rename between the two decides: before it a kill makes the association an aborted one, after it
the instances belong to the group. Every step can be done again.
"""

import os
import shutil
from errno import EEXIST, ENOTEMPTY
from pathlib import Path

from adapter.domain.entities import SameInstance
from adapter.domain.records import Duplicate, Merged
from adapter.store.files import FOLDER_MODE, Durability, sync_folder, walk_files
from adapter.store.naming import first_name, name_instance

STAGED, RELEASED = "staged", "released"


def release_staged(
    group: Path, association: str, same_instance: SameInstance, durability: Durability
) -> Merged:
    """Take in what an association has staged in this group folder; again is harmless.

    Raises:
        OSError: It failed; what has been taken in stays so.
    """
    staged, released = group / STAGED / association, group / RELEASED / association
    if staged.exists():
        released.parent.mkdir(FOLDER_MODE, exist_ok=True)
        sync_folder(group, durability)
        staged.rename(released)
        sync_folder(released.parent, durability)
        sync_folder(staged.parent, durability)
    merged = Merged()
    if not released.exists():
        return merged
    for study in list(released.iterdir()):
        target = group / "dcm" / study.name
        target.mkdir(FOLDER_MODE, exist_ok=True)
        for series in list(study.iterdir()):
            merged = _with(merged, _move_series(series, target, same_instance, durability))
        sync_folder(target, durability)
    sync_folder(group / "dcm", durability)
    shutil.rmtree(released)
    return merged


def drop_staged(group: Path, association: str) -> None:
    """Delete what an association has staged in this group folder; again is harmless."""
    try:
        shutil.rmtree(group / STAGED / association)
    except FileNotFoundError:
        pass  # it was dropped before the process died


def waiting(group: Path, kind: str) -> dict[str, tuple[int, int, float]]:
    """Return instances, bytes and latest arrival by association, of those in this state."""
    found = {}
    folder = group / kind
    for association in list(folder.iterdir()) if folder.exists() else ():
        statuses = [os.stat(entry.path) for entry in walk_files(association)]
        found[association.name] = (
            len(statuses),
            sum(status.st_size for status in statuses),
            max((status.st_mtime for status in statuses), default=0.0),
        )
    return found


def _move_series(
    series: Path, study: Path, same_instance: SameInstance, durability: Durability
) -> Merged:
    target = study / series.name
    try:
        series.rename(target)  # most series come from one association: one step for all of it
        return Merged()
    except OSError as error:
        if error.errno not in (EEXIST, ENOTEMPTY):
            raise
    duplicates: list[tuple[str, Duplicate]] = []
    fewer = fewer_bytes = 0
    for path in sorted(series.iterdir()):  # the first copy of an instance first
        size = path.stat().st_size
        final = target / first_name(path.name)  # there may be the same bytes under any of its names
        duplicate = name_instance(str(path), str(final), same_instance)
        if duplicate is not None:
            duplicates.append((final.stem, duplicate))
            if duplicate.kept != "both":
                fewer, fewer_bytes = fewer + 1, fewer_bytes + size
    sync_folder(target, durability)
    return Merged(
        duplicates=tuple(duplicates), instances_fewer=fewer, payload_bytes_fewer=fewer_bytes
    )


def _with(one: Merged, other: Merged) -> Merged:
    return Merged(
        duplicates=one.duplicates + other.duplicates,
        instances_fewer=one.instances_fewer + other.instances_fewer,
        payload_bytes_fewer=one.payload_bytes_fewer + other.payload_bytes_fewer,
    )
