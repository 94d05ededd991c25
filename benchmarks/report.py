"""What a run came to: percentiles, rates, fairness, failures; as a dictionary and as a picture."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from adapter.domain.statuses import is_success
from benchmarks.instances import template
from benchmarks.senders import Course
from benchmarks.stress import Outcome, Plan

Report = dict[str, Any]
BUSY_PERCENT = 90
"""From here on a sender process may have been the bottleneck."""
BINS = 100


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """Return p50, p95, p99 and the longest, in milliseconds; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        "p50": round(ordered[round(last * 0.50)] * 1000, 3),
        "p95": round(ordered[round(last * 0.95)] * 1000, 3),
        "p99": round(ordered[round(last * 0.99)] * 1000, 3),
        "max": round(ordered[-1] * 1000, 3),
        "count": len(ordered),
    }


def report(plan: Plan, outcome: Outcome) -> Report:
    """Return all figures; every planned instance is in exactly one of the counts."""
    courses = outcome.courses
    statuses: Counter[int] = sum((course.statuses for course in courses), Counter())
    stored = sum(count for status, count in statuses.items() if is_success(status))
    responses = statuses.total()
    seconds = _seconds(courses)
    size = template(plan.kind, plan.payload_bytes).size if plan.mode == "store" else 0
    planned = sum(course.planned for course in courses)
    sent = sum(course.sent for course in courses)
    failures = Counter(course.failure for course in courses if course.failure)
    cpu_percent = 100 * outcome.sender_cpu_s / outcome.sender_wall_s / plan.processes
    result: Report = {
        "target": {"host": plan.target.host, "port": plan.target.port, "called": plan.called},
        "plan": asdict(plan) | {"behaviours": list(plan.behaviours)},
        "seconds": round(seconds, 4),
        "associations": {
            "planned": len(courses),
            "up": sum(course.up_at > 0 for course in courses),
            "complete": sum(not course.failure for course in courses),
            "failed": failures.total(),
        },
        "requests": {
            "planned": planned,
            "succeeded": stored,
            "refused": responses - stored,
            "unanswered": sent - responses,
            "unsent": planned - sent,
        },
        "per_s": round(responses / seconds, 2) if seconds else 0.0,
        "mb_per_s": round(stored * size / seconds / 1e6, 2) if seconds else 0.0,
        "instance_bytes": size,
        "set_up_ms": percentiles([c.up_at - c.started_at for c in courses if c.up_at]),
        "response_ms": percentiles([latency for c in courses for latency in c.latencies]),
        "association_ms": percentiles([c.finished_at - c.started_at for c in _finished(courses)]),
        "fairness": fairness(courses),
        "failures": dict(failures.most_common()),
        "statuses": {f"0x{status:04X}": count for status, count in sorted(statuses.items())},
        "ill_behaved": {
            kind: {
                "times": endings.total(),
                "endings": dict(endings.most_common()),
                "longest_s": round(outcome.ill_longest_s[kind], 3),
            }
            for kind, endings in outcome.ill.items()
        },
        "sender": {
            "cpu_s": round(outcome.sender_cpu_s, 3),
            "cpu_percent": round(cpu_percent, 1),
            "was_the_bottleneck": cpu_percent > BUSY_PERCENT,
        },
    }
    if plan.mode == "idle":
        ups = [course.up_at for course in courses if course.up_at]
        begun = min(course.started_at for course in courses)
        result["all_up_s"] = round(max(ups) - begun, 4) if ups else None
        probe = outcome.probe
        result["probe_ms"] = percentiles(probe.latencies) if probe else None
        result["probe_failure"] = probe.failure if probe else "not started"
    return result


def fairness(courses: Sequence[Course]) -> dict[str, float] | None:
    """Return how long the slowest association took next to the median one, connecting included."""
    lengths = [course.finished_at - course.started_at for course in _finished(courses)]
    if not lengths:
        return None
    middle, slowest = median(lengths), max(lengths)
    return {
        "median_s": round(middle, 4),
        "slowest_s": round(slowest, 4),
        "ratio": round(slowest / middle, 3) if middle else 1.0,
    }


