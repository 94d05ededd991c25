"""Pictures on the page Study: on a canvas, one at a time, under the same strict policy."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import REFUSED, Dashboard
from harness import Adapter
from health import MakeAdapter
from playwright.sync_api import Browser
from pydicom import dcmread
from pydicom.data import get_testdata_file
from test_previews import copied, named, sent, with_previews

pytestmark = pytest.mark.peer("chromium")
SHADES = """() => {
    const { width, height } = document.querySelector("canvas");
    const context = document.querySelector("canvas").getContext("2d");
    return new Set(context.getImageData(0, 0, width, height).data).size;
}"""


def on_study(browser: Browser, adapter: Adapter, name: str, *expected: str) -> Dashboard:
    dashboard = Dashboard(browser.new_context().new_page(), adapter, expected)
    uid = dcmread(get_testdata_file(name), stop_before_pixels=True).StudyInstanceUID
    return dashboard.open(f"study/{uid}")


def test_pictures_are_shown_when_they_are_asked_for(
    make_adapter: MakeAdapter, browser: Browser, tmp_path: Path
) -> None:
    adapter = with_previews(make_adapter)
    sent(adapter, get_testdata_file("CT_small.dcm"))
    sent(adapter, named(Path(copied("CT_small.dcm", tmp_path)), 1))
    dashboard = on_study(browser, adapter, "CT_small.dcm")
    dashboard.shows("2 instances")
    assert adapter.metrics("dicom_adapter_previews")["drawn"] == 0
    dashboard.press("Show a picture")
    dashboard.page.get_by_role("img", name="Instance 1 of 2").wait_for()
    dashboard.page.locator("canvas[width='128']").wait_for()
    assert dashboard.page.evaluate(SHADES) > 50
    assert dashboard.page.get_by_role("button", name="Previous instance").is_disabled()
    dashboard.press("Next instance")
    dashboard.page.get_by_role("img", name="Instance 2 of 2").wait_for()
    dashboard.until("() => !document.querySelector('figcaption').textContent.endsWith('...')")
    assert adapter.metrics("dicom_adapter_previews")["drawn"] == 2
    assert Axe().run(dashboard.page).response["violations"] == []
    dashboard.page.set_viewport_size({"width": 390, "height": 780})
    width = "() => document.documentElement.scrollWidth - innerWidth"
    assert dashboard.page.evaluate(width) <= 0
    assert dashboard.unexpected() == []
    dashboard.page.context.close()


def test_what_has_no_picture_says_why(make_adapter: MakeAdapter, browser: Browser) -> None:
    adapter = with_previews(make_adapter)
    sent(adapter, get_testdata_file("rtplan.dcm"))
    dashboard = on_study(browser, adapter, "rtplan.dcm", *REFUSED)
    dashboard.press("Show a picture")
    dashboard.shows("no picture can be drawn of it: there are no pixels in it")
    assert not dashboard.page.locator("canvas").is_visible()
    assert dashboard.unexpected() == []
    dashboard.page.context.close()


def test_page_offers_none_where_there_are_none(make_adapter: MakeAdapter, browser: Browser) -> None:
    adapter = make_adapter({"preview": {"enabled": False}})
    sent(adapter, get_testdata_file("CT_small.dcm"))
    dashboard = on_study(browser, adapter, "CT_small.dcm")
    dashboard.shows("step", ".detail-head")
    assert dashboard.page.get_by_role("button", name="Show a picture").count() == 0
    assert dashboard.unexpected() == []
    dashboard.page.context.close()
