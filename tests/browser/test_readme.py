"""The animation of the README's head, in brief: a few frames of a run that goes on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from docs import readme
from tests.browser.visitor import press, visit, wait_for_status

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.serving import Served

pytestmark = pytest.mark.browser


def test_the_animation_shows_a_map_that_changes(browser: BrowserContext, app: Served, tmp_path: Path) -> None:
    file = tmp_path / readme.SHARPENING
    with visit(browser, app, readme.LINK.replace("steps=10", "steps=100"), readme.SIZE) as page:
        frames = list(islice(readme.seen_while_it_sharpens(page), 3))
        press(page, "Stop")
        wait_for_status(page, "^Stopped")
    readme.animated(frames, file)
    with Image.open(file) as moving, Image.open(readme.FOLDER / readme.SHARPENING) as shipped:
        assert moving.format == "WEBP" and moving.n_frames == 3
        assert moving.size == shipped.size and shipped.n_frames > 3 and shipped.info["loop"] == 0


def test_frames_are_thinned_evenly() -> None:
    frames = [Image.new("L", (1, 1), number) for number in range(100)]
    kept = [frame.getpixel((0, 0)) for frame in readme.thinned(frames, 4)]
    assert kept == [0, 33, 66, 99] and len(readme.thinned(frames[:2], 4)) == 2
