"""How fast does the adapter receive, next to other receivers?

One association, one sender for all of them (`benchmarks.load`), which keeps the instances in
memory. Receivers take turns in every round, another one first each time, each a fresh process with
an empty folder on a real file system; medians are compared. Read ratios, never absolutes: machines
differ and are noisy.

    python -m benchmarks.receive --rounds 5 --markdown docs/performance.md
"""

import argparse
import json
import mmap
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.instances import KINDS, Kind, Template, template
from benchmarks.load import SendFailedError, Sent, send_all
from benchmarks.peers import RECEIVERS, PeerFailedError, Receiver, running, workspace

WARM = 10
"""Instances of each kind that a receiver gets before the clock starts."""
BUSY = 0.5
"""Load average before the start from which a warning is due."""
BEGIN, END = "<!-- receive:begin -->", "<!-- receive:end -->"
_TITLES = {"ct": "CT", "sr": "SR"}


@dataclass(frozen=True, slots=True)
class Row:
    """One receiver and one kind of instance: the medians of all rounds."""

    receiver: str
    version: str
    kind: Kind
    runs: int
    """Below the number of rounds if some failed."""
    instances: int
    per_s: float
    mb_per_s: float
    lowest_per_s: float
    highest_per_s: float
    adapter_ratio: float | None
    """The adapter's instances per second over this receiver's."""


def measure(receiver: Receiver, templates: dict[Kind, Template], counts: dict[Kind, int],
            work: Path) -> dict[Kind, Sent]:  # fmt: skip
    """Start a receiver, send it everything, and check that it has stored everything.

    Raises:
        PeerFailedError, SendFailedError, OSError: It has not.
    """
    results: dict[Kind, Sent] = {}
    expected = 0
    touch_memory(sum(templates[kind].size * count for kind, count in counts.items()))
    with running(receiver, work) as peer:
        for kind, count in counts.items():
            if not count:
                continue
            count = min(count, receiver.instances_max or count)
            results[kind] = send_all(peer.port, receiver.called, templates[kind], count, WARM)
            expected += count + WARM
        stored = receiver.stored(peer)
        if stored != expected:
            raise PeerFailedError(f"{receiver.name} has stored {stored} of {expected}")
    return results


def touch_memory(size: int) -> None:
    """Use and free as much memory as the files of a run will take in the page cache.

    On a virtual machine, memory that was given back to the host is slow when it is used again
    (2 GB: 3 to 5 s); without this, whoever comes first after a pause may pay for it.
    """
    if size:
        with mmap.mmap(-1, size) as memory:
            for position in range(0, size, mmap.PAGESIZE):
                memory[position] = 1


def rows(receivers: Sequence[Receiver], runs: dict[str, list[dict[Kind, Sent]]]) -> list[Row]:
    """Return the medians, CT first."""
    table = []
    for kind in KINDS:
        baseline = None
        for receiver in receivers:
            sent = [run[kind] for run in runs[receiver.name] if kind in run]
            if not sent:
                continue
            rates = [one.instances / one.seconds for one in sent]
            rate = median(rates)
            if receiver is RECEIVERS[0]:
                baseline = rate
            table.append(
                Row(
                    receiver=receiver.name,
                    version=receiver.version(),
                    kind=kind,
                    runs=len(sent),
                    instances=sent[0].instances,
                    per_s=round(rate, 1),
                    mb_per_s=round(rate * sent[0].payload_bytes / sent[0].instances / 1e6, 1),
                    lowest_per_s=round(min(rates), 1),
                    highest_per_s=round(max(rates), 1),
                    adapter_ratio=round(baseline / rate, 2) if baseline else None,
                )
            )
    return table


