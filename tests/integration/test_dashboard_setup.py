"""Set-up pages of the dashboard: entities, echo, self-test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import REFUSED, Dashboard, uncomplaining
from dicom_peers import dcmtk_storescp, free_port
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from playwright.sync_api import Browser

JSON = {"content-type": "application/json"}
pytestmark = pytest.mark.peer("chromium")


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter({
        "dicom": {"scp": {"reject_unknown_sources": True}, "scu": {"connect_s": 2}},
        "sources": [{"ae_title": "TEST", "host": "127.0.0.1"}],
    })  # fmt: skip


@pytest.fixture
def dashboard(browser: Browser, adapter: Adapter) -> Iterator[Dashboard]:
    with uncomplaining(
        browser, adapter, (*REFUSED, "the server responded with a status of 502")
    ) as opened:
        yield opened


def fill(dashboard: Dashboard, **fields: str) -> None:
    for name, value in fields.items():
        dashboard.page.locator(f"#field-{name}").fill(value)


def test_source_is_made_changed_and_removed(adapter: Adapter, dashboard: Dashboard) -> None:
    dashboard.open("setup/sources").press("New source")
    fill(dashboard, aeTitle="CT_7", host="10.1.0.0/16, 10.2.0.7")
    dashboard.press("Make it")
    dashboard.told("CT_7 is set up")
    made = adapter.get("/api/config/sourceaetitle/CT_7")
    assert made["host"] == ["10.1.0.0/16", "10.2.0.7"]
    dashboard.press("Change CT_7")
    fill(dashboard, host="10.3.0.7")
    dashboard.press("Save")
    dashboard.told("CT_7 is changed")
    assert adapter.get("/api/config/sourceaetitle/CT_7")["host"] == ["10.3.0.7"]
    dashboard.press("Remove CT_7")
    dashboard.confirm("Remove it")
    dashboard.told("CT_7 is being removed")
    eventually(lambda: adapter.request("GET", "/api/config/sourceaetitle/CT_7")[0] == 404)


def test_change_of_what_has_changed_meanwhile_is_refused(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    body = b'{"aeTitle": "CT_7", "host": "10.1.0.1"}'
    assert adapter.request("POST", "/api/config/sourceaetitle", JSON, body)[0] == 201
    dashboard.open("setup/sources").press("Change CT_7")
    fill(dashboard, host="10.9.0.9")
    body = b'{"aeTitle": "CT_7", "host": "10.1.0.2"}'
    assert adapter.request("PUT", "/api/config/sourceaetitle/CT_7", JSON, body)[0] == 200
    dashboard.press("Save")
    dashboard.page.locator(".problems li").first.wait_for()
    assert adapter.get("/api/config/sourceaetitle/CT_7")["host"] in ("10.1.0.2", ["10.1.0.2"])


def test_ae_title_of_claras_users_shows_what_is_in_force_and_is_changed(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    made = run_cli(
        "create", "aetitle", "-a", "CLARAAE", "pipeline-covid=p1", "timeout=60",
        "groupBy=0020,000E", "jobRetryDelay=100", "--url", adapter.url,
    )  # fmt: skip
    assert made.returncode == 0
    dashboard.open("setup/aetitles").shows(
        "CLARAAE · groups by 0020,000E · quiet for 1 min · runs covid"
    )
    dashboard.press("Change CLARAAE")
    value = dashboard.page.locator
    assert value("#field-timeoutS").input_value() == "60"
    assert value("#field-pipelines").input_value() == "covid = p1"
    assert value("#field-grouping").input_value() == "0020,000E"
    fill(dashboard, timeoutS="120", pipelines="covid = p1\nlung = p2")
    dashboard.press("Save")
    dashboard.told("CLARAAE is changed, effective now")
    dashboard.shows("CLARAAE · groups by 0020,000E · quiet for 2 min · runs covid, lung")
    now = adapter.get("/api/config/claraaetitle/CLARAAE")
    assert now["processing"] == [{
        "processor": "aetitle", "groupBy": ["0020,000E"], "timeoutS": 120, "priority": "normal",
        "pipelines": {"covid": "p1", "lung": "p2"},
    }]  # fmt: skip
    assert now["processorSettings"] == {"jobRetryDelay": "100"}


def test_field_and_setting_that_say_two_things_are_told_of_beside_the_field(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    dashboard.open("setup/aetitles").press("New AE Title")
    fill(dashboard, name="two", aeTitle="TWO", pipelines="covid = p1")
    dashboard.page.get_by_text("More", exact=True).click()
    fill(dashboard, processorSettings="timeout = 60")
    dashboard.press("Make it")
    dashboard.shows("processorSettings.timeout decides, and makes it 60", "#field-timeoutS-problem")
    fill(dashboard, timeoutS="60")
    dashboard.press("Make it")
    dashboard.told("two is set up")
    assert adapter.get("/api/config/claraaetitle/two")["timeoutS"] == 60


@pytest.mark.peer("dcmtk")
def test_destination_is_made_and_answers_an_echo(
    adapter: Adapter, dashboard: Dashboard, tmp_path: Path
) -> None:
    with dcmtk_storescp(tmp_path / "peer") as port:
        dashboard.open("setup/destinations").press("New destination")
        fill(dashboard, name="pacs", aeTitle="PEER", host="127.0.0.1", port=str(port))
        dashboard.press("Make it")
        dashboard.told("pacs is set up")
        dashboard.press("Echo pacs")
        dashboard.told("pacs answered C-ECHO in")
    dashboard.press("Echo pacs")
    dashboard.told("pacs did not answer C-ECHO: no connection")


def test_destination_that_is_wrong_is_told_beside_its_field(
    adapter: Adapter, dashboard: Dashboard
) -> None:
    dashboard.open("setup/destinations").press("New destination")
    fill(dashboard, name="pacs", aeTitle="PEER", host="127.0.0.1", port="99999")
    dashboard.press("Make it")
    dashboard.shows("port = 99999", "#field-port-problem")
    fill(dashboard, port=str(free_port()))
    dashboard.press("Make it")
    dashboard.told("pacs is set up")


def test_self_test_that_is_rejected_says_why(adapter: Adapter, dashboard: Dashboard) -> None:
    dashboard.open("setup/self-test").press("Send a small study")
    dashboard.confirm("Send it")
    dashboard.told("Nothing was sent to main")
    assert adapter.get("/api/groups") == []


def test_self_test_is_followed_to_its_job(make_adapter: MakeAdapter, browser: Browser) -> None:
    adapter = make_adapter({
        "platform": {"engine": "command", "pipelines": [
            {"id": "pipe-one", "command": ["/bin/cp", "-r", "input/dcm", "output/"]}
        ]},
    })  # fmt: skip
    page = browser.new_context().new_page()
    dashboard = Dashboard(page, adapter).open("setup/self-test")
    dashboard.press("Send a small study")
    dashboard.confirm("Send it")
    dashboard.told("3 instances of 3 acknowledged")
    dashboard.shows("group closed with 3 instances", ".story")
    dashboard.shows("Job for one completed", ".story")
    assert dashboard.unexpected() == []
    page.context.close()


def test_unknown_ae_title_has_no_self_test(adapter: Adapter) -> None:
    status, _, _ = adapter.request("POST", "/api/config/claraaetitle/nobody/selftest")
    assert status == 404
