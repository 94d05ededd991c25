"""Reference pages made from the code: commands, routes, log events."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from adapter.cli import app

PACKAGE = Path(__file__).parent.parent / "adapter"
LEVELS = ("debug", "info", "warning", "error", "exception")
METHODS = ("get", "post", "put", "delete")


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# --- commands


def commands_page() -> str:
    """Return what each command takes, as its own `--help` says it."""
    text = app.generate_docs(output_format="markdown")
    text = re.sub(
        r"\n## Table of Contents\n.*?(?=\n\*\*Commands)", "", text, count=1, flags=re.DOTALL
    )
    return re.sub(r"^# dicom-adapter\n", "# Commands\n", text).rstrip() + "\n"


# --- routes


def routes_page(document: dict[str, Any]) -> str:
    """Return the routes of the OpenAPI document, each with what it takes and answers."""
    parts = ["# REST\n", "The machine-readable form is `/api/openapi.json` of a running adapter.\n"]
    for path, operations in sorted(document["paths"].items()):
        for method in METHODS:
            if operation := operations.get(method):
                parts += _route(method.upper(), path, operation)
    return "\n".join(parts)


def _route(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"## {method} {path}\n"
    for text in (operation.get("summary"), operation.get("description")):
        if text:
            yield f"{' '.join(text.split())}{'' if text.rstrip().endswith('.') else '.'}\n"
    if parameters := operation.get("parameters"):
        yield table(
            ("parameter", "in", "is"),
            ((f"`{one['name']}`", one["in"], kind(one["schema"])) for one in parameters),
        )
    if body := operation.get("requestBody"):
        (content,) = body["content"].values()
        yield f"Body: {body.get('description') or kind(content['schema'])}\n"
    answers = (
        (status, answer.get("description", "")) for status, answer in operation["responses"].items()
    )
    yield table(("status", "means"), sorted(answers))


def kind(schema: dict[str, Any]) -> str:
    """Return a JSON Schema in a few words."""
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        return ", ".join(kind(choice) for choice in choices if choice.get("type") != "null")
    if reference := schema.get("$ref"):
        return str(reference).rpartition("/")[2]
    if values := schema.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    words = [str(schema.get("type", "any")), limits(schema)]
    if inner := schema.get("items") or schema.get("additionalProperties"):
        words.append(f"of {kind(inner)}")
    return " ".join(filter(None, words))


def limits(schema: dict[str, Any]) -> str:
    """Return the least and the greatest number a JSON Schema allows; empty: there are none."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        return f"over {above}, up to {high}"
    bounds = ("" if bound is None else str(bound) for bound in (low, high))
    return "" if low is None and high is None else "-".join(bounds)


# --- log events


class LogCall(NamedTuple):
    """One place in the code that writes a log event."""

    level: str
    fields: tuple[str, ...]
    module: str


def log_calls() -> dict[str, list[LogCall]]:
    """Return every log event of the code by its name."""
    found: dict[str, list[LogCall]] = defaultdict(list)
    for module in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and _is_log_call(node.func):
                assert isinstance(node.func, ast.Attribute)
                fields = tuple(
                    each.arg for each in node.keywords if each.arg and each.arg != "exc_info"
                )
                where = str(module.relative_to(PACKAGE.parent))
                for name in _names(node.args[0]):
                    found[name].append(LogCall(node.func.attr, fields, where))
    return found


def _is_log_call(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LEVELS
        and ast.unparse(function.value).rpartition(".")[2] in ("log", "_log")
    )


def _names(first: ast.expr) -> list[str]:
    """Return the event names that an argument may be; a name that is put together has a star."""
    if isinstance(first, ast.IfExp):
        return _names(first.body) + _names(first.orelse)
    if isinstance(first, ast.JoinedStr):
        return [
            "".join(
                str(part.value) if isinstance(part, ast.Constant) else "*" for part in first.values
            )
        ]
    return [str(first.value)] if isinstance(first, ast.Constant) else []


def log_events_page() -> str:
    """Return a table of every log event."""
    rows = (
        (
            f"`{name}`",
            ", ".join(dict.fromkeys("error" if c.level == "exception" else c.level for c in calls)),
            ", ".join(f"`{field}`" for field in dict.fromkeys(f for c in calls for f in c.fields)),
            ", ".join(f"`{module}`" for module in dict.fromkeys(c.module for c in calls)),
        )
        for name, calls in sorted(log_calls().items())
    )
    head = (
        "# Log events\n\n"
        'The value of `event` in a log line, with `logging.format = "json"`; each has `level` and\n'
        "`timestamp` as well. Those of level error carry a traceback where there is one.\n"
    )
    return f"{head}\n{table(('event', 'level', 'fields', 'from'), rows)}"
