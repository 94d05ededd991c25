"""The adapter next to every peer found on this machine, at each kind of work there is a goal for.

In each round every contender of a scenario gets its turn, another one first each time, as a fresh
process with an empty folder on a real file system; medians are compared. Read ratios, never
absolutes: machines differ and are noisy.

    python -m benchmarks.compare --rounds 5 --markdown docs/performance.md
    python -m benchmarks.compare --quick --only ct --only cycles
"""

import argparse
import json
import mmap
import os
import platform
import shlex
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers import PeerFailedError, workspace
from benchmarks.scenarios import CT_BYTES, SCENARIOS, Bench, Contender, Figures, Scenario
from benchmarks.stress import WorkerFailedError
from benchmarks.verdict import Results, details, draw_ratios, draw_receiving, goals

BUSY = 0.5
"""Load average before the start from which a warning is due."""
QUICK_SCALE = 0.1
TOUCHED_BYTES = 1000 * CT_BYTES
BEGIN, END = "<!-- compare:begin -->", "<!-- compare:end -->"
PLOTS = {"performance-ratios.svg": draw_ratios, "performance-receiving.svg": draw_receiving}


def touch_memory(size: int) -> None:
    """Use and free as much memory as the files of a run will take in the page cache.

    On a virtual machine, memory that was given back to the host is slow when it is used again
    (2 GB: 3 to 5 s); without this, whoever comes first after a pause may pay for it.
    """
    with mmap.mmap(-1, size) as memory:
        for position in range(0, size, mmap.PAGESIZE):
            memory[position] = 1


def run_rounds(scenarios: Sequence[Scenario], rounds: int, bench: Bench) -> tuple[Results, bool]:
    """Return what each contender reached in each round, and whether nobody ever failed."""
    results: Results = {
        scenario.name: {contender.name: [] for contender in present(scenario)}
        for scenario in scenarios
    }
    complete = True
    for number in range(rounds):
        for scenario in scenarios:
            contenders = present(scenario)
            turn = number % len(contenders)  # nobody is always first
            for contender in contenders[turn:] + contenders[:turn]:
                figures = _measure(scenario, contender, bench)
                if figures is None:
                    complete = False
                    continue
                results[scenario.name][contender.name].append(figures)
                words = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
                where = f"round {number + 1}: {scenario.name}: {contender.name}"
                print(f"{where}: {words}", file=sys.stderr, flush=True)
    return results, complete


def present(scenario: Scenario) -> list[Contender]:
    """Return the contenders that are on this machine."""
    return [contender for contender in scenario.contenders if contender.available()]


def _measure(scenario: Scenario, contender: Contender, bench: Bench) -> Figures | None:
    touch_memory(max(round(TOUCHED_BYTES * bench.scale), mmap.PAGESIZE))
    try:
        return contender.measure(bench)
    except (PeerFailedError, WorkerFailedError, OSError) as error:
        print(f"{scenario.name}: {contender.name}: FAILED: {error}", file=sys.stderr, flush=True)
        return None


def conditions(args: argparse.Namespace, file_system: str) -> str:
    """Return what a reader has to know to repeat the run."""
    contenders = {c.version() for s in args.scenarios for c in present(s)} - {""}
    return (
        f"`{args.command}`\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
        f"{file_system}, Python {platform.python_version()}; {', '.join(sorted(contenders))}. "
        f"Medians of {args.rounds} interleaved rounds."
    )


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
    """Return the options, with the chosen scenarios."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="scenarios: " + ", ".join(scenario.name for scenario in SCENARIOS),
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="beginning of a scenario; repeatable"
    )
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to store")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every round")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="its block, and the plots beside it"
    )
    args = parser.parse_args(arguments)
    args.scenarios = [
        scenario
        for scenario in SCENARIOS
        if not args.only or any(scenario.name.startswith(name) for name in args.only)
    ]
    if not args.scenarios or args.rounds < 1:
        parser.error("no scenario, or no round, left")
    args.command = shlex.join(["python", "-m", "benchmarks.compare", *arguments])
    return args


def write(args: argparse.Namespace, text: str, results: Results) -> None:
    """Write the document's block and the plots that have something to show."""
    images = ""
    for name, draw in PLOTS.items():
        if draw(args.markdown.with_name(name), args.scenarios, results):
            images += f"![{name.removesuffix('.svg').replace('-', ' ')}]({name})\n\n"
    replace_block(args.markdown, images + text)


def main(arguments: Sequence[str]) -> int:
    """Run; return 1 if a contender failed."""
    args = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # peers and folders go, too
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"load average {load:.1f}: something else runs, or has just run", file=sys.stderr)
    with workspace(args.folder) as (work, file_system):
        bench = Bench(work, QUICK_SCALE if args.quick else 1.0)
        results, complete = run_rounds(args.scenarios, args.rounds, bench)
    about = conditions(args, file_system)
    text = f"{goals(args.scenarios, results)}\n\n{details(args.scenarios, results)}\n\n{about}"
    print(text)
    if args.json:
        saved: dict[str, Any] = {"command": args.command, "load": load, "results": results}
        args.json.write_text(json.dumps(saved, indent=2) + "\n")
    if not complete:
        print("INCOMPLETE: a contender failed, see above", file=sys.stderr)
    if args.markdown and complete:
        write(args, text, results)
    elif args.markdown:
        print(f"{args.markdown} left as it was", file=sys.stderr)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
