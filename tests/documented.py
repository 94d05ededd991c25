"""What the documentation shows: fenced blocks, commands for a shell, commands within sentences."""

import itertools
import re
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMANDS, TRANSCRIPT = "sh", "console"
PROGRAM = re.compile(r"(?:\w+=\S+ )*(?:\S*/)?dicom-adapter ([^-].*|-.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command of a shell, of several lines perhaps, as it stands on its page."""

    page: str
    line: int
    text: str
    answer: str = ""
    """What a transcript shows below it."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[str]:
    """Return every page, named from the root of the repository."""
    patterns = ("*.md", "docs/**/*.md", "deploy/**/*.md", "examples/**/*.md")
    found = itertools.chain.from_iterable(ROOT.glob(pattern) for pattern in patterns)
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name != "CHANGELOG.md")


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in reading order."""
    text = (ROOT / page).read_text()
    return [
        Block(page, text.count("\n", 0, one.start()) + 2, one[2], textwrap.dedent(one[3]))
        for one in FENCE.finditer(text)
    ]


def commands(page: str) -> list[Command]:
    """Return what a reader would type, in reading order."""
    found: list[Command] = []
    for block in blocks(page):
        if block.language == COMMANDS:
            found += _split(block)
        elif block.language == TRANSCRIPT:
            found += _typed(block)
    return found


def _split(block: Block) -> Iterator[Command]:
    lines: list[str] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        lines.append(line)
        text = "\n".join(lines)
        whole = (
            not line.endswith(("\\", "|"))
            and not subprocess.run(
                ["/bin/bash", "-n", "-c", text], capture_output=True, check=False
            ).returncode
        )
        if whole:
            if text.strip():
                yield Command(block.page, number - len(lines) + 1, text)
            lines = []
    assert not lines, f"{block.page}:{block.line}: no whole command"


def _typed(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        typed, _, answer = part.partition("\n")
        yield Command(block.page, block.line, typed, answer.strip("\n"))


def spans(page: str) -> list[str]:
    """Return what stands between backticks within sentences and tables."""
    text = FENCE.sub("", (ROOT / page).read_text())
    found = re.findall(r"`([^`]+)`", text)
    return [" ".join(span.split()).replace("\\|", "|") for span in found]


def mentioned(page: str) -> list[str]:
    """Return the arguments of each `dicom-adapter ...` within a sentence or a table."""
    found = (PROGRAM.fullmatch(span) for span in spans(page))
    return [one[1].split(" > ")[0] for one in found if one]


def variants(arguments: str) -> Iterator[list[str]]:
    """Yield what a mention stands for: `jobs [show|retry ID]` is `jobs`, `jobs show ID`, ..."""
    optional = re.split(r"\[([^]]*)\]", arguments)
    for chosen in itertools.product((False, True), repeat=len(optional) // 2):
        kept = [part for i, part in enumerate(optional) if i % 2 == 0 or chosen[i // 2]]
        words = " ".join(kept).split()
        yield from (list(one) for one in itertools.product(*(word.split("|") for word in words)))
