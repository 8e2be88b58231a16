"""Chromium, the running app and an opened page, for all browser tests: one of each, so tests bring photos of their own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from iscam.project import EXAMPLES
from tests.browser.visitor import ARGUMENTS, CHROMIUM, SLOW, visit
from tests.conftest import SHARED
from tests.serving import Served, running_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture(scope="package")
def browser() -> Iterator[BrowserContext]:
    """One for all visitors, so that only the first has to load the page's scripts; without a way out."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright.expect.set_options(timeout=SLOW)
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield patient(chromium)
        chromium.close()


@pytest.fixture
def beside(browser: BrowserContext) -> Iterator[BrowserContext]:
    """Another, for a visitor beside the first: of two pages in one window, one is hidden and hardly drawn."""
    assert browser.browser is not None
    context = patient(browser.browser)
    yield context
    context.close()


def patient(chromium: Browser) -> BrowserContext:
    context = chromium.new_context()
    context.set_default_timeout(SLOW)
    return context


@pytest.fixture(scope="package")
def app(browser: BrowserContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With the bundled classifier, and SqueezeNet if the test data are there."""
    home = SHARED / "data" / "torch_home"
    with running_app(tmp_path_factory.mktemp("app"), home if home.is_dir() else None) as served:
        yield served


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., Path]:
    """`fresh("rocket")`: the file of an example with a corner of its own, of which nobody knows a map yet.

    Of a single pixel JPEG makes the same picture now and then, and nobody would see that it is another photo.
    """

    def make(example: str, **options: object) -> Path:
        own = uuid.uuid4()
        file = tmp_path / f"{example}-{own.hex}.png"
        with Image.open(EXAMPLES / f"{example}.jpg") as photo:
            photo.paste(tuple(own.bytes[:3]), (0, 0, 8, 8))
            photo.save(file, **options)
        return file

    return make


@pytest.fixture
def page(browser: BrowserContext, app: Served) -> Iterator[Page]:
    """An opened page, of which the visitor asks for nothing yet."""
    with visit(browser, app) as page:
        yield page
