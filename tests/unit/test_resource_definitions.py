"""The CustomResourceDefinitions: structural, and of one mind with the adapter where they speak."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from resource_definitions import definitions

from adapter.domain.custom_resources import PLURALS, Resource
from adapter.domain.entity_rows import Kind
from adapter.protocols.kubernetes.documents import resource_of

TITLE = {"aeTitle": "CT1"}
SOURCE = {**TITLE, "host": "10.1.2.3"}
PACS = {**SOURCE, "port": 104}
STOW = {"type": "dicomweb", "url": "https://pacs.example.org/dicom-web"}
GOOD: list[tuple[Kind, dict[str, Any]]] = [
    ("source", SOURCE),
    ("source", {**TITLE, "hostIp": "10.1.2.3"}),
    ("source", {**TITLE, "host": ["10.1.2.3", "10.2.0.0/16"]}),
    ("destination", PACS),
    ("destination", {**PACS, "tls": {"ca": "/ca.pem"}, "window": "22:00-06:00"}),
    ("destination", {**PACS, "tls": None}),
    ("destination", STOW),
    ("destination", {"type": "folder", "path": "/srv/drop"}),
    ("aetitle", TITLE),
    ("aetitle", {**TITLE, "grouping": ["0020,000D", "0020,000E"], "port": None}),
    ("aetitle", {**TITLE, "overwriteSameInstance": "keep-both", "pipelines": {"a": "b"}}),
    ("aetitle", {**TITLE, "processorSettings": {"deep": {"er": [1]}}, "priority": "higher"}),
    ("aetitle", {**TITLE, "processors": [{"name": "one", "priority": None, "pipelines": {}}]}),
]  # fmt: skip
BAD: list[tuple[Kind, dict[str, Any]]] = [
    ("source", {"host": "10.1.2.3"}),
    ("source", {**SOURCE, "aeTitle": ""}),
    ("source", {**SOURCE, "aeTitle": "SEVENTEEN-LETTERS"}),
    ("source", {**SOURCE, "aeTitle": "BACK\\SLASH"}),
    ("source", {**SOURCE, "aeTitle": "   "}),
    ("destination", {**PACS, "port": 0}),
    ("destination", {**PACS, "port": "104"}),
    ("destination", {**PACS, "window": "22:00"}),
    ("destination", {**PACS, "type": "ftp"}),
    ("destination", {**PACS, "tls": {"minimumVersion": "1.0"}}),
    ("destination", {**STOW, "answerS": 0}),
    ("aetitle", {**TITLE, "timeoutS": -1}),
    ("aetitle", {**TITLE, "requiredAttributes": ["PatientID"]}),
    ("aetitle", {**TITLE, "pipelines": {"a": 1}}),
    ("aetitle", {**TITLE, "processors": [{"name": "-"}]}),
    ("aetitle", {**TITLE, "priority": "urgent"}),
]
DEFINITIONS = {one["spec"]["names"]["plural"]: one["spec"]["versions"][0] for one in definitions()}


def schema_of(kind: Kind) -> dict[str, Any]:
    schema = DEFINITIONS[PLURALS[kind]]["schema"]["openAPIV3Schema"]
    return dict(schema["properties"]["spec"])


def as_json_schema(schema: Any) -> Any:
    """Return a schema of Kubernetes (OpenAPI 3.0) in the words of JSON Schema."""
    if isinstance(schema, list):
        return [as_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: as_json_schema(value) for key, value in schema.items()}
    if made.pop("nullable", False) is True:
        made["type"] = [made["type"], "null"]
    if made.get("exclusiveMinimum") is True:
        made["exclusiveMinimum"] = made.pop("minimum")
    return made


def schema_takes(kind: Kind, spec: dict[str, Any]) -> bool:
    return bool(Draft202012Validator(as_json_schema(schema_of(kind))).is_valid(spec))


def read(kind: Kind, spec: dict[str, Any]) -> Resource:
    metadata = {"name": "x", "resourceVersion": "1", "generation": 1}
    return resource_of(kind, {"metadata": metadata, "spec": spec})


def structural_problems(schema: dict[str, Any], path: str = "spec") -> list[str]:
    """Return what is not structural (Kubernetes: Specifying a structural schema)."""
    problems = []
    if not (schema.get("type") or schema.get("x-kubernetes-preserve-unknown-fields")):
        problems.append(f"{path}: has no type")
    foreign = {"$ref", "anyOf", "oneOf", "allOf", "not", "const", "default", "title"}
    problems += [f"{path}: {key}" for key in foreign & set(schema)]
    if "properties" in schema and "additionalProperties" in schema:
        problems.append(f"{path}: both properties and additionalProperties")
    parts = dict(schema.get("properties", {}))
    parts |= {key: schema[key] for key in ("items", "additionalProperties") if key in schema}
    for key, part in parts.items():
        problems += structural_problems(part, f"{path}.{key}")
    return problems


@pytest.mark.parametrize("kind", PLURALS)
def test_schema_is_structural_and_has_a_status(kind: Kind) -> None:
    version = DEFINITIONS[PLURALS[kind]]
    assert version["subresources"] == {"status": {}}
    assert structural_problems(version["schema"]["openAPIV3Schema"]) == []


@pytest.mark.parametrize(("kind", "spec"), GOOD)
def test_what_the_adapter_takes_the_schema_takes(kind: Kind, spec: dict[str, Any]) -> None:
    assert read(kind, spec).problems == ()
    assert schema_takes(kind, spec)


@pytest.mark.parametrize(("kind", "spec"), BAD)
def test_what_the_schema_refuses_the_adapter_refuses(kind: Kind, spec: dict[str, Any]) -> None:
    assert not schema_takes(kind, spec)
    assert read(kind, spec).problems


@given(st.text(max_size=20))
@example("BRAIN\n")
@settings(max_examples=200)
def test_both_have_one_mind_about_ae_titles(title: str) -> None:
    spec = {"aeTitle": title, "host": "10.1.2.3"}
    assert schema_takes("source", spec) == (not read("source", spec).problems)


def test_schema_has_every_key_but_name_and_secrets() -> None:
    properties = schema_of("destination")["properties"]
    assert not {"name", "password", "token", "passwordFile", "tokenEnvironment"} & set(properties)
    assert {"aeTitle", "host", "hostIp", "url", "path", "fallbackAfterS"} <= set(properties)
    assert "processorSettings" in schema_of("aetitle")["properties"]
