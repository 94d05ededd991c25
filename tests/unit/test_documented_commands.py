"""Commands in the documentation are ones that the program's own parser takes.

tests/integration/test_documentation.py runs them.
"""

import json
import re
import shlex

import cyclopts
import pytest
from documented import PROGRAM, ROOT, blocks, commands, mentioned, pages, spans, variants

from adapter.cli import app

VALUES = {"TIME": "2026-11-21T00:00:00Z", "KIND": "order", "PORT": "104"}
"""Placeholders that stand for more than any word."""


def problem(arguments: list[str]) -> str:
    """Return what the parser says against it; "" if nothing, or that something is still missing.

    A sentence may name a command without all that it needs.
    """
    values = [VALUES.get(word, word) for word in arguments]
    try:
        app.parse_args(values, exit_on_error=False, print_error=False)
    except cyclopts.MissingArgumentError:
        return ""
    except cyclopts.CycloptsError as error:
        return f"{shlex.join(arguments)}: {error}"
    return ""


@pytest.mark.parametrize("page", pages())
def test_every_block_says_in_which_language_it_is(page: str) -> None:
    assert [f"{page}:{block.line}" for block in blocks(page) if not block.language] == []
    assert (ROOT / page).read_text().count("```") == 2 * len(blocks(page))


def test_commands_in_sentences_are_taken_by_the_parser() -> None:
    told = [words for page in pages() for text in mentioned(page) for words in variants(text)]
    assert len(told) > 100
    assert [said for words in told if (said := problem(words))] == []


def test_commands_in_blocks_are_taken_by_the_parser() -> None:
    typed = (one.text.replace("\\\n", " ") for page in pages() for one in commands(page))
    found = (PROGRAM.fullmatch(line.split(" > ")[0]) for line in typed)
    ours = [shlex.split(one[1], comments=True) for one in found if one]
    assert len(ours) > 20
    assert [said for words in ours if (said := problem(words))] == []


def test_readme_names_every_command() -> None:
    named = {text.split()[0] for one in mentioned("README.md") for text in one.split("|")}
    assert {name for name in app if not name.startswith("-")} <= named


def test_verbs_of_make_exist() -> None:
    verbs = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = [one.text for page in pages() for one in commands(page)]
    said = [span for page in pages() for span in spans(page)]
    found = (re.match(r"(?:\w+=\S+ )*make ([a-z-]+)", text) for text in typed + said)
    named = {one[1] for one in found if one}
    assert len(named) > 8
    assert named <= verbs


@pytest.mark.parametrize(
    ("arguments", "all_of_them"),
    [
        ("jobs", [["jobs"]]),
        ("jobs [show|retry ID]", [["jobs"], ["jobs", "show", "ID"], ["jobs", "retry", "ID"]]),
        ("show a|b [-v]", [["show", "a"], ["show", "b"], ["show", "a", "-v"], ["show", "b", "-v"]]),
    ],
)  # fmt: skip
def test_a_mention_stands_for_all_that_it_offers(
    arguments: str, all_of_them: list[list[str]]
) -> None:
    assert list(variants(arguments)) == all_of_them


@pytest.mark.parametrize(
    "wrong", ["jobs sho ID", "status --bogus", "keys create x --role king", "pull"]
)
def test_the_parser_refuses_what_does_not_exist(wrong: str) -> None:
    assert problem(wrong.split())


ROUTE = re.compile(r"(?:(GET|POST|PUT|DELETE) )?((?:/api|/health)/[\w/{}.*-]+|/metrics)")
BESIDE_OPENAPI = {"/api/events", "/api/events/stream", "/api/openapi.json", "/metrics"}
OF_CLARA = {"/api/inference", "/api/config"}
ALL = {"/api/", "/api/groups/{id}/"}
"""Of `/api/...` and the like."""


def test_routes_that_are_named_exist() -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    routes = {
        re.compile(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(path))): {*map(str.upper, verbs)}
        for path, verbs in document["paths"].items()
    }

    def exists(verb: str, path: str) -> bool:
        verbs = [allowed for route, allowed in routes.items() if route.fullmatch(path)]
        return any(not verb or verb in allowed for allowed in verbs)

    named = {
        (page, verb, path.rstrip("."))
        for page in pages()
        for text in [*spans(page), *(block.text for block in blocks(page))]
        for verb, path in ROUTE.findall(text.replace("$kind", "claraaetitle"))
    }
    assert len(named) > 100
    beside = BESIDE_OPENAPI | OF_CLARA | ALL
    assert [one for one in named if one[2] not in beside and not exists(*one[1:])] == []


def test_files_that_are_named_exist() -> None:
    path = re.compile(r"(?:tests|deploy|config|examples|adapter|benchmarks|locks|release)/[\w./-]+")
    named = {
        (page, found.rstrip("./"))
        for page in pages()
        for span in spans(page)
        for found in path.findall(span)
        if span.startswith(found)
    }
    assert len(named) > 40
    missing = [one for one in sorted(named) if not (ROOT / one[1]).exists()]
    assert [one for one in missing if not (ROOT / f"{one[1]}.py").exists()] == []
