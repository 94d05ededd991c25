"""Engine `http` against a platform that answers what a test wrote down: outages, refusals, lies.

The server is real (loopback), and one connection carries one request.
"""

import base64
import hashlib
import json
import logging
import os
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from tls_files import HOST, Files

from adapter.domain.entities import DestinationTls
from adapter.domain.records import Job
from adapter.errors import PipelineError, PostponedError
from adapter.protocols.dimse.tls_contexts import TlsContext, destination_context
from adapter.protocols.platform import client as client_module
from adapter.protocols.platform.client import HttpOptions, PlatformClient
from adapter.protocols.platform.http import HttpPlatform
from adapter.store.files import DiskThreads
from adapter.store.job_files import FolderJobFiles
from adapter.store.layout import Layout
from adapter.store.space import DiskSpaceGauge, SpaceLimits

JOB = Job(
    id="job-1", group_id="group-1", ae_title="MAIN", processor="AE Title Job Processor",
    name="main-one-20260101000000", pipeline="one", pipeline_id="pipe-one", priority="normal",
    opened_at=0.0, changed_at=0.0, instances=3, payload_bytes=12,
)  # fmt: skip
INPUTS = {f"dcm/1.2/1.3/1.2.3.{n}.dcm": f"file {n}".encode() for n in range(3)}
CREATED = {"id": "their-17", "state": "created"}
SUCCEEDED = {"id": "their-17", "state": "succeeded"}
PROBLEM = "application/problem+json"


