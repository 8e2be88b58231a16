"""The page in a real Chromium: a visitor's way through it, with every request to another host cut off."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.browser.visitor import (
    METHODS,
    PHONE,
    TABS,
    map_picture,
    pick,
    predicted,
    press,
    set_steps,
    start_a_long_run,
    take_example,
    upload,
    visit,
    wait_for_another,
    wait_for_maps_of,
    wait_for_status,
    wait_for_toast,
    wait_until_nothing_is_cut_off,
)
from tests.serving import Served

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

Fresh = Callable[..., Path]

pytestmark = pytest.mark.browser


def test_the_page_opens_with_an_explained_example(page: Page) -> None:
    """Nobody has asked anything yet, and there are a photo, predictions and finished maps; all in one screen."""
    wait_for_status(page, "An example")
    assert "cat" in page.inner_text("#predictions tr >> nth=0")
    for method in METHODS:
        image = map_picture(page, method)
        assert re.fullmatch(r".+ map for cat: strongest at the [a-z ]+", image.get_attribute("alt") or "")
        box = image.bounding_box()
        assert box is not None and box["y"] + box["height"] <= 768
    assert page.get_by_role("tab").all_inner_texts() == TABS


def test_everything_stands_where_it_is_looked_for(page: Page) -> None:
    """The two classes side by side among the questions, how maps are drawn above the tabs; less common things are folded."""
    wait_for_status(page, "An example")
    target, against = (page.get_by_label(label, exact=True).bounding_box() for label in ("Target class", "Against"))
    view, tabs = page.locator("#look").bounding_box(), page.get_by_role("tablist").bounding_box()
    assert target and against and view and tabs
    assert target["y"] == against["y"] and target["x"] + target["width"] <= against["x"] < view["x"]
    assert view["y"] + view["height"] <= tabs["y"]
    looks = [
        page.get_by_role("radio", name="overlay"),
        *(page.get_by_label(each) for each in ("Opacity", "Colour map")),
    ]
    assert all(look.first.is_visible() for look in looks)
    assert not page.get_by_role("radio", name="exact").is_visible()
    press(page, "Advanced ▼")
    page.get_by_role("radio", name="exact").wait_for()


def test_upload_predictions_explain_maps(page: Page, fresh: Fresh) -> None:
    """The main loop, with a photo as a phone stores it: lying, with the word in its EXIF to turn it by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    predicted(page, fresh("coffee", exif=exif))
    assert page.locator("#predictions tr").count() == 5
    page.locator("#map-is-cam").wait_for(state="hidden")  # of the example
    assert page.evaluate("(i => i.naturalHeight > i.naturalWidth)(document.querySelector('#framed img'))")
    press(page, "Explain")
    wait_for_status(page, r"^Done in .* s, [\d,]+ passes")
    for method in METHODS:
        map_picture(page, method).wait_for()
        assert map_picture(page, method).evaluate("image => image.naturalHeight > image.naturalWidth")
    page.wait_for_function("document.querySelectorAll('#maps .badge').length === 0")


def test_the_boxes_follow_every_photo(page: Page, fresh: Fresh) -> None:
    """The class with its probability, also where another photo's is the same class; one upload after the other."""
    from playwright.sync_api import expect

    for example in ("chelsea", "rocket", "chelsea", "chelsea", "coffee", "astronaut", "chelsea", "chelsea"):
        predicted(page, fresh(example))
        category, _, probability = page.inner_text("#predictions tr >> nth=0").partition("\t")
        expected = re.compile(rf"{re.escape(category.strip())} · {re.escape(probability.split()[-2])} %")
        expect(page.get_by_label("Target class", exact=True)).to_have_value(expected)


def test_a_photo_whose_maps_are_known_shows_them_at_once(page: Page, fresh: Fresh) -> None:
    """Whoever comes back to a photo, without pressing Explain; another photo of which no map is known shows none."""
    wait_for_maps_of(page, "cat")
    predicted(page, fresh("rocket"))
    page.locator("#maps img").first.wait_for(state="hidden")
    take_example(page, "chelsea")
    wait_for_status(page, "^Done before in")
    wait_for_maps_of(page, "cat")


def test_stop_in_mid_run_then_a_second_run_works(page: Page, fresh: Fresh) -> None:
    """The map sharpens while it is made."""
    predicted(page, fresh("rocket"))
    start_a_long_run(page)
    shown = None
    for _ in range(3):
        wait_for_another(page, "[id='map-is-cam'] img", shown)
        shown = map_picture(page, "is-cam").get_attribute("src")
    press(page, "Stop")
    wait_for_status(page, "^Stopped after")
    map_picture(page, "is-cam").wait_for()
    page.get_by_role("radio", name="fast").check()
    set_steps(page, 2)
    press(page, "Explain")
    wait_for_status(page, "^Done in")
    map_picture(page, "is-cam").wait_for()


def test_a_file_that_is_no_photo_and_a_model_without_weights(page: Page, fresh: Fresh, tmp_path: Path) -> None:
    """Each gets its sentence, and the page goes on."""
    (tmp_path / "bad.jpg").write_text("no photo")
    with page.expect_response(re.compile("bad.jpg")):
        upload(page, tmp_path / "bad.jpg")
    wait_for_toast(page, "bad.jpg")
    predicted(page, fresh("astronaut"))
    pick(page, "Model", "VGG")
    wait_for_toast(page, re.compile("vgg16.* could not be downloaded"))
    wait_for_status(page, r"photo11 sees .*%")
    assert "photo11" in page.get_by_label("Model", exact=True).input_value()


def test_a_phone_and_the_dark_see_everything(browser: BrowserContext, app: Served) -> None:
    with visit(browser, app, "?__theme=dark", size=PHONE) as page:
        wait_for_maps_of(page, "cat")
        wait_for_status(page, "An example")
        wait_until_nothing_is_cut_off(page)
        shades = []
        for part, colour in (("gradio-app", "backgroundColor"), ("#map-is-cam strong", "color")):
            shade = page.evaluate(f"getComputedStyle(document.querySelector('{part}')).{colour}")
            shades.append(max(int(level) for level in re.findall(r"\d+", shade)[:3]))
        assert shades[0] < 60 and shades[1] > 200
