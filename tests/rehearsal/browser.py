"""What a browser makes of the page behind a proxy."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.visitor import ARGUMENTS, CHROMIUM, SLOW, export
from tests.reliability.rows import Row
from tests.serving import free_port

from .proxy import proxied
from .space import PATH, Space

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

WHAT = "in Chromium: the page, its zip, its link, and nothing sent elsewhere"
STOPPED = (
    "csp"  # by the page's own policy: Gradio would show a Space's name, in fonts of Google's, where it is in no frame
)


def looked_at(space: Space) -> Row:
    """The opening example is there, its maps can be taken along, and the link leads to the page. The proxy speaks http: nothing
    is encrypted here."""
    if importlib.util.find_spec("playwright") is None or not Path(CHROMIUM).exists():
        return Row("proxy", WHAT, 0, "all of it", "not tried: there is no Chromium, or no playwright", True)
    from playwright.sync_api import Error, sync_playwright

    front, faults = free_port(), list[str]()
    url = f"http://127.0.0.1:{front}{PATH}"
    with proxied(space.port, front, PATH, "http"), sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = opened(chromium, f"{url}/", faults)
            files = export(page)
            link = page.locator("#link textarea").input_value()
            opened(chromium, link, faults)
        except (AssertionError, Error) as error:
            return Row("proxy", WHAT, 1, "all of it", str(error) or "no zip", False)
        finally:
            chromium.close()
    right = link.startswith(f"{url}/?model=") and len(files) > 2 and not faults
    seen = "; ".join([f"{len(files)} files", link.replace(str(front), "PORT"), *faults])
    return Row("proxy", WHAT, 1, "all of it", seen, right)


def opened(chromium: Browser, url: str, faults: list[str]) -> Page:
    """A page with its predictions; what goes wrong, or is sent past the path, is noted."""
    here = (f"{url.partition('?')[0].rstrip('/')}/", "data:", "blob:")

    def left(request: Request) -> None:
        if request.failure != STOPPED and not request.url.startswith(here):
            faults.append(f"{request.url} was asked for")

    page = chromium.new_page()
    page.set_default_timeout(SLOW)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfinished", left)
    page.on("requestfailed", left)
    page.goto(url)
    page.wait_for_selector("#predictions table")
    return page