def answer(status: int, value: Any = None, kind: str = "application/json", *headers: str) -> bytes:
    """Return an HTTP response."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [
        f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}",
        "Connection: close", *headers,
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode() + body


def offer(files: Mapping[str, bytes]) -> bytes:
    """Return the listing of these results."""
    return answer(200, {"files": [
        {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in files.items()
    ]})  # fmt: skip


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Script:
    """Answers by request line; a list is used up to its last one. A function is awaited."""

    answers: dict[str, Any]
    requests: list[Request] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [request.line for request in self.requests]

    async def serve(self, stream: trio.SocketStream) -> None:
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            chunk = await stream.receive_some()
            if not chunk:
                return
            buffer += chunk
        head, _, body = buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}
        while len(body) < int(headers.get("content-length", 0)):
            body += await stream.receive_some()
        request = Request(first.removesuffix(" HTTP/1.1"), headers, body)
        self.requests.append(request)
        found = self.answers.get(request.line, answer(204, b""))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found):
            found = await found()
        try:
            await stream.send_all(found)
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it had enough


@dataclass
class Stage:
    platform: HttpPlatform
    script: Script
    folder: Path
    """Of the job."""

    @property
    def output(self) -> dict[str, bytes]:
        """Return what lies in the output folder."""
        output = self.folder / "output"
        return {
            str(path.relative_to(output)): path.read_bytes()
            for path in output.rglob("*")
            if path.is_file()
        }


OpenStage = Callable[..., Any]


@pytest.fixture
def open_stage(tmp_path: Path) -> OpenStage:
    @asynccontextmanager
    async def stage(
        answers: dict[str, Any], *, key: str = "", transfers: int = 2, answer_s: float = 30.0,
        reserve_bytes: int = 0, context: ssl.SSLContext | None = None,
        tls: TlsContext | None = None,
    ) -> AsyncIterator[Stage]:  # fmt: skip
        layout, threads = Layout(tmp_path), DiskThreads(trio.CapacityLimiter(4))
        folder = layout.payload(JOB.id)
        for path, content in INPUTS.items():
            file = folder / "input" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        (folder / "output").mkdir(exist_ok=True)
        space = DiskSpaceGauge(layout, limits=SpaceLimits(100, reserve_bytes), threads=threads)
        files = FolderJobFiles(layout, "fsync", threads, space)
        script = Script(answers)

        async def metadata(job_id: str) -> dict[str, str]:
            return {"Instances": "3"}

        async with trio.open_nursery() as nursery:

            async def serve(stream: Any) -> None:
                if context:
                    stream = trio.SSLStream(
                        stream, context, server_side=True, https_compatible=True
                    )
                with suppress(trio.BrokenResourceError):  # it did not like our certificate
                    await script.serve(stream)

            listen = partial(trio.serve_tcp, host=HOST)
            listeners = await nursery.start(listen, serve, 0)
            port = listeners[0].socket.getsockname()[1]
            client = PlatformClient(HttpOptions(
                endpoint=f"{'https' if tls else 'http'}://{HOST}:{port}/api/", tls=tls,
                api_key=lambda: key, connect_s=5.0, answer_s=answer_s,
            ))  # fmt: skip
            platform = HttpPlatform(
                client, files, metadata, transfers=transfers, poll_s=0.001, max_concurrent=7
            )
            yield Stage(platform, script, folder)
            await client.close()
            nursery.cancel_scope.cancel()

    return stage


CREATE = "PUT /api/jobs/job-1"
STATUS = "GET /api/jobs/job-1"
INPUT = "GET /api/jobs/job-1/input"
RESULTS = "GET /api/jobs/job-1/output"


# --- requests


async def test_job_is_announced_with_what_a_platform_needs(open_stage: OpenStage) -> None:
    async with open_stage({CREATE: answer(200, CREATED)}, key="the-key") as stage:
        assert await stage.platform.create(JOB) == "their-17"
    (request,) = stage.script.requests
    assert json.loads(request.body) == {
        "name": "main-one-20260101000000", "pipelineId": "pipe-one", "priority": "normal",
        "source": "MAIN (AE Title Job Processor)", "instances": 3, "bytes": 12,
    }  # fmt: skip
    assert request.headers["authorization"] == "Bearer the-key"
    assert request.headers["accept-encoding"] == "identity"


async def test_proxies_and_keys_of_the_environment_are_not_used(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(netrc))
    async with open_stage({CREATE: answer(200, CREATED)}) as stage:
        await stage.platform.create(JOB)
    assert "authorization" not in stage.script.requests[0].headers


async def test_cookies_are_not_kept(open_stage: OpenStage) -> None:
    response = answer(200, CREATED, "application/json", "Set-Cookie: session=1; Path=/")
    async with open_stage({CREATE: response}) as stage:
        await stage.platform.create(JOB)
        await stage.platform.create(JOB)
    assert "cookie" not in stage.script.requests[1].headers


async def test_names_of_files_are_not_logged(
    open_stage: OpenStage, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stage({INPUT: answer(200, {"files": []})}) as stage:
        with caplog.at_level(logging.WARNING):
            await stage.platform.upload(JOB)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("adapter", ""),
        ("foreign", "its certificate: "),
        ("expired", "its certificate: certificate has expired"),
        ("elsewhere", "its certificate: "),
    ],
)
async def test_certificate_of_the_platform_is_verified(
    open_stage: OpenStage, tmp_path: Path, server: str, words: str
) -> None:
    files = Files(tmp_path / "tls")
    context = files.server(getattr(files, server))
    tls = destination_context("platform.http.tls", DestinationTls(ca=str(files.ca)))
    async with open_stage({CREATE: answer(200, CREATED)}, context=context, tls=tls) as stage:
        if not words:
            assert await stage.platform.create(JOB) == "their-17"
            return
        with pytest.raises(PostponedError) as caught:
            await stage.platform.create(JOB)
    assert str(caught.value).startswith(f"no connection: {words}")
    assert stage.script.requests == []


async def test_metadata_is_handed_over(open_stage: OpenStage) -> None:
    async with open_stage({}) as stage:
        await stage.platform.upload_metadata(JOB, {"00080060": "CT"})
    (request,) = stage.script.requests
    assert request.line == "PUT /api/jobs/job-1/metadata"
    assert json.loads(request.body) == {"00080060": "CT"}


async def test_files_are_sent_with_their_digest_unless_they_are_there(
    open_stage: OpenStage,
) -> None:
    first, second, third = INPUTS
    there = [{"path": first, "bytes": len(INPUTS[first])}, {"path": second, "bytes": 1}]
    async with open_stage({INPUT: answer(200, {"files": there})}) as stage:
        await stage.platform.upload(JOB)
    listing, *uploads = stage.script.requests
    assert listing.line == INPUT
    assert {request.line: request.body for request in uploads} == {
        f"PUT /api/jobs/job-1/input/{path}": INPUTS[path] for path in (second, third)
    }
    for request in uploads:
        digest = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
        assert request.headers["content-digest"] == f"sha-256=:{digest}:"
        assert request.headers["content-length"] == str(len(request.body))
        assert "transfer-encoding" not in request.headers


async def test_so_many_files_are_under_way_at_once_as_is_configured(open_stage: OpenStage) -> None:
    under_way = most = 0
    two = trio.Event()

    async def taken() -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 2:
            two.set()
        await two.wait()
        under_way -= 1
        return answer(204, b"")

    puts = {f"PUT /api/jobs/job-1/input/{path}": taken for path in INPUTS}
    async with open_stage({INPUT: answer(200, {"files": []}), **puts}, transfers=2) as stage:
        await stage.platform.upload(JOB)
    assert most == 2
    assert len(stage.script.requests) == 4


async def test_one_refused_file_ends_the_upload_with_its_reason(open_stage: OpenStage) -> None:
    refused = f"PUT /api/jobs/job-1/input/{next(iter(INPUTS))}"
    answers = {
        INPUT: answer(200, {"files": []}),
        refused: answer(400, {"detail": "another SHA-256"}, PROBLEM),
    }
    async with open_stage(answers) as stage:
        with pytest.raises(PipelineError, match="another SHA-256"):
            await stage.platform.upload(JOB)


# --- outages and refusals


OUTAGES = {
    "closed": (b"", "the connection was lost"),
    "garbage": (b"SSH-2.0-OpenSSH_9\r\n\r\n", "the connection was lost"),
    "endless head": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "the connection was lost"),
    "half a body": (answer(200, CREATED)[:-5], "the connection was lost"),
    "500": (answer(500, b"oops", "text/plain"), "cannot serve now (500)"),
    "503": (answer(503, {"title": "Restarting"}, PROBLEM), "cannot serve now (503: Restarting)"),
    "429": (answer(429, {}, PROBLEM), "cannot serve now (429)"),
    "401": (answer(401, {"detail": "no"}, PROBLEM), "does not take our API key (401: no)"),
    "403": (answer(403, b"<html>", "text/html"), "does not take our API key (403)"),
    "redirect": (
        answer(302, b"", "text/html", "Location: http://elsewhere/"), "answers with a redirect",
    ),
    "404 of a proxy": (answer(404, b"<html>", "text/html"), "somebody else answers"),
    "200 of a portal": (answer(200, b"<html>log in"), "not of the contract"),
    "another state": (answer(200, {"id": "1", "state": "odd"}), "not of the contract"),
    "no state": (answer(200, {"id": "1"}), "not of the contract"),
    "id with a line": (answer(200, {"id": "1\n2", "state": "created"}), "not of the contract"),
    "deep": (answer(200, b'{"x":' * 9000 + b"1" + b"}" * 9000), "not of the contract"),
    "gzip": (
        answer(200, b"\x1f\x8b\x08\x00", "application/json", "Content-Encoding: gzip"),
        "not of the contract",
    ),
    "not UTF-8": (answer(200, b'{"id":"\xff","state":"created"}'), "not of the contract"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OUTAGES)
async def test_what_is_no_answer_of_a_platform_is_an_outage(
    open_stage: OpenStage, kind: str
) -> None:
    response, words = OUTAGES[kind]
    async with open_stage({CREATE: [response, answer(200, CREATED)]}) as stage:
        with pytest.raises(PostponedError) as caught:
            await stage.platform.create(JOB)
        assert words in str(caught.value)
        assert await stage.platform.create(JOB) == "their-17"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("99999999", 3600), ("Fri, 31 Dec 2027 23:59:59 GMT", 0), ("-1", 0), ("²", 0)],
)
async def test_retry_after_is_heeded_within_an_hour(
    open_stage: OpenStage, header: str, seconds: float
) -> None:
    response = answer(503, {}, PROBLEM, f"Retry-After: {header}")
    async with open_stage({CREATE: response}) as stage:
        with pytest.raises(PostponedError) as caught:
            await stage.platform.create(JOB)
    assert caught.value.retry_after_s == seconds


async def test_platform_that_says_nothing_is_an_outage(open_stage: OpenStage) -> None:
    async def silent() -> bytes:
        await trio.sleep_forever()

    async with open_stage({CREATE: silent}, answer_s=0.1) as stage:
        with pytest.raises(PostponedError, match="no answer in time"):
            await stage.platform.create(JOB)


async def test_name_that_is_not_known_is_an_outage(open_stage: OpenStage) -> None:
    async with open_stage({}) as stage:
        stage.platform._client._base = "http://nowhere.invalid"
        with pytest.raises(PostponedError, match=r"^no connection: "):
            await stage.platform.create(JOB)


async def test_refusal_is_shown_as_one_bounded_line(open_stage: OpenStage) -> None:
    detail = "no\r\n2026 forged line\x1b[31m\u2028" + "x" * 1000
    async with open_stage({CREATE: answer(422, {"detail": detail}, PROBLEM)}) as stage:
        with pytest.raises(PipelineError) as caught:
            await stage.platform.create(JOB)
    words = str(caught.value)
    assert words.startswith("the platform refuses (422: no 2026 forged line [31m xxx")
    assert words.isprintable()
    assert len(words) < 400


async def test_refusal_without_end_or_bottom_is_bounded(open_stage: OpenStage) -> None:
    deep = b'{"x":' * 9000 + b"1" + b"}" * 9000
    for body in (deep, b" " * 100_000):
        async with open_stage({CREATE: answer(422, body, PROBLEM)}) as stage:
            with pytest.raises((PostponedError, PipelineError)) as caught:
                await stage.platform.create(JOB)
        assert len(str(caught.value)) < 400


async def test_listing_without_end_is_an_outage(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BODY_BYTES_MAX", 1000)
    long = {"files": [{"path": "x" * 100, "bytes": 1}] * 100}
    async with open_stage({INPUT: answer(200, long)}) as stage:
        with pytest.raises(PostponedError, match="longer than 1000 bytes"):
            await stage.platform.upload(JOB)


# --- running, and results


def done(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the answers of a platform on which the job has succeeded with these results."""
    gets = {
        f"GET /api/jobs/job-1/output/{path}": answer(200, content, "application/octet-stream")
        for path, content in files.items()
    }
    return {STATUS: answer(200, SUCCEEDED), RESULTS: offer(files), **gets}


