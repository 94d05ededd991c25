"""The dashboard in Debian's Chromium, on a running adapter with real associations.

Whatever the browser complains of fails a test: violations of the Content-Security-Policy, errors in
the console, requests to other addresses.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from browser import PAGES, REFUSED, UNREACHABLE, Dashboard
from dicom_peers import free_port
from harness import Adapter, eventually
from health import MakeAdapter
from playwright.sync_api import Browser
from wire import RJ, Wire, associate_rq, data_set

from adapter.domain.records import Job
from adapter.domain.tables import JobState
from adapter.store.diskcache_engine import DiskcacheEngine
from adapter.store.group_commit import WriterThread
from adapter.store.ledger import RowLedger

pytestmark = pytest.mark.peer("chromium")
Open = Callable[..., Dashboard]
NARROW = {"width": 390, "height": 780}


@pytest.fixture
def open_dashboard(browser: Browser) -> Iterator[Open]:
    """Open pages; at the end nothing was complained of."""
    opened: list[Dashboard] = []

    def make(
        adapter: Adapter, name: str = "now", expected: tuple[str, ...] = (), **context: Any
    ) -> Dashboard:
        page = browser.new_context(**context).new_page()
        opened.append(Dashboard(page, adapter, expected))
        return opened[-1].open(name)

    yield make
    complaints = [each for one in opened for each in one.unexpected()]
    for one in opened:
        one.page.context.close()
    assert complaints == []


@pytest.fixture
def adapter(make_adapter: MakeAdapter, tmp_path: Path) -> Adapter:
    """An AE Title whose results go to a folder and to nobody who answers."""
    (tmp_path / "archive").mkdir()
    return make_adapter({
        "dicom": {
            "scp": {"reject_unknown_sources": True},
            "scu": {"connect_s": 1, "export": {"max_retries": 0, "retry_delay_s": 0.2}},
        },
        "sources": [{"ae_title": "TEST", "host": "127.0.0.1"}],
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "timeout_s": 300,
             "pipelines": {"copy": "copy"}, "destinations": ["archive", "pacs"]},
            {"name": "faulty", "ae_title": "FAULTY", "timeout_s": 1, "pipelines": {"no": "no"}},
        ],
        "platform": {"engine": "command", "max_retries": 0, "pipelines": [
            {"id": "copy", "command": ["/bin/cp", "-r", "input/dcm", "output/"]},
            {"id": "no", "command": ["/bin/false"]},
        ]},
        "destinations": [
            {"name": "archive", "type": "folder", "path": str(tmp_path / "archive")},
            {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port()},
        ],
    })  # fmt: skip


def send(adapter: Adapter, study: str, count: int = 3, called: bytes = b"MAIN") -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=called)
        for number in range(count):
            uid = f"{study}.{number}"
            assert wire.store(uid, data_set(uid, study=study)) == ("response", 0)
        wire.release()


def reject(adapter: Adapter, **request: bytes) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(**request))
        answer = wire.read_pdu()
        assert answer is not None
        assert answer[0] == RJ


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (row,) = rows
    return row


# --- the page itself


def test_page_may_use_what_the_adapter_serves_and_nothing_else(adapter: Adapter) -> None:
    status, headers, body = adapter.request("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(
        each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert b"<style" not in body
    assert b"style=" not in body


def test_files_are_asked_for_again_only_when_they_changed(adapter: Adapter) -> None:
    status, headers, body = adapter.request("GET", "/static/app.js")
    assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert body
    again, _, nothing = adapter.request("GET", "/static/app.js", {"If-None-Match": headers["etag"]})
    assert (again, nothing) == (304, b"")


@pytest.mark.parametrize("path", ["/static/none.js", "/static/..%2f__init__.py", "/static/"])
def test_nothing_but_its_files_is_served(adapter: Adapter, path: str) -> None:
    assert adapter.request("GET", path)[0] == 404


def test_every_page_is_drawn_on_every_width(adapter: Adapter, open_dashboard: Open) -> None:
    send(adapter, "1.2.3", called=b"FAULTY")
    for context in ({}, {"viewport": NARROW}, {"viewport": {"width": 2560, "height": 1440}}):
        dashboard = open_dashboard(adapter, **context)
        for name in PAGES:
            dashboard.open(name)
            assert dashboard.page.locator("h1").inner_text()
            width = "() => document.documentElement.scrollWidth - innerWidth"
            assert dashboard.page.evaluate(width) <= 0, (name, context)


def test_theme_follows_the_system_until_it_is_switched(
    adapter: Adapter, open_dashboard: Open
) -> None:
    colour = "() => getComputedStyle(document.body).backgroundColor"
    dark = open_dashboard(adapter, color_scheme="dark")
    light = open_dashboard(adapter, color_scheme="light")
    night, day = dark.page.evaluate(colour), light.page.evaluate(colour)
    assert night != day
    light.press("Dark theme")
    assert light.page.evaluate(colour) == night
    light.page.reload()
    light.page.locator('body[data-link="live"]').wait_for()
    assert light.page.evaluate(colour) == night


def test_pages_are_reached_by_keyboard(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter)
    dashboard.page.keyboard.press("Tab")
    assert dashboard.page.evaluate("() => document.activeElement.id") == "skip"
    dashboard.page.keyboard.press("Enter")
    assert dashboard.page.evaluate("() => document.activeElement.id") == "main"
    dashboard.page.get_by_role("link", name="Jobs", exact=True).focus()
    dashboard.page.keyboard.press("Enter")
    dashboard.page.get_by_role("heading", name="Jobs", level=1).wait_for()
    assert dashboard.page.evaluate("() => document.activeElement.tagName") == "H1"


# --- live


def test_association_and_group_are_seen_while_they_are_open(
    adapter: Adapter, open_dashboard: Open
) -> None:
    dashboard = open_dashboard(adapter)
    dashboard.shows("Nobody is sending")
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        wire.store("1.2.3.1")
        table = dashboard.page.get_by_role("table", name="Open associations")
        table.get_by_role("rowheader", name="TEST").wait_for()
        dashboard.shows("1 instance ·", ".group")
        dashboard.shows("1 sender", ".group")
        wire.release()
    dashboard.shows("quiet", ".group")
    dashboard.shows("Nobody is sending")


def test_group_is_held_extended_and_closed(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter)
    send(adapter, "1.2.3")
    dashboard.press("Hold group of MAIN")
    dashboard.confirm("Hold it")
    dashboard.told("The group of MAIN is held.")
    assert only(adapter.get("/api/groups"))["held"] is True
    dashboard.shows("held", ".group")
    dashboard.press("Extend group of MAIN")
    dashboard.confirm("Extend it", **{"Seconds from now": "900"})
    dashboard.told("stays open for 15 min")
    assert 890 < only(adapter.get("/api/groups"))["leftS"] <= 900
    dashboard.press("Close now group of MAIN")
    dashboard.confirm("Close it now")
    dashboard.told("The group of MAIN closes.")
    dashboard.shows("No group is open")
    eventually(lambda: adapter.get("/api/jobs"))


def test_nothing_is_done_when_the_answer_is_no(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter)
    send(adapter, "1.2.3")
    dashboard.press("Close now group of MAIN")
    dashboard.confirm("Keep as it is")
    dashboard.press("Close now group of MAIN")
    dashboard.page.keyboard.press("Escape")
    dashboard.page.get_by_role("dialog").wait_for(state="detached")
    assert len(adapter.get("/api/groups")) == 1


def test_enter_in_a_field_means_yes(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter)
    send(adapter, "1.2.3")
    dashboard.press("Extend group of MAIN")
    dashboard.page.get_by_role("dialog").get_by_label("Seconds from now").fill("600")
    dashboard.page.keyboard.press("Enter")
    dashboard.told("stays open for 10 min")


def test_order_that_comes_too_late_says_so(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter, expected=REFUSED)
    send(adapter, "1.2.3")
    dashboard.press("Hold group of MAIN")
    group = only(adapter.get("/api/groups"))
    adapter.request("POST", f"/api/groups/{group['id']}/close")
    eventually(lambda: not adapter.get("/api/groups"))
    dashboard.confirm("Hold it")
    dashboard.told("It is not held: no open group")


def test_rejected_sender_is_told_with_the_rule(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter, "rejected")
    dashboard.shows("Nobody was rejected")
    for _ in range(3):
        reject(adapter, calling=b"STRANGER")
    row = dashboard.page.get_by_role("row").filter(has_text="STRANGER")
    row.get_by_text("calling AE Title is not among the sources").wait_for()
    row.get_by_role("cell", name="3", exact=True).wait_for()


def test_text_from_the_network_is_only_text(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter, "rejected")
    reject(adapter, calling=b"<img src=x>", called=b"<b onclick=y>")
    dashboard.shows("<img src=x>")
    dashboard.shows("<b onclick=y>")
    dashboard.open("now").shows("Rejected <img src=x>")
    assert dashboard.page.locator('img[src="x"], main b').count() == 0


# --- jobs and exports


def test_job_tells_its_story_and_is_run_again(adapter: Adapter, open_dashboard: Open) -> None:
    send(adapter, "1.2.3", called=b"FAULTY")
    job = only(eventually(lambda: adapter.get("/api/jobs?state=Faulted")))
    dashboard = open_dashboard(adapter, "jobs?state=Faulted")
    dashboard.page.get_by_role("row").filter(has_text="FAULTY").get_by_role("link").click()
    dashboard.shows(job["id"])
    dashboard.shows(job["error"], ".trouble")
    dashboard.shows("Starting", ".story")
    dashboard.press(f"Retry job {job['id']}")
    dashboard.confirm("Run it again")
    dashboard.told("The job is")
    eventually(lambda: adapter.get(f"/api/jobs/{job['id']}")["submissions"] == 2)
    dashboard.shows("Resubmitted")


def test_jobs_are_searched_and_filtered(adapter: Adapter, open_dashboard: Open) -> None:
    for study in ("1.2.3", "1.2.4"):
        send(adapter, study, called=b"FAULTY")
    rows = eventually(lambda: len(found := adapter.get("/api/jobs?state=Faulted")) == 2 and found)
    dashboard = open_dashboard(adapter, "jobs")
    table = dashboard.page.get_by_role("table", name="Jobs")
    table.get_by_role("rowheader").nth(1).wait_for()
    dashboard.page.get_by_role("searchbox").fill(rows[0]["groupId"])
    dashboard.shows("1 of 2", ".filters")
    assert table.get_by_role("rowheader").count() == 1
    dashboard.page.get_by_role("searchbox").fill("")
    dashboard.page.get_by_role("button", name="Cancelled").click()
    dashboard.shows("No job here")


def test_export_shows_every_instance_and_its_destination_is_held(
    adapter: Adapter, open_dashboard: Open
) -> None:
    dashboard = open_dashboard(adapter)
    dashboard.press("Hold pacs")
    dashboard.confirm("Hold it", **{"Why (for whoever finds it so)": "moved to another room"})
    dashboard.told("pacs is held.")
    dashboard.shows("moved to another room")
    send(adapter, "1.2.3")
    group = only(adapter.get("/api/groups"))
    adapter.request("POST", f"/api/groups/{group['id']}/close")
    done = only(eventually(lambda: adapter.get("/api/exports?state=Completed")))
    dashboard.page.get_by_role("row").filter(has_text="pacs").get_by_role("link").first.click()
    dashboard.shows("To pacs only.")
    dashboard.open(f"exports/{done['id']}").shows("3 of 3 instances")
    outcomes = dashboard.page.get_by_role("table", name="What became of every instance")
    assert outcomes.get_by_text("delivered").count() == 3
    dashboard.open("now").press("Go on with pacs")
    dashboard.told("Exports to pacs go on.")
    row = dashboard.page.get_by_role("row").filter(has_text="pacs")
    row.get_by_text("down", exact=True).wait_for()
    row.get_by_text("again at").wait_for()


# --- set-up


def test_ae_title_is_made_with_the_servers_objections_changed_and_removed(
    adapter: Adapter, open_dashboard: Open
) -> None:
    dashboard = open_dashboard(adapter, "setup", expected=REFUSED)
    dashboard.shows("from the file")
    dashboard.press("New AE Title")
    dashboard.page.get_by_label("Name", exact=False).first.fill("liver")
    dashboard.page.get_by_label("AE Title").fill("LIVER AI WHICH IS TOO LONG")
    dashboard.page.get_by_label("Quiet time").fill("-3")
    dashboard.press("Make it")
    dashboard.shows("aeTitle = ", "#field-aeTitle-problem")
    dashboard.shows("timeoutS = ", "#field-timeoutS-problem")
    assert dashboard.page.evaluate("() => document.activeElement.name") == "aeTitle"
    dashboard.page.get_by_label("AE Title").fill("LIVER")
    dashboard.page.get_by_label("Quiet time").fill("7")
    dashboard.page.get_by_label("Pipelines").fill("seg = copy")
    dashboard.press("Make it")
    dashboard.told("liver is set up")
    made = adapter.get("/api/config/claraaetitle/liver")
    assert (made["aeTitle"], made["timeoutS"], made["pipelines"]) == ("LIVER", 7, {"seg": "copy"})
    dashboard.press("Change liver")
    dashboard.page.get_by_label("Destinations").fill("archive")
    dashboard.press("Save")
    dashboard.told("liver is changed")
    changed = adapter.get("/api/config/claraaetitle/liver")
    assert (changed["destinations"], changed["timeoutS"]) == (["archive"], 7)
    dashboard.press("Remove liver")
    dashboard.confirm("Remove it")
    dashboard.told("liver is being removed")
    eventually(lambda: adapter.request("GET", "/api/config/claraaetitle/liver")[0] == 404)


# --- the link


def same(dashboard: Dashboard, adapter: Adapter) -> bool:
    """Return whether the page knows what a new subscriber is told."""
    told = json.loads(dashboard.page.evaluate(
        """() => new Promise((resolve) => {
            const socket = new WebSocket(`ws://${location.host}/api/events`);
            socket.onmessage = (message) => { resolve(message.data); socket.close(); };
        })"""
    ))[0]["snapshot"]  # fmt: skip
    known = dashboard.model()
    del told["time"], told["latest"]
    told["throughput"] = [[number, [n, size]] for number, n, size in told["throughput"]["buckets"]]
    return alike(told, known)


def alike(one: Any, other: Any) -> bool:
    """Return whether values are the same, but for a millisecond or two of computed times."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(sorted(one, key=ident), sorted(other, key=ident), strict=False)
        return len(one) == len(other) and all(alike(a, b) for a, b in pairs)
    if isinstance(one, str) and isinstance(other, str) and one.endswith("Z") and one != other:
        times = (datetime.fromisoformat(text) for text in (one, other))
        return abs(next(times) - next(times)) < timedelta(milliseconds=3)
    return bool(one == other)


