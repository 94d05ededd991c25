"""Runs the demo: adapter, receiving peer, sender; a live table; a verdict on every step."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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

from adapter.client.send import delivery_to
from adapter.client.watch import follow_events
from adapter.demo.peer import AE_TITLE, ReceivingPeer
from adapter.demo.samples import sample_instances
from adapter.demo.traffic import more_configuration, stay_up
from adapter.domain.entities import Destination
from adapter.domain.events import Event
from adapter.domain.records import OutgoingInstance
from adapter.domain.snapshot import Snapshot
from adapter.domain.statuses import SUCCESS
from adapter.settings import Settings

READY_S = 30.0
STEP_S = 60.0
STOP_S = 40.0

CONFIGURATION = """
[dicom.scp]
host = "127.0.0.1"
port = {dicom_port}

[[sources]]
ae_title = "ADAPTER"
host = "127.0.0.1"

[[application_entities]]
name = "demo"
ae_title = "DEMO"
timeout_s = 1
pipelines = {{ finding = "demo-finding" }}
destinations = ["pacs"]

[[destinations]]
name = "pacs"
ae_title = "{peer_title}"
host = "127.0.0.1"
port = {peer_port}

[platform]
engine = "command"

[[platform.pipelines]]
id = "demo-finding"
command = [{python}, {pipeline}]
max_concurrent = 2

[storage]
root = {root}
watermark_percent = 100
reserve_space_gb = 0.1

[storage.retention]
completed_s = 0

[api]
port = {api_port}

[logging]
format = "json"
"""


@dataclass(slots=True)
class Demo:
    """What the demo knows of the world so far, and the verdicts on it."""

    folder: Path
    instances: list[OutgoingInstance]
    studies: int
    peer: ReceivingPeer
    ports: dict[str, int] = field(default_factory=dict)
    snapshot: Snapshot = field(default_factory=Snapshot)
    counts: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, tuple[bool, str]] = field(default_factory=dict)
    changed: trio.Event = field(default_factory=trio.Event)

    def judge(self, step: str, passed: bool, found: str) -> None:
        """Note the verdict on a step."""
        self.verdicts[step] = passed, found

    def take(self, message: dict[str, Any]) -> None:
        """Take a message of the event stream."""
        if message["type"] == "hello":
            for row in message["snapshot"]["actors"]:
                self.snapshot.sections["actors"][row["name"]] = row
            return
        fields = {f.encode_name: f.name for f in msgspec.structs.fields(Event)}
        event = Event(**{fields[key]: value for key, value in message.items() if key in fields})
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
        demo = Demo(Path(name), instances, studies, peer)
        peer_port = peer.start(port_base + 2 if port_base else 0)
        config = _write_config(demo.folder, port_base, peer_port)
        if stay:
            with config.open("a") as file:
                file.write(more_configuration())
        try:
            return await _with_adapter(console, demo, config, stay)
        finally:
            peer.stop()


def _write_config(folder: Path, port_base: int, peer_port: int) -> Path:
    def quoted(value: object) -> str:
        return msgspec.json.encode(str(value)).decode()  # a JSON string is a TOML string

    config = folder / "adapter.toml"
    config.write_text(
        CONFIGURATION.format(
            dicom_port=port_base,
            api_port=port_base + 1 if port_base else 0,
            peer_title=AE_TITLE,
            peer_port=peer_port,
            python=quoted(sys.executable),
            pipeline=quoted(Path(__file__).with_name("pipeline.py")),
            root=quoted(folder / "data"),
        )
    )
    return config


async def _with_adapter(console: Console, demo: Demo, config: Path, stay: bool) -> int:
    command = [sys.executable, "-m", "adapter", "serve", "-c", str(config)]
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
        console.print("to watch it: dicom-adapter demo --serve, with the dashboard in a browser")
    if failed:
        console.print((demo.folder / "adapter.log").read_text()[-4000:], highlight=False)
    return 1 if failed else 0


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
            nursery.start_soon(follow_events, f"http://127.0.0.1:{demo.ports['api']}", demo.take)
            nursery.start_soon(_refresh, live, demo)
            await _verify(demo)
            nursery.cancel_scope.cancel()


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
    total, studies = len(demo.instances), demo.studies
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
