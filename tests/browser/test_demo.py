"""The page in a real Chromium: a visitor's way through it, with every request to another host cut off."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.serving import ROOT, running_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SLOW = 60_000  # milliseconds; on a busy machine a step may take long

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def app(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory.mktemp("app")) as url:
        yield url


@pytest.fixture
def page(browser: Browser, app: str) -> Iterator[Page]:
    """An opened page; at the end nothing may have been asked of another host, and nothing may have gone wrong in it."""
    elsewhere: list[str] = []
    faults: list[str] = []
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.set_default_timeout(SLOW)

    def guard(route) -> None:  # type: ignore[no-untyped-def]
        if route.request.url.startswith((f"{app}/", "data:", "blob:")):
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    page.route("**/*", guard)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(app)
    page.wait_for_selector("#predictions table")
    yield page
    page.close()
    assert elsewhere == []
    assert faults == []


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """A coffee cup as a phone stores it: lying, with the word in the EXIF to turn it by a quarter."""
    with Image.open(ROOT / "assets" / "examples" / "coffee.jpg") as coffee:
        exif = coffee.getexif()
        exif[0x0112] = 6
        coffee.save(tmp_path / "turned.jpg", exif=exif)
    return tmp_path / "turned.jpg"


def wait_for_status(page: Page, words: str) -> str:
    """The status line once it matches."""
    from playwright.sync_api import expect

    expect(page.locator("#status .line")).to_have_text(re.compile(words), timeout=SLOW)
    return page.inner_text("#status")


def upload(page: Page, file: Path) -> None:
    page.set_input_files("#photo input[type=file]", file)


def explain(page: Page) -> None:
    page.get_by_role("button", name="Explain", exact=True).click()


def choose(page: Page, label: str, words: str) -> None:
    """Choose in a dropdown by typing, with the keyboard alone."""
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
    assert words in box.input_value()


def test_the_page_opens_with_an_explained_example(page: Page) -> None:
    """Nobody has asked anything yet, and there are a photo, predictions and finished maps; all in one screen."""
    wait_for_status(page, "An example")
    assert "cat" in page.inner_text("#predictions tr >> nth=0")
    for method in ("is-cam", "score-cam", "grad-cam", r"grad-cam\+\+"):
        image = page.locator(f"#map-{method} img")
        assert re.fullmatch(r".+ map for cat: strongest in the [a-z ]+", image.get_attribute("alt") or "")
        box = image.bounding_box()
        assert box is not None and box["y"] + box["height"] <= 768
    assert page.get_by_role("tab").all_inner_texts() == ["Compare", "About"]


def test_upload_predictions_explain_maps(page: Page, turned: Path) -> None:
    """The main loop, with a photo that its EXIF turns upright."""
    upload(page, turned)
    wait_for_status(page, "sees .*%")
    assert page.locator("#predictions tr").count() == 5
    assert page.locator("#map-is-cam").count() == 0 or not page.locator("#map-is-cam").is_visible()  # of the example
    assert page.evaluate("(i => i.naturalHeight > i.naturalWidth)(document.querySelector('#framed img'))")
    page.evaluate("""() => {
        window.previews = new Set();
        new MutationObserver(() => {
            const image = document.querySelector('#map-is-cam img');
            if (image) window.previews.add(image.src);
        }).observe(document.body, {subtree: true, childList: true, attributes: true});
    }""")
    explain(page)
    wait_for_status(page, r"IS-CAM: [\d,]+ of [\d,]+ passes, .* left")
    wait_for_status(page, r"^Done in .* s, [\d,]+ passes")
    for method in ("is-cam", "score-cam", "grad-cam", r"grad-cam\+\+"):
        page.locator(f"#map-{method} img").wait_for()
        assert page.evaluate(
            "s => (i => i.naturalHeight > i.naturalWidth)(document.querySelector(s))", f"#map-{method} img"
        )
    page.wait_for_function("document.querySelectorAll('#maps .badge').length === 0")
    assert page.evaluate("window.previews.size") >= 3
    src = page.get_attribute("#map-is-cam img", "src")
    page.get_by_role("radio", name="heat map").check()
    page.wait_for_function("src => document.querySelector('#map-is-cam img').src !== src", arg=src)
    assert page.inner_text("#status").startswith("Done in")  # nothing was run


def test_stop_in_mid_run_then_a_second_run_works(page: Page) -> None:
    page.locator("#examples button").last.click()
    wait_for_status(page, "sees .*%")
    page.get_by_label("number input for Integration steps").fill("100")
    explain(page)
    wait_for_status(page, "IS-CAM: .* passes")
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_for_status(page, "^Stopped after")
    page.locator("#map-is-cam img").wait_for()
    page.get_by_label("number input for Integration steps").fill("2")
    explain(page)
    wait_for_status(page, "^Done in")
    page.locator("#map-is-cam img").wait_for()


def test_another_class_by_keyboard_and_what_speaks_against_it(page: Page) -> None:
    wait_for_status(page, "An example")
    choose(page, "Target class", "dog")
    page.get_by_role("button", name="Advanced").click()
    choose(page, "Against", "cat")
    explain(page)
    wait_for_status(page, "^Done in")
    assert "dog rather than cat" in page.inner_text("#contrast")
    assert "map for dog" in (page.get_attribute("#map-is-cam img", "alt") or "")


def test_a_file_that_is_no_photo_and_a_model_without_weights(page: Page, tmp_path: Path) -> None:
    """Each gets its sentence, and the page goes on."""
    (tmp_path / "bad.jpg").write_text("no photo")
    with page.expect_response(re.compile("bad.jpg")):
        upload(page, tmp_path / "bad.jpg")
    page.get_by_test_id("toast-text").filter(has_text="bad.jpg").wait_for()
    page.locator("#examples button").first.click()
    wait_for_status(page, "sees .*%")
    choose(page, "Model", "VGG")
    page.get_by_test_id("toast-text").filter(has_text="could not be downloaded").wait_for()
    wait_for_status(page, r"photo11 sees .*%")
    assert "photo11" in page.get_by_label("Model", exact=True).input_value()


def test_a_phone_and_the_dark_see_everything(page: Page, app: str) -> None:
    wait_for_status(page, "An example")  # to leave while something streams is an error to the page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{app}/?__theme=dark")
    page.wait_for_selector("#map-is-cam img")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shades = []
    for part, colour in (("gradio-app", "backgroundColor"), ("#map-is-cam strong", "color")):
        shade = page.evaluate(f"getComputedStyle(document.querySelector('{part}')).{colour}")
        shades.append(max(int(level) for level in re.findall(r"\d+", shade)[:3]))
    assert shades[0] < 60 and shades[1] > 200
