"""What a release is made of: the changelog, the locks, the licences."""

import re
import tomllib
from email.message import Message
from pathlib import Path

import pytest

from release import changelog
from release.check import licence, may_be_shipped

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "__init__.py").write_text('"""Ours."""\n\n__version__ = "0.1.0"\n')
    chart = tmp_path / "deploy" / "helm" / "dicom-adapter"
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").write_text('version: 0.1.0\nappVersion: "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\nNewest first.\n\n## 0.1.0 (2026-01-02)\n"
    )
    return tmp_path


def test_every_fragment_has_an_issue_and_a_kind() -> None:
    assert changelog.fragments(ROOT / "changelog.d")


def test_fragment_of_no_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "9.added.md").write_text("Something.\n")
    with pytest.raises(ValueError, match=r"9\.added\.md"):
        changelog.fragments(tmp_path)


def test_release_turns_fragments_into_an_entry(repository: Path) -> None:
    fragments = repository / "changelog.d"
    (fragments / "10.fix.md").write_text("Ten.\n")
    (fragments / "9.fix.md").write_text("Nine.\n\nNine again.\n")
    (fragments / "9.safety.md").write_text("Safe.\n")
    changelog.release(repository, "0.2.0", "2026-11-21")
    assert (repository / "CHANGELOG.md").read_text() == (
        "# Changelog\n\nNewest first.\n\n## 0.2.0 (2026-11-21)\n\n"
        "### Safety\n\n- Safe.\n\n### Fixed\n\n- Nine.\n- Nine again.\n- Ten.\n\n"
        "## 0.1.0 (2026-01-02)\n"
    )
    assert '__version__ = "0.2.0"\n' in (repository / "adapter" / "__init__.py").read_text()
    chart = repository / "deploy" / "helm" / "dicom-adapter" / "Chart.yaml"
    assert chart.read_text() == 'version: 0.2.0\nappVersion: "0.2.0"\n'
    assert list(fragments.iterdir()) == []


@pytest.mark.parametrize("lock", ["runtime", "build"])
def test_what_is_shipped_is_locked_as_it_is_tested(lock: str) -> None:
    tested = set(PIN.findall((ROOT / "requirements.lock").read_text()))
    shipped = PIN.findall((ROOT / "locks" / f"{lock}.lock").read_text())
    assert shipped
    assert set(shipped) <= tested


def test_everything_that_is_depended_on_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["transcode"]]
    locked = dict(PIN.findall((ROOT / "locks" / "runtime.lock").read_text()))
    names = {re.split(r"[\[<>=~! ]", one)[0].lower() for one in wanted}
    assert names <= set(locked), "run `make lock`"


def test_no_index_address_is_locked_for_a_release() -> None:
    for lock in (ROOT / "locks").glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text
        assert "--hash=sha256:" in text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"License-Expression": "MIT OR Apache-2.0", "License": "see file"}, "MIT OR Apache-2.0"),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT License"),
        ({"License": "BSD-3-Clause\nall of its text"}, "BSD-3-Clause"),
        ({}, "none stated"),
    ],
)
def test_licence_is_read_from_the_clearest_field(fields: dict[str, str], text: str) -> None:
    metadata = Message()
    for name, value in fields.items():
        metadata[name] = value
    assert licence(metadata) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["GPL-3.0-or-later", "none stated", "LGPL-2.1", "Proprietary", "MIT AND GPL-3.0"]
)
def test_licence_that_nobody_has_judged_is_refused(text: str) -> None:
    assert not may_be_shipped(text)


@pytest.mark.parametrize("text", ["MIT", "BSD-3-Clause AND 0BSD", "GPL-2.0 OR Apache-2.0"])
def test_licence_that_asks_for_its_text_only_may_be_shipped(text: str) -> None:
    assert may_be_shipped(text)
