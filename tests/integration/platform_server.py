"""The reference platform of `examples/http_platform` as a process."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dicom_peers import free_port, listens
from harness import REPOSITORY, eventually

SERVER = REPOSITORY / "examples" / "http_platform" / "server.py"
KEY = "key-of-the-tests"


class PlatformServer:
    """One life after another of the reference platform on one folder and one port."""

    def __init__(self, folder: Path, pipelines: Mapping[str, Sequence[str]]) -> None:
        folder.mkdir(parents=True)
        self.root = folder / "jobs"
        self.port = free_port()
        self._pipelines = folder / "pipelines.toml"
        lines = [f"{name} = {json.dumps(list(command))}" for name, command in pipelines.items()]
        self._pipelines.write_text("\n".join(["[pipelines]", *lines]))
        self.key_file = folder / "key"
        self.key_file.write_text(f"{KEY}\n")
        self._log = folder / "server.log"
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "PlatformServer":
        """Start it and wait until its port answers."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), "--port", str(self.port), "--root", str(self.root),
                 "--pipelines", str(self._pipelines), "--key-file", str(self.key_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        eventually(lambda: listens(self.port), 20, "the platform listens")
        return self

    def kill(self) -> None:
        """Kill -9; no effect if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> "PlatformServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def trouble(self) -> str:
        """Return what it complained of."""
        text = self._log.read_text()
        return text if "Traceback" in text else ""

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str, bytes]:
        """Return status, content type and body of a request with the right key."""
        request = urllib.request.Request(
            f"{self.url}{path}", body, {"Authorization": f"Bearer {KEY}", **(headers or {})},
            method=method,
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers["Content-Type"] or "", answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers["Content-Type"] or "", refusal.read()

    def states(self) -> dict[str, str]:
        """Return the states of its jobs."""
        return {
            file.parent.name: json.loads(file.read_bytes())["state"]
            for file in self.root.glob("*/job.json")
        }

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return `platform` of an adapter that uses it."""
        return {
            "engine": "http", "endpoint": self.url, "retry_delay_s": 0.2, "max_retries": 0,
            "http": {"api_key_file": str(self.key_file), "poll_s": 0.05, **more},
        }  # fmt: skip
