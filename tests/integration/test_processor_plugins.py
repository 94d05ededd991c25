"""Processor plug-ins in the real program: the example package, and one that crashes.

docs/plugins.md says what is tested here.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from dicom_peers import run_peer
from harness import EXAMPLE, Adapter, eventually, run_cli
from health import MakeAdapter
from pydicom import dcmread
from pydicom.data import get_testdata_file
from test_events import subscribed
from wire import CT, Wire, associate_rq, data_set, explicit

TRANSIENT = ("reject", 2, 3, 1)
OTHER = {"name": "other", "ae_title": "OTHER", "timeout_s": 1, "pipelines": {"one": "pipe-one"}}

CRASHING = """
from pathlib import Path
from adapter.domain.processors import JobSpec

BROKEN = Path(__file__).with_name("broken")


class Crashing:
    name = "Crashing"
    attributes = frozenset({"0020,000D"})
    timeout_s = 1.0

    def __init__(self, entity):
        self.where = entity.settings["where"]

    def crash_in(self, where):
        if where == self.where and BROKEN.exists():
            raise RuntimeError("a bug of the plug-in")

    def group_key(self, instance):
        self.crash_in("group_key")
        return instance.attributes["0020,000D"]

    def jobs(self, group):
        self.crash_in("jobs")
        return [JobSpec(pipeline="one", pipeline_id="pipe-one", priority="normal")]
"""


@pytest.fixture
def crashing(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    info = folder / "crashing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crashing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dicom_adapter.processors]\ncrashing = crashing_plug_in:Crashing\n"
    )
    (folder / "crashing_plug_in.py").write_text(CRASHING)
    (folder / "broken").touch()
    return folder


def entity(ae_title: str, processor: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": ae_title.lower(), "ae_title": ae_title, "timeout_s": 1, "processor": processor,
        "settings": settings,
    }  # fmt: skip


def adapter_with(
    make_adapter: MakeAdapter, packages: Path, entities: Sequence[dict[str, Any]]
) -> Adapter:
    adapter = make_adapter({"application_entities": list(entities)}, start=False)
    adapter.packages = packages
    return adapter.start()


# --- the example


def route(adapter: Adapter, calling: bytes, instances: Sequence[tuple[str, str, str]]) -> None:
    """Send (UID, modality, study) from one association."""
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=b"ROUTER", calling=calling))
        assert wire.answer() == ("accept",)
        for uid, modality, study in instances:
            data = (
                explicit(0x00080016, b"UI", CT.encode())
                + explicit(0x00080018, b"UI", uid.encode())
                + explicit(0x00080060, b"CS", modality.encode())
                + explicit(0x0020000D, b"UI", study.encode())
            )
            assert wire.store(uid, data) == ("response", 0)
        wire.release()


def test_readme_of_the_example_is_its_configuration(example: Path, tmp_path: Path) -> None:
    text = re.findall(r"```toml\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)[-1]
    file = tmp_path / "adapter.toml"
    file.write_text(text)
    done = run_cli("config", "check", str(file), packages=example)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "no plug-in named 'modality-router' is installed"
        in run_cli("config", "check", str(file)).stderr
    )


def test_example_opens_a_job_for_each_modality(make_adapter: MakeAdapter, example: Path) -> None:
    settings = {"modality-CT": "ct-model", "modality-MR": "mr-model", "urgent": ["EMERGENCY"]}
    adapter = adapter_with(make_adapter, example, [entity("ROUTER", "modality-router", **settings)])
    route(adapter, b"WARD", [
        ("1.1", "CT", "1.9.1"), ("1.2", "CT", "1.9.1"), ("1.3", "MR", "1.9.1"),
        ("1.4", "US", "1.9.1"),
    ])  # fmt: skip
    route(adapter, b"EMERGENCY", [("2.1", "CT", "1.9.2")])
    jobs = eventually(lambda: (j := adapter.get("/api/jobs")) and len(j) == 3 and j, 10)
    found = {(job["pipeline"], job["priority"], job["instances"]) for job in jobs}
    assert found == {("ct", "normal", 2), ("mr", "normal", 1), ("ct", "immediate", 1)}
    assert {path.stem for path in adapter.instances("payloads")} == {"1.1", "1.2", "1.3", "2.1"}


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("receivers", ["auto", 0])
async def test_instance_no_processor_wants_is_success_and_leaves_nothing(
    make_adapter: MakeAdapter, example: Path, receivers: str | int
) -> None:
    """T-025: told as ignored, gone when its association is over; what is wanted is kept."""
    adapter = make_adapter({
        "dicom": {"scp": {"receivers": receivers}},
        "application_entities": [
            entity("ROUTER", "modality-router", **{"modality-MR": "mr-model"}) | {"timeout_s": 600}
        ],
    }, start=False)  # fmt: skip
    adapter.packages = example
    adapter.start()
    before = kept(adapter)
    async with subscribed(adapter, "?topics=instance,group") as stream:
        await stream.until("hello")
        answered = await trio.to_thread.run_sync(storescu, adapter, "CT_small.dcm")
        assert "Received Store Response (Success)" in answered
        assert kept(adapter) == before
        ignored = await stream.until("instance.ignored")
        ct = dcmread(get_testdata_file("CT_small.dcm"), stop_before_pixels=True)
        assert ignored["aeTitle"] == "ROUTER"
        assert ignored["data"]["sopInstanceUid"] == ct.SOPInstanceUID
        assert ignored["data"]["why"] == "no processor wants it"
        await trio.to_thread.run_sync(storescu, adapter, "MR_small.dcm")
        await stream.until("instance.stored")
    kinds = [message["type"] for message in stream.messages[1:]]
    assert kinds == ["instance.ignored", "group.opened", "instance.stored"]
    (new,) = kept(adapter) - before
    assert new.suffix == ".dcm"


def kept(adapter: Adapter) -> set[Path]:
    """Return every instance and part file there is, wherever it lies."""
    files = [path for path in adapter.root.rglob("*") if path.is_file()]
    return {path for path in files if path.suffix == ".dcm" or path.parent.name == ".part"}


def storescu(adapter: Adapter, name: str) -> str:
    """Send a file of pydicom's test set; return what storescu said."""
    file = str(get_testdata_file(name))
    return run_peer("storescu", "-v", "-aec", "ROUTER", "127.0.0.1", str(adapter.dicom_port), file)


