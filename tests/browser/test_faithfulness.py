"""The tab Faithfulness in Chromium: figures beside controls, curves, the perturbed photo, a box, Stop."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from iscam.trust.controls import CONTROLS, LABELS
from tests.browser.visitor import (
    ALL_LINES,
    METHODS,
    choose,
    export,
    open_tab,
    press,
    visit,
    wait_for_status,
    wait_for_toast,
)

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from tests.serving import Served

pytestmark = pytest.mark.browser
ROWS = [*(LABELS[key] for key in METHODS), *(f"{row.label} control" for row in CONTROLS.values())]
ALL_ROWS = f"document.querySelectorAll('#trust tr').length === {1 + len(ROWS)}"
ALL_IN_THE_BOX = f"""[...document.querySelectorAll('#trust td:last-child')]
    .filter(cell => cell.innerText.trim() === '100.0').length === {len(ROWS)}"""
OF_CONTROLS = ROWS[len(METHODS) :]


def table(page: Page) -> dict[str, dict[str, str]]:
    """The figures by row and column, as they are read."""
    heads = [head.rstrip(" ↑↓") for head in page.locator("#trust th[scope=col]").all_inner_texts()]
    rows = page.locator("#trust tr:has(th[scope=row])")
    found = {}
    for row in rows.all():
        cells = row.locator("td").all_inner_texts()
        found[" ".join(row.locator("th").inner_text().split())] = dict(zip(heads, cells, strict=True))
    return found


def opened(page: Page) -> dict[str, dict[str, str]]:
    """The tab with the figures of the opening example."""
    wait_for_status(page, "An example")
    open_tab(page, "Faithfulness")
    page.wait_for_function(ALL_LINES)
    return table(page)


def test_figures_stand_beside_the_controls(page: Page) -> None:
    """All default methods and all controls, with curves and protocol; Fake-CAM drops nothing."""
    found = opened(page)
    assert list(found) == ROWS
    usual = ["Average Drop", "Increase in Confidence", "Average Gain", "Insertion", "Deletion"]
    assert all(list(row) == usual for row in found.values())
    assert found["Fake-CAM control"]["Average Drop"] == "0.0"
    assert float(found["IS-CAM"]["Deletion"]) < float(found["Fake-CAM control"]["Deletion"])
    assert page.locator("#trust strong").count() > 0
    assert page.locator("#protocol li").count() == len(usual) and "20 steps" in page.inner_text("#protocol")


def test_slow_figures_are_worked_out_on_demand(browser: BrowserContext, app: Served) -> None:
    with visit(browser, app, "?methods=cam") as page:
        wait_for_status(page, "Done")
        open_tab(page, "Faithfulness")
        page.get_by_label("ADCC").check()
        page.wait_for_function(
            f"document.querySelectorAll('#trust td:not(:empty)').length === {6 * (1 + len(CONTROLS))}"
        )
        wait_for_status(page, "Done")
        found = table(page)
        assert list(found) == ["CAM", *OF_CONTROLS] and list(found["CAM"])[5:] == ["ADCC"]
        assert 0 < float(found["Gaussian control"]["ADCC"]) <= 100


def test_a_share_of_the_pixels_is_removed_and_restored(page: Page) -> None:
    """The picture and its probability follow the slider, the kind and the map, and end where they must."""
    opened(page)
    probability = float(page.inner_text("#predictions td >> nth=1").split()[0])
    line, picture = page.locator("#perturbed figcaption span"), page.locator("#perturbed img")

    def at(share: int, what: str) -> float:
        page.get_by_label("number input for Share of the pixels, %").fill(str(share))
        line.filter(has_text=re.compile(rf"^{share} % of the pixels {what}")).wait_for()
        return float(line.inner_text().split()[-2])

    assert at(0, "removed") == pytest.approx(probability, abs=0.11)
    whole = picture.get_attribute("src")
    half = at(50, "removed")
    assert half < probability and picture.get_attribute("src") != whole
    by_is_cam = picture.get_attribute("src")
    page.get_by_role("radio", name="insertion").check()
    line.filter(has_text="restored").wait_for()
    assert at(100, "restored") == pytest.approx(probability, abs=0.11)
    page.get_by_role("radio", name="deletion").check()
    line.filter(has_text="removed").wait_for()
    at(50, "removed")
    choose(page, "By the map of", "Gaussian")
    page.locator("#perturbed strong", has_text="Gaussian").wait_for()
    assert picture.get_attribute("src") not in (whole, by_is_cam)
    choose(page, "By the map of", "Eigen-CAM")
    page.locator("#perturbed", has_text="has not been measured").wait_for()


def test_a_box_drawn_on_the_photo_is_held_against_the_maps(page: Page) -> None:
    """By the pointer or typed; Fake-CAM's energy in it is the share of the area that it takes up."""
    opened(page)
    page.locator("#boxed img").scroll_into_view_if_needed()
    frame = page.locator("#boxed .picture").bounding_box()
    assert frame is not None
    page.mouse.move(frame["x"] + 0.3 * frame["width"], frame["y"] + 0.2 * frame["height"])
    page.mouse.down()
    page.mouse.move(frame["x"] + 0.6 * frame["width"], frame["y"] + 0.9 * frame["height"], steps=4)
    page.mouse.up()
    page.locator("#trust th", has_text="Energy").wait_for()
    page.wait_for_function(ALL_ROWS)
    typed = page.get_by_label("Box").input_value()
    assert [float(part) for part in typed.split(",")] == pytest.approx([30, 20, 60, 90], abs=1)
    found = table(page)
    area = float(re.findall(r"takes up ([\d.]+) %", page.inner_text("#boxed"))[0])
    assert float(found["Fake-CAM control"]["Energy in the box"]) == pytest.approx(area, abs=0.15)
    assert {row["Pointing game"] for row in found.values()} <= {"yes", "no"}
    drawn = page.locator("#boxed .box").bounding_box()
    assert drawn is not None
    assert drawn["width"] == pytest.approx(0.3 * frame["width"], abs=6)
    page.get_by_label("Box").fill("0 0 100 100")
    page.get_by_label("Box").press("Enter")
    page.locator("#boxed", has_text="100.0 %").wait_for()
    page.wait_for_function(ALL_IN_THE_BOX)
    page.get_by_label("Box").fill("50 0 20 100")
    page.get_by_label("Box").press("Enter")
    wait_for_toast(page, "A box is four numbers")
    page.get_by_label("Box").fill("10% 10% 60% 60%")
    page.get_by_label("Box").press("Enter")
    page.locator("#trust th", has_text="Energy").wait_for()
    page.locator("#boxed .picture").click()  # at its middle, wherever it is by now
    page.locator("#trust th", has_text="Energy").wait_for(state="detached")
    assert page.get_by_label("Box").input_value() == ""


