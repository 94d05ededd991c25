"""Every command of the documentation, typed as it stands, in reading order, page by page.

Each page is followed in a room of its own (`room.py`): a folder that looks like a fresh clone after
`make install`. What a reader has to put in place of a word is in `words`, what is to be there
before a command is made by `before`. What cannot run here has its reason in NOT_RUN.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from documented import Command, blocks, commands, pages
from harness import eventually
from health import missing
from pydicom.data import get_testdata_file
from room import Room, made_room

NOT_RUN = {
    "make ": "verbs of the Makefile: .ci/run runs those of README, people the longer ones",
    "/opt/dicom-adapter/bin/pip ": "asks a package registry; `make release-check` installs so",
    "apt-get ": "changes the machine",
    "PIPX_HOME=": "asks a package registry",
    "systemctl ": "needs systemd as process 1; docs/deployment.md says what was tried",
    "podman ": "`make image-check` builds and runs the image",
    "docker compose ": "pulls an image; test_compose_example.py runs both of its programs",
    "kubectl ": "needs a cluster; test_custom_resources.py has an API server of its own",
    "helm ": "needs a cluster; tests/deploy/test_helm_chart.py renders and judges the chart",
    "pip install ./examples/": "asks a package registry; test_processor_plugins.py installs it",
    "python -m benchmarks.compare ": "measures for minutes; test_benchmarks.py runs its parts",
    "dicom-adapter send PACS@10.1.2.9:104 study/": "its words: test_send.py",
}
"""What begins so is not run here, and why."""

FOLLOWED: set[str] = set()
Do = Callable[[], object]


def follows(page: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Note that a test follows a page."""
    FOLLOWED.add(page)
    return lambda test: test


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with made_room(tmp_path / "clone") as made:
        yield made


def not_run(command: Command) -> str:
    """Return why a command is not run, or ""."""
    return next((why for start, why in NOT_RUN.items() if command.text.startswith(start)), "")


def follow(
    room: Room,
    page: str,
    *,
    before: Mapping[str, Do] | None = None,
    words: dict[str, str] | None = None,
    until: str = "there is nothing to wait for",
) -> None:
    """Type every command of a page.

    Args:
        before: What to do before the command that begins so, once.
        words: What to type in place of a placeholder; looked at anew for each command.
        until: A command that begins so is typed until it succeeds.
    """
    waiting = dict(before or {})
    for command in commands(page):
        if not_run(command):
            continue
        text = command.text
        for start in [start for start in waiting if text.startswith(start)]:
            waiting.pop(start)()
        for placeholder, word in (words or {}).items():
            text = re.sub(rf"(?<!\w){re.escape(placeholder)}(?!\w)", lambda _, w=word: w, text)
        if command.answer:
            assert room.run(text).stderr.strip("\n") == command.answer, str(command)
        elif found := re.fullmatch(r"export (\w+)=(.+)", text):
            room.variables[found[1]] = found[2]
        elif " serve " in text:
            room.start(text)
        elif "server.py" in text:
            room.start(text, port=8080)
        elif text.startswith(until):
            eventually(lambda text=text: room.run(text).returncode == 0, 30.0, str(command))
        else:
            assert (done := room.run(text)).returncode == 0, f"{command}\n{done}"
    assert not waiting, waiting


def toml_of(page: str) -> str:
    """Return the first configuration that a page shows."""
    return next(block.text for block in blocks(page) if block.language == "toml")


def pacs(room: Room, address: str) -> None:
    """Start a PACS of DCMTK's there."""
    (room.folder / "pacs").mkdir()
    room.start("/usr/bin/storescp -od pacs 104", port=104)
    assert address in room.said("ip address show dev lo")


def study(room: Room) -> str:
    """Make a folder with a study; return its name."""
    (room.folder / "study").mkdir()
    shutil.copy(str(get_testdata_file("CT_small.dcm")), room.folder / "study")
    return "study"


def test_every_page_with_commands_is_followed() -> None:
    runs = {page for page in pages() if any(not not_run(one) for one in commands(page))}
    assert runs == FOLLOWED


