"""Puts together what the documentation site is made of: `make site`.

Pages of docs/ and of the root, with links that hold in the site, and reference pages from the code.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import event_reference
import key_reference
import metric_reference
import reference

from adapter.protocols.web.app import openapi_document

ROOT = Path(__file__).parent.parent
STAGE = ROOT / "build" / "docs"
ROOT_PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "readme.md",
    "examples/pipelines/README.md": "example-pipelines.md",
    "examples/processor_plugin/README.md": "example-processor.md",
    "config/adapter.toml": "reference/configuration.md",
}
"""Where what is kept outside docs/ is in the site."""
LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)]*)?\)")


def generated() -> Mapping[str, str]:
    """Return the pages that are made from the code, or from others, by path."""
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    titles = (f"- [{_title(path)}]({path.name})" for path in decisions)
    keys = (ROOT / "config" / "adapter.toml").read_text()
    return {
        "adr/index.md": "\n".join(["# Decisions\n", *titles, ""]),
        "reference/commands.md": reference.commands_page(),
        "reference/rest.md": reference.routes_page(openapi_document()),
        "reference/metrics.md": metric_reference.metrics_page(),
        "reference/event-types.md": event_reference.events_page(),
        "reference/log-events.md": reference.log_events_page(),
        "reference/configuration-keys.md": key_reference.keys_page(),
        "reference/configuration.md": (
            "# Configuration file\n\nThe annotated file `config/adapter.toml`; a test holds that "
            "it has every key with its\ndefault. The [JSON Schema](../configuration.schema.json) "
            f"is for editors.\n\n```toml\n{keys}```\n"
        ),
    }


def _title(path: Path) -> str:
    return path.read_text().partition("\n")[0].removeprefix("# ")


def relinked(text: str, source: Path, page: str) -> str:
    """Return a page with its relative links as they are in the site.

    Args:
        text: Markdown.
        source: Where it is kept, below the root of the repository.
        page: Where it is in the site.
    """

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found.groups()
        kept = str((ROOT / source.parent / target).resolve().relative_to(ROOT))
        if kept not in ROOT_PAGES and not kept.startswith("docs/"):
            return words  # what is not in the site is not linked to
        in_site = ROOT_PAGES.get(kept) or kept.removeprefix("docs/")
        return f"[{words}]({'../' * page.count('/')}{in_site}{anchor or ''})"

    return LINK.sub(link, text)


def stage() -> None:
    """Write everything to `STAGE`."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", STAGE, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    pages = {
        str(path.relative_to(ROOT / "docs")): path.relative_to(ROOT)
        for path in (ROOT / "docs").rglob("*.md")
    }
    pages |= {page: Path(name) for name, page in ROOT_PAGES.items() if name.endswith(".md")}
    for page, source in pages.items():
        (STAGE / page).write_text(relinked((ROOT / source).read_text(), source, page))
    for page, text in generated().items():
        (STAGE / page).parent.mkdir(exist_ok=True)
        (STAGE / page).write_text(text)


if __name__ == "__main__":
    stage()