def ident(row: Any) -> str:
    """Return what rows are sorted by."""
    return str(row.get("id") or row.get("name")) if isinstance(row, dict) else str(row)


def test_page_knows_what_the_server_knows(adapter: Adapter, open_dashboard: Open) -> None:
    """The fold of events on the page is the server's: rows, countdowns and throughput."""
    dashboard = open_dashboard(adapter)
    send(adapter, "1.2.3")
    send(adapter, "1.2.4", called=b"FAULTY")
    reject(adapter, calling=b"STRANGER")
    groups = [row["id"] for row in adapter.get("/api/groups") if row["aeTitle"] == "MAIN"]
    adapter.request("POST", f"/api/groups/{groups[0]}/close")
    send(adapter, "1.2.5")
    send(adapter, "1.2.5")
    held = next(row["id"] for row in adapter.get("/api/groups") if row["aeTitle"] == "MAIN")
    adapter.request("POST", f"/api/groups/{held}/extend", body=b'{"seconds": 600}')
    eventually(lambda: adapter.get("/api/exports?state=Completed"))
    eventually(lambda: adapter.get("/api/jobs?state=Faulted"))
    eventually(lambda: same(dashboard, adapter), what="the same state")
    dashboard.page.reload()
    dashboard.page.locator('body[data-link="live"]').wait_for()
    send(adapter, "1.2.5", count=5)
    eventually(lambda: same(dashboard, adapter), what="the same state after a snapshot")


