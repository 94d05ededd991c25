"""Takes the pictures of docs/dashboard.md from a demo that runs: `make screenshots`."""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import pydicom
from PIL import Image
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PICTURES = Path(__file__).parent / "screenshots"
SETTLE_MS = 2_500
TRAFFIC_MS = 90_000
"""Before the first picture, so that something has happened."""
COLOURS = 160
SENT = "examples_overlay.dcm"
"""Of pydicom's own test files."""
PAGES = ("now", "rejected", "jobs", "exports", "study", "system", "setup")
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 860}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 860}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}


def main() -> None:
    """Run the demo, look at it, end it."""
    PICTURES.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "adapter", "demo", "--serve"]
    with tempfile.TemporaryFile("w+") as said:
        demo = subprocess.Popen(  # noqa: S603 - our own program
            command, stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            assert demo.stdout is not None
            url = next(line.split()[1] for line in demo.stdout if line.startswith("dashboard:"))
            peer = next(line.split()[2] for line in demo.stdout if line.startswith("send to"))
            _look(url.rstrip("/"), _study(peer.rstrip(";")))
        finally:
            demo.terminate()
            demo.wait()


def _study(peer: str) -> str:
    """Send a study to the demo; return its UID."""
    file = Path(pydicom.__file__).parent / "data" / "test_files" / SENT
    command = [sys.executable, "-m", "adapter", "send", peer, str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program
    return str(pydicom.dcmread(file, stop_before_pixels=True).StudyInstanceUID)


def _look(url: str, study: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        pages = {}
        for look, context in LOOKS.items():
            pages[look] = browser.new_context(**context).new_page()
            pages[look].goto(url)
        pages["light"].wait_for_timeout(TRAFFIC_MS)
        for name in PAGES:
            for look, page in pages.items():
                page.goto(f"{url}/#/{name}" + (f"/{study}" if name == "study" else ""))
                if name == "study":
                    page.get_by_role("button", name="Show a picture").click()
                    page.get_by_role("img", name="Instance").scroll_into_view_if_needed()
                page.wait_for_timeout(SETTLE_MS)
                _save(page, f"{name}-{look}.png")
        browser.close()


def _save(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    main()