async def test_results_appear_together_when_the_job_has_succeeded(open_stage: OpenStage) -> None:
    results = {"a/1.dcm": b"one", "a/b/2.dcm": b"two" * 1_000_000, "empty": b""}
    states = [answer(200, {"id": "1", "state": s}) for s in ("waiting", "running", "succeeded")]
    async with open_stage({**done(results), STATUS: states}) as stage:
        await stage.platform.wait(JOB)
        assert stage.output == {**results, "job.done": b""}
        assert sorted(p.name for p in stage.folder.iterdir()) == ["input", "output"]
        asked = len(stage.script.requests)
        await stage.platform.start(JOB)  # killed before the ledger knew: nothing is done again
        await stage.platform.wait(JOB)
        assert len(stage.script.requests) == asked


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"state": "failed", "reason": "out of\nmemory"}, "failed: out of memory"),
        ({"state": "failed"}, "failed: no reason was given"),
        ({"state": "cancelled", "reason": "by Ada"}, "cancelled: by Ada"),
    ],
)
async def test_job_that_did_not_succeed_says_why(
    open_stage: OpenStage, status: dict[str, str], words: str
) -> None:
    async with open_stage({STATUS: answer(200, {"id": "1", **status})}) as stage:
        with pytest.raises(PipelineError, match=words):
            await stage.platform.wait(JOB)


