"""What the dashboard lets operators do about associations, and a study's timeline."""

from collections.abc import Iterator

import pytest
from browser import Dashboard, uncomplaining
from harness import Adapter, eventually
from health import MakeAdapter
from playwright.sync_api import Browser
from test_dashboard import reject, send
from wire import Wire

pytestmark = pytest.mark.peer("chromium")


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter({
        "dicom": {"scp": {"reject_unknown_sources": True}},
        "sources": [{"ae_title": "TEST", "host": "127.0.0.1"}],
    })  # fmt: skip


@pytest.fixture
def dashboard(browser: Browser, adapter: Adapter) -> Iterator[Dashboard]:
    with uncomplaining(browser, adapter) as opened:
        yield opened


def test_association_is_aborted(adapter: Adapter, dashboard: Dashboard) -> None:
    dashboard.open()
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.store("1.2.3.1")
        dashboard.press("Abort association from TEST")
        dashboard.confirm("Abort it")
        assert wire.answer()[0] == "abort"
        dashboard.told("The association from TEST is aborted.")
    dashboard.shows("Nobody is sending")


def test_rejected_sender_is_let_in_by_a_click(adapter: Adapter, dashboard: Dashboard) -> None:
    reject(adapter, calling=b"STRANGER")
    dashboard.open("rejected").press("Allow this sender STRANGER")
    dashboard.confirm("Allow it")
    dashboard.told("STRANGER may send from 127.0.0.1.")
    with Wire(adapter.dicom_port) as wire:
        wire.associate(calling=b"STRANGER")
        wire.release()


def test_sender_that_no_source_would_let_in_cannot_be_allowed(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    reject(adapter, called=b"NOBODY")
    dashboard.open("rejected").shows("called AE Title is not configured")
    dashboard.shows("dicom-adapter create aetitle -a NOBODY")
    assert dashboard.page.get_by_role("button", name="Allow this sender").count() == 0


def test_study_is_followed_from_its_association(adapter: Adapter, dashboard: Dashboard) -> None:
    send(adapter, "1.2.3")
    job = eventually(lambda: adapter.get("/api/jobs"))[0]
    dashboard.open("study")
    dashboard.page.get_by_role("searchbox").fill("1.2.3")
    dashboard.page.keyboard.press("Enter")
    dashboard.shows("association requested by TEST", ".story")
    dashboard.shows("group closed with 3 instances", ".story")
    dashboard.shows("Job for one opened", ".story")
    link = dashboard.page.locator("main").get_by_role("link").first
    assert link.get_attribute("href") == f"#/jobs/{job['id']}"


@pytest.mark.parametrize("permitted", [True, False])
def test_ids_of_a_study_are_copied_and_its_job_leads_back_to_it(
    adapter: Adapter, dashboard: Dashboard, permitted: bool
) -> None:
    context, page = dashboard.page.context, dashboard.page
    if permitted:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:  # as on a page that has neither TLS nor this machine's address
        page.add_init_script("delete Navigator.prototype.clipboard")
    send(adapter, "1.2.3")
    job = eventually(lambda: adapter.get("/api/jobs"))[0]
    brought = adapter.get("/api/timeline/1.2.3")["entries"]
    (association,) = {entry["association"] for entry in brought if "association" in entry}
    dashboard.open(f"jobs/{job['id']}")
    page.get_by_role("link", name="1.2.3", exact=True).click()
    assert page.url.endswith("#/study/1.2.3")
    for id_ in (f"association {association}", f"group {job['groupId']}"):
        dashboard.press(f"Copy {id_}")
        id_ = id_.partition(" ")[2]
        if permitted:
            dashboard.told(f"{id_} is copied.")
            assert page.evaluate("navigator.clipboard.readText()") == id_
        else:
            assert page.evaluate("getSelection().toString()") == id_


def test_storage_says_what_holds_it(adapter: Adapter, dashboard: Dashboard) -> None:
    send(adapter, "1.2.3")
    dashboard.open()
    dashboard.shows("free of")
    dashboard.shows("Open groups")
    assert "used" in (dashboard.page.locator("svg.gauge").get_attribute("aria-label") or "")
