"""Runs the demo: adapter, receiving peer, sender; a live table; a verdict on every step."""

import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from rich.console import Console
from rich.live import Live
from rich.table import Table

from adapter.client.api import ApiError, UnansweredError, call
from adapter.client.send import delivery_to
from adapter.client.watch import Place, follow_events
from adapter.demo.configuration import (
    KEPT_S,
    Document,
    configuration,
    kept,
    with_traffic,
    write,
)
from adapter.demo.peer import ReceivingPeer
from adapter.demo.samples import sample_instances
from adapter.demo.story import story
from adapter.demo.traffic import stay_up
from adapter.domain.entities import Destination
from adapter.domain.event_types import ANY_EVENT
from adapter.domain.events import Event
from adapter.domain.records import OutgoingInstance
from adapter.domain.snapshot import Snapshot
from adapter.domain.statuses import SUCCESS
from adapter.settings import Settings

READY_S = 30.0
STEP_S = 60.0
STOP_S = 40.0
PORT_BASE = 20000
"""Of a demo that stays, so that it is told where the dashboard will be."""


class OpenAccess(NamedTuple):
    """An adapter that asks for no key."""

    url: str
    api_key: str = ""


@dataclass(slots=True)
class Demo:
    """What the demo knows of the world so far, and the verdicts on it."""

    folder: Path
    configuration: Document
    instances: list[OutgoingInstance]
    studies: list[str]
    """Their UIDs; the one with the most instances first."""
    peer: ReceivingPeer
    ports: dict[str, int] = field(default_factory=dict)
    timeline: dict[str, Any] = field(default_factory=dict)
    """Of the first study, while its files are there."""
    snapshot: Snapshot = field(default_factory=Snapshot)
    counts: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, tuple[bool, str]] = field(default_factory=dict)
    changed: trio.Event = field(default_factory=trio.Event)
    threads: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))
    """For calls of the adapter's API."""

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.folder / "adapter.json"

    def judge(self, step: str, passed: bool, found: str) -> None:
        """Note the verdict on a step."""
        self.verdicts[step] = passed, found

    def take(self, message: dict[str, Any]) -> None:
        """Take a message of the event stream."""
        if message["type"] == "hello":
            for row in message["snapshot"]["actors"]:
                self.snapshot.sections["actors"][row["name"]] = row
            return
        event: Event = msgspec.convert(message, ANY_EVENT)
        self.snapshot.apply(event, datetime.fromisoformat(message["time"]).timestamp())
        self.counts[event.type] = self.counts.get(event.type, 0) + 1
        self.changed.set()
        self.changed = trio.Event()

    def count(self, kind: str) -> int:
        """Return how many events of this type have come."""
        return self.counts.get(kind, 0)

    async def until(self, kind: str, count: int) -> bool:
        """Wait until so many events of this type have come; False: they did not in time."""
        with trio.move_on_after(STEP_S):
            while self.count(kind) < count:
                await self.changed.wait()
        return self.count(kind) >= count


def run_demo(*, stay: bool, port_base: int) -> int:
    """Run the demo; return 0 only if every step was verified."""
    return trio.run(_demo, stay, port_base)


async def _demo(stay: bool, port_base: int) -> int:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="dicom-adapter-demo-") as name:
        instances, studies = sample_instances()
        finding = (str(SecondaryCaptureImageStorage), str(ExplicitVRLittleEndian))
        peer = ReceivingPeer({instance.context for instance in instances} | {finding})
        peer_port = peer.start(port_base + 2 if port_base else 0)
        document = configuration(Path(name), port_base=port_base, peer_port=peer_port)
        document = with_traffic(document) if stay else document
        demo = Demo(Path(name), document, instances, studies, peer)
        try:
            return await _with_adapter(console, demo, stay)
        finally:
            peer.stop()