def test_broken_link_goes_on_where_it_stopped(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter)
    greetings = """() => {
        const { live } = globalThis.dicomAdapter;
        globalThis.greeted = [];
        const take = live.take;
        live.take = (messages) => {
            const hellos = messages.filter(({ type }) => type === "hello");
            greeted.push(...hellos.map((hello) => "snapshot" in hello));
            take(messages);
        };
        live.link.close();
    }"""
    send(adapter, "1.2.3")
    dashboard.page.evaluate(greetings)
    send(adapter, "1.2.4")
    assert dashboard.until("() => greeted.length > 0 && greeted") == [False]
    eventually(lambda: same(dashboard, adapter), what="the same state")
    dashboard.shows("2 groups")


def test_restart_of_the_adapter_is_a_new_epoch_and_a_right_snapshot(
    adapter: Adapter, open_dashboard: Open
) -> None:
    dashboard = open_dashboard(adapter, expected=UNREACHABLE)
    send(adapter, "1.2.3")
    dashboard.shows("3 instances ·", ".group")
    epoch = dashboard.page.evaluate("() => dicomAdapter.live.epoch")
    adapter.settings["api"]["port"] = adapter.api_port
    adapter.stop()
    dashboard.shows("Reconnecting", "#link")
    adapter.start()
    dashboard.shows("Live", "#link")
    assert dashboard.page.evaluate("() => dicomAdapter.live.epoch") != epoch
    eventually(lambda: same(dashboard, adapter), what="the same state")
    dashboard.shows("3 instances ·", ".group")