def test_every_reason_is_of_a_command() -> None:
    typed = [one.text for page in pages() for one in commands(page)]
    assert [start for start in NOT_RUN if not any(one.startswith(start) for one in typed)] == []


@follows("README.md")
def test_readme(room: Room) -> None:
    (room.folder / "my.toml").write_text(toml_of("README.md"))
    (room.folder / "pacs.toml").write_text(
        "[api]\nport = 5009\n[dicom.scp]\nport = 104\n[storage]\nroot = 'pacs'\n"
        "[[application_entities]]\nname = 'pacs'\nae_title = 'PACS'\npipelines = { a = 'b' }\n"
    )
    follow(
        room,
        "README.md",
        before={
            "dicom-adapter echo": lambda: room.start("dicom-adapter serve -c pacs.toml"),
        },
    )


@pytest.mark.peer("dcmtk")
@follows("docs/start.md")
def test_ten_minutes(room: Room) -> None:
    (room.folder / "my.toml").write_text(toml_of("docs/start.md"))
    follow(room, "docs/start.md", words={"STUDY_FOLDER": study(room)}, until="ls data/payloads")
    (job,) = json.loads(room.said("dicom-adapter jobs --json"))
    assert job["aeTitle"] == "FIRST"


@follows("docs/configuration.md")
def test_configuration(room: Room) -> None:
    (room.folder / "adapter.toml").write_text(toml_of("README.md"))
    follow(room, "docs/configuration.md")


@pytest.mark.peer("dcmtk")
@follows("docs/sources-and-destinations.md")
def test_sources_and_destinations(room: Room) -> None:
    def start_anew() -> None:
        room.stop()
        shutil.rmtree(room.folder / "data")
        room.start("dicom-adapter serve")

    (room.folder / "home" / ".curlrc").write_text("fail-with-body\n")
    room.start("dicom-adapter serve")
    pacs(room, "10.1.2.4")
    follow(
        room,
        "docs/sources-and-destinations.md",
        before={"dicom-adapter create aetitle": start_anew},
    )
    assert json.loads(room.said("dicom-adapter list dest --json")) == []
    (source,) = json.loads(room.said("dicom-adapter list src --json"))
    assert source["aeTitle"] == "CT1"


@pytest.mark.peer("dcmtk")
@follows("docs/state.md")
def test_state(room: Room) -> None:
    (room.folder / "my.toml").write_text(toml_of("docs/start.md"))
    room.start("dicom-adapter serve -c my.toml")
    echo = "/usr/bin/echoscu -aet NEW -aec FIRST 127.0.0.1 11112"
    assert room.run(echo).returncode != 0
    (refused,) = json.loads(room.said("dicom-adapter associations --state rejected --json"))
    follow(room, "docs/state.md", words={"ID": refused["id"]})
    room.said(echo)
    assert "dicom-adapter" in (room.folder / "home" / ".bashrc").read_text()


@follows("docs/security.md")
def test_security(room: Room) -> None:
    words = {"da-...": "", "ID": ""}
    (room.folder / "adapter.toml").write_text("[api]\nauth = 'api-key'\n[storage]\nroot = 'data'\n")
    room.said("install -D adapter.toml /etc/dicom-adapter/adapter.toml")

    def start() -> None:
        made = "dicom-adapter keys create Joe --role administrator --offline --json"
        document = json.loads(room.said(f"{made} -c /etc/dicom-adapter/adapter.toml"))
        words["da-..."] = document["key"]
        room.start("dicom-adapter serve -c /etc/dicom-adapter/adapter.toml")

    def find() -> None:
        rows = json.loads(room.said("dicom-adapter keys list --json"))
        words["ID"] = next(row["id"] for row in rows if row["name"] == "prometheus")

    def link() -> None:
        *_, latest = json.loads(room.said("dicom-adapter audit --json"))
        words["41:9f86d0..."] = f"{latest['seq']}:{latest['hash']}"

    before = {
        "export DICOM_ADAPTER_API_KEY": start,
        "dicom-adapter keys revoke": find,
        "dicom-adapter audit verify --expect": link,
    }
    follow(room, "docs/security.md", before=before, words=words)
    rows = json.loads(room.said("dicom-adapter keys list --json"))
    assert {row["name"] for row in rows} == {"Jane Doe", "Joe", "prometheus"}


