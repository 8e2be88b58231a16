"""How fast the page is, in a real Chromium on this machine: `python -m tests.browser.timing` (needs nothing else to run).

Every figure is seen in the browser: from the click, or the change, until the picture is there. Beside it stands what the
command line takes for the same maps of the same photo, run in between, while the page is open and rests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from playwright.sync_api import Page, sync_playwright

from iscam.engine import has_bf16
from iscam.methods import DEFAULT_METHODS
from iscam.settings import LIKELY_RIVALS
from iscam.trust.controls import CONTROLS
from tests.browser.visitor import ARGUMENTS, CHROMIUM, start_a_long_run
from tests.serving import ROOT, Served, running_app

EXAMPLES = ("astronaut", "coffee", "rocket")  # not the one that the page opens with
ROUNDS = 3

CARD, CARD_ALONE = "IS-CAM, as its card says", "IS-CAM, by the command line"
ALL, ALL_ALONE = "all default methods", "all default methods and the contrast, by the command line"
SERVER_BUSY = "what the server answers at once, while maps are made"
STOP = "Stop of a long run"


def seconds(action: Callable[[], object], page: Page, condition: str, given: object = None) -> float:
    """From the mouse or key event of an action until a condition of the page, looked at in every frame that is drawn.

    The clock is the page's own: what the test driver does around the event does not count.
    """
    page.evaluate("""() => {
        window.began = 0;
        const begin = () => { window.began ||= performance.now(); };
        for (const kind of ["mousedown", "keydown"]) addEventListener(kind, begin, {capture: true, once: true});
    }""")
    action()
    return until(page, condition, given)


def until(page: Page, condition: str, given: object = None) -> float:
    """Seconds from the event that `seconds` waited for until another condition."""
    timed = f"given => window.began && ({condition})(given) && performance.now() - window.began"
    return float(page.wait_for_function(timed, arg=given, polling="raf").json_value()) / 1000


def picture(page: Page) -> str:
    return page.get_attribute("#map-is-cam img", "src") or ""


CHANGED = "before => document.querySelector('#map-is-cam img')?.src !== before"
FINISHED = "() => document.querySelector('#status').innerText.startsWith('Done')"


def on_command_line(example: str) -> tuple[float, float]:
    """Seconds, as the record says, of IS-CAM and of all that the page shows of an example."""
    with tempfile.TemporaryDirectory() as folder:
        photo = ROOT / "assets" / "examples" / f"{example}.jpg"
        asked = ["explain", str(photo), "--methods", ",".join(DEFAULT_METHODS), "--contrast", LIKELY_RIVALS]
        words = [sys.executable, "-m", "iscam", *asked, "--out", folder]
        subprocess.run(words, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        (file,) = Path(folder).glob("*.json")
        record = json.loads(file.read_text(encoding="utf-8"))
    maps = {key: row["seconds"] for key, row in record["methods"].items()}
    return maps["is-cam"], sum(maps.values()) + record["contrast"]["seconds"]


@contextmanager
def answering(app: Served, found: list[float]) -> Iterator[None]:
    """Meanwhile, how long the server takes for an answer that costs it nothing, the longest time of many."""
    over, took = threading.Event(), [0.0]

    def ask() -> None:
        while not over.wait(0.02):
            began = time.perf_counter()
            with urllib.request.urlopen(f"{app.url}/gradio_api/app_id", timeout=60) as answer:
                answer.read()
            took.append(time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
        found.append(max(took))


def explained(page: Page, app: Served, example: str, found: dict[str, list[float]]) -> None:
    """An example that nobody has asked about: its maps, another class, other looks."""
    index = sorted(file.stem for file in (ROOT / "assets" / "examples").glob("*.jpg")).index(example)
    page.locator("#examples button").nth(index).click()
    page.wait_for_function("document.querySelector('#status').innerText.includes(' sees ')")
    page.wait_for_timeout(500)
    click = page.get_by_role("button", name="Explain", exact=True).click
    shown = "() => document.querySelector('#maps img')"
    with answering(app, found[SERVER_BUSY]):
        found["first map after the click"].append(seconds(click, page, shown))
        shown = "() => document.querySelector('#map-is-cam img')"
        found["IS-CAM's map, provisional or final"].append(until(page, shown))
        found[ALL].append(until(page, FINISHED))
    said = re.search(r"([\d.]+) s\b", page.inner_text("#map-is-cam"))
    assert said is not None
    found[CARD].append(float(said[1]))
    page.wait_for_timeout(500)
    alone = on_command_line(example)
    found[CARD_ALONE].append(alone[0])
    found[ALL_ALONE].append(alone[1])
    for colours in ("magma", "viridis"):
        box = page.get_by_label("Colour map", exact=True)
        box.click()
        option = page.get_by_role("option", name=colours)
        option.wait_for()
        before = picture(page)
        found["another colour map"].append(seconds(option.click, page, CHANGED, before))
        page.wait_for_timeout(300)
    for opacity in ("0.8", "0.5"):
        box, before = page.get_by_label("number input for Opacity"), picture(page)
        box.fill(opacity)
        found["another opacity"].append(seconds(lambda box=box: box.press("Enter"), page, CHANGED, before))
        page.wait_for_timeout(300)
    box = page.get_by_label("Target class", exact=True)
    for place in (1, 2):
        box.click()
        option = page.get_by_role("option").nth(place)
        option.wait_for()
        name = (option.inner_text().split(" · ")[0]).strip("✓ \n")
        shown = "name => [...document.querySelectorAll('#maps img')].every(image => image.alt.includes(`for ${name}:`))"
        found["another class, all maps"].append(seconds(option.click, page, shown, name))
        page.wait_for_function(FINISHED)
        page.wait_for_timeout(300)
    tab = page.get_by_role("tab", name="Faithfulness", exact=True).click
    lines = len(DEFAULT_METHODS) + len(CONTROLS)
    curves = f"() => document.querySelectorAll('#curve-deletion .mark-line path').length === {lines}"
    found["figures of the maps, with curves"].append(seconds(tab, page, curves))
    page.wait_for_timeout(500)
    for key in ("ArrowRight", "ArrowLeft"):
        slider, before = page.locator("#share input[type=range]"), page.inner_text("#perturbed")
        slider.focus()
        shown = "before => document.querySelector('#perturbed').innerText !== before"
        moved = partial(slider.press, key)
        found["another share of the pixels removed"].append(seconds(moved, page, shown, before))
        page.wait_for_timeout(300)
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.wait_for_timeout(300)


def stopped(page: Page, found: dict[str, list[float]]) -> None:
    """A run of a minute or more is stopped: until the page says so, with the map so far."""
    start_a_long_run(page)
    shown = "() => document.querySelector('#status').innerText.startsWith('Stopped')"
    found[STOP].append(seconds(page.get_by_role("button", name="Stop", exact=True).click, page, shown))


def main() -> None:
    names = ("server ready after `python app.py`", "page interactive", "first map after the click")
    names += ("IS-CAM's map, provisional or final", CARD, CARD_ALONE, ALL, ALL_ALONE, SERVER_BUSY, STOP)
    names += ("another class, all maps", "another opacity", "another colour map", "figures of the maps, with curves")
    found: dict[str, list[float]] = {name: [] for name in (*names, "another share of the pixels removed")}
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for _ in range(ROUNDS):
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder, running_app(Path(folder)) as app:
                found[names[0]].append(time.perf_counter() - started)
                page = browser.new_page(viewport={"width": 1366, "height": 768})
                page.goto(app.url)
                page.wait_for_function("document.querySelector('#status')?.innerText.startsWith('An example')")
                page.close()
                page = browser.new_page(viewport={"width": 1366, "height": 768})
                started = time.perf_counter()
                page.goto(app.url)
                ready = "document.querySelector('#map-is-cam img') && document.querySelector('#explain:enabled')"
                page.wait_for_function(ready, polling="raf")
                found["page interactive"].append(time.perf_counter() - started)
                page.wait_for_timeout(1000)
                for example in EXAMPLES:
                    explained(page, app, example, found)
                stopped(page, found)
                page.close()
        browser.close()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, {'with' if has_bf16('cpu') else 'without'} bfloat16\n")
    print("| photo11, in Chromium | median, s | largest, s |\n| --- | --- | --- |")
    for name, values in found.items():
        print(f"| {name} | {median(values):.2f} | {max(values):.2f} |")
    for name, page_said, alone in (("IS-CAM", CARD, CARD_ALONE), ("all default methods", ALL, ALL_ALONE)):
        ratios = [ours / theirs for ours, theirs in zip(found[page_said], found[alone], strict=True)]
        print(
            f"\nThe page takes {median(ratios):.2f} times as long as the command line for {name} (at most {max(ratios):.2f})."
        )


if __name__ == "__main__":
    main()