def test_page_is_live_where_no_websocket_comes_through(adapter: Adapter, browser: Browser) -> None:
    page = browser.new_context().new_page()
    page.route_web_socket("**/api/events*", lambda socket: socket.close())
    dashboard = Dashboard(page, adapter).open()
    send(adapter, "1.2.3")
    dashboard.shows("3 instances \N{MIDDLE DOT}", ".group")
    assert dashboard.page.evaluate("() => dicomAdapter.live.plain") is True
    assert dashboard.unexpected() == []
    page.context.close()


# --- much of everything


def test_five_hundred_groups_are_turned_by_the_page(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter)
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for number in range(500):
            uid = f"1.2.7.{number}"
            assert wire.store(f"{uid}.1", data_set(f"{uid}.1", study=uid)) == ("response", 0)
        dashboard.shows("1\N{EN DASH}24 of 500")
        assert dashboard.page.locator("li.group").count() == 24
        dashboard.press("Next groups")
        dashboard.shows("25\N{EN DASH}48 of 500")
        wire.release()


def with_many_jobs(adapter: Adapter, count: int) -> None:
    """Write the rows of jobs that are over into the ledger of an adapter that is stopped."""
    now = time.time()
    jobs = [
        Job(
            id=f"job-{number:05}", group_id=f"group-{number:05}", ae_title="MAIN",
            processor="aetitle", name=f"name-{number}", pipeline="copy", pipeline_id="copy",
            priority="normal", state=JobState.COMPLETED, opened_at=now - count + number,
            changed_at=now, instances=3, payload_bytes=240, collected=True,
        )
        for number in range(count)
    ]  # fmt: skip
    folder = adapter.root / "ledger"
    folder.mkdir(parents=True, exist_ok=True)

    async def write() -> None:
        writer = WriterThread()
        ledger = RowLedger(DiskcacheEngine(folder), writer, time.time)
        ledger.load()
        await ledger.open_jobs(jobs)
        ledger.close()

    trio.run(write)


