"""An upload folder, a photo in it, a stand-in for the network, and the events of a page that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from iscam.ui import build
from iscam.ui.asked.events import Events
from iscam.ui.done.bench import Bench
from tests.ui.stand_in import StandIn


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An upload folder of the test's own."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr("iscam.ui.done.bench.PREVIEW_SECONDS", 0)
    (tmp_path / "uploads").mkdir()
    return Path(get_upload_folder())


@pytest.fixture
def photo(uploads: Path) -> dict[str, str]:
    Image.new("RGB", (50, 30), "teal").save(uploads / "mine.png")
    return {"path": str(uploads / "mine.png")}


@pytest.fixture
def network() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    stand_in.pace.set()


@pytest.fixture
def events(network: StandIn) -> Events:

    async def inside_a_loop() -> Events:  # else Gradio makes event loops of its own and never closes them
        return build("photo11", Bench(lambda key: network))[1]

    return asyncio.run(inside_a_loop())
