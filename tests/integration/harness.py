"""The real program as a subprocess, seen from outside: its log, its REST, its folders."""

import copy
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "processor_plugin"
"""The processor plug-in of the documentation."""
POLL_S = 0.02
START_S = 120.0
ANSWER_S = 60.0
"""For an answer over HTTP."""
END_S = 60.0
"""For the process to end; a drain that takes longer than it may tells so by its exit code."""
LOADED = 4
"""A machine on which much else runs takes so many times longer; a limit is for what hangs."""
T = TypeVar("T")

RUNNING: "list[Adapter]" = []
"""Whose logs a failing test shows."""


def eventually(condition: Callable[[], T], seconds: float = 10.0, what: str = "") -> T:
    """Return the first true result of condition; the only place in these tests that sleeps.

    Args:
        seconds: What it takes at most on a machine where little else runs.
    """
    limit_s = LOADED * seconds
    deadline = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what or condition}"
        time.sleep(POLL_S)
    return result


def pass_time(seconds: float) -> None:
    """Let real time go by, where time itself is what is tested."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end, seconds + 1)


def fill(disk: Path, *, leave: int) -> Path:
    """Fill the disk but for so many bytes; return the file that does it."""
    status = os.statvfs(disk)
    filler = disk / "filler"
    with open(filler, "wb") as file:
        file.write(bytes(status.f_bavail * status.f_frsize - leave))
    return filler


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with changes laid over it, tables merged, everything else replaced."""
    result = dict(copy.deepcopy(base))
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        result[key] = merged(old, value) if both else value
    return result


def configuration(root: Path, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a configuration for tests: ports 0, one AE Title MAIN, one pipeline, short times."""
    base = {
        "dicom": {"scp": {"host": "127.0.0.1", "port": 0, "reject_unknown_sources": False}},
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"}}
        ],
        "storage": {
            "root": str(root), "durability": "os", "reserve_space_gb": 0, "watermark_percent": 100,
        },
        "api": {"port": 0},
        "shutdown": {"association_grace_s": 1, "deadline_s": 10},
    }  # fmt: skip
    return merged(base, changes or {})


def environment(packages: Path | None = None) -> dict[str, str]:
    """Return the environment of the program: this repository's code, nobody's configuration.

    Args:
        packages: A folder of further packages.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DICOM_ADAPTER")}
    path = os.pathsep.join(map(str, filter(None, (REPOSITORY, packages))))
    return {**kept, "PYTHONPATH": path, "NO_COLOR": "1"}


def run_cli(
    *arguments: str, timeout_s: float = 120.0, packages: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command of the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "adapter", *arguments],
        env=environment(packages), cwd=REPOSITORY, capture_output=True, text=True, check=False,
        timeout=timeout_s,
    )  # fmt: skip


class Adapter:
    """One life after another of the program on one storage root."""

    def __init__(self, folder: Path, changes: Mapping[str, Any] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder / "root"
        self.file = folder / "adapter.json"
        self.settings = configuration(self.root, changes)
        self.root = Path(self.settings["storage"]["root"])
        self.packages: Path | None = None
        """A folder of packages that are installed beside the program."""
        self.variables: dict[str, str] = {}
        """Further ones of its environment."""
        self.through: tuple[str, ...] = ()
        """A program, with its arguments, that becomes this one."""
        self.log: list[str] = []
        self.dicom_port = self.api_port = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()

    # --- life

    def start(self) -> "Adapter":
        """Start the program and wait until it says that it is ready."""
        self.launch()
        in_time = self._ready.wait(START_S)
        if not in_time or not self.dicom_port:
            self.kill()
            raise AssertionError("the adapter did not start:\n" + "\n".join(self.log[-30:]))
        return self

    def launch(self) -> None:
        """Start the program, and wait for nothing."""
        assert self._process is None
        self.file.write_text(json.dumps(self.settings))
        self.log.clear()
        self._ready.clear()
        self._process = subprocess.Popen(
            [*self.through, sys.executable, "-m", "adapter", "serve", "-c", str(self.file),
             "--set", "logging.format=json"],
            env=environment(self.packages) | self.variables, cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        RUNNING.append(self)
        self._reader = threading.Thread(target=self._follow, args=(self._process,))
        self._reader.start()

    def _follow(self, process: "subprocess.Popen[str]") -> None:
        self.dicom_port = 0
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line.rstrip("\n"))
            if '"process.ready"' in line:
                ready = json.loads(line)
                self.dicom_port, self.api_port = ready["dicom_port"], ready["api_port"]
                self._ready.set()
        self._ready.set()  # it ended: whoever waits looks at dicom_port

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def terminate(self) -> None:
        """Send SIGTERM; `wait` tells how it ended."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout_s: float = END_S) -> int:
        """Wait for the end of the process; return its exit code."""
        assert self._process is not None
        status = self._process.wait(timeout_s)
        self._forget()
        return status

    def stop(self, timeout_s: float = END_S) -> int:
        """Stop it politely; return its exit code."""
        self.terminate()
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Kill -9; no effect if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()

    def _forget(self) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._reader.join()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None
        if self in RUNNING:
            RUNNING.remove(self)

    # --- what it says

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines with this event."""
        lines = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of an HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=ANSWER_S)
        try:
            connection.request(method, path, body, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Return the decoded body of a GET that must succeed."""
        status, _, body = self.request("GET", path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def metrics(self, name: str) -> dict[str, float]:
        """Return a metric's values by the value of its label; without one by ""."""
        _, _, body = self.request("GET", "/metrics")
        found = {}
        for line in body.decode().splitlines():
            match = re.fullmatch(rf'{name}(?:_total)?(?:{{\w+="(.*)"}})? (\S+)', line)
            if match:
                found[match[1] or ""] = float(match[2])
        return found

    def associations(self) -> int:
        """Return how many associations are open."""
        return int(self.get("/health/status")["activeDimseConnections"])

    def memory_kb(self, field: str) -> int:
        """Return VmRSS or VmHWM of the process, in kB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
        raise AssertionError(field)

    # --- its folders

    def instances(self, below: str) -> Iterator[Path]:
        """Yield the instances below incoming, closed or payloads.

        Those in a hidden folder are not there yet, or not any more: it is being made or deleted.
        """
        for folder, folders, names in os.walk(self.root / below):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(folder, name) for name in names if name.endswith(".dcm"))

    def everything(self) -> Iterator[Path]:
        """Yield files and folders below the root; what goes meanwhile is left out."""
        for folder, folders, names in os.walk(self.root):
            yield from (Path(folder, name) for name in (*folders, *names))

    def payload_folders(self) -> list[Path]:
        """Return the finished job folders."""
        return [p for p in (self.root / "payloads").iterdir() if not p.name.startswith(".")]

    def groups_on_disk(self) -> list[Path]:
        """Return open and closed groups that are not jobs yet."""
        return [
            path
            for parent in ("incoming", "closed")
            for path in (self.root / parent).iterdir()
            if not path.name.startswith(".")
        ]

    def destination(self, ae_title: str = "MAIN") -> str:
        """Return AET@HOST:PORT of this adapter."""
        return f"{ae_title}@127.0.0.1:{self.dicom_port}"
