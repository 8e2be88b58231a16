"""Words and pieces of HTML."""

from __future__ import annotations

import numpy as np
import pytest

from iscam import METHODS, Prediction
from iscam.notes import lies
from iscam.trust import CONTROLS
from iscam.ui.seen import figures, html, words
from iscam.ui.seen.about import about
from tests.ui.stand_in import CATEGORIES, StandIn


@pytest.mark.parametrize(
    ("share", "wanted"),
    [(0, "0 %"), (0.00001, "< 0.01 %"), (0.0042, "0.42 %"), (0.1234, "12.3 %"), (1, "100.0 %")],
)
def test_per_cent(share: float, wanted: str) -> None:
    assert words.per_cent(share) == wanted


@pytest.mark.parametrize(
    ("row", "column", "wanted"), [(0, 0, "upper left"), (1, 1, "centre"), (1, 2, "right"), (2, 1, "lower middle")]
)
def test_place_names_the_ninth_with_most_weight(row: int, column: int, wanted: str) -> None:
    heatmap = np.full((20, 31), 0.1, np.float32)
    heatmap[row * 7 : row * 7 + 6, column * 11 : column * 11 + 9] = -1
    assert lies(heatmap) == f"strongest at the {wanted}"


def test_classes_start_with_the_predictions_and_are_told_apart_by_index() -> None:
    """Every class is there once, under its index as value, and equal names differ on the page."""
    rows = StandIn().analyse(None, None).predictions  # type: ignore[arg-type]
    choices = words.class_choices(CATEGORIES, rows)
    assert [value for _, value in choices[:5]] == [4, 1, 0, 2, 3]
    assert sorted(value for _, value in choices) == list(range(len(CATEGORIES)))
    assert len({label for label, _ in choices}) == len(CATEGORIES)
    assert choices[0][0] == "<b>fox</b> · 50.0 %"  # a dropdown shows text, not HTML
    assert words.class_choices(CATEGORIES, rows, rivals=True)[:2] == words.NO_CLASS


def test_equal_class_names_carry_their_index_and_others_do_not() -> None:
    rows = [Prediction(1, "crane", 0.5), Prediction(2, "dog", 0.25)]
    labels = [label for label, _ in words.class_choices(("crane", "crane", "dog"), rows)]
    assert labels == ["crane (1) · 50.0 %", "dog · 25.0 %", "crane (0)"]


def test_html_is_escaped() -> None:
    rows = StandIn().analyse(None, None).predictions  # type: ignore[arg-type]
    evil = '"><script>alert(1)</script>'
    for written in (
        html.predictions(rows, "photo11"),
        html.status(evil),
        html.card(evil, b"", evil, [evil], evil, evil, True),
        html.empty_card(evil, evil),
        html.colour_bar(b"", evil, evil),
    ):
        assert "<script" not in written and "<b>" not in written and '""' not in written.replace('alt=""', "")


def test_a_few_of_many_names_are_said() -> None:
    assert words.some(["cat"], 1) == "cat" and words.some(["a", "b", "c"], 3) == "a, b, c"
    assert words.some(["a", "b", "c", "d", "e"], 5) == "a, b, c and 2 more"
    assert words.some(["a", "b", "c", "d"], 20) == "a, b, c and 17 more"  # of which some are not known by name


def test_about_names_every_method() -> None:
    assert all(f"[{row.label}]({row.paper})" in about() for row in METHODS.values())


def test_a_figure_is_bold_only_if_it_beats_all_controls() -> None:
    """For some metrics the lower is better; what is yes or no for one photo is never bold."""
    controls = {key: {"average-drop": 0.5, "insertion": 0.5, "increase": 0.0} for key in CONTROLS}
    better = {"average-drop": 0.4, "insertion": 0.6, "increase": 1.0}
    rows = controls | {"is-cam": better, "grad-cam": controls["random"]}
    found = figures.table(rows, {}, {"CAM": "why <not>"}, "<b>", 0.9)
    assert found.count("<strong>") == 2 and "<strong>40.0</strong>" in found and "<strong>60.0</strong>" in found
    assert "<td>yes</td>" in found and "why &lt;not&gt;" in found and "for &lt;b&gt; (" in found
    assert found.index("IS-CAM") < found.index("Grad-CAM") < found.index("Random")
    worse = controls | {"is-cam": {"average-drop": 0.6, "insertion": 0.4, "increase": 1.0}}
    worse["fake-cam"] = {"average-drop": 0.9, "insertion": 0.1, "increase": 0.0}
    assert "<strong>" not in figures.table(worse, {}, {}, "cat", 0.9)
    del worse["fake-cam"], worse["random"]["insertion"]
    assert "<strong>" not in figures.table(worse | {"is-cam": better}, {}, {}, "cat", 0.9)  # a control is still to come
    close = controls | {"is-cam": {"insertion": 0.5004}}
    assert "<strong>" not in figures.table(close, {}, {}, "cat", 0.9)  # it is read as 50.0 against 50.0


def test_a_blank_map_and_an_improbable_class_are_named_and_never_win() -> None:
    rows = {key: {"insertion": 0.5} for key in CONTROLS} | {"grad-cam": {"insertion": 0.9}}
    found = figures.table(rows, {"grad-cam": "all weights are negative"}, {}, "cat", 0.001)
    assert "Grad-CAM <span>blank map</span>" in found and "Grad-CAM: all weights are negative" in found
    assert "<strong>90.0" not in found and "only 0.1 %: do not take the map for evidence" in found
    assert "evidence" not in figures.table(rows, {}, {}, "cat", 0.9)