async def test_platform_that_forgot_the_start_is_asked_again(open_stage: OpenStage) -> None:
    async with open_stage({STATUS: answer(200, CREATED)}) as stage:
        with pytest.raises(PostponedError, match="has not started"):
            await stage.platform.wait(JOB)


LOST = answer(404, {"title": "there is no such job"}, PROBLEM)
METADATA = "PUT /api/jobs/job-1/metadata"
START = "POST /api/jobs/job-1/start"


async def test_platform_that_has_lost_the_job_gets_it_again(open_stage: OpenStage) -> None:
    known = {CREATE: answer(200, CREATED), INPUT: answer(200, {"files": []})}
    waiting = answer(200, {"id": "1", "state": "waiting"})
    uploads = {f"PUT /api/jobs/job-1/input/{path}" for path in INPUTS}
    async with open_stage({**known, METADATA: [LOST, answer(204, b"")]}) as stage:
        await stage.platform.upload_metadata(JOB, {"00080060": "CT"})
        assert stage.script.lines() == [METADATA, CREATE, METADATA]
    async with open_stage({**known, INPUT: [LOST, known[INPUT]]}) as stage:
        await stage.platform.upload(JOB)
        assert stage.script.lines()[:4] == [INPUT, CREATE, METADATA, INPUT]
        assert set(stage.script.lines()[4:]) == uploads
    async with open_stage({**known, START: [LOST, waiting]}) as stage:
        await stage.platform.start(JOB)
        lines = stage.script.lines()
        assert lines[:4] == [START, CREATE, METADATA, INPUT]
        assert set(lines[4:-1]) == uploads
        assert lines[-1] == START
    async with open_stage({**known, START: LOST, STATUS: LOST}) as stage:
        for step in (stage.platform.start, stage.platform.wait):
            with pytest.raises(PipelineError, match="there is no such job"):
                await step(JOB)


