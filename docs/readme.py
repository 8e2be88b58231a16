"""Makes the two pictures of the README's head, in assets/readme/.

    python -m docs.readme

`compare.jpg` is a photo of two things, explained for both by IS-CAM, with what speaks for the one rather than for the other.
`sharpening.webp` shows the page itself, in Chromium, while a map is made by the exact engine. It needs Chromium and playwright.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from docs import gallery
from iscam.project import ASSETS
from tests.browser.visitor import ARGUMENTS, CHROMIUM, visit
from tests.serving import running_app

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Page, ViewportSize

FOLDER = ASSETS / "readme"
COMPARED, SHARPENING = "compare.jpg", "sharpening.webp"
LINK = "?model=photo11&class=cat&against=none&methods=is-cam,grad-cam&steps=10&engine=exact&example=chelsea"
SIZE: ViewportSize = {"width": 1200, "height": 840}
RIM = 10  # pixels around the answer
EVERY = 150  # milliseconds between two looks at the page
MOST = 40  # frames
FRAME, LAST = 350, 2500  # milliseconds that a frame stands


def seen_while_it_sharpens(page: Page) -> Iterator[Image.Image]:
    """What the page shows from the first map on until it is done, without what looks as before."""
    page.locator("#status .line", has_text=re.compile("[1-9][0-9,]* of|Done")).wait_for()
    answer = page.locator("#answer").bounding_box()
    assert answer is not None
    left, top = answer["x"] - RIM, answer["y"] - RIM
    clip: FloatRect = {"x": left, "y": top, "width": answer["width"] + 2 * RIM, "height": SIZE["height"] - top}
    before, done = None, False
    while not done:
        done = page.inner_text("#status .line").startswith("Done")
        shown = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
        if before is None or np.any(np.asarray(before) != np.asarray(shown)):
            yield shown
        before = shown
        page.wait_for_timeout(EVERY)


def thinned(frames: Sequence[Image.Image], most: int = MOST) -> list[Image.Image]:
    """So many of the frames at most, evenly chosen, with the first and the last."""
    return [frames[round(place)] for place in np.linspace(0, len(frames) - 1, min(most, len(frames)))]


def animated(frames: Sequence[Image.Image], file: Path) -> None:
    """The frames in a loop; the last stands long enough to be looked at."""
    stand = [FRAME] * (len(frames) - 1) + [LAST]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=stand, loop=0, quality=80, method=6)


def sharpen(file: Path) -> None:
    """Drive a page of its own, in which nobody has asked anything yet."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder)) as app, sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = chromium.new_context()
        context.set_default_timeout(180_000)
        with visit(context, app, LINK, SIZE) as page:
            animated(thinned(list(seen_while_it_sharpens(page))), file)
        chromium.close()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    tiles, _ = gallery.two()
    gallery.sheet(tiles).save(FOLDER / COMPARED, quality=gallery.QUALITY, optimize=True)
    sharpen(FOLDER / SHARPENING)