def test_example_refuses_its_settings_all_at_once(example: Path, make_adapter: MakeAdapter) -> None:
    """W-56: with those of other AE Titles; a configuration is used as a whole or not at all."""
    adapter = make_adapter({"application_entities": [
        entity("ROUTER", "modality-router", **{"modality-CT": "", "urgent": "X", "colour": "red"}),
        entity("BRAIN", "aetitle", timeout=-1),
        entity("NOBODY", "not-installed"),
        OTHER,
    ]}, start=False)  # fmt: skip
    adapter.packages = example
    with pytest.raises(AssertionError, match="did not start"):
        adapter.start()
    done = run_cli("serve", "-c", str(adapter.file), packages=example)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for line in (
        "application_entities[0].settings.modality-CT: '' is no pipeline id",
        "application_entities[0].settings.urgent: 'X' is no list of AE Titles",
        "application_entities[0].settings.colour: unknown",
        "application_entities[1].settings.timeout: -1 is not a whole number",
        "application_entities[1].pipelines: at least one is needed",
        "application_entities[2].processor: no plug-in named 'not-installed' is installed",
        "there are: aetitle, modality-router",
    ):
        assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 6


# --- one that crashes


@pytest.fixture
def make_crashing(tmp_path: Path, crashing: Path) -> Any:
    """Adapters whose crashes are the test's; `make_adapter` would take them for its failure."""
    made: list[Adapter] = []

    def make(where: str, beside: dict[str, Any] | None = None) -> Adapter:
        wanted = entity("CRASHING", "crashing", where=where)
        if beside:  # another processor comes first
            one = {"name": "crashing", "settings": wanted.pop("settings")}
            wanted |= {"processor": "aetitle", "processors": [beside, one]}
        adapter = Adapter(tmp_path / "adapter", {"application_entities": [wanted, OTHER]})
        adapter.packages = crashing
        made.append(adapter)
        return adapter.start()

    yield make
    for adapter in made:
        adapter.kill()


def associated(adapter: Adapter, called: str) -> Wire:
    wire = Wire(adapter.dicom_port)
    wire.send(associate_rq(called=called.encode()))
    assert wire.answer() == ("accept",)
    return wire


def answer_to_association(adapter: Adapter, called: str) -> tuple[Any, ...]:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=called.encode()))
        answer: tuple[Any, ...] = wire.answer()
        return answer


def others_go_on(adapter: Adapter, uid: str) -> None:
    before = len(adapter.get("/api/jobs"))
    with associated(adapter, "OTHER") as wire:
        assert wire.store(uid) == ("response", 0)
        wire.release()
    eventually(lambda: len(adapter.get("/api/jobs")) > before, 10)


def mended(adapter: Adapter, crashing: Path) -> None:
    """Mend the plug-in and restart the adapter."""
    adapter.kill()
    (crashing / "broken").unlink()
    adapter.start()


