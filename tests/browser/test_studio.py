"""The studio in a real Chromium: tabs, classes, looks, results to take along, links, and visitors beside each other."""

from __future__ import annotations

import io
import json
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from iscam import Explainer, load_model
from iscam.__main__ import main
from iscam.models.bundled.network import CATEGORIES
from iscam.trust import LABELS
from tests.browser.visitor import (
    METHODS,
    cards,
    choose,
    export,
    map_picture,
    names,
    open_tab,
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
)
from tests.cases import difference
from tests.serving import ROOT, Served

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

Fresh = Callable[..., Path]
EXAMPLES = ROOT / "assets" / "examples"
CLOSE = 0.02  # two runs of the fast engine, each within 0.01 of exact
LINK = (
    "model=photo11&layer=layer2&class=2&steps=3&methods=is-cam,grad-cam&path=linear&weighting=logit&engine=exact"
    "&example=coffee"
)
NOTHING_TO_TAKE = """() => document.querySelector('#download').disabled
    && [...document.querySelectorAll('#command textarea, #link textarea')].every(box => box.value === '')"""

pytestmark = pytest.mark.browser


def work_of(app: Served) -> float:
    """How busy the app keeps a processor for a second, beside other programs as they are now: 0..1, or more."""
    before, began = app.cpu_seconds(), time.monotonic()
    time.sleep(1)
    return (app.cpu_seconds() - before) / (time.monotonic() - began)


def rests(page: Page, app: Served, busy: float) -> None:
    """The app comes to rest, long before the run that kept it busy would have ended."""
    assert busy > 0.05  # else this is worth nothing
    for _ in range(10):
        page.wait_for_timeout(100)
        if work_of(app) < busy / 3:
            return
    raise AssertionError("the app goes on")


# Tabs


def test_every_tab_fills_and_follows_its_method(page: Page) -> None:
    wait_for_status(page, "An example")
    open_tab(page, "Classes")
    alts = names(page, "#classes", 5)
    assert alts[0].startswith("IS-CAM map for cat:") and len({alt.partition(" map for ")[2] for alt in alts}) == 5
    cards(page, "#class-contrast", 1)
    assert page.inner_text("#class-contrast strong").startswith("cat rather than ")
    before = cards(page, "#classes", 5).first.get_attribute("src")
    choose(page, "By method", "Grad-CAM++")
    wait_for_another(page, "#classes img", before)
    assert all(alt.startswith("Grad-CAM++ map for ") for alt in names(page, "#classes", 5))

    open_tab(page, "Integration")
    page.get_by_role("heading", name="From a blank photo to the map").wait_for()
    page.locator("#curves .mark-line path").nth(7).wait_for(state="attached")  # of eight channels
    page.locator("#changes .mark-rect path").nth(8).wait_for(state="attached")  # of all steps but the first
    for plot in ("#curves svg.marks", "#changes svg.marks"):
        box = page.locator(plot).bounding_box()
        assert box and box["width"] > 300 and box["height"] > 150
    assert len(set(names(page, "#film", 10))) == 10
    assert all(alt.startswith("Mask of channel ") for alt in names(page, "#channels", 8))

    open_tab(page, "Layers")
    assert all(alt.startswith("Grad-CAM map for cat:") for alt in names(page, "#layers", 4))
    assert re.findall(r"layer\d", page.inner_text("#layers")) == ["layer3", "layer2", "layer1"]
    assert "RefineCAM, 3 layers" in page.inner_text("#layers")
    before = cards(page, "#layers", 4).first.get_attribute("src")
    choose(page, "With method", "LayerCAM")
    wait_for_another(page, "#layers img", before)
    assert all(alt.startswith("LayerCAM map for cat:") for alt in names(page, "#layers", 4))

    open_tab(page, "Export")
    page.wait_for_function("document.querySelector('#command textarea').value.startsWith('python -m iscam explain ')")
    assert page.locator("#download").is_enabled()


def test_a_tab_opened_before_the_maps_are_there_fills_after_them(browser: BrowserContext, app: Served) -> None:
    """On an opened page as on any other, which nobody has pressed Explain on."""
    with visit(browser, app, "?example=coffee&engine=exact&steps=1&methods=is-cam") as page:
        open_tab(page, "Classes")
        wait_for_status(page, "^Done in")
        page.locator("#classes img").nth(4).wait_for()


