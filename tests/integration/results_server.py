"""A Results Service with Clara's contract, and with moods; it shares no code with the adapter.

States are Clara's: Pending, InProgress, Succeeded, Failed. A pending task is offered until it is
reported; a failure with RetryLater makes it pending again and counts a retry.
"""

import json
import threading
import urllib.parse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from http_lives import HttpLives

KEY = "key-of-the-results-service"


class ResultsServer(HttpLives):
    """One life after another on one port; tasks and files outlive the lives."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.tasks: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        """By payload and uri."""
        self.calls: list[tuple[str, str, Any]] = []
        """Method, path, body."""
        self.answer: bytes | None = None
        """To every request, whatever was asked."""
        self.status = 200
        self.hangs = threading.Event()
        self.hangs.set()
        """Cleared: it takes requests and says nothing."""
        self.forgets_reports = 0
        self.truncates = 0
        """So many downloads break in the middle."""

    def offer(self, task_id: str, *uris: str, **changes: Any) -> None:
        """Add a task."""
        self.tasks[task_id] = {
            "taskId": task_id, "jobId": "clara-job", "pipelineId": "clara-pipeline",
            "payloadId": "payload-1", "parameters": '"peer"', "state": "Pending",
            "agent": "ADAPTER", "retries": 0, "uris": list(uris), **changes,
        }  # fmt: skip

    def reports(self) -> list[tuple[str, Any]]:
        """Return what was reported: the last two parts of the path, and the body."""
        return [
            ("/".join(path.split("/")[-2:]), body)
            for method, path, body in self.calls
            if method == "PUT"
        ]

    def state(self, task_id: str) -> str:
        return str(self.tasks[task_id]["state"])

    def let_go(self) -> None:
        self.hangs.set()

    def reply(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        self.calls.append((method, path, body))
        if self.answer is not None:
            return self.status, self.answer
        parts = [urllib.parse.unquote(part) for part in path.partition("?")[0].split("/")[1:]]
        match method, parts:
            case "GET", ["api", "tasks", agent, "pending"]:
                size = int(path.rpartition("=")[2])
                found = [t for t in self.tasks.values() if self._is_offered(t, agent)][:size]
                return 200, json.dumps(found).encode()
            case "PUT", ["api", "tasks", "success" | "failure" as verb, task_id]:
                return self._reported(verb, task_id, body)
            case "GET", ["files", *names]:
                content = self.files.get("/".join(names))
                return (404, b"") if content is None else (200, content)
        return 404, b""

    @staticmethod
    def _is_offered(task: Any, agent: str) -> bool:
        if not isinstance(task, dict):
            return True
        return task.get("agent") == agent and task.get("state") == "Pending"

    def _reported(self, verb: str, task_id: str, body: Any) -> tuple[int, bytes]:
        if self.forgets_reports:
            self.forgets_reports -= 1
            return 500, b""
        if task_id not in self.tasks:
            return 404, b""
        task = self.tasks[task_id]
        if verb == "success":
            task["state"] = "Succeeded"
        elif body["RetryLater"]:
            task["retries"] += 1
        else:
            task["state"] = "Failed"
        return 200, b""


class _Handler(BaseHTTPRequestHandler):
    server_side: ResultsServer
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        service = self.server_side
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._answer(401, b"")
            return
        service.hangs.wait(60)
        status, body = service.reply(self.command, self.path, json.loads(raw) if raw else None)
        is_file = self.path.startswith("/files/")
        if is_file and service.truncates and status == 200:
            service.truncates -= 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self._answer(status, body)

    do_GET = do_PUT = _serve  # noqa: N815

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def settings(service: ResultsServer, **more: Any) -> Mapping[str, Any]:
    """Return `results` of an adapter that uses it."""
    return {"service_url": service.url, "poll_ms": 50, "api_key": KEY, **more}
