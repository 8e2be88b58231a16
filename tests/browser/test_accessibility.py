"""The page for everybody: by keyboard alone, by ear, on a phone, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iscam.project import EXAMPLES
from tests.browser.reading import BLOCK, DOCUMENT, reading, without_numbers
from tests.browser.visitor import (
    ALL_LINES,
    DESK,
    PHONE,
    TABS,
    open_tab,
    set_steps,
    visit,
    wait_for_status,
    wait_until_nothing_is_cut_off,
)
from tests.serving import Served

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.browser
NO_TRANSITIONS = "* { transition: none !important }"


# By keyboard


FOCUSED = """() => {
    const at = document.activeElement;
    const name = at.getAttribute("aria-label") || at.closest("label")?.innerText || at.innerText || "";
    return `${at.getAttribute("role") || at.type || at.tagName} ${name.trim()}`;
}"""
STOP = """() => {
    const at = document.activeElement, style = getComputedStyle(at);
    const ring = style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2;
    at.dataset.stop = "";
    const name = at.getAttribute("aria-label") || at.title || at.closest("label")?.innerText || at.innerText || "";
    return {
        name: name.trim(),
        seen: ring && style.outlineColor === getComputedStyle(document.getElementById("answer")).color,
        inside: at.closest("[role=tabpanel], [role=tablist]") !== null,
    };
}"""


def test_the_keyboard_alone_reaches_everything(page: Page) -> None:
    """In the dark, where one sees at every step what has the focus."""
    page.add_style_tag(content=NO_TRANSITIONS)
    wait_for_status(page, "An example")
    page.evaluate("document.body.classList.add('dark')")

    def tab_until(wanted: str) -> None:
        seen: list[str] = []
        for _ in range(80):
            page.keyboard.press("Tab")
            assert page.evaluate(STOP)["seen"], seen
            seen.append(page.evaluate(FOCUSED)[:40])
            if seen[-1] == wanted:
                return
        raise AssertionError(f"{wanted!r} is not among {seen}")

    for wanted in ("submit Explain", "radio overlay", "range range slider for Opacity", "tab Compare", "tab Export"):
        tab_until(wanted)
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#command textarea').value !== ''")
    tab_until("submit Download zip")
    with page.expect_download():
        page.keyboard.press("Enter")


LISTEN = """() => {
    window.heard = [];
    const line = document.getElementById("status");
    if (line.getAttribute("role") !== "status") throw new Error("nothing is read aloud");
    new MutationObserver(() => {
        const said = line.querySelector(".line");
        if (said && said.closest("[role=status], [aria-live]") === line) window.heard.push(said.innerText);
    }).observe(line, {subtree: true, childList: true, characterData: true});
}"""


def test_the_focus_goes_from_explain_to_stop_and_back(page: Page) -> None:
    """They take each other's place; and what is read aloud of a run is how it begins and ends, not each of its steps."""
    wait_for_status(page, "An example")
    page.get_by_role("button", name="Advanced").focus()
    page.keyboard.press("Enter")
    page.get_by_role("radio", name="exact").focus()
    page.keyboard.press("Space")
    set_steps(page, 100)
    page.evaluate(LISTEN)
    page.locator("#explain").focus()
    page.keyboard.press("Enter")
    wait_for_status(page, r"IS-CAM: [\d,]+ of [\d,]+ passes, .* left")
    assert page.evaluate(FOCUSED) == "submit Stop"
    page.keyboard.press("Enter")
    wait_for_status(page, "Stopped")
    page.locator("#explain").wait_for()
    page.wait_for_function("document.activeElement.id === 'explain'")
    heard = page.evaluate("window.heard")
    assert heard[-1].startswith("Stopped after") and not [words for words in heard if "passes, " in words]


# By ear


def test_everything_has_a_name(page: Page) -> None:
    """As the browser tells it to a screen reader, for all that can be seen and used on the opened page."""
    wait_for_status(page, "An example")
    assert page.locator("#answer img:visible").count() == 7 and page.locator("#question img:visible").count() == 5
    visible = "element => element.checkVisibility() && element.getBoundingClientRect().width > 0"
    parts = [
        element
        for kind in ("input", "button", "img", "textarea", "select")
        for element in page.locator(f":is(#question, #answer) {kind}").element_handles()
        if element.evaluate(visible)
    ]
    assert len(parts) > 50
    browser = page.context.new_cdp_session(page)
    nameless = []
    for number, element in enumerate(parts):
        element.evaluate("(element, number) => element.setAttribute('data-number', number)", number)
        found = browser.send(
            "Runtime.evaluate", {"expression": f"document.querySelector('[data-number=\"{number}\"]')"}
        )
        asked = {"objectId": found["result"]["objectId"], "fetchRelatives": False}
        (node,) = browser.send("Accessibility.getPartialAXTree", asked)["nodes"]
        if not node.get("name", {}).get("value", "").strip():
            nameless.append(element.evaluate("element => element.outerHTML.slice(0, 200)"))
    assert nameless == []


