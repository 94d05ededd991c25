"""Which groups have closed lately, for the policy on late arrivals: a small file for each key.

    remembered/<digest>.json            which group it was; of AE Title, processor and key
    remembered/.salt

A key may be a Patient ID: the digest is keyed with a secret of this storage root, so whoever sees
the names cannot try out numbers. A file's time is when it may be forgotten; there are never many
more than `REMEMBERED_MAX`.
"""

import hashlib
import os
import secrets
from pathlib import Path

import msgspec

from adapter.domain.records import GroupRecord
from adapter.store.files import Durability, sync_folder, write_file

REMEMBERED_MAX = 100_000
"""About 400 MB of blocks; of more the ones that end first are forgotten early."""
FORGET_EVERY = 1000
"""Groups that close between two looks for what may be forgotten."""
_SALT_BYTES = 32


class _Remembered(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    at: float
    until_at: float


class RememberedGroups:
    """The files below one folder. Blocking; for disk threads."""

    def __init__(self, folder: Path, durability: Durability) -> None:
        self._folder = folder
        self._durability = durability
        self._salt = b""
        self._since_forgotten = FORGET_EVERY

    def prepare(self) -> None:
        """Make what is needed; once, at the start."""
        path = self._folder / ".salt"
        if not path.exists() or path.stat().st_size != _SALT_BYTES:
            path.unlink(missing_ok=True)
            write_file(path, secrets.token_bytes(_SALT_BYTES), self._durability)
            sync_folder(self._folder, self._durability)
        self._salt = path.read_bytes()

    def remember(self, record: GroupRecord, at: float, until_at: float) -> None:
        """See `InstanceStore.remember_closed`."""
        path = self._path(record.ae_title, record.processor, record.key)
        group = record.supplements or record.id
        content = msgspec.json.encode(_Remembered(group=group, at=at, until_at=until_at))
        unfinished = path.with_name(f".{path.name}")
        unfinished.unlink(missing_ok=True)
        write_file(unfinished, content, self._durability)
        os.utime(unfinished, (until_at, until_at))
        unfinished.rename(path)
        sync_folder(self._folder, self._durability)
        self._since_forgotten += 1
        if self._since_forgotten > FORGET_EVERY:
            self._since_forgotten = 0
            self._forget(at)

    def find(self, ae_title: str, processor: str, key: str, now: float) -> str:
        """See `InstanceStore.closed_before`."""
        path = self._path(ae_title, processor, key)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_Remembered)
        except (FileNotFoundError, msgspec.MsgspecError):
            return ""
        return found.group if now < found.until_at else ""

    def _path(self, ae_title: str, processor: str, key: str) -> Path:
        assert self._salt, "not prepared"
        text = f"{ae_title}\n{processor}\n{key}".encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(text, digest_size=20, key=self._salt).hexdigest()
        return self._folder / f"{digest}.json"

    def _forget(self, now: float) -> None:
        with os.scandir(self._folder) as entries:
            found = sorted(
                (entry.stat().st_mtime, entry.path)
                for entry in entries
                if not entry.name.startswith(".")
            )
        too_many = len(found) - REMEMBERED_MAX
        for number, (until_at, path) in enumerate(found):
            if until_at <= now or number < too_many:
                os.unlink(path)
