"""The rules of the house that no linter knows (CONTRIBUTING.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "adapter").rglob("*.py"))
MODULE_LINES_MAX = 300
FUNCTION_LINES_MAX = 60

# Who may import whom, by top folder or module of `adapter`.
ALLOWED = {
    "errors": set(),
    "domain": {"errors", "domain"},
    "channels": {"domain"},
    "desk": {"channels", "domain"},
    "supervision": {"domain", "errors"},
    "settings": {"domain"},
    "relations": {"domain", "settings"},
    "configuration": {
        "domain",
        "errors",
        "key_descriptions",
        "relations",
        "settings",
    },
    "key_descriptions": set(),
    "clara": {"clara", "domain", "errors", "relations", "settings"},
    "live_settings": {
        "configuration",
        "domain",
        "entity_rules",
        "errors",
        "relations",
        "settings",
    },
    "logs": {"domain", "errors", "protocols", "settings"},
    "actors": {"errors", "domain", "channels", "actors"},
    "store": {"errors", "domain", "store"},
    "protocols": {"errors", "domain", "channels", "protocols", ""},
    "entity_wiring": {
        "actors",
        "channels",
        "domain",
        "edges",
        "errors",
        "supervision",
    },
    "exporter_wiring": {"actors", "channels", "domain", "edges", "settings", "supervision"},
    "entity_rules": {"domain", "relations", "settings"},
    "listener_wiring": {
        "actors",
        "channels",
        "domain",
        "edges",
        "live_settings",
        "relations",
        "settings",
        "supervision",
    },
    "wiring": {
        "actors",
        "live_settings",
        "channels",
        "desk",
        "domain",
        "edges",
        "entity_rules",
        "entity_wiring",
        "listener_wiring",
        "exporter_wiring",
        "relations",
        "settings",
        "supervision",
    },
    "gateway": {
        "actors",
        "live_settings",
        "desk",
        "domain",
        "edges",
        "relations",
        "settings",
        "supervision",
        "wiring",
    },
    "descriptors": {"errors", "settings"},
    "edges": {"domain", "supervision"},
    "platforms": {"domain", "errors", "protocols", "settings"},
    "requestors": {"domain", "errors", "protocols", "settings"},
    "previews": {"domain", "protocols", "settings"},
    "listeners": {
        "domain",
        "errors",
        "live_settings",
        "protocols",
        "relations",
        "requestors",
        "settings",
        "store",
    },
    "composition": {
        "api_edge",
        "configuration_edge",
        "domain",
        "edges",
        "errors",
        "listeners",
        "live_settings",
        "platforms",
        "previews",
        "protocols",
        "relations",
        "requestors",
        "settings",
        "store",
    },
    "main": {
        "composition",
        "configuration",
        "configuration_edge",
        "descriptors",
        "domain",
        "edges",
        "errors",
        "gateway",
        "live_settings",
        "logs",
        "protocols",
        "settings",
        "store",
    },
    "api_edge": {"domain", "protocols", "settings", "store"},
    "configuration_edge": {
        "configuration",
        "descriptors",
        "domain",
        "live_settings",
        "protocols",
        "settings",
    },
    "offline": {"domain", "errors", "settings", "store"},
    "receiver": {"protocols", "store"},
    "transcoder": {"protocols"},
    "client": {"channels", "client", "domain", "errors", "protocols", "requestors", "settings"},
    "demo": {"client", "demo", "domain", "protocols", "settings"},
    "commands": {
        "clara",
        "client",
        "commands",
        "composition",
        "configuration",
        "domain",
        "offline",
        "settings",
        "",
    },
    "cli": {"client", "commands", "configuration_edge", "demo", "errors", "main", ""},
    "__main__": {"cli"},
    "": set(),
}


def part_of(module: Path) -> str:
    first = module.relative_to(ROOT / "adapter").parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
class TestModule:
    def test_imports_point_one_way(self, module: Path) -> None:
        part = part_of(module)
        for name in imports_of(ast.parse(module.read_text())):
            top, _, rest = name.partition(".")
            if top == "adapter":
                assert rest.partition(".")[0] in ALLOWED[part], f"{part} imports {name}"

    def test_is_small(self, module: Path) -> None:
        text = module.read_text()
        assert len(text.splitlines()) <= MODULE_LINES_MAX
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"

    def test_has_a_docstring(self, module: Path) -> None:
        assert ast.get_docstring(ast.parse(module.read_text()))

    def test_every_channel_is_bounded(self, module: Path) -> None:
        assert "math.inf)" not in module.read_text().replace("float", "")
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and "open_memory_channel" in ast.unparse(node.func):
                assert "inf" not in ast.unparse(node.args[0])

    def test_nurseries_open_only_where_actors_live(self, module: Path) -> None:
        if "open_nursery" in module.read_text():
            parts = ("actors", "channels", "client", "gateway", "main", "demo")
            assert part_of(module) in parts or "protocols/web" in str(module)

    def test_threads_and_sockets_stay_at_the_edges(self, module: Path) -> None:
        if part_of(module) in ("protocols", "store", "demo"):
            return
        names = set(imports_of(ast.parse(module.read_text())))
        assert not names & {"socket", "threading", "selectors", "sqlite3", "diskcache"}
        assert "to_thread" not in module.read_text()

    def test_channels_are_never_entered_with_async_with(self, module: Path) -> None:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.AsyncWith):
                entered = " ".join(ast.unparse(item.context_expr) for item in node.items)
                assert not any(word in entered for word in ("wake", "requests", "reply", "feed"))


def test_every_actor_says_what_it_is() -> None:
    for module in (ROOT / "adapter" / "actors").glob("*.py"):
        if module.name == "__init__.py":
            continue
        text = ast.get_docstring(ast.parse(module.read_text())) or ""
        for word in ("Consumes:", "Produces:", "Owns:", "Rebuilds from:", "Restart policy:"):
            assert word in " ".join(text.replace("Rebuilds\nfrom", "Rebuilds from").split()), (
                f"{module.name}: {word}"
            )


def test_only_the_process_for_copies_and_pictures_decodes_pixels() -> None:
    for module in MODULES:
        text = module.read_text()
        if "pixel_array" in text or "get_decoder" in text or "pydicom.pixels" in text:
            assert module.parts[-2] == "transcoding", module
            assert module.name in ("decoding.py", "pictures.py"), module
        imported = {f"adapter.protocols.transcoding.{name}" for name in ("decoding", "pictures")}
        if imported & set(imports_of(ast.parse(text))):
            assert module.name in ("worker.py", "pictures.py"), module


def test_receiver_process_does_without_pydicom() -> None:
    """There is one for each processor: pydicom and what it imports are two thirds of its memory."""
    asked = "import sys, adapter.receiver; print('pydicom' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_no_two_test_modules_share_a_name() -> None:
    """pytest imports them by their names alone, and `make test` all of them."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_no_task_without_an_issue() -> None:
    for module in MODULES:
        for line in module.read_text().splitlines():
            assert "TODO" not in line or "issue" in line, f"{module.name}: {line}"


def test_no_index_address_is_locked() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text()
        assert "://" not in text
        assert "--hash=sha256:" in text
