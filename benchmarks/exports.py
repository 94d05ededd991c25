"""What a dead destination costs the others: python -m benchmarks.exports

Ledger, result folders, exporters and associations are real, in one process; the destinations that
live are storescp --ignore. Each job has one structured report of 5 kB, and an export to each of
three destinations. Every round has the same exports: first the third destination is left out, then
nobody listens there, then it accepts connections and says nothing.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trio

from adapter.actors.committer import Committer, ReportRecorder
from adapter.actors.export_places import ExportPlaces
from adapter.actors.exporter import Exporter
from adapter.channels import notify
from adapter.domain.committing import CommitmentRules
from adapter.domain.entities import Destination, ListenerTls
from adapter.domain.export_figures import ExportFigures
from adapter.domain.exporting import ExportRules
from adapter.domain.messages import ExportOrder, Wake
from adapter.domain.records import Export, Job
from adapter.domain.tables import ExportState
from adapter.protocols.dimse.requestor import DicomRequestor
from adapter.protocols.dimse.scu import ScuOptions
from adapter.protocols.dimse.tls_contexts import TlsContexts
from adapter.protocols.results.folder import FolderResults
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.group_commit import WriterThread
from adapter.store.ledger import RowLedger
from benchmarks.instances import new_run, template, uid
from benchmarks.peers import STORESCP_IGNORING, remove, running, workspace

EXPORTS, ROUNDS = 10_000, 3
LIVING = ("first", "second")
THIRD = "third"
CASES = ("two", "third is dead", "third is silent")
LOOK_S = 0.02


@contextmanager
def port_of(case: str) -> Iterator[int]:
    """Yield the port of the third destination."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if case == "third is silent":
            server.listen(64)
        yield int(server.getsockname()[1])


def write_results(folder: Path, jobs: int) -> list[str]:
    """Make result folders as pipelines leave them, by links to one file; return the job ids."""
    folder.mkdir()
    report = template("sr")
    file = folder / "report.dcm"
    head, tail = report.part10(uid(new_run(), 3, 1))
    file.write_bytes(head + tail)
    ids = [f"job-{number:06d}" for number in range(jobs)]
    for job_id in ids:
        output = folder / job_id / "output"
        output.mkdir(parents=True)
        os.link(file, output / "report.dcm")
        (output / "job.done").touch()
    return ids


class Figures(NamedTuple):
    """Of one run."""

    exports_s: float
    """To the slower of the two living destinations."""
    cpu_ms: float
    """Of this process, for each export that arrived."""


