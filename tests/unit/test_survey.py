"""What is looked up in the folders for those who ask."""

import trio

from adapter.store.files import DiskThreads
from adapter.store.layout import Layout
from adapter.store.space import DiskSpaceGauge, SpaceLimits
from adapter.store.survey import STUDIES_MAX, FolderSurvey

JOB = "0198c0a8-7a1e-7000-8000-000000000001"


async def studies(layout, job=JOB):
    threads = DiskThreads(trio.CapacityLimiter(1))
    gauge = DiskSpaceGauge(layout, limits=SpaceLimits(100, 0), threads=threads)
    return await FolderSurvey(layout, gauge, threads).studies(job)


async def test_studies_of_a_job_are_its_folders_that_are_uids(tmp_path):
    layout = Layout(tmp_path)
    received = layout.payload(JOB) / "input" / "dcm"
    for name in ("1.2.4", "1.2.3", "x0123456789abcdef01234567"):
        (received / name).mkdir(parents=True)
    assert await studies(layout) == ("1.2.3", "1.2.4")


async def test_job_without_files_has_no_study(tmp_path):
    assert await studies(Layout(tmp_path)) == ()


async def test_of_very_many_studies_some_are_told(tmp_path):
    layout = Layout(tmp_path)
    for number in range(STUDIES_MAX + 1):
        (layout.payload(JOB) / "input" / "dcm" / f"1.2.{number}").mkdir(parents=True)
    assert len(await studies(layout)) == STUDIES_MAX
