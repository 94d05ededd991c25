"""The Containerfile and the compose file, as far as they can be judged without an engine."""

import re
import shutil
import subprocess
import sys
from math import ceil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from health import missing

from adapter.configuration import load
from adapter.gateway import FAREWELL_S

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "deploy" / "container" / "Containerfile"
COMPOSE = ROOT / "deploy" / "compose" / "compose.yaml"


@pytest.fixture
def hadolint() -> str:
    """The linter's program."""
    beside = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if beside is None:
        missing("hadolint is not installed: make deploy-tools")
    return str(beside)


@pytest.fixture
def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_containerfile_has_nothing_to_lint(hadolint: str) -> None:
    done = subprocess.run(
        [hadolint, "--failure-threshold", "style", str(RECIPE)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_into_the_image_exists_and_is_not_ignored() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", RECIPE.read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert "adapter" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == path or source.startswith(f"{path}/") for path in kept), source


def test_configuration_of_the_image_is_valid_and_names_its_volume() -> None:
    settings = load(RECIPE.with_name("adapter.toml"), {}).settings
    (volume,) = re.findall(r'^VOLUME \["(.+)"\]$', RECIPE.read_text(), re.MULTILINE)
    assert settings.storage.root == volume
    exposed = re.findall(r"^EXPOSE (.+)$", RECIPE.read_text(), re.MULTILINE)[0].split()
    assert {
        str(settings.dicom.scp.port),
        str(settings.dicom.scp.tls.port),
        str(settings.api.port),
    } == set(exposed)


def test_image_is_not_root_and_runs_the_program_itself() -> None:
    lines = RECIPE.read_text().splitlines()
    assert "USER 10104:10104" in lines
    assert 'ENTRYPOINT ["dicom-adapter"]' in lines, "a shell would not pass SIGTERM on"


def test_compose_file_is_of_the_specification(compose: ModuleType) -> None:
    compose.PyCompose.from_yaml(COMPOSE.read_text()).validate()
    with pytest.raises(ValueError, match="readonly"):
        compose.PyCompose.from_yaml(COMPOSE.read_text().replace("read_only", "readonly"))


def test_compose_drops_what_the_adapter_does_not_need(services: dict[str, Any]) -> None:
    adapter = services["adapter"]
    assert adapter["read_only"] is True
    assert adapter["cap_drop"] == ["ALL"]
    assert adapter["security_opt"] == ["no-new-privileges:true"]


def test_compose_gives_the_drain_its_time_and_the_configuration_its_volume(
    services: dict[str, Any],
) -> None:
    settings = load(COMPOSE.with_name("adapter.toml"), {}).settings
    adapter = services["adapter"]
    grace_s = int(adapter["stop_grace_period"].removesuffix("s"))
    assert grace_s >= ceil(settings.shutdown.deadline_s + FAREWELL_S)
    assert f"storage:{settings.storage.root}" in adapter["volumes"]
    published = {port.rpartition(":")[2]: port for port in adapter["ports"]}
    assert published[str(settings.api.port)].startswith("127.0.0.1:")
    assert str(settings.dicom.scp.port) in published


def test_adapter_and_orthanc_of_compose_know_each_other(services: dict[str, Any]) -> None:
    settings = load(COMPOSE.with_name("adapter.toml"), {}).settings
    orthanc = yaml.safe_load(COMPOSE.with_name("orthanc.json").read_text())
    (ae_title, host, port) = orthanc["DicomModalities"]["adapter"]
    assert host in services
    assert (ae_title, port) == (settings.application_entities[0].ae_title, settings.dicom.scp.port)
    (destination,) = settings.destinations
    assert destination.host in services
    assert (destination.ae_title, destination.port) == (orthanc["DicomAet"], orthanc["DicomPort"])
    assert settings.sources[0].ae_title == orthanc["DicomAet"]
