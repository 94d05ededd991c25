"""How long a start takes on a storage root full of open groups, and of jobs whose ledger has gone.

`python -m benchmarks.recovery --instances 100000 --groups 2000 --folder /somewhere/on/a/disk`
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import msgspec

from adapter.domain.records import GroupRecord, Job
from adapter.store.layout import Layout
from adapter.store.payloads import job_meta
from benchmarks.peers import adapter, environment, workspace
from benchmarks.process import cpu_s

CONTENT = bytes(200)
STUDIES = 2
"""Series folders of each group."""


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=2_000)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--cold", action="store_true", help="drop the kernel's caches; needs root")
    given = parser.parse_args()
    with workspace(given.folder) as (work, file_system):
        each = given.instances // given.groups
        made = Layout(work / "data")
        for folder in made.folders():
            folder.mkdir(parents=True, exist_ok=True)
        for number in range(given.groups):
            _group(made, number, each)
        groups = _start(work, cold=given.cold)
        for number in range(given.groups):
            _group_to_job(made, number, each)
        jobs = _start(work, cold=given.cold)
    print(
        f"{given.groups} groups of {each} instances on {file_system},"
        f" {'cold' if given.cold else 'warm'}: ready after {groups};"
        f" as many jobs without a ledger: {jobs}"
    )


def _group(made: Layout, number: int, instances: int) -> None:
    folder = made.open_group(f"group-{number:08}")
    record = GroupRecord(
        id=folder.name, ae_title="BENCH", key=f"1.2.{number}", opened_at=time.time()
    )
    (folder / "dcm").mkdir(parents=True)
    (folder / "group.json").write_bytes(msgspec.json.encode(record))
    for study in range(STUDIES):
        series = folder / "dcm" / f"1.2.{number}" / f"1.3.{study}"
        series.mkdir(parents=True)
        for instance in range(study, instances, STUDIES):
            (series / f"1.4.{instance}.dcm").write_bytes(CONTENT)


def _group_to_job(made: Layout, number: int, instances: int) -> None:
    group = made.open_group(f"group-{number:08}")
    job = Job(
        id=f"job-{number:08}", group_id=group.name, ae_title="BENCH", processor="one",
        name="bench", pipeline="none", pipeline_id="none", priority="normal",
        opened_at=time.time(), changed_at=time.time(), instances=instances, payload_bytes=0,
    )  # fmt: skip
    folder = made.payload(job.id)
    (folder / "input").mkdir(parents=True)
    (folder / "output").mkdir()
    (group / "dcm").rename(folder / "input" / "dcm")
    (folder / "job.meta").write_bytes(msgspec.json.encode(job_meta(job, {})))
    (group / "group.json").unlink()
    group.rmdir()


def _start(work: Path, *, cold: bool) -> str:
    """Return what it takes until the adapter is ready, in words."""
    os.sync()
    if cold:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    started = time.perf_counter()
    process = subprocess.Popen(
        adapter("recovery", "fsync").command(work, 0, 0),
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if line.startswith("{") and json.loads(line)["event"] == "process.ready":
                took_s = time.perf_counter() - started
                return f"{took_s:.1f} s ({cpu_s(process.pid):.1f} s of processors)"
    finally:
        process.kill()
        process.communicate()
    raise SystemExit("the adapter did not start")


if __name__ == "__main__":
    main()
