"""Assembles the fragments of `changelog.d/` to an entry of CHANGELOG.md.

`python -m release.changelog` shows the entry; `python -m release.changelog VERSION DATE` writes it,
sets the version of package and chart, and removes the fragments. A fragment is a file
`<issue>.<kind>.md` with one sentence a line, for whoever runs the adapter.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADINGS = {
    "safety": "Safety",
    "feature": "New",
    "fix": "Fixed",
    "operation": "Operation",
    "internal": "For developers",
}
"""Kinds of fragments, in the order of an entry."""
FRAGMENT_NAME = re.compile(rf"\d+\.({'|'.join(HEADINGS)})\.md")
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
VERSION_LINES = {
    "adapter/__init__.py": re.compile(r'(?<=^__version__ = ").*(?="$)', re.MULTILINE),
    "deploy/helm/dicom-adapter/Chart.yaml": re.compile(
        r'(?<=^appVersion: ").*(?="$)|(?<=^version: ).*$', re.MULTILINE
    ),
}
"""Where the version is; everything else reads the first."""


def fragments(folder: Path) -> list[Path]:
    """Return the fragments by issue.

    Raises:
        ValueError: A file of the folder has another name than fragments have.
    """
    found = [path for path in folder.iterdir() if path.name != ".gitkeep"]
    strange = sorted(path.name for path in found if not FRAGMENT_NAME.fullmatch(path.name))
    if strange:
        raise ValueError(f"not <issue>.<kind>.md with a kind of {list(HEADINGS)}: {strange}")
    return sorted(found, key=lambda path: int(path.name.partition(".")[0]))


def entry(folder: Path, title: str) -> str:
    """Return what is new, as a section with a heading for each kind."""
    lines: dict[str, list[str]] = {kind: [] for kind in HEADINGS}
    for path in fragments(folder):
        kind = path.name.split(".")[1]
        lines[kind] += [f"- {line}" for line in path.read_text().splitlines() if line.strip()]
    parts = [f"## {title}"]
    parts += ["\n".join((f"### {HEADINGS[kind]}\n", *said)) for kind, said in lines.items() if said]
    return "\n\n".join(parts) + "\n"


def assembled(changelog: str, new: str) -> str:
    """Return the changelog with a new entry before the others."""
    introduction, mark, older = changelog.partition("\n## ")
    return f"{introduction}\n{new}{mark}{older}"


def release(root: Path, version: str, date: str) -> None:
    """Write the entry of version into the changelog of the repository at root."""
    folder, changelog = root / "changelog.d", root / "CHANGELOG.md"
    new = entry(folder, f"{version} ({date})")
    changelog.write_text(assembled(changelog.read_text(), new))
    for name, place in VERSION_LINES.items():
        (root / name).write_text(place.sub(version, (root / name).read_text()))
    for path in fragments(folder):
        path.unlink()


def main(arguments: list[str]) -> int:
    """Show the next entry, or write it."""
    match arguments:
        case []:
            sys.stdout.write(entry(ROOT / "changelog.d", "unreleased"))
        case [version, date] if VERSION.fullmatch(version):
            release(ROOT, version, date)
        case _:
            sys.stderr.write("usage: python -m release.changelog [VERSION DATE]\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
