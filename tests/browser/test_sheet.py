"""A sheet of photos in a real Chromium: sorted and filtered by keyboard, on a phone, and without its script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.show.sheets import EVIL, written

from .visitor import PHONE, SLOW

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.browser

ALL = ["b 10.jpg", "a.jpg", "b 9.jpg"]


def shown(page: Page) -> list[str]:
    """The photos that can be seen, in their order."""
    headings = page.locator(
        "article:visible h2"
    )  # their rendered text would be empty where they are scrolled out of sight
    return headings.all_text_contents()


def sort(page: Page, by: str) -> list[str]:
    page.get_by_label("Sort", exact=True).select_option(label=by)
    return shown(page)


def test_a_sheet_is_sorted_and_filtered(browser: BrowserContext, tmp_path: Path) -> None:
    """It asks for nothing but itself; no script of a name runs, and what is inside is not refused by its own policy."""
    asked: list[str] = []
    faults: list[str] = []
    page = browser.new_page()
    try:
        page.on("request", lambda request: asked.append(request.url.split(":")[0]))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.set_viewport_size(PHONE)
        page.goto(written(tmp_path).as_uri())
        assert shown(page) == ALL
        assert sort(page, "least confident first") == ["a.jpg", "b 9.jpg", "b 10.jpg"]
        assert sort(page, "most confident first") == ["b 10.jpg", "b 9.jpg", "a.jpg"]
        assert sort(page, "maps disagree most first") == ["a.jpg", "b 9.jpg", "b 10.jpg"]
        assert sort(page, "least specific to the class first") == ["b 10.jpg", "a.jpg", "b 9.jpg"]
        assert sort(page, "most specific to the class first") == ["a.jpg", "b 10.jpg", "b 9.jpg"]  # unknown: last
        assert sort(page, "by name") == ["a.jpg", "b 9.jpg", "b 10.jpg"]
        assert sort(page, "as they were given") == ALL
        page.get_by_label("Class", exact=True).select_option(value="cat")
        assert shown(page) == ["b 10.jpg", "b 9.jpg"] and page.inner_text("#count") == "2 of 3 shown"
        page.get_by_label("Class", exact=True).focus()
        page.keyboard.press("Tab")
        page.keyboard.type("CAT 9.jpg")
        assert shown(page) == ["b 9.jpg"]
        page.keyboard.press("Control+a")
        page.keyboard.type("blank")  # of a note, but of another class
        assert shown(page) == [] and page.inner_text("#count") == "0 of 3 shown"
        page.get_by_label("Class", exact=True).select_option(value=EVIL.replace("\u202e", "?"))
        assert shown(page) == ["a.jpg"]
        assert page.locator("#missed li").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert page.evaluate("[...document.images].every(image => image.loading === 'lazy' || image.naturalWidth)")
        assert page.locator("article:visible img").first.evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
    finally:
        page.close()
    assert faults == [] and set(asked) <= {"file", "data"} and asked.count("file") == 1


def test_a_sheet_is_read_without_its_script(browser: BrowserContext, tmp_path: Path) -> None:
    assert browser.browser is not None
    context = browser.browser.new_context(java_script_enabled=False)
    try:
        context.set_default_timeout(SLOW)
        page = context.new_page()
        page.goto(written(tmp_path).as_uri())
        assert shown(page) == ALL
        assert not page.locator("#tools").is_visible()
    finally:
        context.close()