@pytest.mark.peer("dcmtk")
@follows("docs/operation.md")
def test_operation(room: Room) -> None:
    (room.folder / "adapter.toml").write_text(
        "[dicom.scp.tls]\nmode = 'beside'\n"
        "certificate = 'adapter.pem'\nkey = 'adapter.key'\nca = 'ca.pem'\n"
        "[[sources]]\nae_title = 'CT1'\nhost = '10.1.2.4'\n"
        "[[application_entities]]\nname = 'covid'\nae_title = 'COVIDAET'\npipelines = { a = 'b' }\n"
    )
    start = {"echoscu": lambda: room.start("dicom-adapter serve -c adapter.toml")}
    follow(room, "docs/operation.md", before=start)


@follows("docs/performance.md")
def test_performance(room: Room) -> None:
    room.start(
        "dicom-adapter serve --set dicom.scp.reject_unknown_sources=false"
        """ --set 'application_entities=[{name="pacs",ae_title="PACS",pipelines={a="b"}}]'"""
    )
    follow(room, "docs/performance.md")
    assert json.loads((room.folder / "run.json").read_text())["requests"]["succeeded"]
    assert "<svg" in (room.folder / "run.svg").read_text()


@follows("examples/http_platform/README.md")
def test_platform_example(room: Room) -> None:
    follow(room, "examples/http_platform/README.md")
    asked = (
        "curl -so answer -w '%{http_code}' http://127.0.0.1:8080/jobs/x -H 'Authorization: Bearer "
    )
    assert room.said(f"{asked}guessed'") == "401"
    assert room.said(f"{asked}secret'") == "404"


@follows("docs/deployment.md")
def test_deployment(room: Room) -> None:
    if not shutil.which("systemd-sysusers"):
        missing("not installed: systemd")
    (room.folder / "my.toml").write_text(toml_of("README.md"))
    follow(room, "docs/deployment.md")
    owner = room.said("stat -c %U:%G:%a /etc/dicom-adapter/adapter.toml /var/lib/dicom-adapter")
    assert owner.split() == ["root:dicom-adapter:640", "dicom-adapter:dicom-adapter:750"]


OF_CLARA = {
    "appsettings.json": {
        "DicomAdapter": {
            "dicom": {"scp": {"port": 104}, "scu": {"aeTitle": "HOSPITALSCU"}},
            "services": {"platform": {"endpoint": "10.0.0.4:30002"}},
            "storage": {"temporary": "/payloads"},
        }
    },
    "api/config/sourceaetitle": [{"name": "CT1", "aeTitle": "CT1", "hostIp": "10.1.2.3"}],
    "api/config/destinationaetitle": [
        {"name": "pacs", "aeTitle": "PACS", "hostIp": "10.1.2.9", "port": 104}
    ],
    "api/config/claraaetitle": [
        {
            "name": "covid", "aeTitle": "COVIDAET", "overwriteSameInstance": False,
            "ignoredSopClasses": [],
            "processor": "Nvidia.Clara.DicomAdapter.Server.Processors.AeTitleJobProcessor, "
                         "Nvidia.Clara.DicomAdapter",
            "processorSettings": {"pipeline-covid": "8f1c2e1c", "timeout": "30"},
        }
    ],
}  # fmt: skip


@follows("docs/migrating.md")
def test_migrating(room: Room) -> None:
    for name, document in OF_CLARA.items():
        file = room.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    room.start("python -m http.server --bind 10.1.2.5 5000", port=5000)
    follow(room, "docs/migrating.md")
    url = "--json --url http://127.0.0.1:5001"
    for kind, name in (("src", "CT1"), ("dest", "pacs"), ("aetitle", "covid")):
        (made,) = json.loads(room.said(f"dicom-adapter list {kind} {url}"))
        assert made["name"] == name
