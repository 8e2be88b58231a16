"""The tab Models: the same photo by several networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import iscam
from iscam import MODELS, Explainer
from iscam.models import BUNDLED, LITE
from iscam.ui.asked import checks
from iscam.ui.asked.events import Events
from iscam.ui.done import models as of_models
from iscam.ui.done.bench import Bench, load_explainer
from iscam.ui.done.news import Analysed, Piece, Refused
from iscam.ui.done.opening import PHOTO
from iscam.ui.done.question import Question
from iscam.ui.done.worker import Worker
from iscam.ui.seen import models
from iscam.ui.seen.canvas import Canvas, Look

from .stand_in import OFFER, StandIn, Watcher, asked, page_of, shown, told, visitor

STUDY = of_models.STUDY


@pytest.fixture
def question() -> Question:
    return replace(checks.question(OFFER, {"path": str(PHOTO)}, BUNDLED), layer="layer2")


def test_each_model_answers_for_itself(question: Question, hire: Callable[[Bench], Worker]) -> None:
    """With real networks: the maps are those of the library, each on its own crop; the page's model keeps its layer."""
    worker = hire(Bench())
    news = told(
        worker.submit("ann", STUDY.order(STUDY.read(question, {"method": "grad-cam", "models": [LITE, BUNDLED]})))
    )
    seen, pieces = [n.subject for n in news if isinstance(n, Analysed)], [n for n in news if isinstance(n, Piece)]
    assert [each.spec.key for each in seen] == [BUNDLED, LITE] and [each.layer for each in seen] == ["layer2", "bn2"]
    assert [each.title for each in pieces] == ["photo11", "EfficientNet-Lite0"]
    for each, subject in zip(pieces, seen, strict=True):
        explainer = Explainer(iscam.load_model(subject.spec.key))
        wanted = explainer.explain(explainer.analyse(PHOTO, subject.layer), "grad-cam")
        np.testing.assert_allclose(each.explanation.heatmap, wanted.heatmap, atol=1e-5)
        assert each.explanation.category == wanted.category
    html = str(models.FACE.arrange(Canvas.of(seen[0], Look()), news, {})["models"])
    assert "map for cat" in html and "map for tiger cat" in html and html.count("<img") == 3
    assert "which sees" not in html


def test_a_class_that_others_have_by_name_is_asked_of_them_too(
    events: Events, photo: dict[str, str], network: StandIn
) -> None:
    page = page_of(events)
    values = asked(events, photo, target=2, methods=["grad-cam"], models__models=[LITE])
    Watcher(events.maps.explain(values, visitor())).finished()
    state = Watcher(events.tabs.opened("models")(values, visitor())).finished()
    assert shown(state[page.shelf["models"]]).count("map for dog") == 2
    assert (
        shown(state[page.shelf["models"]]).count(", which sees") == 4
    )  # twice on a card: the most probable class is another


@pytest.mark.parametrize(
    ("chosen", "word"),
    [
        (["resnet18"], "47 MB"),
        (["photo11", "nothing"], "Choose models"),
        (["photo11", ["photo11"]], "Choose models"),
        ("photo11", "Choose models"),
        ([LITE, "resnet18", "vgg16"], "at most 2"),
    ],
)
def test_what_cannot_be_compared_is_answered(
    question: Question, chosen: object, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=word):
        STUDY.read(question, {"method": "grad-cam", "models": chosen})


def test_a_model_that_cannot_be_had_does_not_keep_the_others(
    question: Question, hire: Callable[[Bench], Worker]
) -> None:
    def load(key: str) -> Explainer:
        if key == LITE:
            raise OSError("its package is gone")
        return load_explainer(key)

    order = STUDY.order(replace(STUDY.read(question, {"method": "grad-cam", "models": [LITE]})))
    news = told(hire(Bench(load)).submit("ann", order))
    assert [each.title for each in news if isinstance(each, Piece)] == ["photo11"]
    (refused,) = [each for each in news if isinstance(each, Refused)]
    assert refused == Refused(MODELS[LITE].label, "its package is gone")


def test_a_method_that_a_model_cannot_serve_says_so(question: Question, hire: Callable[[Bench], Worker]) -> None:
    news = told(hire(Bench()).submit("ann", STUDY.order(STUDY.read(question, {"method": "cam", "models": [LITE]}))))
    (refused,) = [each for each in news if isinstance(each, Refused)]  # at layer2 of photo11
    assert refused.method == "photo11" and "CAM needs" in refused.sentence
    assert [each.title for each in news if isinstance(each, Piece)] == ["EfficientNet-Lite0"]
