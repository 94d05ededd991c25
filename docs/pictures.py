"""Pictures of the state tables: `python docs/pictures.py` draws them with Graphviz (`dot`).

They are kept in the repository; tests/test_docs.py compares their edges with the tables.
"""

import re
import subprocess
from collections.abc import Iterable
from html import unescape
from pathlib import Path

from adapter.domain.tables import (
    EXPORT_TRANSITIONS,
    JOB_STEPS,
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    JobState,
    StepEvent,
    next_job_state,
)

DOCS = Path(__file__).parent
Edge = tuple[str, str, str]
"""From, to, why."""


def edges() -> dict[str, set[Edge]]:
    """Return what is drawn, by the name of the picture."""
    tables = {"job": JOB_TRANSITIONS, "export": EXPORT_TRANSITIONS, "task": TASK_TRANSITIONS}
    drawn = {
        name: {(str(old), str(new), str(event)) for (old, event), new in table.items()}
        for name, table in tables.items()
    }
    drawn["job"] |= set(resumptions())
    return drawn


def resumptions() -> list[Edge]:
    """Return where a job that had faulted goes on: at the step that was given up."""
    event = StepEvent.RESUBMIT
    later = (next_job_state(JobState.FAULTED, event, waiting) for waiting, _, _ in JOB_STEPS[1:])
    return [(str(JobState.FAULTED), str(state), str(event)) for state in later]


def picture(name: str) -> Path:
    """Return where a picture is kept."""
    return DOCS / "pictures" / f"{name}.svg"


def drawn_edges(svg: str) -> set[tuple[str, str]]:
    """Return the edges of a picture."""
    titles = (unescape(title) for title in re.findall(r"<title>(.*?)</title>", svg))
    return {(old, new) for old, arrow, new in (t.partition("->") for t in titles) if arrow}


def _dot(found: Iterable[Edge]) -> str:
    lines = [
        "digraph {",
        'rankdir=TB; bgcolor="transparent"; node [shape=box style=rounded fontname="sans-serif"];',
        'edge [fontname="sans-serif" fontsize=10 color="#777777" fontcolor="#777777"];',
        'node [color="#3b7dd8" fontcolor="#3b7dd8"];',
    ]
    labels: dict[tuple[str, str], list[str]] = {}
    for old, new, why in sorted(found):
        labels.setdefault((old, new), []).append(why)
    lines += [
        f'"{old}" -> "{new}" [label="{", ".join(why)}"];' for (old, new), why in labels.items()
    ]
    return "\n".join([*lines, "}"])


if __name__ == "__main__":
    for name, found in edges().items():
        drawing = subprocess.run(
            ["/usr/bin/dot", "-Tsvg"], input=_dot(found), capture_output=True, check=True, text=True
        )
        picture(name).parent.mkdir(exist_ok=True)
        picture(name).write_text(drawing.stdout)