async def _with_adapter(console: Console, demo: Demo, stay: bool) -> int:
    write(demo.configuration, demo.file)
    command = [sys.executable, "-m", "adapter", "serve", "-c", str(demo.file)]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
        try:
            with trio.move_on_after(READY_S):
                demo.ports = await nursery.start(_read_log, process, demo.folder / "adapter.log")
            demo.judge(
                "adapter is ready", bool(demo.ports), f"DICOM port {demo.ports.get('dicom')}"
            )
            if demo.ports:
                await _play(console, demo)
                if stay:
                    _tell_story(console, demo)
                    await _keep(demo, KEPT_S)
                    await stay_up(console, demo.ports)
            process.terminate()
            with trio.move_on_after(STOP_S):
                await process.wait()
            demo.judge("clean stop", process.returncode == 0, f"exit code {process.returncode}")
        finally:
            process.kill()
        nursery.cancel_scope.cancel()
    console.print(_table(demo, final=True))
    failed = [step for step, (passed, _) in demo.verdicts.items() if not passed]
    console.print("every step verified" if not failed else f"not verified: {', '.join(failed)}")
    if not stay:
        _tell_story(console, demo)
        console.print(
            f"dashboard: dicom-adapter demo --serve --port-base {PORT_BASE}, "
            f"then http://127.0.0.1:{PORT_BASE + 1}/ in a browser",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if failed:
        console.print((demo.folder / "adapter.log").read_text()[-4000:], highlight=False)
    return 1 if failed else 0


def _tell_story(console: Console, demo: Demo) -> None:
    if demo.timeline:
        console.print(story(demo.timeline))


async def _call(demo: Demo, method: str, path: str) -> Any:
    access = OpenAccess(f"http://127.0.0.1:{demo.ports['api']}")
    return await trio.to_thread.run_sync(call, access, method, path, limiter=demo.threads)


async def _keep(demo: Demo, seconds: int) -> None:
    """Have files of completed jobs kept for another time, without a restart."""
    write(kept(demo.configuration, seconds), demo.file)
    await _call(demo, "POST", "/api/config/reload")


async def _read_log(
    process: trio.Process,
    log_file: Path,
    *,
    task_status: trio.TaskStatus[dict[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep the adapter's log; report the ports of its `process.ready` line, none if it ended."""
    assert process.stderr is not None
    pending, waited_for = b"", True
    async for chunk in process.stderr:
        with log_file.open("ab") as log:
            log.write(chunk)
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if b'"process.ready"' in line:
                ready = msgspec.json.decode(line)
                task_status.started({"dicom": ready["dicom_port"], "api": ready["api_port"]})
                waited_for = False
    if waited_for:
        task_status.started({})


async def _play(console: Console, demo: Demo) -> None:
    with Live(console=console, auto_refresh=False, transient=True) as live:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_follow, demo)
            nursery.start_soon(_refresh, live, demo)
            await _verify(demo)
            nursery.cancel_scope.cancel()


async def _follow(demo: Demo) -> None:
    access = OpenAccess(f"http://127.0.0.1:{demo.ports['api']}")
    with suppress(UnansweredError):  # then what is waited for does not come
        await follow_events(access, demo.take, Place())


async def _refresh(live: Live, demo: Demo) -> None:
    while True:
        live.update(_table(demo, final=False), refresh=True)
        await trio.sleep(0.1)


async def _verify(demo: Demo) -> None:
    """Send, then wait for each step and compare it with what was sent."""
    adapter = Destination(name="demo", ae_title="DEMO", host="127.0.0.1", port=demo.ports["dicom"])
    statuses: list[int | None] = []
    await delivery_to(adapter, Settings()).run(
        demo.instances, lambda _, result: statuses.append(result.status)
    )
    stored = statuses.count(SUCCESS)
    total, studies = len(demo.instances), len(demo.studies)
    demo.judge("every instance acknowledged", stored == total, f"{stored} of {total}")
    await demo.until("group.closed", studies)
    demo.judge("one group for each study", demo.count("group.closed") == studies,
               f"{demo.count('group.closed')} of {studies}")  # fmt: skip
    await demo.until("job.completed", studies)
    demo.judge("one job for each group", demo.count("job.completed") == studies,
               f"{demo.count('job.completed')} of {studies}")  # fmt: skip
    await demo.until("export.completed", studies)
    same, findings = _compare(demo)
    demo.judge("received = sent, byte for byte", same == total, f"{same} of {total}")
    demo.judge("results at the destination", findings == studies, f"{findings} of {studies}")
    with suppress(ApiError):
        demo.timeline = await _call(demo, "GET", f"/api/timeline/{demo.studies[0]}")
    steps = len(demo.timeline.get("entries", ()))
    demo.judge("timeline of a study", steps > 0, f"{steps} entries")
    await _keep(demo, 0)
    await demo.until("storage.reclaimed", studies)
    left = [path for path in (demo.folder / "data").rglob("*.dcm") if path.is_file()]
    demo.judge("space reclaimed", not left, f"{len(left)} files left")


def _compare(demo: Demo) -> tuple[int, int]:
    """Return how many instances came through unchanged, and how many results arrived."""
    received = demo.peer.received
    same = 0
    for instance in demo.instances:
        sent = Path(instance.path).read_bytes()[instance.data_set_offset :]
        if instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian and len(sent) % 2:
            sent += b"\0"  # PS3.5 A.5
        same += received.get(instance.sop_instance_uid) == sent
    return same, len(received.keys() - {i.sop_instance_uid for i in demo.instances})


def _table(demo: Demo, *, final: bool) -> Table:
    table = Table(title=None if final else f"{datetime.now(UTC):%H:%M:%S} UTC")
    for column in ("step", "", "found"):
        table.add_column(column)
    for step, (passed, found) in demo.verdicts.items():
        table.add_row(step, "[green]ok[/]" if passed else "[red]FAILED[/]", found)
    if not final:
        table.add_section()
        for kind in ("instance.stored", "group.opened", "group.closed", "job.opened",
                     "job.completed", "export.completed", "storage.reclaimed"):  # fmt: skip
            table.add_row(kind, "", str(demo.count(kind)), style="dim")
    return table
