"""`jobs`: shows, retries and cancels the jobs of a running adapter."""

import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from adapter.client.api import ApiError, call

PAGE = 1000
FILE_WIDTH = 240
"""Where nobody looks at the table, but `grep` does: nothing is broken into lines."""
_COLUMNS = {
    "id": "id", "state": "state", "pipeline": "pipeline", "AE Title": "aeTitle",
    "priority": "priority", "instances": "instances", "tries": "tryCount",
    "opened": "openedAt", "next try": "dueAt", "error": "error",
}  # fmt: skip
Job = dict[str, Any]


def list_jobs(url: str, state: str, *, as_json: bool) -> int:
    """Print the jobs, all or in one state; return the exit code."""
    return _told(lambda: _pages(url, state), _print_table, as_json=as_json)


def show_job(url: str, job_id: str, *, as_json: bool) -> int:
    """Print one job with its latest states; return the exit code."""
    return _told(lambda: call(url, "GET", _path(job_id)), _print_job, as_json=as_json)


def order_job(url: str, job_id: str, action: str, *, as_json: bool) -> int:
    """Retry or cancel a job, print what it is then; return the exit code."""
    return _told(
        lambda: call(url, "POST", f"{_path(job_id)}/{action}"), _print_state, as_json=as_json
    )


def _told(ask: Callable[[], Any], show: Callable[[Any], None], *, as_json: bool) -> int:
    try:
        answer = ask()
    except ApiError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if as_json:
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    else:
        show(answer)
    return 0


def _path(job_id: str) -> str:
    return f"/api/jobs/{quote(job_id, safe='')}"


def _pages(url: str, state: str) -> list[Job]:
    found: list[Job] = []
    while True:
        query = {"limit": PAGE, "offset": len(found)} | ({"state": state} if state else {})
        page = call(url, "GET", f"/api/jobs?{urlencode(query)}")
        found += page
        if len(page) < PAGE:
            return found


def _print_table(jobs: list[Job]) -> None:
    table = Table(*(Column(name, overflow="fold") for name in _COLUMNS), box=None)
    for job in jobs:
        table.add_row(*(Text(_text(job.get(key))) for key in _COLUMNS.values()))
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)


def _print_job(job: Job) -> None:
    history = job.pop("history", [])
    lines = [f"{key}: {_text(value)}" for key, value in job.items()]
    lines += ["history:", *(f"  {change['at']} {change['state']}" for change in history)]
    sys.stdout.write("\n".join(lines) + "\n")


def _print_state(job: Job) -> None:
    sys.stdout.write(f"{job['id']}: {job['state']}\n")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
