"""The dashboard by the rules of axe-core (WCAG 2.2 A and AA, and its best practices)."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import PAGES, Dashboard
from health import MakeAdapter
from playwright.sync_api import Browser
from test_dashboard import reject, send
from wire import Wire

pytestmark = pytest.mark.peer("chromium")
MORE = ("setup/destinations", "setup/sources", "setup/self-test", "jobs/none", "exports/none")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_keep_the_rules_of_accessibility(
    make_adapter: MakeAdapter, browser: Browser, scheme: str
) -> None:
    adapter = make_adapter(
        {"dicom": {"scp": {"reject_unknown_sources": True}},
         "sources": [{"ae_title": "TEST", "host": "127.0.0.1"}],
         "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 600,
             "pipelines": {"one": "one"}, "destinations": ["pacs"]}
         ],
         "destinations": [{"name": "pacs", "ae_title": "P", "host": "127.0.0.1", "port": 1}]}
    )  # fmt: skip
    send(adapter, "1.2.3")
    reject(adapter, calling=b"STRANGER")
    context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
    dashboard = Dashboard(context.new_page(), adapter)
    found = []
    with Wire(adapter.dicom_port) as sender:  # so that there is an open association to be shown
        sender.associate()
        for name in (*PAGES, *MORE):
            dashboard.open(name)
            if name == "setup":
                dashboard.press("New AE Title")
                dashboard.page.get_by_text("More", exact=True).click()
            if name == "now":
                dashboard.shows("MAIN", ".group")
                dashboard.shows("TEST", "tbody")
            dashboard.page.locator("main").get_by_role("heading", level=1).wait_for()
            results = Axe().run(dashboard.page).response["violations"]
            found += [
                (name, rule["id"], rule["help"], node["target"])
                for rule in results
                for node in rule["nodes"]
            ]
    dashboard.open("now").press("Hold group of MAIN")
    found += [("dialog", rule["id"]) for rule in Axe().run(dashboard.page).response["violations"]]
    context.close()
    assert found == []
