"""Files that appear in a folder whole or not at all; blocking, in steps of a bounded size.

A file is written under a hidden name, synced, and renamed to `<SOP Instance UID>.dcm`; then the
folder is synced. Whoever watches the folder sees no half file, and no name that begins otherwise.
One with that name is replaced in the same step: the same instance again changes nothing. Preambles
are zero (PS3.10 7.5), everything after them is as it is stored. Hidden
files that a kill left behind go when they are a day old.
"""

import errno
import os
import secrets
from contextlib import suppress
from threading import Lock

from adapter.domain.identifiers import path_part
from adapter.domain.records import OutgoingInstance
from adapter.errors import UnavailableError
from adapter.protocols.dimse.file_meta import PREAMBLE, NotPart10Error

HIDDEN = ".dicom-adapter-"
STEP_BYTES = 16 << 20
"""Copied and synced in one step: some seconds on a slow network folder."""
FILE_MODE = 0o640
"""For the group of the folder, where that has the set-group-ID bit; for nobody else."""
STALE_S = 86_400
_READ_BYTES = 1 << 20
_PROBE_BYTES = 4096
_OF_THE_FILE = (errno.EISDIR, errno.ENOTEMPTY, errno.EFBIG, errno.ENAMETOOLONG)
"""What stands in the way of one name, or one size, and of no other file."""


class RefusedFileError(Exception):
    """This one file cannot be put into the folder."""


def open_folder(path: str) -> int:
    """Return a descriptor of the folder.

    Raises:
        UnavailableError: It is missing, or no folder.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unavailable(error) from error


def _unavailable(error: OSError) -> UnavailableError:
    return UnavailableError(f"the folder cannot be used: {os.strerror(error.errno or errno.EIO)}")


def _create(folder: int) -> tuple[int, str]:
    name = HIDDEN + secrets.token_hex(8)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(name, flags, FILE_MODE, dir_fd=folder), name


def probe(path: str) -> None:
    """Write a little under a hidden name and take it away; what is stale goes too.

    Raises:
        UnavailableError: That cannot be done.
    """
    folder = open_folder(path)
    try:
        fd, name = _create(folder)
        try:
            os.write(fd, bytes(_PROBE_BYTES))
            os.fsync(fd)
            now = os.fstat(fd).st_mtime
        finally:
            os.close(fd)
            os.unlink(name, dir_fd=folder)
        _clear_stale(folder, now - STALE_S)
    except OSError as error:
        raise _unavailable(error) from error
    finally:
        os.close(folder)


def _clear_stale(folder: int, before: float) -> None:
    """Delete hidden files of ours that nobody has written to since; by the folder's own clock."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another adapter does the same
                if entry.name.startswith(HIDDEN) and entry.stat().st_mtime < before:
                    os.unlink(entry.name, dir_fd=folder)


class Drop:
    """One instance on its way into a folder."""

    def __init__(self, instance: OutgoingInstance, folder: str) -> None:
        """Nothing is done yet; `folder` is a path."""
        self._instance = instance
        self._path = folder
        self._name = f"{path_part(instance.sop_instance_uid)}.dcm"
        self._left = instance.data_set_offset + instance.data_set_bytes
        self._instead = PREAMBLE
        """Of what the file begins with: a pipeline may have put anything there."""
        self._source = self._target = self._folder = -1
        self._hidden = ""
        self._lock = Lock()
        self._is_abandoned = False

    def step(self) -> bool:
        """Do the next piece; True: the file is there, under its name and durably.

        Raises:
            UnavailableError: The folder cannot be used.
            RefusedFileError: The folder cannot take this file.
            NotPart10Error: The instance's file is not what it was.
        """
        is_over = True
        with self._lock:
            try:
                is_over = self._step()
            except OSError as error:
                if error.errno in _OF_THE_FILE:
                    words = f"the folder does not take the file: {os.strerror(error.errno)}"
                    raise RefusedFileError(words) from error
                raise _unavailable(error) from error
            finally:
                if is_over:
                    self._discard()
        return is_over

    def _step(self) -> bool:
        if self._folder < 0:
            self._open()
        self._copy()
        if self._left:
            return False
        if not self._is_abandoned:
            self._publish()
        return True

    def abandon(self) -> None:
        """From any thread, without waiting: the file does not appear any more, but by chance."""
        self._is_abandoned = True

    def discard(self) -> None:
        """Take away what is not whole, after the step that runs; again is harmless. Blocks."""
        with self._lock:
            self._discard()

    def _open(self) -> None:
        try:
            self._source = os.open(self._instance.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            why = os.strerror(error.errno or errno.EIO)
            raise NotPart10Error(f"the file cannot be read: {why}") from error
        self._folder = open_folder(self._path)
        self._target, self._hidden = _create(self._folder)

    def _copy(self) -> None:
        budget = min(self._left, STEP_BYTES)
        self._left -= budget
        while budget:
            piece = os.read(self._source, min(budget, _READ_BYTES))
            if not piece:
                raise NotPart10Error("the file became shorter while it was sent")
            budget -= len(piece)
            view = memoryview(self._instead + piece[len(self._instead) :])
            self._instead = b""
            while view:
                view = view[os.write(self._target, view) :]
        os.fdatasync(self._target)

    def _publish(self) -> None:
        os.fsync(self._target)
        os.rename(self._hidden, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._hidden = ""
        os.fsync(self._folder)

    def _discard(self) -> None:
        with suppress(OSError):
            if self._hidden:  # what cannot be deleted now is stale some day
                os.unlink(self._hidden, dir_fd=self._folder)
        for fd in (self._source, self._target, self._folder):
            with suppress(OSError):
                if fd >= 0:
                    os.close(fd)
        self._hidden = ""
        self._source = self._target = self._folder = -1