def test_ten_thousand_jobs_are_turned_by_the_page_and_searched(
    make_adapter: MakeAdapter, open_dashboard: Open
) -> None:
    adapter = make_adapter(start=False)
    with_many_jobs(adapter, 10_000)
    dashboard = open_dashboard(adapter.start(), "jobs")
    dashboard.shows("1\N{EN DASH}50 of 10,000")
    rows = dashboard.page.get_by_role("table", name="Jobs").get_by_role("rowheader")
    assert rows.count() == 50
    assert rows.first.get_by_role("link").get_attribute("title") == "job-09999"
    dashboard.page.get_by_role("searchbox").fill("job-00042")
    dashboard.shows("1 of 10,000")
    assert rows.count() == 1
    dashboard.page.get_by_role("searchbox").fill("")
    send(adapter, "1.2.3")
    dashboard.shows("1\N{EN DASH}50 of 10,001")
    assert rows.count() == 50


def test_latest_of_more_jobs_than_the_page_takes_are_shown(
    make_adapter: MakeAdapter, open_dashboard: Open
) -> None:
    adapter = make_adapter(start=False)
    with_many_jobs(adapter, 20_100)
    dashboard = open_dashboard(adapter.start(), "jobs")
    dashboard.shows("latest 20,000 of 20,100", ".filters")
    newest = dashboard.page.get_by_role("table", name="Jobs").get_by_role("rowheader").first
    assert newest.get_by_role("link").get_attribute("title") == "job-20099"
    send(adapter, "1.2.3")
    dashboard.shows("latest 20,000 of 20,101", ".filters")
    assert (
        newest.get_by_role("link").get_attribute("title")
        == adapter.get("/api/jobs?offset=20100")[0]["id"]
    )
    dashboard.page.get_by_role("searchbox").fill("job-20042")
    dashboard.shows("1 of the latest 20,000 of 20,101", ".filters")
    dashboard.page.get_by_role("searchbox").fill("job-00042")
    dashboard.shows("0 of the latest 20,000 of 20,101", ".filters")


def test_page_keeps_up_while_a_study_comes_in(adapter: Adapter, open_dashboard: Open) -> None:
    dashboard = open_dashboard(adapter)
    sender = threading.Thread(target=send, args=(adapter, "1.2.8", 1000))
    sender.start()
    for name in (*PAGES, "now"):
        dashboard.open(name)
    sender.join()
    dashboard.shows("1,000 instances ·", ".group")
    eventually(lambda: same(dashboard, adapter), what="the same state")
