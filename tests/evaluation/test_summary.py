"""What rows say in the mean: intervals, differences, rankings; held against scipy and against tables made by hand."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from iscam.evaluation.markdown import as_markdown
from iscam.evaluation.plan import Conditions, Maps, Measures, Network
from iscam.evaluation.report import write_evaluation
from iscam.evaluation.run import Evaluation
from iscam.evaluation.summary import FEWEST, Difference, Line, held_against, rank, summarise
from iscam.trust import wilson
from iscam.trust.intervals import RESAMPLES
from tests import reference

Array = np.ndarray[Any, Any]
NAN = float("nan")


def evaluation(values: Array | Mapping[str, Array], metric: str = "average-drop") -> Evaluation:
    """A metric of one method or several, for as many photos as there are values, or grids of rows of four; NaN: not known."""
    columns = values if isinstance(values, Mapping) else {"cam": values}
    grids = any(column.ndim > 1 for column in columns.values())
    conditions = Conditions(
        Network("photo11", None, "", "", "cpu", "layer3"),
        Maps(("cam",), "predicted", (10,), ("cumulative",), ("probability",), "fast", 0.01, 8, 0),
        Measures((metric,), 28, 1, False, False, grid=grids),
    )
    count = len(next(iter(columns.values())))
    rows = [
        {
            **{"file": f"{i:03}", "method": method, "class_index": question, "probability": 0.9},
            **{metric: None if np.isnan(value) else float(value), "seconds": 0.1, "forward_passes": 1},
        }
        for i in range(count)
        for question in range(4 if grids else 1)
        for method, column in columns.items()
        for value in [np.atleast_1d(column[i])[question]]
    ]
    return Evaluation(conditions, rows, {})


def markdown(found: Evaluation) -> str:
    return as_markdown(found, summarise(found), rank(found))


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def hard_and_easy(seed: int, shape: Sequence[int]) -> dict[str, Array]:
    """Three methods and a control, whose values depend more on the photo than on the method; some are not known."""
    generator = np.random.default_rng(seed)
    hardness = generator.beta(2, 2, shape)
    found = {
        name: np.clip(hardness + shift + 0.05 * generator.standard_normal(shape), 0, 1)
        for name, shift in (("score-cam", 0.02), ("is-cam", 0.0), ("grad-cam", -0.1), ("random", 0.2))
    }
    for column in (found["is-cam"], found["grad-cam"]):
        column[generator.random(shape) < 0.1] = NAN
    return found


# Means


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    """Over 200 samples of 40 from a skewed distribution about 95 of 100 cover its mean; the same sample gives the same."""
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        values = generator.beta(2, 5, 40)
        (line,) = summarise(evaluation(values))
        assert line.mean == pytest.approx(values.mean()) and line.n == 40
        covered += line.low <= 2 / 7 <= line.high
        assert summarise(evaluation(values)) == [line]
    assert 180 <= covered <= 198


def test_four_times_the_photos_halve_the_interval() -> None:
    values = np.linspace(0, 1, 25)
    (few,), (many,) = summarise(evaluation(values)), summarise(evaluation(np.repeat(values, 4)))
    assert few.low < few.mean == pytest.approx(many.mean) and many.mean < many.high < few.high
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(1 / 2, rel=0.1)


def test_the_bootstrap_equals_plain_loops() -> None:
    """Drawing photos with replacement and averaging those that are known, one resample at a time."""
    values = np.array([0.1, 0.9, np.nan, 0.4, 0.3])
    generator, means = np.random.default_rng(0), []
    for _ in range(RESAMPLES // 100):
        for chosen in generator.integers(0, len(values), (100, len(values))):
            known = [values[i] for i in chosen if not np.isnan(values[i])]
            means.append(sum(known) / len(known) if known else np.nan)
    (line,) = summarise(evaluation(values))
    assert line.n == 4 and line.mean == pytest.approx(0.425)
    assert (line.low, line.high) == pytest.approx(tuple(np.nanquantile(means, (0.025, 0.975))))


def test_nothing_measured_is_a_table_without_lines(tmp_path: Path) -> None:
    """In every file, of which none is left out, so that none of a run before can be mistaken for it."""
    empty = evaluation(np.array([]))
    assert summarise(empty) == [] and rank(empty) == [] and "0 photos" in markdown(empty)
    write_evaluation(tmp_path, empty, {})
    assert (tmp_path / "ranking.csv").read_text() == "metric,alpha,spearman,photos,methods\n"
    assert read(tmp_path / "summary.csv") == []


# Shares of photos


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 1), (0, 24), (24, 24), (3, 10), (25, 200), (1, 50_000)])
def test_wilsons_interval_is_scipys(count: int, of: int) -> None:
    """Also where all photos agree, which is where the bootstrap's has no width."""
    wanted = stats.binomtest(count, of).proportion_ci(0.95, method="wilson")
    assert wilson(count, of) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    low, high = wilson(count, of)
    assert 0 <= low <= count / of <= high <= 1 and low < high


