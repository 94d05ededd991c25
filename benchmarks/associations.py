"""Stress an SCP: many associations at once, of senders that behave and of senders that do not.

Any SCP will do; it must accept the calling AE Title and the SOP class of the chosen kind.

    python -m benchmarks.associations --port 11112 --called PACS --associations 25 --instances 200
    python -m benchmarks.associations --port 11112 --called PACS --associations 100 \\
        --ill-behaved 0.3 --ramp-up 2 --json run.json --picture run.svg
    python -m benchmarks.associations --port 11112 --called PACS --associations 1000 --idle
    python -m benchmarks.associations --port 11112 --called PACS --associations 8 --cycles
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.ill_behaved import BEHAVIOURS
from benchmarks.instances import KINDS, new_run
from benchmarks.loop import Target
from benchmarks.process import cpu_s, resident
from benchmarks.report import Report, picture, report
from benchmarks.stress import Phase, Plan, Told, WorkerFailedError, run

MODES = {"idle": "held", "cycles": "cycles", "store": "stored"}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.associations", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    scp = parser.add_argument_group("the SCP")
    scp.add_argument("--host", default="127.0.0.1")
    scp.add_argument("--port", type=int, required=True)
    scp.add_argument("--called", required=True, metavar="AET")
    scp.add_argument("--calling", default="BENCHMARK", metavar="AET")
    scp.add_argument("--pid", type=int, help="its process, if it is on this machine: CPU, memory")
    load = parser.add_argument_group("the load")
    load.add_argument("--associations", type=int, default=1, metavar="N", help="at once")
    load.add_argument("--instances", type=int, default=100, metavar="M", help="for each of them")
    load.add_argument("--kind", choices=KINDS, default="ct")
    load.add_argument("--mb", type=float, default=0, help="size of an instance of kind mf")
    load.add_argument("--ramp-up", type=float, default=0, metavar="S", help="to the last one")
    load.add_argument("--ill-behaved", type=float, default=0, metavar="FRACTION")
    load.add_argument(
        "--behaviour", action="append", choices=BEHAVIOURS, metavar="NAME",
        help=f"of the ill-behaved, repeatable: {', '.join(BEHAVIOURS)}",
    )  # fmt: skip
    load.add_argument("--ill-s", type=float, default=5, metavar="S", help="life of each of them")
    load.add_argument(
        "--nagle", action="store_true", help="as stock senders: no TCP_NODELAY, small writes"
    )
    load.add_argument("--timeout", type=float, default=60, metavar="S", help="for each answer")
    load.add_argument("--processes", type=int, default=1, metavar="K", help="of senders")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--idle", dest="mode", action="store_const", const="idle", default="store",
        help="associate only, hold, then C-ECHO on one more association",
    )  # fmt: skip
    mode.add_argument(
        "--cycles", dest="mode", action="store_const", const="cycles",
        help="set-up, C-ECHO, release, again and again",
    )  # fmt: skip
    load.add_argument("--hold", type=float, default=5, metavar="S", help="with --idle")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE")
    output.add_argument("--picture", type=Path, metavar="FILE", help="PNG or SVG, by its suffix")
    args = parser.parse_args(arguments)
    if args.associations < 1 or args.instances < 1:
        parser.error("at least one association with one instance")
    if not 0 <= args.ill_behaved <= 1:
        parser.error("--ill-behaved: a fraction from 0 to 1")
    if args.ill_behaved and args.mode != "store":
        parser.error("--ill-behaved goes with storing only")
    return args


def plan_of(args: argparse.Namespace) -> Plan:
    """Return what the options ask for."""
    return Plan(
        target=Target(args.host, args.port),
        called=args.called,
        calling=args.calling,
        mode=args.mode,
        associations=args.associations,
        instances=args.instances,
        kind=args.kind,
        payload_bytes=round(args.mb * 1e6),
        run=new_run(),
        ramp_up_s=args.ramp_up,
        nagle=args.nagle,
        ill_behaved=args.ill_behaved,
        behaviours=tuple(args.behaviour or BEHAVIOURS),
        ill_s=args.ill_s,
        timeout_s=args.timeout,
        hold_s=args.hold,
        processes=args.processes,
    )


class Observer:
    """Looks at the process of the SCP at each phase."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self.seen: dict[Phase, dict[str, Any]] = {}

    def __call__(self, phase: Phase) -> None:
        if self._pid:
            self.seen[phase] = {"cpu_s": cpu_s(self._pid), "rss": resident(self._pid)}