def test_stop_keeps_the_rows_that_are_there(browser: BrowserContext, app: Served) -> None:
    """What has been measured stays, another look begins nothing anew, and the page is ready for the next question."""
    with visit(browser, app, "?example=rocket&layer=layer2&methods=grad-cam,is-cam&steps=4&engine=exact") as page:
        wait_for_status(page, "Done")
        open_tab(page, "Faithfulness")
        page.locator("#trust tr", has_text="IS-CAM").wait_for()
        page.get_by_label("ADCC").check()
        page.locator("#trust tr", has_text="Grad-CAM").filter(
            has=page.locator("td:nth-of-type(6):not(:empty)")
        ).wait_for()
        press(page, "Stop")
        page.get_by_role("button", name="Explain", exact=True).wait_for()
        found = table(page)
        assert list(found) == ["IS-CAM", "Grad-CAM", *OF_CONTROLS] and all(row["Deletion"] for row in found.values())
        assert found["Grad-CAM"]["ADCC"] and not found["IS-CAM"]["ADCC"]
        wait_for_status(page, "Stopped")
        page.locator("#perturbed strong", has_text="IS-CAM").wait_for()
        page.get_by_label("number input for Share of the pixels, %").fill("50")
        page.locator("#perturbed figcaption", has_text="50 % of the pixels").wait_for()
        wait_for_status(page, "Stopped")
        assert not page.get_by_role("button", name="Stop", exact=True).is_visible() and table(page) == found
        press(page, "Explain")
        page.locator("#trust tr", has_text="IS-CAM").wait_for()


def test_the_export_has_the_figures(page: Page) -> None:
    """In the record, as fractions, of methods and controls."""
    found = opened(page)
    metrics = json.loads(export(page)["chelsea.iscam.json"])["metrics"]
    assert sorted(metrics) == sorted([*METHODS, *CONTROLS])
    assert 100 * metrics["is-cam"]["deletion"] == pytest.approx(float(found["IS-CAM"]["Deletion"]), abs=0.06)


def test_the_figures_follow_the_next_question(page: Page) -> None:
    """With the tab open, Explain shows the maps' figures after the maps."""
    opened(page)
    press(page, "Explain")
    page.wait_for_function(ALL_ROWS)
    assert page.locator("#trust .warning").count() == 0
    choose(page, "Target class", "golf ball")
    page.locator("#trust", has_text="Figures for golf ball (").wait_for()
    page.wait_for_function(ALL_LINES)
    wait_for_status(page, "Done")
    assert list(table(page)) == ROWS and page.locator("#trust .warning").count() == 1
