"""Groups of received instances as folders (port `InstanceStore`): the directory is the record.

Nothing about an instance is written anywhere else, so there is nothing that could disagree with
the folders after a kill. Every step is one rename, done and synced before it is reported.
"""

import os
import shutil
from pathlib import Path

import msgspec

from adapter.domain.entities import SameInstance
from adapter.domain.records import NOT_HELD, GroupHold, GroupRecord, Merged, StoredGroup
from adapter.errors import StorageFaultError
from adapter.store.files import (
    FOLDER_MODE,
    DiskThreads,
    Durability,
    sync_folder,
    walk_files,
    write_file,
)
from adapter.store.layout import Layout, unfinished
from adapter.store.parts import clear_parts
from adapter.store.quarantine import delete_folder, put_aside
from adapter.store.remembered import RememberedGroups
from adapter.store.staged import (
    RELEASED,
    STAGED,
    drop_staged,
    merge_released,
    release_staged,
    waiting,
)

HOLD = "hold.json"


class FolderInstanceStore:
    """Group folders below one root."""

    def __init__(
        self,
        layout: Layout,
        durability: Durability,
        threads: DiskThreads,
    ) -> None:
        self._layout = layout
        self._durability = durability
        self._threads = threads
        self._remembered = RememberedGroups(layout.remembered, durability)

    async def recover(self) -> None:
        """See `InstanceStore.recover`."""
        await self._threads.run(self._recover)

    def _recover(self) -> None:
        layout = self._layout
        layout.make()
        clear_parts(layout.parts)
        for parent in (layout.incoming, layout.closed, layout.payloads):
            for path in list(parent.iterdir()):
                if path == layout.parts:
                    continue
                if path.name.startswith("."):
                    self._delete_unfinished(path)
                elif parent != layout.payloads and (path.is_symlink() or read_record(path) is None):
                    put_aside(layout, path, "no readable group.json", self._durability)
        self._remembered.prepare()
        sync_folder(layout.root, self._durability)

    def _delete_unfinished(self, path: Path) -> None:
        try:
            delete_folder(self._layout, path, self._durability)
        except OSError:
            pass  # it stays under its hidden name, where nobody takes it for anything

    async def open_group(self, record: GroupRecord) -> None:
        """See `InstanceStore.open_group`."""
        await self._threads.run(self._open_group, record)

    def _open_group(self, record: GroupRecord) -> None:
        final = self._layout.open_group(record.id)
        folder = unfinished(final)
        try:
            folder.mkdir(FOLDER_MODE)
            (folder / "dcm").mkdir(FOLDER_MODE)
            write_file(folder / "group.json", msgspec.json.encode(record), self._durability)
            sync_folder(folder, self._durability)
            folder.rename(final)
            sync_folder(self._layout.incoming, self._durability)
        except OSError:
            for each in (folder, final):  # nobody knows it yet; on a full disk it is in the way
                shutil.rmtree(each, ignore_errors=True)
            raise

    async def open_groups(self, ae_title: str) -> list[StoredGroup]:
        """See `InstanceStore.open_groups`."""
        return await self._threads.run(_groups_in, self._layout.incoming, ae_title)

    async def add_sender(self, group_id: str, calling_ae_title: str) -> None:
        """See `InstanceStore.add_sender`."""
        await self._threads.run(self._add_sender, group_id, calling_ae_title)

    def _add_sender(self, group_id: str, calling_ae_title: str) -> None:
        folder = self._layout.open_group(group_id)
        record = read_record(folder)
        if record is None:
            raise FileNotFoundError(folder)
        senders = dict.fromkeys([*record.calling_ae_titles, calling_ae_title])
        record = msgspec.structs.replace(record, calling_ae_titles=tuple(senders))
        self._replace(folder / "group.json", msgspec.json.encode(record))

    async def hold_group(self, group_id: str, hold: GroupHold) -> None:
        """See `InstanceStore.hold_group`."""
        await self._threads.run(self._hold_group, group_id, hold)

    def _hold_group(self, group_id: str, hold: GroupHold) -> None:
        self._replace(self._layout.open_group(group_id) / HOLD, msgspec.json.encode(hold))

    def _replace(self, final: Path, content: bytes) -> None:
        """Write a file of a group's folder anew, in one step."""
        path = unfinished(final)
        path.unlink(missing_ok=True)
        write_file(path, content, self._durability)
        path.rename(final)
        sync_folder(final.parent, self._durability)

    async def release_staged(self, group_id: str, association: str) -> None:
        """See `InstanceStore.release_staged`."""
        folder = self._layout.open_group(group_id)
        await self._threads.run(release_staged, folder, association, self._durability)

    async def merge_released(
        self, group_id: str, association: str, same_instance: SameInstance, merged: Merged
    ) -> None:
        """See `InstanceStore.merge_released`."""
        folder = self._layout.open_group(group_id)
        await self._threads.run(
            merge_released, folder, association, same_instance, self._durability, merged
        )

    async def drop_staged(self, group_id: str, association: str) -> None:
        """See `InstanceStore.drop_staged`."""
        await self._threads.run(drop_staged, self._layout.open_group(group_id), association)

    async def remember_closed(self, record: GroupRecord, at: float, until_at: float) -> None:
        """See `InstanceStore.remember_closed`."""
        await self._threads.run(self._remembered.remember, record, at, until_at)

    async def closed_before(self, ae_title: str, processor: str, key: str, now: float) -> str:
        """See `InstanceStore.closed_before`."""
        return await self._threads.run(self._remembered.find, ae_title, processor, key, now)

    async def close_group(self, group_id: str) -> None:
        """See `InstanceStore.close_group`."""
        await self._threads.run(self._close_group, group_id)

    def _close_group(self, group_id: str) -> None:
        final = self._layout.closed_group(group_id)
        try:
            self._layout.open_group(group_id).rename(final)
        except FileNotFoundError:
            if not final.exists():
                raise
        sync_folder(self._layout.closed, self._durability)
        sync_folder(self._layout.incoming, self._durability)

    async def closed_groups(self, ae_title: str) -> list[StoredGroup]:
        """See `InstanceStore.closed_groups`."""
        return await self._threads.run(_groups_in, self._layout.closed, ae_title)

    async def remove_group(self, group_id: str) -> int:
        """See `InstanceStore.remove_group`."""
        folder = self._layout.closed_group(group_id)
        return await self._threads.run(remove_folder, self._layout, folder, self._durability)


