"""What the figures of `compare` say: ratios against goals, as Markdown and as plots."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.scenarios import Figures, Goal, Scenario

Results = dict[str, dict[str, list[Figures]]]
"""Scenario, contender: the figures of each round."""
_EXTRA = {
    "mb_per_s": "{:.0f} MB/s", "p99_ms": "p99 {:.1f} ms", "fairness": "slowest/median {:.2f}",
    "up_s": "all up in {:.2f} s", "cpu_percent": "{:.1f} % CPU idle", "kb_each": "{:.0f} kB each",
}  # fmt: skip


def middle(results: Results, scenario: Scenario, contender: str, figure: str) -> float | None:
    """Return a contender's median of a figure."""
    runs = results.get(scenario.name, {}).get(contender, [])
    values = [run[figure] for run in runs if figure in run]
    return median(values) if values else None


def rivals(results: Results, scenario: Scenario, goal: Goal) -> list[tuple[float, str]]:
    """Return the contenders a goal is against, the best last."""
    found = [
        (value, contender.name)
        for contender in scenario.contenders
        if contender.name.startswith(goal.against)
        and (value := middle(results, scenario, contender.name, goal.figure)) is not None
    ]
    return sorted(found)


def reached(results: Results, scenario: Scenario, goal: Goal) -> tuple[float, str, str] | None:
    """Return what is held against the goal, as a number and in words, and against whom."""
    own = middle(results, scenario, scenario.contenders[0].name, goal.figure)
    if own is None:
        return None
    if not goal.against:
        return own, number(own), ""
    against = rivals(results, scenario, goal)
    if not against:
        return None
    value, name = against[-1]
    ratio = own / value
    return ratio, f"{ratio:.2f}x", f"{name}: {number(value)}"


def number(value: float) -> str:
    """Return three digits, or all of a larger number."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def is_met(goal: Goal, value: float) -> bool:
    """Return whether a goal is reached."""
    return (goal.at_least is None or value >= goal.at_least) and (
        goal.at_most is None or value <= goal.at_most
    )


def goals(scenarios: Sequence[Scenario], results: Results) -> str:
    """Return the table of goals."""
    lines = [("work", "adapter", "against (median)", "reached", "goal", "met")]
    for scenario in scenarios:
        for goal in scenario.goals:
            own = middle(results, scenario, scenario.contenders[0].name, goal.figure) or 0.0
            words = goal.words + (f": <= {goal.at_most:g}" if goal.at_most is not None else "")
            found = reached(results, scenario, goal)
            if found is None:
                cells = ("-", "-", "-", words, "not measured")
            else:
                value, text, against = found
                met = "yes" if is_met(goal, value) else "**no**"
                cells = (number(own), against or "-", text, words, met)
            lines.append((scenario.title, *cells))
    return _table(lines)


def details(scenarios: Sequence[Scenario], results: Results) -> str:
    """Return the table of all contenders."""
    lines = [("work", "contender", "median", "lowest - highest", "unit", "and")]
    for scenario in scenarios:
        for contender in scenario.contenders:
            runs = results.get(scenario.name, {}).get(contender.name, [])
            if not runs:
                continue
            main = "per_s" if "per_s" in runs[0] else next(iter(runs[0]))
            values = [run[main] for run in runs]
            more = [
                text.format(value)
                for name, text in _EXTRA.items()
                if (value := middle(results, scenario, contender.name, name)) is not None
                and (name != "fairness" or value > 1)  # of one association it is 1
            ]
            lines.append((
                scenario.title, contender.name, number(median(values)),
                f"{number(min(values))} - {number(max(values))}", scenario.unit, ", ".join(more),
            ))  # fmt: skip
    return _table(lines)


def _table(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    rows = [f"| {' | '.join(cells)} |" for cells in padded]
    return "\n".join([rows[0], f"|{'|'.join('-' * (w + 2) for w in widths)}|", *rows[1:]])


def draw_ratios(path: Path, scenarios: Sequence[Scenario], results: Results) -> bool:
    """Draw each ratio beside its goal; return whether there is one."""
    bars = [
        (f"{scenario.title}\n{goal.words}", found[0], goal.at_least)
        for scenario in scenarios
        for goal in scenario.goals
        if goal.against and goal.at_least and (found := reached(results, scenario, goal))
    ][::-1]
    if not bars:
        return False
    pyplot = _pyplot()
    figure, axis = pyplot.subplots(figsize=(9, 1 + 0.42 * len(bars)), layout="constrained")
    colours = ["C2" if value >= goal else "C3" for _, value, goal in bars]
    drawn = axis.barh(
        [label for label, _, _ in bars], [value for _, value, _ in bars], color=colours
    )
    labels = axis.bar_label(drawn, fmt="%.2fx", padding=3, fontsize=8)
    for label in labels:
        label.set_bbox({"color": "white", "pad": 1})
    for row, (_, _, goal) in enumerate(bars):
        axis.plot([goal, goal], [row - 0.45, row + 0.45], color="black", zorder=1.5)
    axis.set(xscale="log", title="the adapter as a multiple of its peers; the line is the goal")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.margins(x=0.15)
    axis.tick_params(axis="y", labelsize=8)
    figure.savefig(path)
    pyplot.close(figure)
    return True


def draw_receiving(path: Path, scenarios: Sequence[Scenario], results: Results) -> bool:
    """Draw instances per second of each receiver over the number of associations."""
    shown = [s for s in scenarios if s.name.startswith(("ct-", "sr-")) and results.get(s.name)]
    if not shown:
        return False
    pyplot = _pyplot()
    colours: dict[str, str] = {}
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for axis, kind, title in ((axes[0], "ct", "CT 0.5 MB"), (axes[1], "sr", "SR 5 kB")):
        lines: dict[str, list[tuple[int, float]]] = {}
        for scenario in shown:
            if scenario.name.startswith(kind):
                for contender in scenario.contenders:
                    value = middle(results, scenario, contender.name, "per_s")
                    if value is not None:
                        place = (int(scenario.name.partition("-")[2]), value)
                        lines.setdefault(contender.name, []).append(place)
        for name, points in lines.items():
            colour = colours.setdefault(name, f"C{len(colours)}")
            wide = 2.5 if name == "adapter" else 1
            style = "--" if "--fork" in name else "-"
            axis.plot(*zip(*points, strict=True), marker="o", linewidth=wide, linestyle=style,
                      color=colour, label=name)  # fmt: skip
        axis.set(title=f"receive {title}", xlabel="associations at once", ylabel="instances/s",
                 xscale="log", yscale="log")  # fmt: skip
        axis.set_xticks([1, 4, 25, 100], labels=["1", "4", "25", "100"])
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize=8)
    figure.savefig(path)
    pyplot.close(figure)
    return True


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a tenth of the size
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    return pyplot
