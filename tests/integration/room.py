"""A machine within the machine: its own network and folders, in which documentation is followed.

The addresses that the documentation uses lead to this machine there, its ports are free, and what
is written to /etc, /opt and the like is gone afterwards: namespaces of Linux, and overlays.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import REPOSITORY, environment, eventually
from health import missing

ADDRESSES = ("10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.9")
HOSTS = {"adapter.example.org": "10.1.2.4", "CLARA": "10.1.2.5"}
WRITTEN_TO = ("etc", "opt", "srv", "usr/lib", "usr/local", "var/lib")
SETUP = """
set -e
ip link set lo up
for address in $ADDRESSES; do ip address add "$address/32" dev lo; done
mount -t tmpfs tmpfs "$OVER"
for folder in $WRITTEN_TO; do
    mkdir -p "$OVER/$folder/upper" "$OVER/$folder/work"
    mount -t overlay overlay \
        -o "lowerdir=/$folder,upperdir=$OVER/$folder/upper,workdir=$OVER/$folder/work" "/$folder"
done
printf '127.0.0.1 localhost\\n%s\\n' "$HOSTS" > /etc/hosts
echo made
exec cat
"""
LIMIT_S, START_S = 120.0, 30.0


class Room:
    """Commands run in `folder`, where a clone of the repository seems to be."""

    def __init__(self, folder: Path, inside: int) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        self._inside = inside
        self._servers: list[tuple[subprocess.Popen[bytes], Path]] = []
        for name in ("home", "bin", ".venv"):
            (folder / name).mkdir(parents=True)
        for path in REPOSITORY.iterdir():
            if not path.name.startswith("."):
                (folder / path.name).symlink_to(path)
        self._program("dicom-adapter", "-m adapter ")
        self._program("python", "")
        self._program("python3", "")
        (folder / ".venv" / "bin").symlink_to(folder / "bin")

    def _program(self, name: str, arguments: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n')
        file.chmod(0o755)

    def _command(self, text: str) -> list[str]:
        return [
            "nsenter", "--target", str(self._inside), "--net", "--mount",
            "/bin/bash", "-euo", "pipefail", "-c", f'cd "$0"\n{text}', str(self.folder),
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        return environment() | {
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.folder / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "SHELL": "/bin/bash",
            "DICOM_ADAPTER__STORAGE__WATERMARK_PERCENT": "100",
        } | self.variables  # fmt: skip

    def run(self, text: str) -> "subprocess.CompletedProcess[str]":
        """Run commands of a shell to their end."""
        return subprocess.run(
            self._command(text), env=self._environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=LIMIT_S,
        )  # fmt: skip

    def said(self, text: str) -> str:
        """Return what commands, which must succeed, printed."""
        done = self.run(text)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, text: str, *, port: int = 0) -> None:
        """Start a server; return when it says that it is ready, or its port answers."""
        log = self.folder / "home" / f"server-{len(self._servers)}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                self._command(f"exec env {text}"), env=self._environment(),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._servers.append((process, log))

        def ready() -> bool:
            assert process.poll() is None, f"{text}\n{log.read_text()}"
            if not port:
                return "process.ready" in log.read_text()
            return self.run(f"ss -Hltn 'sport = {port}' | grep -q .").returncode == 0

        eventually(ready, START_S, text)

    def stop(self) -> None:
        """Stop the servers politely, the latest first; adapters end with exit code 0."""
        while self._servers:
            process, log = self._servers.pop()
            process.terminate()
            try:
                code = process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            assert code == 0 or "process.ready" not in log.read_text(), log.read_text()


@contextmanager
def made_room(folder: Path) -> Iterator[Room]:
    """Make a room, and leave nothing of it but `folder`."""
    over = folder.with_suffix(".over")
    over.mkdir()
    hosts = "\n".join(f"{address} {name}" for name, address in HOSTS.items())
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "/bin/bash", "-c", SETUP],
        env=os.environ | {
            "ADDRESSES": " ".join(ADDRESSES), "WRITTEN_TO": " ".join(WRITTEN_TO),
            "OVER": str(over), "HOSTS": hosts,
        },
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != "made\n":
            missing(f"no namespaces here: {holder.communicate()[1].strip()}")
        room = Room(folder, holder.pid)
        try:
            yield room
        finally:
            room.stop()
    finally:
        holder.kill()
        holder.communicate()