def remove_folder(layout: Layout, folder: Path, durability: Durability) -> int:
    """Delete a folder as a whole; return the bytes this gave back.

    What cannot be deleted is put aside, and counts as given back all the same.

    It is gone durably before its content is touched: a group that came back after a power loss
    would become a job again. Bytes that another hard link still holds are not given back, and not
    counted.
    """
    doomed = unfinished(folder)
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return 0
    sync_folder(folder.parent, durability)
    freed = 0
    for entry in walk_files(doomed):
        status = entry.stat(follow_symlinks=False)
        freed += status.st_size if status.st_nlink == 1 else 0
    delete_folder(layout, doomed, durability)
    return freed


def read_record(folder: Path) -> GroupRecord | None:
    """Return the group's record, or None if this folder is not one of ours."""
    try:
        return msgspec.json.decode((folder / "group.json").read_bytes(), type=GroupRecord)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None


def _groups_in(parent: Path, ae_title: str) -> list[StoredGroup]:
    groups = []
    for folder in parent.iterdir():
        if folder.name.startswith("."):
            continue
        record = read_record(folder)
        if record is None and not folder.exists():
            continue  # another AE Title's group, closed or removed while we looked
        if record is None:
            raise StorageFaultError(f"group folder {folder.name} has no readable group.json")
        if record.ae_title == ae_title:
            groups.append(_measured(record, folder))
    return sorted(groups, key=lambda group: group.record.opened_at)


def _read_hold(folder: Path) -> GroupHold:
    try:
        return msgspec.json.decode((folder / HOLD).read_bytes(), type=GroupHold)
    except FileNotFoundError:
        return NOT_HELD
    except msgspec.MsgspecError:
        # Nobody knows what was meant: somebody should look, and nothing is lost meanwhile.
        return GroupHold(held=True, why=f"{HOLD} is damaged")


def _measured(record: GroupRecord, folder: Path) -> StoredGroup:
    instances = payload_bytes = 0
    last_arrival_at = record.opened_at
    inodes = set[int]()
    for entry in walk_files(folder / "dcm"):
        status = os.stat(entry.path)
        inodes.add(status.st_ino)
        instances += 1
        payload_bytes += status.st_size
        last_arrival_at = max(last_arrival_at, status.st_mtime)
    staged, unmerged = waiting(folder, STAGED), waiting(folder, RELEASED, inodes)
    arrivals = (at for found in (staged, unmerged) for _, _, at in found.values())
    return StoredGroup(
        record=record,
        instances=instances,
        payload_bytes=payload_bytes,
        last_arrival_at=max(last_arrival_at, *arrivals, 0.0),
        hold=_read_hold(folder),
        staged={association: found[:2] for association, found in staged.items()},
        unmerged={association: found[:2] for association, found in unmerged.items()},
    )
