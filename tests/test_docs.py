"""What the documents promise exists, and what exists is documented."""

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from event_reference import events_page
from key_reference import keys_page
from metric_reference import metrics, metrics_page

from adapter.cli import app
from adapter.configuration import effective_values, json_schema, load
from adapter.domain.event_types import EVENTS
from adapter.live_settings import is_reloadable
from adapter.settings import Settings

ROOT = Path(__file__).parent.parent
FOLDED = re.MULTILINE | re.DOTALL
ADAPTER_TOML = (ROOT / "config" / "adapter.toml").read_text()
DURABILITY = (ROOT / "docs" / "durability.md").read_text()
FAULTS = 122
"""In the table of docs/durability.md."""
SCENARIOS = (ROOT / "docs" / "scenarios.md").read_text()
CLARA_FEATURES = (ROOT / "docs" / "clara-features.md").read_text()
MIGRATING = (ROOT / "docs" / "migrating.md").read_text()


def test_adapter_toml_is_valid_and_states_the_defaults() -> None:
    layered = load(ROOT / "config" / "adapter.toml", {})
    assert layered.settings == Settings()


def test_adapter_toml_states_every_key() -> None:
    stated = set(tomllib.loads(ADAPTER_TOML))
    assert stated <= set(Settings.__struct_fields__)
    for path, _, origin in effective_values(load(ROOT / "config" / "adapter.toml", {})):
        lists = (
            "application_entities", "sources", "destinations", "platform.pipelines", "webhooks",
        )  # fmt: skip
        if path not in (*lists, "api.auth"):
            assert origin != "default", f"{path} is not in config/adapter.toml"


def test_adapter_toml_shows_every_field_of_its_lists() -> None:
    for kind in json_schema()["$defs"]["ApplicationEntity"]["properties"]:
        assert re.search(rf"^# {kind} = ", ADAPTER_TOML, re.MULTILINE), kind
    commented = "\n".join(
        line[2:] for line in ADAPTER_TOML.splitlines() if re.match(r"# (\[\[|\w+ = )", line)
    )
    example = msgspec.convert(tomllib.loads(commented), Settings)
    assert example.application_entities
    assert example.destinations
    assert example.webhooks
    assert example.sources
    assert example.platform.pipelines


def test_dev_toml_is_valid() -> None:
    assert load(ROOT / "config" / "dev.toml", {}).settings.application_entities


def test_every_event_type_is_documented() -> None:
    text = (ROOT / "docs" / "events.md").read_text()
    missing = [kind for kind in sorted(EVENTS) if f"`{kind}`" not in text]
    assert not missing


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_what_an_event_tells_is_documented(kind: str) -> None:
    text = (ROOT / "docs" / "events.md").read_text()
    (told,) = (field.type for field in msgspec.structs.fields(EVENTS[kind]) if field.name == "data")
    names = [field.encode_name for field in msgspec.structs.fields(told)]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_metric_is_documented() -> None:
    modules = (ROOT / "adapter" / "protocols" / "web").glob("*.py")
    source = "".join(module.read_text() for module in modules)
    names = set(re.findall(r'"(dicom_adapter_\w+)"', source))
    found, page = metrics(), metrics_page()
    assert names == {metric.name for metric in found}
    assert [metric.name for metric in found if not metric.help] == []
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_every_event_type_has_its_fields_on_the_page_of_them() -> None:
    """Those of its own, in the table of its own."""
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^###? |\Z)", events_page(), FOLDED))
    assert sections.keys() == EVENTS.keys()
    for kind, text in sections.items():
        (told,) = (
            each.type for each in msgspec.structs.fields(EVENTS[kind]) if each.name == "data"
        )
        names = [field.encode_name for field in msgspec.structs.fields(told)]
        assert re.findall(r"^\| `(\w+)` \| [^|]", text, re.MULTILINE) == names, kind


def test_every_key_is_on_the_page_of_keys_with_its_default() -> None:
    """By the values in force, which know the tables and the defaults on their own."""
    page = keys_page()
    tables = dict(re.findall(r"^## \[+([\w.]+)\]+\n(.*?)(?=^## |\Z)", page, FOLDED))
    for path, value, _ in effective_values(load(ROOT / "config" / "adapter.toml", {})):
        parents, _, name = path.rpartition(".")
        if path in tables:  # a list of tables
            continue
        rows = re.findall(
            rf"^\| `{name}` \| [^|]+ \| ([^|]*) \| (\w+) \|", tables[parents], re.MULTILINE
        )
        assert [restart for _, restart in rows] == [
            "reload" if is_reloadable(path) else "restart"
        ], path
        assert [default for default, _ in rows] in ([f"`{value}`"], [""]), path


