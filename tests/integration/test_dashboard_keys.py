"""The dashboard where the API wants a key."""

import json
from collections.abc import Iterator

import pytest
from browser import REFUSED, Dashboard, uncomplaining
from harness import Adapter, run_cli
from health import MakeAdapter
from playwright.sync_api import Browser
from test_dashboard import send

pytestmark = pytest.mark.peer("chromium")


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    stopped = make_adapter({"api": {"auth": "api-key"}}, start=False)
    stopped.file.write_text(json.dumps(stopped.settings))
    return stopped


def made(adapter: Adapter, role: str) -> str:
    """Make a key while the adapter is stopped."""
    done = run_cli(
        "keys", "create", f"a {role}", "--role", role, "--offline", "-c", str(adapter.file)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def dashboard(browser: Browser, adapter: Adapter) -> Iterator[Dashboard]:
    with uncomplaining(browser, adapter, REFUSED) as opened:
        yield opened


def enter(dashboard: Dashboard, key: str) -> None:
    dashboard.page.get_by_role("textbox", name="API key").fill(key)
    dashboard.page.keyboard.press("Enter")


def test_key_is_asked_for_kept_for_the_tab_and_forgotten(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    key = made(adapter, "administrator")
    adapter.start()
    page = dashboard.page
    page.goto(adapter.url)
    enter(dashboard, "da-00000000-" + "x" * 43)
    page.get_by_role("textbox", name="API key").and_(page.locator(":not([value])")).wait_for()
    enter(dashboard, key)
    page.locator('body[data-link="live"]').wait_for()
    page.reload()
    page.locator('body[data-link="live"]').wait_for()
    dashboard.open("setup/keys").shows("a administrator")
    dashboard.press("Forget the API key")
    page.get_by_role("textbox", name="API key").wait_for()


def test_key_is_asked_for_anew_when_it_is_revoked(adapter: Adapter, dashboard: Dashboard) -> None:
    mine, other = made(adapter, "viewer"), made(adapter, "administrator")
    adapter.start()
    page = dashboard.page
    page.goto(adapter.url)
    enter(dashboard, mine)
    page.locator('body[data-link="live"]').wait_for()
    words = ["--url", adapter.url, "--api-key", other]
    revoked = run_cli("keys", "revoke", mine.split("-")[1], *words)
    assert revoked.returncode == 0, revoked.stderr
    page.get_by_role("textbox", name="API key").wait_for()
    dashboard.shows("the key was revoked", "#link")
    enter(dashboard, other)
    page.locator('body[data-link="live"]').wait_for()


def test_page_without_a_key_shows_nothing(adapter: Adapter, dashboard: Dashboard) -> None:
    made(adapter, "administrator")
    adapter.start()
    dashboard.page.goto(adapter.url)
    dashboard.confirm("Not now")
    dashboard.shows("Nothing is shown without a key")


def test_viewer_is_offered_nothing_that_changes_something(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    key = made(adapter, "viewer")
    adapter.start()
    dashboard.page.goto(adapter.url)
    enter(dashboard, key)
    dashboard.page.locator('body[data-link="live"]').wait_for()
    send(adapter, "1.2.3")
    dashboard.shows("3 instances \N{MIDDLE DOT}", ".group")
    assert not dashboard.page.get_by_role("button", name="Close now").is_visible()
    dashboard.open("setup").shows("from the file")
    assert dashboard.page.get_by_role("button", name="New AE Title").count() == 0
