"""Networks in a real Chromium: one's own, those of the table and what they weigh, names that are typed, and models compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iscam.models.bundled.network import CATEGORIES
from iscam.models.photo11 import BUNDLED_WEIGHTS
from tests.serving import Served, running_app

from .visitor import cards, names, open_tab, pick, visit, wait_for_status, wait_for_toast

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


@pytest.fixture(scope="module")
def own(browser: BrowserContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page that serves somebody's own network, whose classes do not exclude each other."""
    folder = tmp_path_factory.mktemp("own")
    labels = folder / "labels.txt"
    labels.write_text("\n".join(f"a {name} <b>" for name in CATEGORIES))
    options = ("--arch", "photo11", "--checkpoint", str(BUNDLED_WEIGHTS), "--labels", str(labels), "--head", "sigmoid")
    options += ("--input-size", "64")
    with running_app(folder, None, *options) as served:
        yield served


@pytest.fixture
def page(browser: BrowserContext, own: Served) -> Iterator[Page]:
    with visit(browser, own) as page:
        yield page


def test_ones_own_network_names_what_it_finds(page: Page) -> None:
    assert page.get_by_label("Model", exact=True).input_value() == f"photo11 ({Path(BUNDLED_WEIGHTS).name})"
    rows = page.inner_text("#predictions")
    assert "a cat <b>" in rows and re.search(r"\d %\s+found|\d % found", rows)
    wait_for_status(page, "An example, explained")
    assert all("map for a cat <b>" in alt for alt in names(page, "#maps", 5)[:1])
    assert page.get_by_label("Layer", exact=True).input_value() == "layer3 · 4x4"


def test_models_stand_side_by_side(page: Page) -> None:
    """Each with its own classes; the page's first."""
    wait_for_status(page, "An example, explained")
    open_tab(page, "Models")
    cards(page, "#models", 3)
    alts = names(page, "#models", 3)
    assert [re.sub(":.*", "", alt) for alt in alts] == [
        "Grad-CAM map for a cat <b>",
        "Grad-CAM map for tiger cat",
        "Grad-CAM map for cat",
    ]


def test_the_box_says_what_must_be_downloaded_and_takes_names(page: Page) -> None:
    wait_for_status(page, "An example, explained")
    box = page.get_by_label("Model", exact=True)
    box.click()
    offered = page.get_by_role("option").all_inner_texts()
    assert any("ResNet-18 (downloads 47 MB)" in each for each in offered)
    assert not any("downloads" in each for each in offered if "Lite0" in each or "photo11" in each)
    box.fill("resnot")
    box.press("Tab")
    wait_for_toast(page, "There is no such model")
    page.wait_for_function("() => document.querySelector('#model input').value.startsWith('photo11 (')")
    box.click()
    box.fill("EfficientNet-Lite0")
    box.press("Enter")
    page.locator("#predictions caption", has_text="EfficientNet-Lite0").wait_for()
    page.locator("#predictions", has_text="tiger cat").wait_for()


def test_another_can_be_chosen_from_the_list(page: Page) -> None:
    wait_for_status(page, "An example, explained")
    pick(page, "Model", "EfficientNet-Lite0")
    page.locator("#predictions", has_text="tiger cat").wait_for()
