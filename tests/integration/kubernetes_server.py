"""An API server of Kubernetes as far as custom resources go; it shares no code with the adapter.

What it does is in the Kubernetes API concepts: lists with pages, watches from a resourceVersion
with bookmarks, 410 for one that is forgotten, merge patches of a resource and of its status apart,
generations of specs, deletion that waits for finalizers.
"""

import copy
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from http_lives import HttpLives

GROUP, VERSION, NAMESPACE = "dicom-adapter.io", "v1alpha1", "imaging"
KINDS = {"aetitles": "AETitle", "sources": "Source", "destinations": "Destination"}
TOKEN = "token-of-the-service-account"
BASE = ["apis", GROUP, VERSION, "namespaces", NAMESPACE]
Document = dict[str, Any]


class ApiServer(HttpLives):
    """One life after another on one port; what it stores outlives the lives."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.objects: dict[tuple[str, str], Document] = {}
        self.calls: list[tuple[str, str, int]] = []
        """Method, path with query, status."""
        self.forbidden: set[tuple[str, str]] = set()
        """Verb (get, patch) and what: a plural, `status`."""
        self.missing: set[str] = set()
        """Plurals without CustomResourceDefinition."""
        self.answer: Callable[[str, str], tuple[int, bytes] | None] = lambda method, path: None
        """In place of its own answers."""
        self.page = 500
        self._version = 100
        self._forgotten = 0
        """Versions up to this one are too old to watch from."""
        self._history: list[tuple[int, str, str, Document]] = []
        self._changed = threading.Condition()
        self._watches = 0
        """Watches of before the last cut end."""

    # --- life

    def let_go(self) -> None:
        self.cut()

    def cut(self) -> None:
        """Break every connection that watches."""
        with self._changed:
            self._watches += 1
            self._changed.notify_all()

    def forget(self) -> None:
        """Break what watches, and know no older version any more."""
        with self._changed:
            self._version += 1
            self._forgotten = self._version
            self._history.clear()
        self.cut()

    def kubeconfig(self, folder: Path) -> Path:
        """Return a kubeconfig file for this server."""
        file = folder / "kubeconfig"
        cluster = {"server": self.url}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": {"token": TOKEN}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }  # fmt: skip
        file.write_text(json.dumps(document))
        return file

    # --- what people do, as with kubectl

    def apply(self, plural: str, name: str, /, **spec: Any) -> None:
        """Make a resource, or change its spec."""
        with self._changed:
            now = self.objects.get((plural, name))
            document: Document = {
                "apiVersion": f"{GROUP}/{VERSION}", "kind": KINDS[plural],
                "metadata": {"name": name, "namespace": NAMESPACE, "generation": 0},
                "spec": spec,
            }  # fmt: skip
            if now is not None:
                document = {**copy.deepcopy(now), "spec": spec}
            document["metadata"]["generation"] += 1
            self._store("MODIFIED" if now else "ADDED", plural, document)

    def delete(self, plural: str, name: str) -> None:
        """Delete a resource: at once, or when its finalizers are gone."""
        with self._changed:
            document = copy.deepcopy(self.objects[plural, name])
            if document["metadata"].get("finalizers"):
                document["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
                self._store("MODIFIED", plural, document)
            else:
                self._store("DELETED", plural, document)

    def tear_out(self, plural: str, name: str) -> None:
        """Delete a resource without regard for finalizers."""
        with self._changed:
            self._store("DELETED", plural, copy.deepcopy(self.objects[plural, name]))

    def status(self, plural: str, name: str) -> Document:
        """Return the status of a resource."""
        found = self.objects.get((plural, name), {})
        return dict(found.get("status", {}))

    def is_accepted(self, plural: str, name: str) -> bool:
        """Return whether this state of its spec is accepted."""
        found = self.objects.get((plural, name), {})
        status = found.get("status", {})
        generation = found.get("metadata", {}).get("generation")
        return bool(status.get("accepted")) and status.get("observedGeneration") == generation

    def _store(self, verb: str, plural: str, document: Document) -> None:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        key = plural, document["metadata"]["name"]
        if verb == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = document
        self._history.append((self._version, plural, verb, document))
        self._changed.notify_all()

    # --- what is asked

    def reply(self, method: str, path: str, body: bytes) -> tuple[int, Document]:
        """Return status and body of an answer that is no watch."""
        url = urllib.parse.urlsplit(path)
        parts = [part for part in url.path.split("/") if part]
        query = dict(urllib.parse.parse_qsl(url.query))
        if parts == ["version"]:
            return 200, {"major": "1", "minor": "33", "gitVersion": "v1.33.1"}
        if parts[:5] != BASE or parts[5] not in KINDS or parts[5] in self.missing:
            return self.refusal(404, "the server could not find the requested resource")
        plural, *rest = parts[5:]
        verb = "get" if method == "GET" else "patch"
        if {(verb, plural), (verb, rest[-1] if rest else "")} & self.forbidden:
            return self.refusal(403, f"{plural}.{GROUP} is forbidden: cannot {verb}")
        match method, rest:
            case "GET", []:
                return 200, self._listed(plural, query)
            case "PATCH", [name, *part]:
                return self._patched(plural, name, part == ["status"], json.loads(body))
        return self.refusal(405, "the server does not allow this method")

    @staticmethod
    def refusal(code: int, message: str) -> tuple[int, Document]:
        return code, {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "message": message,
        }  # fmt: skip

    def _listed(self, plural: str, query: dict[str, str]) -> Document:
        with self._changed:
            names = sorted(name for kind, name in self.objects if kind == plural)
            start = int(query.get("continue", "0"))
            end = start + min(self.page, int(query.get("limit", "500")))
            metadata = {"resourceVersion": str(self._version)}
            if end < len(names):
                metadata["continue"] = str(end)
            items = [copy.deepcopy(self.objects[plural, name]) for name in names[start:end]]
        return {"kind": f"{KINDS[plural]}List", "metadata": metadata, "items": items}

    def _patched(
        self, plural: str, name: str, of_status: bool, patch: Document
    ) -> tuple[int, Document]:
        with self._changed:
            now = self.objects.get((plural, name))
            if now is None:
                return self.refusal(404, f"{plural} {name!r} not found")
            document, metadata = copy.deepcopy(now), patch.get("metadata", {})
            version = metadata.get("resourceVersion", now["metadata"]["resourceVersion"])
            if version != now["metadata"]["resourceVersion"]:
                return self.refusal(409, "the object has been modified")
            if of_status:
                document["status"] = document.get("status", {}) | patch["status"]
            else:
                document["metadata"]["finalizers"] = metadata["finalizers"]
            ends = "deletionTimestamp" in document["metadata"]
            ends = ends and not document["metadata"].get("finalizers")
            self._store("DELETED" if ends else "MODIFIED", plural, document)
            return 200, document

    def watched(self, plural: str, since: int) -> Iterator[Document]:
        """Yield what changes after a version; ends when the watch is cut."""
        life = self._watches
        if since < self._forgotten:
            _, status = self.refusal(410, f"too old resource version: {since}")
            yield {"type": "ERROR", "object": status}
            return
        while True:
            with self._changed:
                if self._watches != life:
                    return
                news = [one for one in self._history if one[0] > since]
                if not news:
                    self._changed.wait(5.0)
                    continue
            since = news[-1][0]
            for _, kind, verb, document in news:
                if kind == plural:
                    yield {"type": verb, "object": document}
            mark = {"kind": KINDS[plural], "metadata": {"resourceVersion": str(since)}}
            yield {"type": "BOOKMARK", "object": mark}


class _Handler(BaseHTTPRequestHandler):
    server_side: ApiServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def _answer(self) -> None:
        try:
            self._try_to_answer()
        except ConnectionError:
            self.close_connection = True  # whoever asked has gone

    def _try_to_answer(self) -> None:
        server = self.server_side
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(*server.refusal(401, "Unauthorized"))
        elif odd := server.answer(self.command, self.path):
            self._send_bytes(*odd)
        else:
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            status, document = server.reply(self.command, self.path, body)
            if query.get("watch") == "true" and status == 200:
                self._stream(self.path.split("?")[0].split("/")[-1], query)
            else:
                self._send(status, document)

    def _send(self, status: int, document: Document) -> None:
        self._send_bytes(status, json.dumps(document).encode())

    def _send_bytes(self, status: int, body: bytes) -> None:
        self.server_side.calls.append((self.command, self.path, status))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, plural: str, query: dict[str, str]) -> None:
        self.server_side.calls.append((self.command, self.path, 200))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for event in self.server_side.watched(plural, int(query["resourceVersion"])):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
        except OSError:
            pass  # whoever watched has gone
        self.close_connection = True  # in the middle of a chunked body, as a fault does

    do_GET = do_PATCH = _answer  # noqa: N815 - names of http.server

    def log_message(self, *args: Any) -> None:
        pass
