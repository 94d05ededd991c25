"""The CustomResourceDefinitions, made from the structs that the configuration file is read by.

A structural schema (Kubernetes: Extend the API, Specifying a structural schema) says less than
ours: a value that may be of several types can be anything there, and what holds between keys is
said by the adapter, in the status of the resource.
"""

from typing import Any

import yaml

from adapter.configuration import json_schema
from adapter.domain.custom_resources import GROUP, PLURALS, RESOURCE_KINDS, VERSION
from adapter.domain.entity_rows import KINDS, Kind
from adapter.protocols.kubernetes.documents import FORM_OF
from adapter.protocols.web.entity_forms import CLARA_HOST, HOST

SHORT_NAMES: dict[Kind, list[str]] = {
    "aetitle": ["aet"],
    "source": ["dcmsrc"],
    "destination": ["dcmdst"],
}
ANYTHING = {"x-kubernetes-preserve-unknown-fields": True}
FILE_KEYS = ("password_file", "password_environment", "token_file", "token_environment")
"""Of destinations of the file only."""
COPIED = (
    "description", "enum", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum",
    "pattern",
)  # fmt: skip
KEPT = {"helm.sh/resource-policy": "keep"}
"""Without its definition every resource would go as well."""
STATUS = {
    "type": "object",
    "properties": {
        "accepted": {"type": "boolean", "description": "It is in use as its spec says."},
        "message": {"type": "string", "description": "Why it is not."},
        "observedGeneration": {
            "type": "integer", "format": "int64",
            "description": "Of the spec of which this was said.",
        },
    },
}  # fmt: skip
COLUMNS = [
    ("AE Title", "string", ".spec.aeTitle"),
    ("Accepted", "boolean", ".status.accepted"),
    ("Message", "string", ".status.message"),
    ("Age", "date", ".metadata.creationTimestamp"),
]


def definitions() -> list[dict[str, Any]]:
    """Return the definitions."""
    structs = json_schema()["$defs"]
    return [_definition(kind, structs) for kind in KINDS]


def definitions_text() -> str:
    """Return the definitions as a file."""
    documents = (yaml.safe_dump(one, sort_keys=False, width=110) for one in definitions())
    return "# Made by docs/resource_definitions.py (make docs).\n" + "---\n".join(documents)


def _definition(kind: Kind, structs: dict[str, Any]) -> dict[str, Any]:
    plural = PLURALS[kind]
    names = {
        "kind": RESOURCE_KINDS[kind], "listKind": f"{RESOURCE_KINDS[kind]}List", "plural": plural,
        "singular": kind, "shortNames": SHORT_NAMES[kind],
    }  # fmt: skip
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path} for name, type_, path in COLUMNS
        ],
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "required": ["spec"],
                "properties": {"spec": _spec(kind, structs), "status": STATUS},
            }
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "annotations": KEPT},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _spec(kind: Kind, structs: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a spec: all but the name, which is in the metadata."""
    schema = _structural(structs[KINDS[kind].__name__], structs, kind)
    for key in ("name", *map(FORM_OF[kind].spelled, FILE_KEYS)):
        schema["properties"].pop(key, None)
    if HOST in schema["properties"]:
        words = f"Clara's name for {HOST}."
        schema["properties"][CLARA_HOST] = {"type": "string", "description": words}
    left = [key for key in schema.get("required", ()) if key not in ("name", HOST)]
    schema["required"] = left
    return schema if left else {key: part for key, part in schema.items() if key != "required"}


def _structural(schema: dict[str, Any], structs: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Return a schema without references and in camelCase, as far as it can be structural."""
    if "$ref" in schema:
        named = structs[schema["$ref"].rpartition("/")[2]]
        return _structural({**named, **_words(schema)}, structs, kind)
    if "anyOf" in schema:
        return _one_of(schema, structs, kind)
    types = schema.get("type")
    if types is None and "enum" in schema:
        types = "string"
    if types is None:
        return {**ANYTHING, **_words(schema)}
    made = {"type": types, **{key: schema[key] for key in COPIED if key in schema}}
    if "pattern" in made:  # RE2 looks nowhere ahead, and its `$` is the end
        made["pattern"] = made["pattern"].replace(r"(?!\n)", "")
    for limit in ("Minimum", "Maximum"):
        if f"exclusive{limit}" in schema:  # a truth in OpenAPI 3.0
            made[limit.lower()] = schema[f"exclusive{limit}"]
            made[f"exclusive{limit}"] = True
    if types == "array":
        made["items"] = _structural(schema.get("items", {}), structs, kind)
    elif "properties" in schema:
        spelled = FORM_OF[kind].spelled
        made["properties"] = {
            spelled(key): _structural(part, structs, kind)
            for key, part in schema["properties"].items()
        }
        if needed := schema.get("required"):
            made["required"] = [spelled(key) for key in needed]
    elif types == "object":
        values = schema.get("additionalProperties")
        made |= {"additionalProperties": _structural(values, structs, kind)} if values else ANYTHING
    return made


def _one_of(schema: dict[str, Any], structs: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Return what is one of several; null is one of them, and of other types it is anything."""
    parts = [part for part in schema["anyOf"] if part.get("type") != "null"]
    if len(parts) > 1:
        return {**ANYTHING, **_words(schema)}
    made = {**_structural(parts[0], structs, kind), **_words(schema)}
    if "enum" in made:
        made["enum"] = [*made["enum"], None]
    return {**made, "nullable": True} if len(parts) < len(schema["anyOf"]) else made


def _words(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]} if "description" in schema else {}