HOSTILE = [
    "../../x.dcm", "/etc/cron.d/x", "a/../../x", "a//b", "a/./b", "", ".", "..", "a/", "x\0y",
    "a\\..\\b", "line\nbreak", "x" * 256, "/".join(["d"] * 17), "job.done", "job.done/x", "\u2028",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
async def test_result_that_would_lie_elsewhere_is_refused(open_stage: OpenStage, path: str) -> None:
    async with open_stage(done({"good.dcm": b"x", path: b"evil"})) as stage:
        with pytest.raises(PipelineError, match="the platform offers"):
            await stage.platform.wait(JOB)
        assert stage.output == {}
        assert stage.script.lines() == [STATUS, RESULTS]


@pytest.mark.parametrize("pair", [("a", "a/b"), ("a/b/c", "a/b")])
async def test_file_and_folder_of_one_name_are_refused(
    open_stage: OpenStage, pair: tuple[str, str]
) -> None:
    async with open_stage(done(dict.fromkeys(pair, b"x"))) as stage:
        with pytest.raises(PipelineError, match="as a file and as a folder"):
            await stage.platform.wait(JOB)


async def test_the_same_result_twice_is_refused(open_stage: OpenStage) -> None:
    listing = json.loads(offer({"a": b"x"}).partition(b"\r\n\r\n")[2])
    twice = answer(200, {"files": listing["files"] * 2})
    async with open_stage({**done({"a": b"x"}), RESULTS: twice}) as stage:
        with pytest.raises(PipelineError, match="'a' which is taken"):
            await stage.platform.wait(JOB)


FULL = answer(200, b"second", "application/octet-stream")
TORN = {
    "half of it": (FULL[:-3], "the connection was lost"),
    "another length": (answer(200, b"secon"), "a result came with 5 of 6 bytes"),
    "more": (answer(200, b"second, and more"), "a result came with more than 6 bytes"),
    "other bytes": (answer(200, b"sEcond"), "another SHA-256"),
    "gone": (answer(503, b""), "cannot serve now"),
}


@pytest.mark.parametrize("kind", TORN)
async def test_torn_download_is_fetched_again_and_nothing_else(
    open_stage: OpenStage, kind: str
) -> None:
    response, words = TORN[kind]
    results = {"1.dcm": b"first", "2.dcm": b"second"}
    second = "GET /api/jobs/job-1/output/2.dcm"
    async with open_stage({**done(results), second: [response, FULL]}, transfers=1) as stage:
        with pytest.raises(PostponedError, match=words):
            await stage.platform.wait(JOB)
        assert stage.output == {}
        assert list((stage.folder / ".parts").iterdir()) == []
        await stage.platform.wait(JOB)
        assert stage.output == {**results, "job.done": b""}
        asked = Counter(stage.script.lines())
        assert (asked["GET /api/jobs/job-1/output/1.dcm"], asked[second]) == (1, 2)


async def test_results_of_another_run_replace_what_was_fetched(open_stage: OpenStage) -> None:
    """A platform that ran the job again may offer other files, and others of the same name."""
    async with open_stage(done({"1.dcm": b"first", "2.dcm": b"second"}), transfers=1) as stage:
        stage.script.answers["GET /api/jobs/job-1/output/2.dcm"] = b""
        with pytest.raises(PostponedError):
            await stage.platform.wait(JOB)
        for results in ({"1.dcm": b"FIRST"}, {"3.dcm/4.dcm": b"x"}):
            stage.script.answers |= done(results)
            await stage.platform.wait(JOB)
            assert stage.output == {**results, "job.done": b""}
            (stage.folder / "output" / "job.done").unlink()


async def test_results_that_do_not_fit_wait_for_space(open_stage: OpenStage) -> None:
    huge = {"path": "x", "bytes": 1 << 61, "sha256": "0" * 64}
    async with open_stage({**done({}), RESULTS: answer(200, {"files": [huge]})}) as stage:
        with pytest.raises(PostponedError, match="no space for 2305843009213693952 bytes"):
            await stage.platform.wait(JOB)
    assert stage.script.lines() == [STATUS, RESULTS]


async def test_cancel_in_a_download_leaves_no_part_and_no_descriptor(
    open_stage: OpenStage,
) -> None:
    begun = trio.Event()

    async def stalled() -> bytes:
        begun.set()
        await trio.sleep_forever()

    answers = {**done({"1.dcm": b"x"}), "GET /api/jobs/job-1/output/1.dcm": stalled}
    async with open_stage(answers) as stage:
        before = len(os.listdir("/proc/self/fd"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.platform.wait, JOB)
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert list((stage.folder / ".parts").iterdir()) == []
        await stage.platform._client.close()
        assert len(os.listdir("/proc/self/fd")) <= before + 1  # the server's side of one


async def test_cancel_of_a_job_the_platform_does_not_know_is_harmless(
    open_stage: OpenStage,
) -> None:
    cancel = "POST /api/jobs/job-1/cancel"
    async with open_stage({cancel: answer(404, {"title": "unknown"}, PROBLEM)}) as stage:
        await stage.platform.cancel(JOB)
        stage.script.answers[cancel] = answer(503, b"")
        with pytest.raises(PostponedError):
            await stage.platform.cancel(JOB)
    assert stage.platform.concurrency("any") == 7
