"""A visitor's hands and eyes: how a page is opened, asked and read."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from iscam.trust.controls import CONTROLS
from tests.serving import Served

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page, ViewportSize

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SLOW = 180_000  # milliseconds; on a busy machine a step may take long
METHODS = ("is-cam", "score-cam", "grad-cam", "grad-cam++")  # what a page asks for unless it is told otherwise
LINES = f"document.querySelectorAll('#curve-{{0}} .mark-line path').length === {len(METHODS) + len(CONTROLS)}"
ALL_LINES = f"{LINES.format('deletion')} && {LINES.format('insertion')}"  # the tab Faithfulness is complete
TABS = [
    "Compare",
    "Classes",
    "Integration",
    "Layers",
    "Models",
    "Several",
    "Faithfulness",
    "Test it",
    "Export",
    "About",
]
PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1366, "height": 768}


# Gradio cuts off what is too wide, so that the page itself never is. What can be scrolled to is not cut off
NOTHING_CUT_OFF = """() => ![...document.querySelectorAll("body *")].some(part => {
    const frame = part.getBoundingClientRect();
    if (part.ownerSVGElement || !part.checkVisibility() || !frame.width || !frame.height) return false;
    if (frame.left >= -1 && frame.right <= innerWidth + 1) return false;
    for (let around = part.parentElement; around; around = around.parentElement) {
        if (["auto", "scroll"].includes(getComputedStyle(around).overflowX)) return false;
    }
    return true;
})"""


@contextmanager
def visit(browser: BrowserContext, app: Served, query: str = "", size: ViewportSize = DESK) -> Iterator[Page]:
    """A page of a visitor's own; at the end nothing may have been asked of another host, and nothing have gone wrong."""
    asked: list[str] = []
    faults: list[str] = []
    page = browser.new_page()
    page.set_viewport_size(size)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    try:
        page.goto(f"{app.url}/{query}")
        page.wait_for_selector("#predictions table")
        yield page
    finally:
        page.close()
    assert [url for url in asked if not url.startswith((f"{app.url}/", "data:", "blob:"))] == []
    assert faults == []


def wait_for_status(page: Page, words: str) -> str:
    """The status line once it matches."""
    from playwright.sync_api import expect

    expect(page.locator("#status .line")).to_have_text(re.compile(words))
    return page.inner_text("#status .line")


def wait_for_toast(page: Page, words: str | re.Pattern[str]) -> None:
    page.get_by_test_id("toast-text").filter(has_text=words).wait_for()


def upload(page: Page, file: Path) -> None:
    page.set_input_files("#photo input[type=file]", file)


def predicted(page: Page, file: Path) -> None:
    """Upload a photo of which no map is known, and wait until its classes are there."""
    before = page.evaluate("document.querySelector('#framed img')?.src")
    upload(page, file)
    wait_for_another(page, "#framed img", before)
    wait_for_status(page, "sees .*%")


def wait_until_nothing_is_cut_off(page: Page) -> None:
    """At the sides; when the window's size has changed, plots follow in a moment."""
    page.wait_for_function(NOTHING_CUT_OFF)


def take_example(page: Page, name: str) -> None:
    """Choose an example by its file's name; it is the photo now."""
    page.locator(f"#examples button:has(img[src*='{name}'])").click()
    page.locator(f"#photo img[src*='{name}']").wait_for()


def press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def set_steps(page: Page, steps: int) -> None:
    page.get_by_label("number input for Integration steps").fill(str(steps))


def start_a_long_run(page: Page) -> None:
    """A run of a minute or more that is under way."""
    if not page.get_by_role("radio", name="exact").is_visible():
        press(page, "Advanced ▼")
    page.get_by_role("radio", name="exact").check()
    set_steps(page, 100)
    press(page, "Explain")
    wait_for_status(page, r"IS-CAM: [\d,]+ of [\d,]+ passes, .* left")


def choose(page: Page, label: str, words: str) -> None:
    """Choose in a dropdown by typing, with the keyboard alone; it shows what was chosen."""
    pick(page, label, words)
    assert words in page.get_by_label(label, exact=True).input_value()


def pick(page: Page, label: str, words: str) -> None:
    """Choose as `choose` does what is refused: by the time one looks, the box may show what it did before."""
    box = page.get_by_label(label, exact=True)
    box.focus()
    box.press("Control+a")
    box.press_sequentially(words)
    page.wait_for_function(
        """words => {
            const options = [...document.querySelectorAll("[role=option]")];
            return options.length > 0 && options.every(option => option.innerText.includes(words));
        }""",
        arg=words,
    )
    box.press("Enter")


def open_tab(page: Page, name: str) -> None:
    """Open a tab, which on a narrow screen may be in a menu."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.get_by_label("More tabs").click()
        tab = page.locator(".overflow-dropdown").get_by_text(name, exact=True)
    tab.click()


def export(page: Page) -> dict[str, bytes]:
    """The files of the zip that the page offers."""
    open_tab(page, "Export")
    page.wait_for_function("document.querySelector('#command textarea').value !== ''")
    with page.expect_download() as waiting:
        page.locator("#download").click()
    assert waiting.value.suggested_filename.endswith(".iscam.zip")
    with zipfile.ZipFile(waiting.value.path()) as content:
        return {name: content.read(name) for name in content.namelist()}


def cards(page: Page, part: str, count: int) -> Locator:
    """The pictures of a part of the page, once there are so many that can be seen."""
    from playwright.sync_api import expect

    pictures = page.locator(f"{part} figure:not(.waiting) img:visible")
    expect(pictures).to_have_count(count)
    return pictures


def map_picture(page: Page, method: str) -> Locator:
    return page.locator(f"[id='map-{method}'] img")


def wait_for_maps_of(page: Page, category: str) -> None:
    """Until the pictures of all four methods say that they are of this class."""
    from playwright.sync_api import expect

    for method in METHODS:
        expect(map_picture(page, method)).to_have_attribute("alt", re.compile(f"map for {category}:"))


def wait_for_another(page: Page, selector: str, before: str | None) -> None:
    """Until the first such picture shows something else than before."""
    changed = "([selector, before]) => ![undefined, before].includes(document.querySelector(selector)?.src)"
    page.wait_for_function(changed, arg=[selector, before])


def names(page: Page, part: str, count: int) -> list[str]:
    """What the pictures of a part of the page say they are."""
    return [picture.get_attribute("alt") or "" for picture in cards(page, part, count).all()]
