"""Fixtures of the integration tests: the real program, real peers, and their logs on failure."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dicom_peers import PROGRAMS
from harness import EXAMPLE, RUNNING, Adapter
from health import MakeAdapter, crashes, missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LOG_LINES = 25
DISK_BYTES = 24 << 20


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests whose peer is missing; fail them under REQUIRE_PEERS=1."""
    for mark in item.iter_markers("peer"):
        absent = [path for path in PROGRAMS[mark.args[0]] if not Path(path).exists()]
        if absent:
            missing(f"not installed: {', '.join(absent)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Show the log of every running adapter beside a failure."""
    report = yield
    if report.failed:
        for adapter in RUNNING:
            text = "\n".join(adapter.log[-LOG_LINES:])
            report.sections.append((f"adapter {adapter.file}", text))
    return report


@contextmanager
def _factory(folder: Path) -> Iterator[tuple[MakeAdapter, list[Adapter]]]:
    made: list[Adapter] = []

    def make(changes: Mapping[str, Any] | None = None, *, start: bool = True) -> Adapter:
        adapter = Adapter(folder / f"adapter-{len(made)}", changes)
        made.append(adapter)
        return adapter.start() if start else adapter

    try:
        yield make, made
    finally:
        for adapter in made:
            adapter.kill()


@pytest.fixture
def make_adapter(tmp_path: Path) -> Iterator[MakeAdapter]:
    """Start adapters; at the end of the test they are killed, and nothing in them has crashed."""
    with _factory(tmp_path) as (make, made):
        yield make
    assert [line for adapter in made for line in crashes(adapter)] == []


@pytest.fixture(scope="module")
def make_shared_adapter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeAdapter]:
    """Start adapters that all tests of a module share; see `unharmed`."""
    with _factory(tmp_path_factory.mktemp("shared")) as (make, _):
        yield make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own for the storage root."""
    where = tmp_path / "small"
    where.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(where)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        missing(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield where
    subprocess.run(["/bin/umount", "-l", str(where)], check=True)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A Chromium without a screen; of a module, for its event loop lets nobody else have one."""
    from browser import chromium  # few modules need playwright

    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed as its README says, but into a folder."""
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder), str(EXAMPLE)],
        check=True,
    )  # fmt: skip
    return folder
