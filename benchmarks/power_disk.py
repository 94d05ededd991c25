"""A disk whose power can be cut: what was written and not yet flushed is gone, or partly gone.

A file system image lies behind a loop device whose file is ours (FUSE, one file at its root). Every
block that the kernel writes and every flush goes into a log, in order; from it the image is made
that a power cut at any moment would have left. One run so gives as many cuts as one likes, and what
was acknowledged before each is known, because the length of the log is the clock.

`python -m benchmarks.power_disk IMAGE LOG DESCRIPTOR` serves the file; `PowerDisk` starts that.
"""

import ctypes
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECTOR = 512
"""What a disk writes as a whole."""
RECORD = struct.Struct("<cQQ")  # kind, offset, length; then the bytes of a write
WRITE, FLUSH = b"W", b"F"
_LOOK_S = 5

# The kernel's side of FUSE (linux/fuse.h), as much of it as a single file needs.
_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _RELEASE = 3, 4, 14, 15, 16, 18
_FSYNC, _FLUSH, _INIT = 20, 25, 26
_UNANSWERED = frozenset({2, 36, 42})  # FORGET, INTERRUPT, BATCH_FORGET
_ENOSYS, _MAX_WRITE, _DIRECT_IO = 38, 1 << 20, 1


class Served:
    """The one file: answers the kernel, one request after the other."""

    def __init__(self, image: Path, log: Path, fuse: int) -> None:
        self._file = os.open(image, os.O_RDWR)
        self._size = os.fstat(self._file).st_size
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._fuse = fuse

    def run(self) -> None:
        """Serve until the file is unmounted."""
        while True:
            try:
                request = os.read(self._fuse, _MAX_WRITE + 4096)
            except OSError:
                return  # unmounted
            _, operation, unique, *_ = _IN.unpack_from(request)
            if operation in _UNANSWERED:
                continue
            body = self._answer(operation, memoryview(request)[_IN.size :])
            error = -_ENOSYS if body is None else 0
            body = body or b""
            os.write(self._fuse, _OUT.pack(_OUT.size + len(body), error, unique) + body)

    def _answer(self, operation: int, request: memoryview) -> bytes | None:
        if operation == _INIT:
            minor = min(31, struct.unpack_from("<II", request)[1])
            return struct.pack("<IIIIHHIIHHI7I", 7, minor, 0, 0, 16, 12, _MAX_WRITE, 1,
                               _MAX_WRITE // 4096, 0, 0, *[0] * 7)  # fmt: skip
        if operation in (_GETATTR, _SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self._attributes()
        if operation == _OPEN:
            return struct.pack("<QII", 1, _DIRECT_IO, 0)
        if operation in (_READ, _WRITE):
            _, offset, size = struct.unpack_from("<QQI", request)
            if operation == _READ:
                return os.pread(self._file, size, offset)
            return self._write(offset, request[40 : 40 + size])
        if operation == _FSYNC:
            os.write(self._log, RECORD.pack(FLUSH, 0, 0))
        return b"" if operation in (_FSYNC, _FLUSH, _RELEASE) else None

    def _write(self, offset: int, data: memoryview) -> bytes:
        os.writev(self._log, [RECORD.pack(WRITE, offset, len(data)), data])
        os.pwrite(self._file, data, offset)
        return struct.pack("<II", len(data), 0)

    def _attributes(self) -> bytes:
        return struct.pack("<QQQQQQIIIIIIIIII", 1, self._size, self._size // SECTOR, 0, 0, 0, 0, 0,
                           0, 0o100600, 1, 0, 0, 0, 4096, 0)  # fmt: skip


class PowerDisk:
    """A mounted ext4 file system on such a disk."""

    def __init__(self, folder: Path, *, mb: int = 768) -> None:
        """Make it; needs root, loop devices and FUSE.

        Raises:
            OSError, subprocess.CalledProcessError: This machine has not got them.
        """
        self.mounted = folder / "mounted"
        self._blank, self._image, self._log = (folder / n for n in ("blank", "image", "log"))
        self._front = folder / "front"
        self.mounted.mkdir()
        with self._blank.open("wb") as file:
            file.truncate(mb << 20)
        _run("/usr/sbin/mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0",
             str(self._blank))  # fmt: skip
        _run("/bin/cp", "--sparse=always", str(self._blank), str(self._image))
        self._log.touch()
        self._front.touch()
        self._server: subprocess.Popen[bytes] | None = None
        self._device = ""

    def __enter__(self) -> "PowerDisk":
        fuse = os.open("/dev/fuse", os.O_RDWR)
        try:
            _mount_fuse(self._front, fuse)
            self._server = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.power_disk", self._image, self._log, str(fuse)],
                pass_fds=[fuse], cwd=Path(__file__).parents[1],
            )  # fmt: skip
        finally:
            os.close(fuse)
        self._device = _run("/usr/sbin/losetup", "--find", "--show", str(self._front)).strip()
        _run("/bin/mount", self._device, str(self.mounted))
        return self

    def __exit__(self, *_: object) -> None:
        for command in (
            ["/bin/umount", "-l", str(self.mounted)],
            ["/usr/sbin/losetup", "--detach", self._device],
            ["/bin/umount", "-l", str(self._front)],
        ):
            subprocess.run(command, check=False, capture_output=True)
        assert self._server is not None
        try:
            self._server.wait(_LOOK_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def now(self) -> int:
        """Return the moment: whatever has been flushed has been flushed before it."""
        return self._log.stat().st_size

    @contextmanager
    def after_cut(self, moment: int, kept: random.Random | None = None) -> Iterator[Path]:
        """Mount what a power cut at this moment leaves; yields the folder.

        Args:
            kept: Decides which sectors written after the last flush had reached the disk all the
                same, in whatever order; None: none of them.
        """
        with tempfile.TemporaryDirectory(dir=self._blank.parent) as name:
            image, mounted = Path(name, "image"), Path(name, "mounted")
            _run("/bin/cp", "--sparse=always", str(self._blank), str(image))
            self._replay(image, moment, kept)
            mounted.mkdir()
            _run("/bin/mount", "-o", "loop", str(image), str(mounted))
            try:
                yield mounted
            finally:
                _run("/bin/umount", str(mounted))

    def _replay(self, image: Path, moment: int, kept: random.Random | None) -> None:
        log = memoryview(self._log.read_bytes())[:moment]
        pending: list[tuple[int, memoryview]] = []
        position = 0
        with image.open("r+b") as file:
            while position + RECORD.size <= len(log):
                kind, offset, length = RECORD.unpack_from(log, position)
                position += RECORD.size
                if kind == WRITE:
                    pending.append((offset, log[position : position + length]))
                    position += length
                    continue
                for at, data in pending:
                    file.seek(at)
                    file.write(data)
                pending.clear()
            if kept is None:
                return
            for at, data in pending:
                for first in range(0, len(data), SECTOR):
                    if kept.random() < 0.5:
                        file.seek(at + first)
                        file.write(data[first : first + SECTOR])


def _mount_fuse(front: Path, fuse: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fuse},rootmode=100000,user_id=0,group_id=0"
    if libc.mount(b"power", os.fsencode(front), b"fuse.power", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "cannot mount FUSE")


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    Served(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])).run()