def test_the_open_tab_follows_the_photo(page: Page, fresh: Fresh) -> None:
    """Another photo that is explained already is shown in the tab that is open; and none of the one before."""
    wait_for_status(page, "An example")
    predicted(page, fresh("rocket"))
    open_tab(page, "Export")
    page.wait_for_function(NOTHING_TO_TAKE)
    open_tab(page, "Layers")
    take_example(page, "chelsea")
    wait_for_status(page, "^Done before in")
    page.locator("#layers img[alt*='map for cat:']").nth(2).wait_for()
    open_tab(page, "Export")
    page.wait_for_function("document.querySelector('#command textarea').value.includes(' chelsea.jpg ')")
    predicted(page, fresh("rocket"))
    page.wait_for_function(NOTHING_TO_TAKE)


# Classes


def test_another_class_by_keyboard_and_what_speaks_against_it(page: Page) -> None:
    """An explained photo is explained for the class that is chosen, at once; without Explain."""
    from playwright.sync_api import expect

    wait_for_status(page, "An example")
    set_steps(page, 2)
    choose(page, "Target class", "dog")
    wait_for_maps_of(page, "dog")
    wait_for_status(page, "^Done (before )?in")
    card = page.locator("#contrast")
    expect(card.locator("img").first).to_have_attribute("alt", re.compile("^IS-CAM map for dog: .*; rather than cat, "))
    assert "IS-CAM: dog, not others" in card.inner_text() and "class specificity" in card.inner_text()
    choose(page, "Against", "cat")
    said = re.compile("^IS-CAM contrast, dog rather than cat: strongest at the ")
    expect(card.locator("img").first).to_have_attribute("alt", said)
    wait_for_maps_of(page, "dog")
    choose(page, "Against", "none")
    expect(card.locator("img")).to_have_count(0)
    choose(page, "Against", "likely others")
    expect(card.locator("figcaption, figure").first).to_contain_text("dog, not others")


def test_the_question_about_the_classes_is_said_in_words(page: Page) -> None:
    wait_for_status(page, "An example")
    assert (
        page.inner_text("#asked p")
        == "What speaks for cat, as such, and rather than gas pump, golf ball, fish and 7 more?"
    )
    choose(page, "Against", "none")
    page.locator("#asked p", has_text=re.compile(r"^What speaks for cat, as such\?$")).wait_for()
    choose(page, "Against", "dog")
    page.locator("#asked", has_text="What speaks for cat, as such, and for it (red) or for dog (blue)?").wait_for()


def test_the_photo_is_to_be_found_among_three_others(browser: BrowserContext, app: Served) -> None:
    """By keyboard: IS-CAM hardly finds the cat, held against other classes it does, and the figures say so."""
    with visit(browser, app, "?steps=2&methods=is-cam,grad-cam&example=chelsea") as page:
        wait_for_status(page, "^Done")
        page.get_by_role("tab", name="Faithfulness", exact=True).focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.locator("#trial figure", has_text="LaFAM").wait_for()
        cards = [card.split("\n") for card in page.locator("#trial figcaption").all_inner_texts()]
        shares = {title: float(share.removesuffix(" % on your photo")) for title, share, *_ in cards}
        named = [LABELS[key] for key in ("is-cam", "grad-cam")]
        assert list(shares) == [name for label in named for name in (label, f"{label}, not others")] + ["LaFAM"]
        assert shares["IS-CAM, not others"] > 80 > 60 > shares["IS-CAM"]
        said = r"Your photo is the lower right one\. The network gives cat 96\.\d % in it"
        assert re.search(said, page.inner_text("#trial"))
        assert all("map for cat" in alt and "on your photo" in alt for alt in names(page, "#trial", 5))


def test_several_photos_are_sorted_and_one_of_them_is_looked_at(page: Page, fresh: Fresh, tmp_path: Path) -> None:
    """A file that is no photo is said to be none; the photo that is chosen among them becomes the page's."""
    from playwright.sync_api import expect

    (tmp_path / "torn.jpg").write_bytes(b"no photo")
    wait_for_status(page, "An example")
    open_tab(page, "Several")
    files = [fresh("rocket"), fresh("chelsea"), tmp_path / "torn.jpg"]
    page.set_input_files("#photos input[type=file]", files)
    cards(page, "#several", 2 * (1 + len(METHODS)))
    titles = page.locator("#several h2")
    assert titles.all_inner_texts() == [file.name for file in files[:2]]
    assert '"torn.jpg" cannot be read as a photo' in page.inner_text("#several .warning >> nth=0")
    wait_for_status(page, "An example")
    sure = [float(each) for each in re.findall(r"(?m)^\w[\w ]*, ([\d.]+) %$", page.inner_text("#several"))]
    assert len(sure) == 2
    choose(page, "Sorted", "most confident first")
    first = files[sure.index(max(sure))]
    expect(titles.first).to_have_text(first.name)
    before = page.evaluate("document.querySelector('#framed img').src")
    page.get_by_role("button", name=f"Explain {first.name}").press("Enter")
    wait_for_another(page, "#framed img", before)
    wait_for_status(page, f"sees .*, {max(sure)} %")
    assert page.get_by_role("tab", name="Compare", exact=True).get_attribute("aria-selected") == "true"


