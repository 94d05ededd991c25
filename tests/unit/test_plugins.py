"""Plug-ins: found, loaded, and held to the contract."""

import pytest
from test_processors import CLOSED, entity, instance

from adapter.domain.plugins import CheckedProcessor, ContractError, load_processor
from adapter.domain.processors import AETitleProcessor, JobSpec


class Custom:
    name = "Custom"
    attributes = frozenset({"0020,000D"})
    timeout_s = 5

    def group_key(self, instance):
        return instance.attributes.get("0020,000D")

    def jobs(self, group):
        return [JobSpec(pipeline="a", pipeline_id="1", priority="normal")]


def changed(**attributes):
    return type("Changed", (Custom,), attributes)()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package that registers entry points; return how."""

    def install(code, entries="custom = third_party_processor:make", package="third-party"):
        folder = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[dicom_adapter.processors]\n{entries}\n")
        (tmp_path / "third_party_processor.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "third_party_processor", raising=False)

    return install


MAKE = "from test_plugins import Custom\ndef make(entity):\n    return Custom()\n"


def test_default_processor_is_claras():
    assert isinstance(load_processor(entity()), AETitleProcessor)


def test_unknown_processor_is_named_with_those_there_are(installed):
    installed(MAKE)
    with pytest.raises(ValueError, match=r"no plug-in named 'nobody'.*: aetitle, custom"):
        load_processor(entity(processor="nobody"))


def test_processor_of_an_installed_package_is_found(installed):
    installed(MAKE)
    processor = load_processor(entity(processor="custom"))
    assert (processor.name, processor.timeout_s) == ("Custom", 5.0)
    assert processor.attributes == {"0020,000D"}
    assert processor.group_key(instance(**{"0020,000D": "1.2"})) == "1.2"
    assert processor.group_key(instance()) is None
    assert [spec.pipeline for spec in processor.jobs(CLOSED)] == ["a"]


def test_two_packages_with_one_name_are_refused(installed):
    installed(MAKE)
    installed(MAKE, package="other")
    with pytest.raises(ValueError, match=r"is registered by other 1.0 and third-party 1.0"):
        load_processor(entity(processor="custom"))


def test_nobody_replaces_the_default(installed):
    installed("raise SystemExit", "aetitle = third_party_processor:make")
    assert isinstance(load_processor(entity()), AETitleProcessor)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("make = (", "SyntaxError: '\\(' was never closed"),
        ("", "AttributeError: module 'third_party_processor' has no attribute 'make'"),
        ("def make(entity):\n    return entity.x", "AttributeError"),
        ("def make():\n    pass", "TypeError"),
        ("make = 5", "TypeError: 'int' object is not callable"),
        ("def make(entity):\n    return entity.name", "ContractError: its name"),
        ("def make(entity):\n    raise KeyError('a\\nb')", "KeyError"),
    ],
)
def test_package_that_cannot_be_used_is_one_line(installed, code, why):
    installed(code)
    with pytest.raises(ValueError, match=why) as raised:
        load_processor(entity(processor="custom"))
    assert str(raised.value).startswith("processor: 'custom' of third-party 1.0 cannot be used: ")
    assert len(str(raised.value).splitlines()) == 1


def test_settings_that_a_plug_in_refuses_are_its_lines(installed):
    installed("def make(entity):\n    raise ValueError('settings.a: x\\nsettings.b: y')")
    with pytest.raises(ValueError, match=r"^settings.a: x\nsettings.b: y$"):
        load_processor(entity(processor="custom"))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"attributes": "0020,000D"}, "attributes"),
        ({"attributes": {"0020,000d"}}, "attributes"),
        ({"attributes": {5}}, "attributes"),
        ({"timeout_s": "5"}, "timeout_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"group_key": None}, "group_key"),
        ({"jobs": []}, "jobs"),
    ],
)
def test_what_is_no_processor_is_told(wrong, why):
    with pytest.raises(ContractError, match=why):
        CheckedProcessor(changed(**wrong))


def test_everything_it_lacks_is_told_at_once():
    with pytest.raises(ContractError) as raised:
        CheckedProcessor(object())
    assert len(str(raised.value).split("; ")) == 5


@pytest.mark.parametrize("key", [5, b"key", ("a", "b"), True])
def test_key_that_is_no_text_is_a_crash(key):
    processor = CheckedProcessor(changed(group_key=lambda self, instance: key))
    with pytest.raises(ContractError, match="group_key returned"):
        processor.group_key(instance())


def spec(**changes):
    return JobSpec(**{"pipeline": "a", "pipeline_id": "1", "priority": "normal"} | changes)


@pytest.mark.parametrize(
    "jobs",
    [
        None,
        "a",
        [{"pipeline": "a"}],
        iter([spec()]),
        [spec(), spec(pipeline_id="2")],
        [spec(pipeline="")],
        [spec(pipeline=None)],
        [spec(pipeline_id=7)],
        [spec(pipeline_id=" ")],
        [spec(priority="urgent")],
        [spec(priority=1)],
        [spec(retry_delay_s=-1)],
        [spec(retry_delay_s=float("nan"))],
    ],
)
def test_jobs_that_are_none_are_a_crash(jobs):
    """Nothing of it becomes a row or a folder, and the group stays where it is."""
    processor = CheckedProcessor(changed(jobs=lambda self, group: jobs))
    with pytest.raises(ContractError, match="Custom: jobs returned"):
        processor.jobs(CLOSED)


def test_no_job_at_all_is_an_answer():
    assert CheckedProcessor(changed(jobs=lambda self, group: [])).jobs(CLOSED) == []
