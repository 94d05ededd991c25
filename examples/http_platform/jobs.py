"""Jobs of the reference platform: one folder each, and the program that runs in it.

    <job>/job.json       what was asked for, state, reason
    <job>/metadata.json
    <job>/input/...      complete, verified files; what is being received is in <job>/.part-N
    <job>/output/...     what the program left
    <job>/results.json   what of it is offered, with digests; written when the program succeeded
    <job>/job.log        what the program printed

Every file appears by a rename, so the folder is right after a kill at any moment; a job that was
waiting or running then is run anew.
"""

import base64
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import trio

JOB = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
CHUNK = 1 << 20


class Refusal(Exception):
    """Something that cannot be done; the client is told why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Jobs:
    """All jobs below one folder, and those that run."""

    def __init__(self, root: Path, pipelines: dict[str, list[str]], at_once: int) -> None:
        self._root = root
        self._pipelines = pipelines
        self._places = trio.CapacityLimiter(at_once)
        self._parts = itertools.count()
        self._running: dict[str, trio.CancelScope] = {}
        root.mkdir(parents=True, exist_ok=True)

    def resume(self, nursery: trio.Nursery) -> None:
        """Clean up after a kill, and run what was running."""
        for part in self._root.glob("*/.part-*"):
            part.unlink()
        for file in self._root.glob("*/job.json"):
            if read(file)["state"] in ("waiting", "running"):
                self._run_soon(file.parent.name, nursery)

    # --- what a client asks for

    def create(self, job: str, request: dict) -> dict:
        """Announce a job; one that has ended begins anew."""
        if request["pipelineId"] not in self._pipelines:
            raise Refusal(422, f"there is no pipeline {request['pipelineId']!r}")
        folder = self._root / checked(job)
        if (folder / "job.json").exists() and self.status(job)["state"] in (
            "created", "waiting", "running",
        ):  # fmt: skip
            return self.status(job)
        (folder / "input").mkdir(parents=True, exist_ok=True)
        write(folder / "job.json", {"request": request, "state": "created", "reason": ""})
        return self.status(job)

    def status(self, job: str) -> dict:
        """Return how far a job is."""
        row = read(self._folder(job) / "job.json")
        return {"id": job, "state": row["state"], "reason": row["reason"]}

    def metadata(self, job: str, values: dict) -> None:
        """Keep what is known of the payload."""
        write(self._folder(job) / "metadata.json", values)

    def inputs(self, job: str) -> dict:
        """Return the files that are here."""
        files = listed(self._folder(job) / "input")
        return {"files": [{"path": p, "bytes": file.stat().st_size} for p, file in files]}

    async def receive(
        self, job: str, parts: list[str], headers: dict[str, str], body: AsyncIterator[bytes]
    ) -> None:
        """Take one file of the payload, if it is whole."""
        folder = self._folder(job)
        if self.status(job)["state"] in ("waiting", "running"):
            raise Refusal(409, "the job runs")
        final = below(folder / "input", parts)
        part = folder / f".part-{next(self._parts)}"
        digest, size = hashlib.sha256(), 0
        try:
            with open(part, "xb") as file:
                async for chunk in body:
                    digest.update(chunk)
                    size += file.write(chunk)
                await trio.to_thread.run_sync(os.fsync, file.fileno())
            expected = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
            if headers.get("content-length") != str(size):
                raise Refusal(400, f"{size} bytes came, Content-Length is another")
            if headers.get("content-digest") != expected:
                raise Refusal(400, "what came has another SHA-256 than Content-Digest says")
            final.parent.mkdir(parents=True, exist_ok=True)
            part.rename(final)
        finally:
            part.unlink(missing_ok=True)

    def start(self, job: str, nursery: trio.Nursery) -> dict:
        """Run the pipeline, unless it runs or has succeeded."""
        if self.status(job)["state"] not in ("waiting", "running", "succeeded"):
            self._change(job, "waiting")
            self._run_soon(job, nursery)
        return self.status(job)

    def cancel(self, job: str) -> dict:
        """Stop the pipeline, unless it has ended."""
        if self.status(job)["state"] in ("created", "waiting", "running"):
            self._change(job, "cancelled", "as was asked for")
            if scope := self._running.get(job):
                scope.cancel()
        return self.status(job)

    def results(self, job: str) -> dict:
        """Return what is offered of a job that has succeeded."""
        if self.status(job)["state"] != "succeeded":
            raise Refusal(409, "the job has not succeeded")
        return read(self._folder(job) / "results.json")

    def result(self, job: str, parts: list[str]) -> Path:
        """Return the file of one result."""
        file = below(self._folder(job) / "output", parts)
        if file.is_symlink() or not file.is_file():
            raise Refusal(404, "there is no such result")
        return file

    # --- running

    def _run_soon(self, job: str, nursery: trio.Nursery) -> None:
        scope = self._running[job] = trio.CancelScope()
        nursery.start_soon(self._run, job, scope)

    async def _run(self, job: str, scope: trio.CancelScope) -> None:
        folder = self._folder(job)
        command = self._pipelines[read(folder / "job.json")["request"]["pipelineId"]]
        with scope:
            async with self._places:
                self._change(job, "running")
                shutil.rmtree(folder / "output", ignore_errors=True)
                (folder / "output").mkdir()
                with open(folder / "job.log", "ab") as log:
                    status = await run(command, folder, log)
                if status:
                    self._change(job, "failed", f"exit status {status}")
                else:
                    offered = await trio.to_thread.run_sync(offer, folder / "output")
                    write(folder / "results.json", {"files": offered})
                    self._change(job, "succeeded")
        if self._running.get(job) is scope:
            del self._running[job]

    def _change(self, job: str, state: str, reason: str = "") -> None:
        file = self._folder(job) / "job.json"
        write(file, {**read(file), "state": state, "reason": reason})

    def _folder(self, job: str) -> Path:
        folder = self._root / checked(job)
        if not (folder / "job.json").exists():
            raise Refusal(404, "there is no such job")
        return folder


async def run(command: list[str], folder: Path, log) -> int:
    """Run a program without a shell; a cancel ends it and all it started."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
        start_new_session=True,
    )  # fmt: skip
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await process.wait()


def offer(output: Path) -> list[dict]:
    """Return what a program left; links are not followed."""
    return [
        {"path": path, "bytes": file.stat().st_size, "sha256": sha256(file)}
        for path, file in listed(output)
    ]


def listed(folder: Path) -> list[tuple[str, Path]]:
    """Return the regular files below a folder, by their paths."""
    return sorted(
        (file.relative_to(folder).as_posix(), file)
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink()
    )


def sha256(file: Path) -> str:
    """Return the digest of a file."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def checked(job: str) -> str:
    """Return a job's id if it is one."""
    if not JOB.fullmatch(job):
        raise Refusal(404, "there is no such job")
    return job


def below(folder: Path, parts: list[str]) -> Path:
    """Return a path below a folder, whatever a client says."""
    if not parts or any(part in ("", ".", "..") or "/" in part or CONTROL.search(part)
                        for part in parts):  # fmt: skip
        raise Refusal(400, f"{quote('/'.join(parts))} is no path")
    return folder.joinpath(*parts)


def read(file: Path) -> dict:
    """Return what a JSON file holds."""
    return json.loads(file.read_bytes())


def write(file: Path, value: dict) -> None:
    """Replace a JSON file, in one step."""
    part = file.with_suffix(".new")
    with open(part, "w") as text:
        json.dump(value, text)
        text.flush()
        os.fsync(text.fileno())
    part.rename(file)