def watched_run(args: argparse.Namespace, console: Console) -> tuple[Plan, Any, Report]:
    """Run with a progress bar if somebody looks; return plan, outcome and figures."""
    plan = plan_of(args)
    observer = Observer(args.pid)
    well = plan.associations - plan.ill
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        total = well if plan.mode == "idle" else well * plan.instances
        task = progress.add_task(MODES[plan.mode], total=total, words="")

        def show(told: Told) -> None:
            words = f"{told.up} up, {told.ended} ended, {told.failed} failed"
            if plan.ill:
                words += f", {told.ill_ended} ill-behaved ended"
            done = told.up if plan.mode == "idle" else told.responses
            progress.update(task, completed=done, words=words)

        outcome = run(plan, show, observer)
    figures = report(plan, outcome)
    if args.pid:
        figures["receiver"] = observer.seen
    return plan, outcome, figures


def print_figures(console: Console, figures: Report) -> None:
    """Print what a reader wants to know first."""
    up, requests = figures["associations"], figures["requests"]
    console.print(
        f"{up['complete']} of {up['planned']} associations complete, {up['up']} came up; "
        f"{requests['succeeded']} of {requests['planned']} requests succeeded, "
        f"{requests['refused']} refused, {requests['unanswered']} unanswered, "
        f"{requests['unsent']} not sent"
    )
    console.print(
        f"{figures['per_s']:.1f}/s, {figures['mb_per_s']:.1f} MB/s in {figures['seconds']:.3f} s; "
        f"the sender used {figures['sender']['cpu_percent']:.0f} % of its processes"
    )
    if figures["sender"]["was_the_bottleneck"]:
        console.print("the sender may have been the bottleneck: try --processes 2")
    table = Table("ms", "p50", "p95", "p99", "max", "of")
    for name in ("set_up_ms", "response_ms", "association_ms", "probe_ms"):
        values = figures.get(name)
        if values:
            cells = [f"{values[key]:.2f}" for key in ("p50", "p95", "p99", "max")]
            title = name.removesuffix("_ms").replace("_", "-")
            table.add_row(title, *cells, str(values["count"]))
    console.print(table)
    if figures["fairness"]:
        console.print(f"slowest association / median: {figures['fairness']['ratio']:.2f}")
    if "all_up_s" in figures:
        console.print(f"all up after {figures['all_up_s']} s {figures['probe_failure']}")
    for reason, count in figures["failures"].items():
        console.print(f"{count} x {reason}")
    for kind, ill in figures["ill_behaved"].items():
        endings = ", ".join(f"{count} x {how}" for how, count in ill["endings"].items())
        console.print(f"{kind}: {endings} (longest {ill['longest_s']:.1f} s)")
    for phase, seen in figures.get("receiver", {}).items():
        console.print(f"receiver, {phase}: {seen['cpu_s']:.2f} s CPU, {seen['rss'] / 1e6:.0f} MB")


def main(arguments: Sequence[str]) -> int:
    """Run; return 1 if a well-behaved association failed or an instance was refused."""
    args = parse(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        plan, outcome, figures = watched_run(args, Console(stderr=True))
    except (OSError, WorkerFailedError) as error:
        print(f"{args.host}:{args.port}: {error}", file=sys.stderr)
        return 2
    command = shlex.join(["python", "-m", "benchmarks.associations", *arguments])
    print_figures(console, figures)
    if args.json:
        args.json.write_text(json.dumps({"command": command} | figures, indent=2) + "\n")
    if args.picture:
        picture(args.picture, plan, outcome, figures)
    requests = figures["requests"]
    return 0 if requests["planned"] == requests["succeeded"] and not figures["failures"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