def as_text(table: Sequence[Row]) -> str:
    """Return the table as Markdown; it reads well in a terminal too."""
    head = ("receiver", "of", "runs", "n", "instances/s", "lowest - highest", "MB/s", "adapter is")
    lines = [head, ("---", "---", "--:", "--:", "--:", "--:", "--:", "--:")]
    for row in table:
        ratio = f"{row.adapter_ratio:.2f}x" if row.adapter_ratio else "-"
        lines.append(
            (row.receiver, _TITLES[row.kind], str(row.runs), str(row.instances), f"{row.per_s:.0f}",
             f"{row.lowest_per_s:.0f} - {row.highest_per_s:.0f}", f"{row.mb_per_s:.0f}", ratio)
        )  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = []
    for line in lines:
        if line[0] == "---":
            cells = [
                "-" * (width - 1) + (":" if cell.endswith(":") else "-")
                for cell, width in zip(line, widths, strict=True)
            ]
        else:
            cells = [
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def conditions(args: argparse.Namespace, templates: dict[Kind, Template],
               versions: Sequence[str], file_system: str) -> str:  # fmt: skip
    """Return what a reader has to know to repeat the run."""
    sizes = ", ".join(f"{_TITLES[kind]} {t.size / 1e3:.0f} kB" for kind, t in templates.items())
    capped = [r.name for r in args.receivers if r.instances_max]
    where = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
        f"{file_system}, Python {platform.python_version()}; {', '.join(versions)}."
    )
    how = (
        f"Medians of {args.rounds} rounds over one association; data sets of {sizes}. "
        '`adapter` leaves writing to the operating system (`storage.durability = "os"`) as '
        "storescp does; `adapter, fsync` waits for the disk, as Orthanc does."
    )
    lines = [f"`{args.command}`", "", where, how]
    if capped:
        lines.append(f"Fewer instances for {', '.join(capped)} (column n).")
    return "\n".join(lines)


def replace_block(path: Path, block: str) -> None:
    """Put block between the markers of a Markdown file.

    Raises:
        SystemExit: The file has no such markers.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path}: no {BEGIN} ... {END}")
    path.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, with the chosen receivers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receive", description=__doc__)
    parser.add_argument("--ct", type=int, default=1000, help="CT instances per round")
    parser.add_argument("--sr", type=int, default=2000, help="SR instances per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="substring of a receiver; repeatable"
    )
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to store")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    wanted = [r for r in RECEIVERS if not args.only or any(name in r.name for name in args.only)]
    args.receivers = [receiver for receiver in wanted if receiver.available()]
    for receiver in wanted:
        if receiver not in args.receivers:
            print(f"{receiver.name}: not installed", file=sys.stderr)
    if not args.receivers:
        parser.error("no receiver left")
    args.command = shlex.join(["python", "-m", "benchmarks.receive", *arguments])
    return args


def run_rounds(
    args: argparse.Namespace, templates: dict[Kind, Template], work: Path
) -> tuple[dict[str, list[dict[Kind, Sent]]], bool]:
    """Return the runs by receiver, and whether all of them succeeded."""
    counts: dict[Kind, int] = {"ct": args.ct, "sr": args.sr}
    runs: dict[str, list[dict[Kind, Sent]]] = {r.name: [] for r in args.receivers}
    complete = True
    for number in range(1, args.rounds + 1):
        turn = (number - 1) % len(args.receivers)  # nobody is always first
        for receiver in args.receivers[turn:] + args.receivers[:turn]:
            try:
                run = measure(receiver, templates, counts, work)
            except (PeerFailedError, SendFailedError, OSError) as error:
                print(f"{receiver.name}: {error}", file=sys.stderr)
                complete = False
                continue
            runs[receiver.name].append(run)
            rates = ", ".join(
                f"{_TITLES[k]} {sent.instances / sent.seconds:.0f}/s" for k, sent in run.items()
            )
            print(f"round {number}: {receiver.name}: {rates}", file=sys.stderr)
    return runs, complete


def main(arguments: Sequence[str]) -> int:
    """Run; return 1 if a receiver failed."""
    args = parse(arguments)
    templates: dict[Kind, Template] = {kind: template(kind) for kind in KINDS}
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"load average {load:.1f}: something else runs, or has just run", file=sys.stderr)
    with workspace(args.folder) as (work, file_system):
        runs, complete = run_rounds(args, templates, work)
    table = rows(args.receivers, runs)
    if not complete:
        print("INCOMPLETE: a run failed, see above", file=sys.stderr)
    versions = list(dict.fromkeys(f"{r.version()}" for r in args.receivers))
    text = f"{as_text(table)}\n\n{conditions(args, templates, versions, file_system)}"
    print(text)
    if args.json:
        args.json.write_text(
            json.dumps({"command": args.command, "rows": [asdict(row) for row in table]}, indent=2)
        )
    if args.markdown and not complete:
        print(f"{args.markdown} left as it was: a run failed", file=sys.stderr)
    elif args.markdown:
        replace_block(args.markdown, text)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
