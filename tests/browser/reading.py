"""What a screen reader has to read on the page, in its order. `python -m tests.browser.reading` writes it into the docs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.visitor import ARGUMENTS, CHROMIUM, visit
from tests.serving import ROOT, running_app

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCUMENT = ROOT / "docs" / "accessibility.md"
BLOCK = re.compile(r"(?<=```text\n).*?(?=```\n)", re.DOTALL)
# Read with all that is in it, as one; of other roles what is in them is read
WHOLE = {
    "button",
    "checkbox",
    "combobox",
    "heading",
    "image",
    "progressbar",
    "radio",
    "row",
    "slider",
    "spinbutton",
    "tab",
}
AROUND = {"contentinfo", "group", "main", "region", "status", "table", "tabpanel", "tablist"}
STATES = ("checked", "expanded", "selected", "level")

Node = dict[str, Any]


def reading(page: Page) -> list[str]:
    """The page in lines, from Chromium's tree for screen readers: `role, states: name, value`, or text."""
    browser = page.context.new_cdp_session(page)
    found = browser.send("Accessibility.getFullAXTree")["nodes"]
    browser.detach()
    nodes = {node["nodeId"]: node for node in found}
    return list(_lines(next(node for node in found if "parentId" not in node), nodes))


def without_numbers(lines: list[str]) -> list[str]:
    """The lines as they are whatever the machine: numbers, which maps disagree most, and whether all was known before."""
    said = (line.replace("explained beforehand", "explained in 0 s") for line in lines)
    said = (re.sub("most of all .*", "most of all ...", line) for line in said)  # of pairs that are close to each other
    return [re.sub(r"(< )?\d[\d.,]*", "0", line) for line in said]


def _lines(node: Node, nodes: dict[str, Node], label: str = "") -> Iterator[str]:
    """`label` is the name of what the node is the label of."""
    role, name = _of(node, "role"), _of(node, "name").strip()
    parts = [nodes[each] for each in node.get("childIds", ()) if each in nodes]
    if node["ignored"]:
        pass
    elif role == "StaticText":
        if name and name != label:
            yield name
        return
    elif role == "paragraph":
        yield "".join(_of(part, "name") for part in _within(node, nodes) if _of(part, "role") == "StaticText").strip()
        return
    elif role == "LabelText":
        label = next((_of(part, "name") for part in parts if _of(part, "role") in WHOLE), "")
    elif role == "row":
        yield f"row: {', '.join(_of(cell, 'name') for cell in parts if not cell['ignored'])}"
        return
    elif role in WHOLE and (name or role != "image"):
        states = {each["name"]: each["value"].get("value") for each in node.get("properties", ())}
        said = [f"{state} {states[state]}".lower() for state in STATES if state in states]
        value = node.get("value", {}).get("value", "")
        yield f"{', '.join([role, *said])}: {', '.join(filter(None, (name, str(value))))}"
        return
    elif role in AROUND and (name or role in ("status", "table")):
        yield f"{role}: {name}".removesuffix(": ")
    for part in parts:
        if not (role == "table" and _of(part, "role") == "caption"):  # which is the table's name
            yield from _lines(part, nodes, label)


def _within(node: Node, nodes: dict[str, Node]) -> Iterator[Node]:
    for each in node.get("childIds", ()):
        if each in nodes:
            yield nodes[each]
            yield from _within(nodes[each], nodes)


def _of(node: Node, name: str) -> str:
    return str(node.get(name, {}).get("value", ""))


def main() -> None:
    """Write the reading of the opening example into the document."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder)) as app, sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        with visit(chromium.new_context(), app) as page:
            page.locator("#status", has_text="An example").wait_for()
            page.locator("#contrast img").first.wait_for()
            said = "".join(f"{line}\n" for line in reading(page))
        chromium.close()
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(BLOCK.sub(lambda _: said, text), encoding="utf-8")


if __name__ == "__main__":
    main()