def _finished(courses: Sequence[Course]) -> list[Course]:
    return [course for course in courses if course.finished_at and not course.failure]


def _seconds(courses: Sequence[Course]) -> float:
    """Return the time from the first connection to the last response."""
    ends = [course.finished_at for course in courses if course.finished_at]
    starts = [course.started_at for course in courses if course.started_at]
    return max(ends) - min(starts) if ends else 0.0


def picture(path: Path, plan: Plan, outcome: Outcome, figures: Report) -> None:
    """Draw throughput, latencies, every association and what failed; PNG or SVG by the suffix."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(12, 8), layout="constrained")
    target = f"{plan.called} at {plan.target.host}:{plan.target.port}"
    figure.suptitle(
        f"{target}: {plan.associations} associations, {plan.instances} x {plan.kind.upper()} each"
        f" - {figures['per_s']:.0f}/s, {figures['mb_per_s']:.0f} MB/s"
    )
    begun = min((course.started_at for course in outcome.courses), default=0.0)
    _draw_throughput(axes[0][0], outcome, begun, figures)
    _draw_latencies(axes[0][1], outcome)
    _draw_associations(axes[1][0], outcome, begun)
    _draw_failures(axes[1][1], figures)
    figure.savefig(path)
    pyplot.close(figure)


def _draw_throughput(axis: Any, outcome: Outcome, begun: float, figures: Report) -> None:
    times = sorted(at - begun for course in outcome.courses for at in course.response_times)
    axis.set(title="responses per second", xlabel="s")
    if not times:
        return
    width = max(figures["seconds"], 1e-6) / min(BINS, max(len(times) // 10, 1))
    counts = Counter(int(at / width) for at in times)
    axis.step(
        [index * width for index in range(max(counts) + 1)],
        [counts[index] / width for index in range(max(counts) + 1)],
        where="post",
    )
    axis.set_ylim(bottom=0)


def _draw_latencies(axis: Any, outcome: Outcome) -> None:
    axis.set(title="share answered within", xlabel="ms", xscale="log", ylim=(0, 1.02))
    answers = [latency for course in outcome.courses for latency in course.latencies]
    set_ups = [course.up_at - course.started_at for course in outcome.courses if course.up_at]
    for values, label in ((answers, "response"), (set_ups, "association set-up")):
        if values:
            ordered = sorted(values)
            every = max(len(ordered) // 500, 1)
            shown = [*range(0, len(ordered), every), len(ordered) - 1]
            axis.step(
                [max(ordered[index] * 1000, 1e-3) for index in shown],
                [(index + 1) / len(ordered) for index in shown],
                where="post",
                label=label,
            )
    if axis.has_data():
        axis.legend(loc="upper left")


def _draw_associations(axis: Any, outcome: Outcome, begun: float) -> None:
    axis.set(title="associations: waiting, working, failed", xlabel="s")
    for row, course in enumerate(outcome.courses[:500]):
        up = course.up_at or course.finished_at or course.started_at
        axis.plot([course.started_at - begun, up - begun], [row, row], color="0.7", linewidth=1)
        if course.finished_at:
            axis.plot([up - begun, course.finished_at - begun], [row, row], color="C0", linewidth=1)
        if course.failure:
            end = max(course.finished_at, up) - begun
            axis.plot([end], [row], color="C3", marker="x", markersize=4, linestyle="none")


def _draw_failures(axis: Any, figures: Report) -> None:
    axis.set(title="failures and ill-behaved associations")
    rows = list(figures["failures"].items())
    rows += [(f"status {s}", n) for s, n in figures["statuses"].items() if s != "0x0000"]
    rows += [
        (f"{kind}: {ending}", count)
        for kind, ill in figures["ill_behaved"].items()
        for ending, count in ill["endings"].items()
    ]
    if not rows:
        axis.text(0.5, 0.5, "none", ha="center", va="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    rows = rows[:25][::-1]
    bars = axis.barh([label[:60] for label, _ in rows], [count for _, count in rows])
    axis.bar_label(bars, padding=2, fontsize=7)
    axis.tick_params(axis="y", labelsize=7)