def test_a_map_that_is_nearly_that_of_any_class_says_so(page: Page) -> None:
    """IS-CAM's of the opening example; not Grad-CAM's, nor what speaks for the class rather than others."""
    wait_for_status(page, "An example")
    page.locator("#contrast img").first.wait_for()
    warned = "like the one for gas pump: it shows where something is, not why cat"
    assert warned in page.locator("[id='map-is-cam']").inner_text()
    for part in ("map-grad-cam", "contrast"):
        assert "like the one for" not in page.locator(f"[id='{part}']").inner_text()


# Looks


def test_a_look_is_drawn_without_a_run(page: Page) -> None:
    """Opacity, colour map and view change the pictures of the open tab, and nothing else."""
    said = wait_for_status(page, "An example")

    def redrawn(picture: str, **look: str) -> None:
        """The picture is another one after each change of the look."""
        for name, value in look.items():
            before = page.locator(picture).first.get_attribute("src")
            if name == "view":
                page.get_by_role("radio", name=value).check()
            elif name == "opacity":
                page.get_by_label("number input for Opacity").fill(value)
            else:
                choose(page, "Colour map", value)
            wait_for_another(page, picture, before)

    redrawn("#map-grad-cam img", opacity="0.9", colours="magma", view="heat map")
    assert wait_for_status(page, r"\w") == said
    open_tab(page, "Layers")
    cards(page, "#layers", 4)
    said = wait_for_status(page, "^(An example|Done)")
    redrawn("#layers img", view="overlay", opacity="0.3", colours="jet")
    assert wait_for_status(page, r"\w") == said
    before = page.locator("#map-grad-cam img").get_attribute("src")
    open_tab(page, "Compare")
    wait_for_another(page, "#map-grad-cam img", before)


# Results to take along


def maps_of(file: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(file)) as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_the_command_makes_the_same_maps(
    files: dict[str, bytes], photo: Path, folder: Path, close: float = CLOSE
) -> None:
    """The command of a zip, run on the photo's file, gives the zip's maps."""
    words = shlex.split(files["command.txt"].decode())
    assert words[:5] == ["python", "-m", "iscam", "explain", photo.name]
    assert main(["explain", str(photo), *words[5:], "--out", str(folder)]) == 0
    again = maps_of((folder / f"{photo.stem}.iscam.npz").read_bytes())
    maps = maps_of(files[f"{photo.stem}.iscam.npz"])
    assert set(again) == set(maps)
    for name, each in maps.items():
        if not name.endswith(".raw"):
            assert difference(each, again[name]) <= close, name


def test_the_zip_holds_the_maps_and_its_command_makes_them_again(page: Page, tmp_path: Path) -> None:
    wait_for_status(page, "An example")
    files = export(page)
    assert set(files) == {"chelsea.iscam.png", "chelsea.iscam.npz", "chelsea.iscam.json", "command.txt"}
    maps = maps_of(files["chelsea.iscam.npz"])
    named = [*METHODS, "contrast"]  # what speaks for the class rather than the likely others stands beside the maps
    assert set(maps) == {"mean", *named, *(f"{name}.{kind}" for name in named for kind in ("raw", "rival"))}
    record = json.loads(files["chelsea.iscam.json"])
    for method in METHODS:
        assert maps[method].shape == (128, 128) and maps[f"{method}.raw"].shape == (8, 8)
        assert maps[method].dtype == np.float32 and maps[method].min() >= 0 and maps[method].max() == 1
        assert record["methods"][method]["complete"]
    assert record["schema"] == 1 and record["model"] == "photo11" and record["target"]["category"] == "cat"
    with Image.open(io.BytesIO(files["chelsea.iscam.png"])) as figure:
        figure.load()
        assert figure.format == "PNG" and figure.width > 600
    assert files["command.txt"].decode().strip() == page.input_value("#command textarea").strip()
    assert_the_command_makes_the_same_maps(files, EXAMPLES / "chelsea.jpg", tmp_path)


def test_exact_maps_are_the_same_to_four_digits(browser: BrowserContext, app: Served, tmp_path: Path) -> None:
    """On the page and on the command line."""
    query = "?engine=exact&layer=layer1&steps=3&path=linear&methods=is-cam,score-cam,layer-cam&example=rocket"
    with visit(browser, app, query) as page:
        wait_for_status(page, "^Done in")
        files = export(page)
    assert json.loads(files["rocket.iscam.json"])["engine"] == "exact"
    assert_the_command_makes_the_same_maps(files, EXAMPLES / "rocket.jpg", tmp_path, close=1e-4)


