"""Commands in the documentation are ones that the program's own parser takes.

tests/integration/test_documentation.py runs them.
"""

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