def test_shares_of_photos_have_wilsons_interval() -> None:
    """Of the photos of which it is known; and so the tables have no interval without a width to warn of."""
    values = np.array([1, 0, 0, NAN, 0])
    (line,) = summarise(evaluation(values, "increase"))
    assert (line.n, line.mean) == (4, 0.25) and (line.low, line.high) == wilson(1, 4)
    never = evaluation(np.zeros(24), "increase")
    (line,) = summarise(never)
    assert (line.low, line.high) == wilson(0, 24)
    text = markdown(never)
    assert "| cam | 0.0 [0.0, 13.8] |" in text and "no width" not in text
    assert "shares of photos (Increase in Confidence) with Wilson's score intervals" in text
    drop = markdown(evaluation(np.zeros(24)))
    assert "| cam | 0.0 [0.0, 0.0] |" in drop and "no width" in drop and "Wilson" not in drop


def test_questions_about_a_grid_are_no_independent_photos() -> None:
    """Their interval stays the bootstrap's, of whole grids: that of the grids' own shares."""
    shares = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]])
    (grids,) = summarise(evaluation(shares, "increase"))
    (plain,) = summarise(evaluation(shares.mean(1)))
    assert grids.n == 20 and (grids.low, grids.high) == pytest.approx((plain.low, plain.high))
    low, high = wilson(11, 20)
    assert grids.high - grids.low > 1.5 * (high - low)
    assert "Wilson" not in markdown(evaluation(shares, "increase"))


# Differences


def ratio(totals: Array, counts: Array, axis: int = -1) -> Array:
    return np.asarray(totals.sum(axis) / counts.sum(axis))


