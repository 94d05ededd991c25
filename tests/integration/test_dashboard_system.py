"""The page System: what counts and where it comes from, who works and what waits for them."""

import json
from collections.abc import Iterator

import pytest
from browser import Dashboard, uncomplaining
from harness import Adapter, eventually
from health import MakeAdapter
from playwright.sync_api import Browser, Locator
from wire import Wire

JSON = {"content-type": "application/json"}
pytestmark = pytest.mark.peer("chromium")


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter({"dicom": {"scp": {"dimse_s": 31, "receivers": 0}}})


@pytest.fixture
def dashboard(browser: Browser, adapter: Adapter) -> Iterator[Dashboard]:
    with uncomplaining(browser, adapter) as opened:
        yield opened.open("system")


def row(dashboard: Dashboard, key: str) -> Locator:
    table = dashboard.page.get_by_role("table", name="Configuration")
    return table.get_by_role("row").filter(has=dashboard.page.get_by_text(key, exact=True))


def test_configuration_is_shown_with_where_it_comes_from(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    row(dashboard, "dicom.scp.dimse_s").get_by_text(str(adapter.file)).wait_for()
    row(dashboard, "logging.format").get_by_text("--set logging.format").wait_for()
    assert row(dashboard, "dicom.scp.artim_s").count() == 0
    search = dashboard.page.get_by_role("searchbox", name="Search the configuration")
    search.fill("artim")
    dashboard.shows("No key that is sought is set")
    dashboard.press("All")
    row(dashboard, "dicom.scp.artim_s").get_by_text("default").wait_for()
    dashboard.shows("1 key", ".filters")


def test_configuration_that_is_read_again_is_shown_as_it_is_then(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    row(dashboard, "dicom.scp.dimse_s").get_by_text("31").wait_for()
    adapter.settings["dicom"]["scp"]["dimse_s"] = 32
    adapter.file.write_text(json.dumps(adapter.settings))
    assert adapter.request("POST", "/api/config/reload")[0] == 200
    row(dashboard, "dicom.scp.dimse_s").get_by_text("32").wait_for()


def test_actors_of_what_was_removed_are_shown_and_counted_no_more(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    def told() -> int:
        words = dashboard.page.locator("section").filter(has_text="Actors").first.inner_text()
        return int(words.partition(" running")[0].split()[-1]) if " running" in words else 0

    before = eventually(told)
    body = b'{"name": "short", "aeTitle": "SHORT", "pipelines": {"one": "one"}}'
    assert adapter.request("POST", "/api/config/claraaetitle", JSON, body)[0] == 201
    dashboard.page.locator(".tree .actor").filter(has_text="short").first.wait_for()
    assert told() > before
    assert adapter.request("DELETE", "/api/config/claraaetitle/short")[0] == 200
    eventually(lambda: told() == before)
    assert "short" not in dashboard.text(".tree")
    assert "short" in {row["name"].partition(":")[2] for row in dashboard.model()["actors"]}


def test_threads_of_the_process_are_told_by_what_they_do(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        exposition = adapter.request("GET", "/metrics")[2].decode()
        assert 'dicom_adapter_threads{kind="association"} 1.0' in exposition
        dashboard.page.reload()
        dashboard.shows("1 main", "dl.facts")
        dashboard.shows("1 association", "dl.facts")
        wire.release()


def test_actors_tell_what_waits_in_their_mailboxes(dashboard: Dashboard) -> None:
    def told() -> str | None:
        hub = dashboard.page.locator(".tree .alone").filter(has_text="hub").first
        return hub.locator(".muted").get_attribute("title")

    # Once a second it is looked; something may be in it just then.
    eventually(lambda: "events: 0 of 65536" in str(told()))
