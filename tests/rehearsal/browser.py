"""What a browser makes of the page behind a proxy."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.browser.visitor import ARGUMENTS, CHROMIUM, SLOW, export, visit
from tests.reliability.rows import Row
from tests.serving import Served, free_port

from .proxy import proxied
from .space import PATH, Space

WHAT = "in Chromium: the page, its zip and its link, with nothing asked outside of the path"


def looked_at(space: Space) -> Row:
    """The opening example is there, its maps can be taken along, and the link leads to the page. The proxy speaks http: nothing
    is encrypted here."""
    if importlib.util.find_spec("playwright") is None or not Path(CHROMIUM).exists():
        return Row("proxy", WHAT, 0, "all of it", "not tried: there is no Chromium, or no playwright", True)
    from playwright.sync_api import Error, sync_playwright

    front = free_port()
    url = f"http://127.0.0.1:{front}{PATH}"
    with proxied(space.port, front, PATH, "http"), sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = chromium.new_context()
        context.set_default_timeout(SLOW)
        try:
            with visit(context, Served(url, space.served.pid)) as page:
                files = export(page)
                link = page.locator("#link textarea").input_value()
            with visit(context, Served(url, space.served.pid), link.removeprefix(f"{url}/")) as page:
                pass
        except (AssertionError, Error) as error:
            return Row("proxy", WHAT, 1, "all of it", str(error).splitlines()[0], False)
        finally:
            chromium.close()
    right = link.startswith(f"{url}/?model=") and len(files) > 2
    return Row("proxy", WHAT, 1, "all of it", f"{len(files)} files, {link.replace(str(front), 'PORT')}", right)