@pytest.mark.parametrize("shape", [(80,), (40, 4)])
def test_differences_have_scipys_intervals(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """From rows.csv alone: of the differences of the same photo, or of sums over grids, by the percentile method.

    The end of a percentile interval of R resamples of a mean with standard error s strays by sqrt(0.025 x 0.975 / R) s / 0.058,
    0.058 being the normal density there: 0.060 s for the 2,000 here and 0.019 s for the 20,000 of scipy, together 0.063 s. Four
    times as much, 0.25 s, is allowed; the whole interval is 3.9 s wide.
    """
    write_evaluation(tmp_path, evaluation(hard_and_easy(1, shape)), {})
    values: dict[tuple[str, str], dict[str, float]] = {}
    for row in read(tmp_path / "rows.csv"):
        if row["average-drop"]:
            values.setdefault((row["file"], row["class_index"]), {})[row["method"]] = float(row["average-drop"])
    checked = 0
    for line in read(tmp_path / "summary.csv"):
        if line["method"] == "is-cam":
            continue
        units: dict[str, list[float]] = {}
        for (file, _), given in values.items():
            if {"is-cam", line["method"]} <= given.keys():
                units.setdefault(file, []).append(given[line["method"]] - given["is-cam"])
        sums, counts = np.array([(sum(unit), len(unit)) for unit in units.values()]).T
        how = {"n_resamples": 20_000, "method": "percentile", "rng": np.random.default_rng(5)}
        wanted = stats.bootstrap((sums, counts), ratio, paired=True, **how)
        low, high = wanted.confidence_interval
        assert float(line["difference"]) == pytest.approx(sums.sum() / counts.sum(), abs=2e-6)
        found = float(line["difference_low"]), float(line["difference_high"])
        assert found == pytest.approx((low, high), abs=0.25 * wanted.standard_error)
        checked += 1
    assert checked == 3


def test_a_method_that_is_always_better_by_as_much_differs_by_just_that() -> None:
    """Its difference has no width, although photos differ so much that the means' intervals overlap almost wholly."""
    hardness = np.arange(64) / 64
    found = evaluation({"is-cam": hardness, "grad-cam": hardness - 1 / 64, "random": hardness + 1 / 64})
    plain, better, worse = summarise(found)
    assert plain.difference is None
    assert better.difference == Difference(-1 / 64, -1 / 64, -1 / 64, 64)
    assert worse.difference == Difference(1 / 64, 1 / 64, 1 / 64, 64)
    assert better.high - better.low > 0.1 and better.high > plain.mean + 0.03
    text = markdown(found)
    assert "## Differences to is-cam, in per cent points\n\n| method | Average Drop ↓ |" in text
    assert "| grad-cam | **-1.6 [-1.6, -1.6]** |\n| random (control) | **+1.6 [+1.6, +1.6]** |" in text
    assert "no width" in text and text.index("| is-cam | 49.2") < text.index("Differences to") < text.index("\n- ")


def test_only_photos_on_which_both_were_measured_are_compared() -> None:
    """Of a grid only the questions that both have; nothing is said where no photo has both."""
    one = {"is-cam": np.array([0.1, 0.2, 0.3, NAN]), "cam": np.array([NAN, 0.5, 0.5, 1.0]), "random": np.full(4, NAN)}
    lines = {line.method: line for line in summarise(evaluation(one))}
    assert set(lines) == {"is-cam", "cam"} and lines["cam"].n == 3
    gap = lines["cam"].difference
    assert gap is not None and gap.photos == 2 and gap.mean == pytest.approx((0.3 + 0.2) / 2)
    assert (gap.low, gap.high) == pytest.approx((0.2, 0.3))
    grids = {"is-cam": np.array([[0.1, NAN, 0.1, 0.1]]), "cam": np.array([[0.3, 0.9, NAN, 0.2]])}
    _, line = summarise(evaluation(grids))
    gap = line.difference
    assert line.n == 3 and gap is not None and gap.photos == 1 and gap.mean == pytest.approx(0.3 / 2)
    apart = {"is-cam": np.array([0.1, NAN]), "cam": np.array([NAN, 0.5])}
    assert [line.difference for line in summarise(evaluation(apart))] == [None, None]
    assert "Differences" not in markdown(evaluation(apart))


@pytest.mark.parametrize(
    ("methods", "wanted"),
    [
        (["cam", "is-cam rivals=all", "is-cam", "random"], "is-cam"),
        (["cam", "is-cam N=5", "is-cam N=10", "random"], "is-cam N=5"),
        (["grad-cam", "cam", "random"], "grad-cam"),
    ],
)
def test_methods_are_held_against_is_cam_or_its_kin_or_the_first(methods: list[str], wanted: str) -> None:
    """Which has no difference of its own; all others have one."""
    assert held_against(methods) == wanted
    lines = summarise(evaluation({method: np.array([0.1, 0.2]) for method in methods}))
    assert [line.method for line in lines if line.difference is None] == [wanted]


def test_differences_are_bold_where_the_interval_excludes_nothing_but_chance() -> None:
    """As far as it is shown, and from six photos on: of five, one time in sixteen all differ to the same side by chance."""
    assert FEWEST == 6
    clear = Difference(0.02, 0.001, 0.04, 6)
    assert clear.is_clear and replace(clear, mean=-0.02, low=-0.04, high=-0.001).is_clear
    assert not replace(clear, photos=5).is_clear
    assert not replace(clear, low=0.0004).is_clear  # shown as +0.0
    assert not replace(clear, low=-0.01).is_clear and not replace(clear, low=-0.04, high=0.0).is_clear
    values = {"is-cam": np.arange(6) / 10, "cam": np.arange(6) / 10 + [0.1, 0.2, 0.1, 0.2, 0.1, 0.2]}
    assert "| cam | **+15.0 [" in markdown(evaluation(values))
    assert "| cam | +14.0 [" in markdown(evaluation({name: column[:5] for name, column in values.items()}))


def test_columns_stand_in_the_order_that_was_asked_for() -> None:
    """In both tables, also if the first method lacks the first metric; what is not known is an empty cell."""
    found = evaluation({name: np.array([0.1, 0.2]) for name in ("eigen-cam", "is-cam", "cam")})
    rows = [{**row, "specificity": None if row["method"] == "eigen-cam" else 0.5} for row in found.rows]
    measures = replace(found.conditions.measures, metrics=("specificity", "average-drop"))
    text = markdown(Evaluation(replace(found.conditions, measures=measures), rows, {}))
    assert "| method | Class specificity % ↑ | Average Drop % ↓ |\n| --- | --- | --- |\n| eigen-cam |  | 15.0" in text
    assert "| method | Class specificity ↑ | Average Drop ↓ |\n| --- | --- | --- |\n| eigen-cam |  | +0.0" in text


# Rankings


def test_rankings_are_of_methods_alone(tmp_path: Path) -> None:
    """Controls are left out; so is a photo of which one method is not known, and a method that never is."""
    values = hard_and_easy(3, (30,)) | {"eigen-cam": np.full(30, NAN)}
    found = evaluation(values)
    table = np.stack([values[name] for name in ("score-cam", "is-cam", "grad-cam")], axis=1)
    table = table[np.isfinite(table).all(1)]
    places = stats.rankdata(table.round(4), axis=1)
    wanted = reference.ordinal_alpha(places), reference.mean_spearman(places)
    (ranking,) = rank(found)
    assert (ranking.alpha, ranking.spearman) == pytest.approx(wanted) and 0.3 < ranking.alpha < 0.9
    assert (ranking.metric, ranking.photos, ranking.methods) == ("average-drop", len(table), 3)
    write_evaluation(tmp_path, found, {})
    (row,) = read(tmp_path / "ranking.csv")
    assert list(row) == ["metric", "alpha", "spearman", "photos", "methods"]
    assert float(row["alpha"]) == pytest.approx(wanted[0], abs=1e-6)
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert f"| Average Drop | {ranking.alpha:.2f} | {ranking.spearman:.2f} | {len(table)} | 3 |" in text
    assert text.index("Differences to") < text.index("agree on the ranking") < text.index("\n- ")


def test_a_grid_gives_one_ranking() -> None:
    """By the means of its four questions, if they are known of all methods."""
    generator = np.random.default_rng(4)
    values = {
        name: generator.random((9, 4)) + shift for name, shift in (("is-cam", 0), ("cam", 0.2), ("grad-cam", 0.4))
    }
    means = {name: column.mean(1) for name, column in values.items()}
    assert rank(evaluation(values)) == rank(evaluation(means)) != []
    values["cam"][2, 1] = NAN
    (ranking,) = rank(evaluation(values))
    assert ranking.photos == 8


def test_too_little_to_rank_is_left_out() -> None:
    """One photo, one method beside controls, or photos that tie all methods: in no file is anything said of it."""
    rising = np.arange(5) / 5
    for values in (
        {"is-cam": rising[:1], "cam": rising[1:2]},
        {"is-cam": rising, "random": rising**2, "lafam": rising**3},
        {"is-cam": rising, "cam": rising},
    ):
        found = evaluation(values)
        assert rank(found) == [] and "anking" not in markdown(found)


def test_lines_without_differences_need_no_reference() -> None:
    """Of a single method there is one table."""
    (line,) = summarise(evaluation(np.array([0.2, 0.4])))
    assert line == Line("cam", "average-drop", line.mean, line.low, line.high, 2) and line.difference is None