# Links


def test_a_link_brings_its_question_back(browser: BrowserContext, app: Served) -> None:
    """Photo, model, layer, class and all settings, with the maps; and the link that is offered then is the same again."""
    with visit(browser, app, f"?{LINK}") as page:
        wait_for_status(page, "^Done (before )?in")
        for method in ("is-cam", "grad-cam"):
            assert f"map for {CATEGORIES[2]}:" in (map_picture(page, method).get_attribute("alt") or "")
        cards(page, "#maps", 3)  # with what speaks for the class rather than the likely others
        page.locator("#photo img[src*='coffee']").wait_for()
        boxes = {"Model": "photo11", "Layer": "layer2 · 16x16", "Against": "likely others"}
        assert {label: page.get_by_label(label, exact=True).input_value() for label in boxes} == boxes
        assert page.get_by_label("Target class", exact=True).input_value().startswith(CATEGORIES[2])
        assert page.get_by_label("number input for Integration steps").input_value() == "3"
        assert page.locator("#methods input:checked").count() == 2
        for method in ("IS-CAM", "Grad-CAM"):
            assert page.get_by_role("checkbox", name=method, exact=True).is_checked()
        press(page, "Advanced ▼")
        for choice in ("linear", "logit", "exact"):
            page.get_by_role("radio", name=choice, exact=True).wait_for()
            assert page.get_by_role("radio", name=choice, exact=True).is_checked()
        open_tab(page, "Export")
        page.wait_for_function("document.querySelector('#link textarea').value !== ''")
        link = page.input_value("#link textarea")
        assert link.startswith(f"{app.url}/?") and parse_qs(urlsplit(link).query) == parse_qs(LINK)


def test_a_link_that_cannot_be_followed_opens_the_page_as_usual(browser: BrowserContext, app: Served) -> None:
    with visit(browser, app, "?steps=999&example=coffee") as page:
        wait_for_toast(page, "The number of integration steps is a whole number from 1 to 100.")
        wait_for_status(page, "An example")
        wait_for_maps_of(page, "cat")
        assert page.get_by_label("number input for Integration steps").input_value() == "10"


# Visitors beside each other


def test_stop_ends_the_work(page: Page, app: Served, fresh: Fresh) -> None:
    predicted(page, fresh("coffee"))
    start_a_long_run(page)
    busy = work_of(app)
    press(page, "Stop")
    rests(page, app, busy)
    wait_for_status(page, "^Stopped after")


def test_a_closed_page_ends_its_work(page: Page, beside: BrowserContext, app: Served, fresh: Fresh) -> None:
    with visit(beside, app) as leaving:
        predicted(leaving, fresh("astronaut"))
        start_a_long_run(leaving)
        busy = work_of(app)
    rests(page, app, busy)


def test_a_second_visitor_does_not_wait_for_the_end_of_the_first(
    page: Page, beside: BrowserContext, app: Served, fresh: Fresh
) -> None:
    """A long run gives way for a turn, goes on, and can be stopped as ever."""
    predicted(page, fresh("rocket"))
    start_a_long_run(page)
    with visit(beside, app) as second:
        upload(second, fresh("astronaut"))
        wait_for_status(second, "sees .*%")
        wait_for_status(page, r"IS-CAM: [\d,]+ of [\d,]+ passes, .* left")
        press(page, "Stop")
        wait_for_status(page, "^Stopped after")
        set_steps(second, 4)
        press(second, "Explain")
        wait_for_status(second, "^Done in")


@pytest.mark.shared
def test_two_visitors_with_two_models_get_each_their_own(
    browser: BrowserContext, beside: BrowserContext, app: Served, torch_home: Path, fresh: Fresh
) -> None:
    files = fresh("coffee"), fresh("astronaut")
    with visit(browser, app) as one, visit(beside, app) as other:
        for page, file in zip((one, other), files, strict=True):
            predicted(page, file)
        choose(other, "Model", "SqueezeNet 1.0")
        wait_for_status(other, "SqueezeNet 1.0 sees .*%")
        for page in (one, other):
            for slow in ("IS-CAM", "Score-CAM"):
                page.get_by_role("checkbox", name=slow, exact=True).uncheck()
            press(page, "Explain")
        for page, file, model in zip((one, other), files, ("photo11", "squeezenet1_0"), strict=True):
            wait_for_status(page, "^Done in")
            offered = export(page)
            assert json.loads(offered[f"{file.stem}.iscam.json"])["model"] == model
            explainer = Explainer(load_model(model))
            wanted = explainer.explain(explainer.analyse(file), "grad-cam").heatmap
            assert difference(maps_of(offered[f"{file.stem}.iscam.npz"])["grad-cam"], wanted) < CLOSE