def test_crash_in_group_key_parks_the_ae_title_and_loses_nothing(
    make_crashing: Any, crashing: Path
) -> None:
    (crashing / "broken").unlink()
    adapter = make_crashing("group_key")
    with associated(adapter, "CRASHING") as wire:
        assert wire.store("1.1", data_set("1.1", study="1.9.1")) == ("response", 0)
        (crashing / "broken").touch()
        for number in range(6):  # each crashes the actor, which is restarted; the last one parks it
            eventually(lambda n=number: len(adapter.events("actor.crashed")) == n)
            uid = f"2.{number}"
            assert wire.store(uid, data_set(uid, study=f"1.9.{uid}")) == ("response", 0x0110)
        eventually(lambda: adapter.events("actor.crashed")[-1]["gave_up"])
        assert wire.store("3.1", data_set("3.1", study="1.9.3")) == ("response", 0x0110)
        wire.release()
    assert answer_to_association(adapter, "CRASHING") == TRANSIENT
    assert adapter.request("GET", "/health/ready")[0] == 200  # others are served
    assert adapter.get("/health/status")["degradedBecause"] == ["entity:crashing is parked"]
    assert adapter.request("GET", "/health/live")[0] == 200
    others_go_on(adapter, "5.1")
    mended(adapter, crashing)
    eventually(lambda: len(adapter.get("/api/jobs")) == 2, 15)
    assert {path.stem for path in adapter.instances("payloads")} == {"1.1", "5.1"}


def test_crash_in_jobs_parks_the_ae_title_and_loses_nothing(
    make_crashing: Any, crashing: Path
) -> None:
    adapter = make_crashing("jobs")
    with associated(adapter, "CRASHING") as wire:
        assert wire.store("1.1", data_set("1.1", study="1.9.1")) == ("response", 0)
        eventually(lambda: [e for e in adapter.events("actor.crashed") if e["gave_up"]], 20)
        assert wire.store("1.2", data_set("1.2", study="1.9.2")) == ("response", 0)
        wire.release()
    assert answer_to_association(adapter, "CRASHING") == TRANSIENT
    assert adapter.get("/health/status")["degradedBecause"] == ["processor:crashing is parked"]
    others_go_on(adapter, "5.1")
    adapter.kill()
    adapter.start()  # it crashes on the group of before: no reason for the others not to start
    others_go_on(adapter, "5.2")
    eventually(lambda: answer_to_association(adapter, "CRASHING") == TRANSIENT, 20)
    mended(adapter, crashing)
    eventually(lambda: len(adapter.get("/api/jobs")) == 4, 15)
    assert {path.stem for path in adapter.instances("payloads")} == {"1.1", "1.2", "5.1", "5.2"}


BESIDE = {"name": "aetitle", "pipelines": {"two": "pipe-two"}}


def test_crash_of_one_processor_in_jobs_shuts_the_door_and_the_other_goes_on(
    make_crashing: Any, crashing: Path
) -> None:
    adapter = make_crashing("jobs", beside=BESIDE)
    with associated(adapter, "CRASHING") as wire:
        assert wire.store("1.1", data_set("1.1", study="1.9.1")) == ("response", 0)
        eventually(lambda: [e for e in adapter.events("actor.crashed") if e["gave_up"]], 20)
        assert wire.store("1.2", data_set("1.2", study="1.9.2")) == ("response", 0)
        wire.release()
    assert answer_to_association(adapter, "CRASHING") == TRANSIENT
    because = adapter.get("/health/status")["degradedBecause"]
    assert because == ["processor:crashing:crashing is parked"]
    assert adapter.get("/api/config/claraaetitle/crashing")["state"] == "parked"
    eventually(lambda: len(adapter.get("/api/jobs")) == 2)
    assert {job["pipeline"] for job in adapter.get("/api/jobs")} == {"two"}
    mended(adapter, crashing)
    jobs = eventually(lambda: (j := adapter.get("/api/jobs")) and len(j) == 4 and j, 15)
    assert sorted(job["processor"] for job in jobs) == ["aetitle"] * 2 + ["crashing"] * 2


def test_crash_of_one_processor_in_group_key_stores_nothing_with_the_other(
    make_crashing: Any, crashing: Path
) -> None:
    adapter = make_crashing("group_key", beside=BESIDE)
    with associated(adapter, "CRASHING") as wire:
        assert wire.store("1.1", data_set("1.1", study="1.9.1")) == ("response", 0x0110)
        wire.release()
    assert list(adapter.instances("incoming")) == []
    mended(adapter, crashing)
    with associated(adapter, "CRASHING") as wire:
        assert wire.store("1.1", data_set("1.1", study="1.9.1")) == ("response", 0)
        wire.release()
    eventually(lambda: len(adapter.get("/api/jobs")) == 2)
