"""Debian's Chromium on the dashboard, driven by playwright; every complaint of it is kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dicom_peers import CHROMIUM
from harness import Adapter, eventually
from playwright.sync_api import Browser, Page, sync_playwright

PAGES = ("now", "rejected", "jobs", "exports", "study", "system", "setup")
WAIT_MS = 30_000
UNREACHABLE = (
    "net::ERR_CONNECTION_REFUSED",
    "WebSocket connection to",
    "net::ERR_CONNECTION_RESET",
)
"""What Chromium says of an adapter that is not there."""
REFUSED = ("the server responded with a status of 4",)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser without a screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Dashboard:
    """One page of a browser on the dashboard of an adapter."""

    def __init__(self, page: Page, adapter: Adapter, expected: Sequence[str] = ()) -> None:
        self.page = page
        self.adapter = adapter
        self.expected = list(expected)
        """Complaints that belong to the test."""
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith(f"http://127.0.0.1:{self.adapter.api_port}/"):
            self.complaints.append(f"outside: {request.url}")

    def unexpected(self) -> list[str]:
        """Return what was complained of and does not belong to the test."""
        return [
            each for each in self.complaints if not any(known in each for known in self.expected)
        ]

    def open(self, name: str = "now") -> "Dashboard":
        """Go to a page of it and wait until the link is live."""
        self.page.goto(f"{self.adapter.url}/#/{name}")
        self.page.locator('body[data-link="live"]').wait_for()
        return self

    def text(self, selector: str = "main") -> str:
        return self.page.locator(selector).inner_text()

    def shows(self, words: str, selector: str = "main") -> None:
        """Wait until the words are there."""
        self.page.locator(selector).filter(has_text=words).first.wait_for()

    def press(self, name: str) -> None:
        """Press a button by its accessible name."""
        self.page.get_by_role("button", name=name).first.click()

    def confirm(self, name: str, **fields: str) -> None:
        """Answer the question that is asked."""
        dialog = self.page.get_by_role("dialog")
        for label, value in fields.items():
            dialog.get_by_label(label).fill(value)
        dialog.get_by_role("button", name=name, exact=True).click()

    def told(self, words: str) -> None:
        """Wait until it says what happened."""
        self.page.locator("#toasts").get_by_text(words).first.wait_for()

    def model(self) -> dict[str, Any]:
        """Return what the page has made of the events."""
        return self.page.evaluate(
            """() => {
                const { sections, storage, throughput } = globalThis.dicomAdapter.model;
                const rows = Object.entries(sections);
                const values = rows.map(([name, map]) => [name, [...map.values()]]);
                return { ...Object.fromEntries(values), storage,
                         throughput: [...throughput.buckets].sort() };
            }"""
        )

    def until(self, expression: str, what: str = "") -> Any:
        """Wait until a function of the page returns something."""
        return eventually(lambda: self.page.evaluate(expression), 10, what or expression)


@contextmanager
def uncomplaining(
    browser: Browser, adapter: Adapter, expected: Sequence[str] = ()
) -> Iterator[Dashboard]:
    """Give a page of its own; at the end nothing was complained of that is not expected."""
    opened = Dashboard(browser.new_context().new_page(), adapter, expected)
    yield opened
    assert opened.unexpected() == []
    opened.page.context.close()