def test_the_page_is_read_as_the_docs_say(page: Page) -> None:
    """By what Chromium tells a screen reader, in its order: `python -m tests.browser.reading` writes it into the docs."""
    wait_for_status(page, "An example")
    page.locator("#contrast img").first.wait_for()
    written = BLOCK.search(DOCUMENT.read_text(encoding="utf-8"))
    assert written
    assert without_numbers(reading(page)) == without_numbers(written[0].splitlines())


# In every tab


CONTRASTS = """parts => {
    const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
    const over = (above, below) => [0, 1, 2].map(i => above[i] * above[3] + below[i] * (1 - above[3]));
    const rgba = colour => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    };
    const ground = element => {
        if (!element) return [255, 255, 255];
        const own = rgba(getComputedStyle(element).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, ground(element.parentElement));
    };
    const light = colour => {
        const [red, green, blue] = colour.map(level => level / 255).map(
            level => level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    return [...document.querySelectorAll(parts)].filter(each => each.checkVisibility() && each.innerText.trim()).map(each => {
        const below = ground(each);
        const levels = [light(over(rgba(getComputedStyle(each).color), below)), light(below)];
        return [(Math.max(...levels) + 0.05) / (Math.min(...levels) + 0.05), each.innerText];
    });
}"""
WORDS = "#status .line, figcaption strong, figcaption span, [role=tab], .overflow-dropdown button"
LEFT_OUT = """() => [...document.querySelectorAll("[role=tabpanel] :is(button, input, textarea, a[href], [tabindex='0'])")]
    .filter(each => each.checkVisibility() && !each.disabled && each.dataset.stop === undefined).map(each => each.outerHTML)"""


def by_keyboard(page: Page, tab: str) -> list[str]:
    """All that can be used in an open tab is come to with the Tab key, and one sees where one is; after it one leaves the tab.
    Returns what is wrong."""
    page.get_by_role("tab", name=tab, exact=True).focus()
    wrong = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if not stop["seen"]:
            wrong.append(f"{tab}: nobody sees that {stop['name']!r} has the focus")
        if not stop["inside"]:
            return wrong + [f"{tab}: not by keyboard: {each[:200]}" for each in page.evaluate(LEFT_OUT)]
    return [*wrong, f"{tab}: there is no way out"]


# By axe-core: the rules that a part of the page breaks, and where. It cannot tell what is behind the words of a drawn plot
AXE = """([part, options]) => axe.run({include: [part], exclude: ["[aria-roledescription=visualization]"]}, options).then(
    found => found.violations.flatMap(each => each.nodes.map(node => `${each.id}: ${node.html.slice(0, 200)}`)))"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LIGHT: dict[str, Any] = {"runOnly": RULES, "resultTypes": ["violations"]}
DARK: dict[str, Any] = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}  # nothing else depends on it


def test_every_tab_is_for_everybody(browser: BrowserContext, app: Served) -> None:
    """In every tab, light and dark: nothing is wider than the screen, also that of a phone, words contrast with their ground by
    4.5 at least (WCAG AA), axe-core finds nothing wrong, and the keyboard reaches everything."""
    from axe_playwright_python.base import AXE_SCRIPT

    filled = {
        "Compare": "#maps",
        "Classes": "#classes",
        "Integration": "#film",
        "Layers": "#layers",
        "Several": "#several",
        "Test it": "#trial",
    }
    faint, broken, astray = set(), set(), []
    with visit(browser, app) as page:
        page.add_style_tag(content=NO_TRANSITIONS)
        page.evaluate(AXE_SCRIPT)
        wait_for_status(page, "An example")
        for name in TABS:
            open_tab(page, name)
            if name == "Several":
                page.set_input_files("#photos input[type=file]", [*EXAMPLES.glob("*o*.jpg")])
            if name in filled:
                page.locator(f"{filled[name]} img").first.wait_for()
            if name == "Integration":  # a plot is a picture with a name, not hundreds of points
                page.get_by_role("img", name="Class probability along the path").wait_for()
            if name == "Faithfulness":  # its table grows; one that took the place of another has not been come to
                page.wait_for_function(ALL_LINES)
            wait_for_status(page, "^(An example|Done)")
            for theme in ("dark", "light"):
                page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
                found = page.evaluate(CONTRASTS, WORDS)
                assert len(found) > (8 if name in filled else 2)
                faint |= {(theme, round(ratio, 2), words) for ratio, words in found if ratio < 4.5}
                part = "body" if name == TABS[0] else "[role=tabpanel]"
                broken |= set(page.evaluate(AXE, [part, LIGHT if theme == "light" else DARK]))
            astray += by_keyboard(page, name)
            for size in (PHONE, DESK):
                page.set_viewport_size(size)
                wait_until_nothing_is_cut_off(page)
                if (name, size) == (TABS[0], PHONE):  # tabs and colours are the same there
                    broken |= set(page.evaluate(AXE, ["body", LIGHT]))
    assert faint == set()
    assert broken == set()
    assert astray == []