@dataclass
class Bench:
    """The exporters of one run."""

    folder: Path
    destinations: list[Destination]

    def __post_init__(self) -> None:
        self.ledger = RowLedger(
            DiskcacheEngine(self.folder / "ledger"), WriterThread(),
            time.time,
        )  # fmt: skip
        self.ledger.load()
        self.results = FolderResults(self.folder / "payloads", trio.CapacityLimiter(4))
        options = ScuOptions(ae_title="BENCH", max_pdu=131_072, connect_s=10, acse_s=15, dimse_s=60)
        self.requestor = DicomRequestor(
            options, trio.CapacityLimiter(14), TlsContexts(ListenerTls(), self.destinations)
        )
        self.places = ExportPlaces(8, [one.name for one in self.destinations])

    def _exporter(
        self, destination: Destination, woken: trio.MemoryReceiveChannel[Wake]
    ) -> Exporter:
        reclaimer_wake, _ = trio.open_memory_channel[Wake](1)
        _, orders = trio.open_memory_channel[ExportOrder](0)
        quiet: Callable[[object], None] = lambda _: None  # noqa: E731
        return Exporter(
            destination=destination, ledger=self.ledger, source=self.results,
            requestor=self.requestor, places=self.places, figures=ExportFigures(), giver=None,
            committer=Committer(
                ledger=self.ledger, publish=quiet, new_uid=lambda: "2.25.1", now=time.time,
                recorder=ReportRecorder(ledger=self.ledger, publish=quiet, now=time.time),
                rules=CommitmentRules(
                    wait_s=1, deadline_s=3600, max_retries=3, max_instances=1000
                ),
            ),
            wake=woken, leave=trio.Event(), orders=orders, reclaimer_wake=reclaimer_wake,
            publish=quiet, now=time.time, draw=lambda: 0.5, rules=ExportRules(3, 60.0),
        )  # fmt: skip

    async def _open(self, job_ids: Sequence[str]) -> None:
        """Queue an export of every job to every destination."""
        now = time.time()
        jobs = [
            Job(
                id=job_id, group_id=job_id, ae_title="BENCH", processor="bench", name=job_id,
                pipeline="one", pipeline_id="one", priority="normal", opened_at=now,
                changed_at=now, instances=1, payload_bytes=1,
            )
            for job_id in job_ids
        ]  # fmt: skip
        await self.ledger.open_jobs(jobs)
        files = (await self.results.results(job_ids[0])).files

        async def open_one(number: int, job_id: str) -> None:
            exports = [
                Export(
                    id=f"{job_id}-{one.name}", job_id=job_id, destination=one.name,
                    opened_at=now + number / 1000, changed_at=now, instances=1,
                )
                for one in self.destinations
            ]  # fmt: skip
            await self.ledger.open_exports(job_id, [(export, files) for export in exports])

        async with trio.open_nursery() as nursery:
            for number, job_id in enumerate(job_ids):
                nursery.start_soon(open_one, number, job_id)

    async def measure(self, job_ids: Sequence[str]) -> "Figures":
        """Send everything; say how long the slower of the living destinations took."""
        await self._open(job_ids)
        took: dict[str, float] = {}
        async with trio.open_nursery() as nursery:
            with ExitStack() as wakes:
                begin, cpu = time.perf_counter(), time.process_time()
                for destination in self.destinations:
                    wake, woken = trio.open_memory_channel[Wake](1)
                    wakes.enter_context(wake)
                    await nursery.start(_run, self._exporter(destination, woken))
                    notify(wake)
                while len(took) < len(LIVING):
                    await trio.sleep(LOOK_S)
                    counts = self.ledger.export_counts()
                    for name in LIVING:
                        done = counts.get((name, ExportState.COMPLETED), 0)
                        if name not in took and done == len(job_ids):
                            took[name] = time.perf_counter() - begin
            cpu_s = time.process_time() - cpu
            nursery.cancel_scope.cancel()
        return Figures(len(job_ids) / max(took.values()), 1e3 * cpu_s / len(LIVING) / len(job_ids))


async def _run(exporter: Exporter, *, task_status: trio.TaskStatus[None]) -> None:
    await exporter.run(task_status=task_status)


def run(work: Path, case: str, job_ids: Sequence[str], ports: Sequence[int], lanes: int) -> Figures:
    """Return what was measured with these destinations."""
    with port_of(case) as third:
        named = [*zip(LIVING, ports, strict=True), (THIRD, third)]
        destinations = [
            Destination(
                name=name, ae_title="BENCH", host="127.0.0.1", port=port, max_associations=lanes
            )
            for name, port in named[: 2 if case == "two" else 3]
        ]
        try:
            return trio.run(_measured, work, destinations, job_ids)
        finally:
            shutil.rmtree(work / "ledger")


async def _measured(work: Path, destinations: list[Destination], job_ids: Sequence[str]) -> Figures:
    return await Bench(work, destinations).measure(job_ids)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table, and write JSON if that is wanted."""
    parser = argparse.ArgumentParser(prog="benchmarks.exports", description=__doc__)
    parser.add_argument("--exports", type=int, default=EXPORTS, help="to three destinations")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--lanes", type=int, default=1, help="max_associations of each")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    figures: dict[str, list[Figures]] = {case: [] for case in CASES}
    with workspace(asked.folder) as (work, _), ExitStack() as peers:
        ports = [peers.enter_context(running(STORESCP_IGNORING, work)).port for _ in LIVING]
        job_ids = write_results(work / "payloads", asked.exports // 3)
        for number in range(asked.rounds):
            for case in CASES[number % 3 :] + CASES[: number % 3]:
                figures[case].append(run(work, case, job_ids, ports, asked.lanes))
        remove(work / "payloads")
    medians = {
        case: Figures(*map(statistics.median, zip(*runs, strict=True)))
        for case, runs in figures.items()
    }
    print("destinations      exports/s each (lowest - highest)   to two alone   CPU ms   to two")
    for case, (rate, cpu_ms) in medians.items():
        rates = [run.exports_s for run in figures[case]]
        spread = f"({min(rates):.0f} - {max(rates):.0f})"
        two = medians["two"]
        print(
            f"{case:17} {rate:8.0f} {spread:>26} {rate / two.exports_s:14.2f} "
            f"{cpu_ms:8.2f} {cpu_ms / two.cpu_ms:8.2f}"
        )
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