def test_every_route_is_documented() -> None:
    text = (ROOT / "docs" / "operation.md").read_text()
    routes = set()
    for module in (ROOT / "adapter" / "protocols" / "web").glob("*.py"):
        routes |= set(
            re.findall(r'@(?:get|post|put|delete|websocket)\(\s*"(/[^"]+)"', module.read_text())
        )
    assert len(routes) >= 10
    shown = {re.sub(r"\{\w+?_id:str\}", "{id}", route).replace(":str", "") for route in routes}
    assert not [route for route in shown if route not in text]


def test_job_meta_schema_is_documented() -> None:
    from adapter.store.payloads import JobMeta

    text = (ROOT / "docs" / "pipelines.md").read_text()
    for name in msgspec.json.schema(JobMeta)["$defs"]["JobMeta"]["properties"]:
        assert f"`{name}`" in text, name
    assert "](job.meta.schema.json)" in text


def test_links_between_documents_lead_somewhere() -> None:
    from stage import generated

    pages = generated()
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            found = (document.parent / target).exists() or target in pages
            assert found, f"{document.name}: {target}"


def test_schema_says_what_each_key_is_for() -> None:
    """In the words of config/adapter.toml, which no struct repeats."""
    undescribed = {
        f"{kind}.{key}"
        for kind, struct in json_schema()["$defs"].items()
        for key, schema in struct.get("properties", {}).items()
        if "description" not in schema and "$ref" not in schema
    }
    assert undescribed == set()
    scp = json_schema()["$defs"]["Scp"]["properties"]
    assert scp["artim_s"]["description"].endswith("for A-ASSOCIATE-RQ to arrive (PS3.8 9.1.5)")
    assert "of the address that has the most is closed" in scp["max_half_open"]["description"]


def test_schema_is_json() -> None:
    assert json.loads(json.dumps(json_schema()))["$ref"].endswith("Settings")


def test_generated_documents_are_fresh() -> None:
    from generate import documents

    for path, text in documents().items():
        assert path.read_text() == text, f"{path.name} is stale: run `make docs`"


def test_pictures_show_the_tables() -> None:
    from pictures import drawn_edges, edges, picture

    for name, table in edges().items():
        drawn = drawn_edges(picture(name).read_text())
        assert drawn == {(old, new) for old, new, _ in table}, f"{name}: run docs/pictures.py"


def test_every_log_call_is_found_for_its_page() -> None:
    from reference import LEVELS, log_calls

    named = sum(len(calls) for calls in log_calls().values())
    assert named >= sum(
        len(re.findall(rf"\blog\.(?:{'|'.join(LEVELS)})\(", path.read_text()))
        for path in (ROOT / "adapter").rglob("*.py")
    )


def test_scenarios_name_tests_that_exist() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", SCENARIOS))
    assert named
    assert not [name for name in sorted(named) if f"def {name}(" not in source]


def test_every_fault_is_shown_by_tests_that_exist_or_has_its_reason() -> None:
    rows = re.findall(r"^\| F(\d+) \| [^|]+ \| ([^|]+) \|$", DURABILITY, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, FAULTS + 1))
    source = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for number, shown_by in rows:
        assert len(shown_by) > len("`test_`"), number
    named = set(re.findall(r"`(test_\w+)`", DURABILITY))
    assert not [name for name in sorted(named) if f"def {name}(" not in source]


def test_every_scenario_of_clara_is_spoken_of_once() -> None:
    rows = re.findall(r"^\| (T-\d{3}(?:, T-\d{3})*) \|", SCENARIOS, re.MULTILINE)
    spoken_of = [int(number) for row in rows for number in re.findall(r"T-(\d{3})", row)]
    assert sorted(spoken_of) == list(range(1, 387))


def test_every_feature_of_clara_has_one_row() -> None:
    row = re.compile(r"^\| F-(\d{3}) \| [^|]+ \| (\w+) \| ([^|]*)\|$")
    lines = [line for line in CLARA_FEATURES.splitlines() if line.startswith("| F-")]
    rows = [row.findall(line)[0] for line in lines]
    assert [int(number) for number, _, _ in rows] == list(range(1, 199))
    assert {kind for _, kind, _ in rows} == {"same", "more", "other", "no"}
    assert all(here.strip() for _, kind, here in rows if kind in ("more", "other"))


def test_pages_for_clara_name_commands_and_keys_that_exist() -> None:
    assert set(re.findall(r"\bdicom-adapter ([a-z]+)", CLARA_FEATURES + MIGRATING)) <= set(app)
    sections = "|".join(Settings.__struct_fields__)
    named = set(re.findall(rf"`((?:{sections})(?:\.[a-z_]+)+)\b", CLARA_FEATURES + MIGRATING))
    assert len(named) > 30
    for path in sorted(named):
        kind: object = Settings
        for name in path.split("."):
            assert isinstance(kind, type), path
            fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
            assert name in fields, path
            kind = fields[name]
