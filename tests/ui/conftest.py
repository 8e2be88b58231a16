"""An upload folder, a photo in it, a stand-in for the network, and the events of a page that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from iscam.ui.asked.events import Events
from iscam.ui.demo import build
from iscam.ui.done.bench import Bench
from iscam.ui.done.offer import Offer
from iscam.ui.done.worker import Worker
from tests.ui.stand_in import StandIn, beside


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An upload folder of the test's own."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr("iscam.ui.done.previews.SHORTEST", 0)
    monkeypatch.setattr("iscam.ui.done.previews.SHARE", 1)
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
def hire() -> Iterator[Callable[[Bench], Worker]]:
    """`hire(bench, offer)`: a worker for the test alone."""
    hired: list[Worker] = []

    def hire(bench: Bench, offer: Offer | None = None) -> Worker:
        hired.append(beside(bench, offer))
        return hired[-1]

    yield hire
    for worker in hired:
        worker.close()


@pytest.fixture
def bench(network: StandIn) -> Bench:
    return Bench(lambda key: network)  # type: ignore[arg-type,return-value]


@pytest.fixture
def events(bench: Bench, hire: Callable[[Bench], Worker]) -> Events:

    async def inside_a_loop() -> Events:  # else Gradio makes event loops of its own and never closes them
        return build(hire(bench), "photo11")[1]

    return asyncio.run(inside_a_loop())
