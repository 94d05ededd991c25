"""The systemd unit: what it says agrees with the program, and systemd takes it."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from health import missing

from adapter.gateway import FAREWELL_S
from adapter.main import BAD_CONFIGURATION
from adapter.settings import Settings

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = SYSTEMD / "dicom-adapter.service"
EXPOSURE_MAX = 1.6


class Lines(dict[str, str]):
    """Keys may be there more than once: what they say is joined."""

    def __setitem__(self, key: str, value: object) -> None:
        joined = value + self.get(key, []) if isinstance(value, list) else value
        super().__setitem__(key, joined)  # type: ignore[assignment]


@pytest.fixture
def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False, dict_type=Lines)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def analyze(*arguments: str) -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("systemd-analyze is not installed")
    done = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def test_stop_waits_for_the_drain(service: configparser.SectionProxy) -> None:
    assert int(service["TimeoutStopSec"]) >= Settings().shutdown.deadline_s + FAREWELL_S


def test_bad_configuration_is_not_started_again(service: configparser.SectionProxy) -> None:
    assert int(service["RestartPreventExitStatus"]) == BAD_CONFIGURATION


def test_unit_has_the_one_capability_for_port_104(service: configparser.SectionProxy) -> None:
    assert service["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert service["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"


def test_user_and_folders_are_made_by_the_files_beside_it(
    service: configparser.SectionProxy,
) -> None:
    user = service["User"]
    assert re.search(rf"^u {user} ", (SYSTEMD / "dicom-adapter.sysusers").read_text(), re.MULTILINE)
    made = (SYSTEMD / "dicom-adapter.tmpfiles").read_text()
    for folder in (service["WorkingDirectory"], "/etc/dicom-adapter"):
        assert re.search(rf"^d {folder} 0750 ", made, re.MULTILINE)


def test_systemd_understands_every_line() -> None:
    said = analyze("verify", str(UNIT)).splitlines()
    assert [line for line in said if UNIT.name in line and "is not executable" not in line] == []


def test_unit_gives_away_little() -> None:
    said = analyze("security", "--offline=true", str(UNIT))
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= EXPOSURE_MAX
