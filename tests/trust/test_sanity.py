"""Sanity checks: laws of the changes and of the correlations, on real networks and by the command line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import iscam.trust
from iscam import Analysis, Explainer, Explanation, LoadedModel
from iscam.__main__ import main
from iscam.models.bundled.network import CATEGORIES
from iscam.models.photo11 import BUNDLED_WEIGHTS
from iscam.results import Stopped
from iscam.trust import as_figure, averages, averages_csv
from iscam.trust.correlation import spearman
from iscam.trust.sanity import (
    HEAD_DRAWS,
    SHIFTS,
    STAGES,
    Comparison,
    Explain,
    random_heads,
    randomisation,
    redraw,
    shifted,
    stability,
)
from tests.cases import CHELSEA, SIDE, SMALL, analysed, photo11, state_of


def by(method: str, steps: int = 4, target: int | None = None) -> Explain:
    def explain(explainer: Explainer, analysis: Analysis, count: int | None) -> Explanation:
        return explainer.explain(analysis, method, target, steps=count or steps)

    return explain


@pytest.fixture(scope="module")
def photo() -> tuple[Explainer, Analysis]:
    explainer = Explainer(iscam.load_model("photo11"))
    return explainer, explainer.analyse(CHELSEA)


def test_ranks_are_correlated_as_by_scipy() -> None:
    """Also where many values are equal; a constant map correlates with none."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand((9, 9), generator=generator), torch.rand((9, 9), generator=generator)
    for a, b in ((one, other), (one, one**3), (one, -one), (one.clamp_min(0.6), other.mul(4).round())):
        assert spearman(a, b) == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic)
    assert spearman(one, torch.ones(9, 9)) == 0


def test_a_moved_photo_is_the_photo_elsewhere() -> None:
    image = torch.rand(1, 3, 7, 9)
    moved = shifted(image, 2)
    assert moved.shape == image.shape and torch.equal(moved[:, :, 2:, 2:], image[:, :, :-2, :-2])
    assert torch.equal(moved[:, :, 0], moved[:, :, 2])


def test_redrawn_weights_keep_their_scale_but_not_their_order() -> None:
    layer = torch.nn.Conv2d(50, 40, 3)
    before = layer.weight.detach().clone()
    redraw(layer, torch.Generator().manual_seed(7))  # not that of the weights themselves
    after = layer.weight.detach()
    assert float(after.std() / before.std()) == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(before.flatten(), after.flatten())[0, 1]) < 0.03


def test_the_cascade_loses_what_was_learnt_and_leaves_the_network_alone(photo: tuple[Explainer, Analysis]) -> None:
    """The last stage has drawn all parameters; the same seed gives the same; hooks, modes and weights stay."""
    explainer, analysis = photo
    network = explainer.model.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = list(randomisation(explainer, analysis, by("grad-cam", target=analysis.predictions[0].index)))
    assert len(found) == STAGES and all(row.check == "randomised" for row in found)
    assert (
        found[-1].change == f"down to {next(name for name, m in network.named_modules() if list(m.parameters(False)))}"
    )
    assert found[0].change == "down to fc" and found[-1].pearson < 0.5
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module.training or module._forward_hooks for module in network.modules())
    again = list(randomisation(explainer, analysis, by("grad-cam", target=analysis.predictions[0].index)))
    assert again == found
    other = list(randomisation(explainer, analysis, by("grad-cam", target=0), stages=2, seed=1))
    assert [row.change for row in other] == [found[0].change, found[-1].change] and other[-1] != found[-1]
    (single,) = randomisation(explainer, analysis, by("grad-cam", target=0), stages=1)
    assert single.change == found[-1].change


def test_a_network_in_training_mode_stays_so_and_learns_nothing(tiny: Callable[..., LoadedModel]) -> None:
    """Its batch norms would take in what they are shown; a hook of the caller's is there afterwards, and no other."""
    explainer = Explainer(tiny("TinyPooled"))
    network = explainer.model.network
    mine = network.get_submodule("features").register_forward_hook(lambda *_: None)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    analysis = explainer.analyse(CHELSEA)
    list(randomisation(explainer, analysis, by("is-cam", target=0)))
    list(stability(explainer, analysis, by("grad-cam", target=0), (2,)))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert [key for module in network.modules() for key in module._forward_hooks] == [mine.id]


def test_every_parameter_is_drawn_anew_in_the_end(tiny: Callable[..., LoadedModel]) -> None:
    """Seen by the explainer of the last stage, whose network shares nothing with the first."""
    explainer = Explainer(tiny("TinyPooled"))
    analysis = explainer.analyse(CHELSEA)
    seen: list[LoadedModel] = []

    def explain(explainer: Explainer, analysis: Analysis, _: int | None) -> Explanation:
        seen.append(explainer.model)
        return explainer.explain(analysis, "grad-cam", 0)

    list(randomisation(explainer, analysis, explain))
    first, last = (dict(model.network.named_parameters()) for model in (seen[0], seen[-1]))
    assert seen[0] is explainer.model
    assert not any(torch.equal(value, last[name]) for name, value in first.items() if value.numel() > 1)


def test_each_draw_is_of_the_head_alone(tiny: Callable[..., LoadedModel]) -> None:
    """The first one as in the cascade; all others differ from it and from each other, and are the same again."""
    explainer, analysis = analysed(tiny("TinyMlpHead"))
    seen: list[LoadedModel] = []

    def explain(explainer: Explainer, analysis: Analysis, _: int | None) -> Explanation:
        seen.append(explainer.model)
        return explainer.explain(analysis, "grad-cam", 0)

    found = list(random_heads(explainer, analysis, explain, seed=3))
    assert [(row.check, row.change) for row in found] == [("head", f"draw {n + 1}") for n in range(HEAD_DRAWS)]
    own = dict(seen[0].network.named_parameters())
    changed = [{n for n, p in model.network.named_parameters() if not torch.equal(p, own[n])} for model in seen]
    assert changed == [set(), *[{"head.2.weight", "head.2.bias"}] * HEAD_DRAWS]
    drawn = [model.network.get_parameter("head.2.weight") for model in seen[1:]]
    assert len({tuple(weight.flatten().tolist()) for weight in drawn}) == HEAD_DRAWS
    assert replace(next(randomisation(explainer, analysis, explain, seed=3)), check="head", change="draw 1") == found[0]
    assert list(random_heads(explainer, analysis, explain, draws=2, seed=3)) == found[:2]
    assert next(random_heads(explainer, analysis, explain, draws=1, seed=4)).pearson == found[1].pearson


@pytest.mark.parametrize("check", [randomisation, random_heads, partial(stability, shifts=(2, 4))])
def test_a_check_that_is_left_half_way_leaves_no_trace(
    check: Callable[..., Iterator[Comparison]], tiny: Callable[..., LoadedModel]
) -> None:
    """After any of its comparisons: weights, gradients, modes and hooks of the explainer's network are as before."""
    explainer, analysis = analysed(tiny("TinyPooled"))
    before = state_of(explainer.model.network)
    map_before = explainer.explain(analysis, "is-cam", 0).heatmap
    for method in ("is-cam", "grad-cam"):
        found = check(explainer, analysis, by(method, target=0))
        for _ in range(2):
            next(found)
            after = state_of(explainer.model.network)
            assert before[:2] == after[:2] and torch.equal(before[2], after[2])
        found.close()
    assert np.array_equal(explainer.explain(analysis, "is-cam", 0).heatmap, map_before)


@pytest.mark.parametrize("complete", [(False, True), (True, False)])
@pytest.mark.parametrize("check", [randomisation, random_heads, partial(stability, shifts=(2, 4))])
def test_a_map_that_was_stopped_is_compared_with_none(
    check: Callable[..., Iterator[Comparison]], complete: tuple[bool, bool], tiny: Callable[..., LoadedModel]
) -> None:
    """Neither as the original nor after a change."""
    finished = iter(complete)

    def explain(explainer: Explainer, analysis: Analysis, _: int | None) -> Explanation:
        found = explainer.explain(analysis, "grad-cam", 0)
        return replace(found, outcome=replace(found.outcome, complete=next(finished)))

    with pytest.raises(Stopped):
        next(check(*analysed(tiny("TinyPooled")), explain))


def test_cam_uses_the_head_that_was_drawn_anew(photo: tuple[Explainer, Analysis]) -> None:
    """The first stage draws the head alone: CAM's map changes with it, as Grad-CAM's does, to which it is equal."""
    explainer, analysis = photo
    index = analysis.predictions[0].index
    cam, grad = (next(randomisation(explainer, analysis, by(key, target=index))) for key in ("cam", "grad-cam"))
    assert cam.pearson == pytest.approx(grad.pearson, abs=1e-3) and cam.pearson < 0.999


def test_a_map_that_asks_no_class_stays_while_only_the_head_is_drawn(photo: tuple[Explainer, Analysis]) -> None:
    """Eigen-CAM's map is of the layer alone."""
    explainer, analysis = photo
    assert next(randomisation(explainer, analysis, by("eigen-cam", target=0), stages=1000)).pearson == pytest.approx(
        1, abs=1e-4
    )


def test_small_changes_move_the_map_little(photo: tuple[Explainer, Analysis]) -> None:
    """A shift, a mirror and other N, of which the own number of steps gives the same map."""
    explainer, analysis = photo
    asked: list[int | None] = []

    def explain(explainer: Explainer, analysis: Analysis, count: int | None) -> Explanation:
        asked.append(count)
        return by("is-cam", 5)(explainer, analysis, count)

    found = list(stability(explainer, analysis, explain, steps=(5, 20)))
    assert asked == [None] * (1 + len(SHIFTS) + 1) + [5, 20]  # the map itself, shifts and mirror by its own steps
    names = [("shifted", f"{shift} pixels") for shift in SHIFTS]
    assert [(row.check, row.change) for row in found] == [
        *names,
        *(("mirrored", "left to right"), ("steps", "N = 5"), ("steps", "N = 20")),
    ]
    assert found[0].pearson > 0.8 and found[-1].pearson > 0.95
    assert found[-2].pearson == pytest.approx(1, abs=1e-4) and found[-2].spearman == pytest.approx(1, abs=1e-2)


def test_a_photo_that_is_not_moved_has_the_same_map(photo: tuple[Explainer, Analysis]) -> None:
    explainer, analysis = photo
    first = next(stability(explainer, analysis, by("grad-cam"), (0,)))
    assert first.change == "0 pixels" and (first.pearson, first.spearman) == (pytest.approx(1), pytest.approx(1))


def test_what_cannot_be_checked_is_said_in_a_sentence(photo: tuple[Explainer, Analysis]) -> None:
    """No stage; a shift that leaves nothing to compare; a class that changes with the photo."""
    explainer, analysis = photo
    with pytest.raises(ValueError, match="at least one stage, not 0"):
        next(randomisation(explainer, analysis, by("cam"), stages=0))
    with pytest.raises(ValueError, match="at least once, not 0 times"):
        next(random_heads(explainer, analysis, by("cam"), draws=0))
    for shift in (-1, analysis.forward.image.shape[3]):
        with pytest.raises(ValueError, match=f"moved by 0 to 127 pixels, not {shift}"):
            next(stability(explainer, analysis, by("cam"), (shift,)))

    def by_another_class(explainer: Explainer, other: Analysis, _: int | None) -> Explanation:
        return explainer.explain(other, "cam", int(other is analysis))

    for rows in (randomisation, random_heads, stability):
        with pytest.raises(ValueError, match="the same class each time"):
            next(rows(explainer, analysis, by_another_class))


def test_a_map_that_moves_with_the_photo_is_found_where_it_was(photo: tuple[Explainer, Analysis]) -> None:
    """Here the map is the photo's own brightness: moved back it is the same, but for the scale of what is cut off."""
    explainer, analysis = photo
    plain = explainer.explain(analysis, "cam")

    def brightness(_: Explainer, analysis: Analysis, __: int | None) -> Explanation:
        return replace(plain, heatmap=analysis.forward.image[0].mean(0).numpy())

    for found in stability(explainer, analysis, brightness):
        assert (found.pearson, found.spearman) == (pytest.approx(1, abs=1e-6), pytest.approx(1, abs=1e-6))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def heads(*correlations: float | None) -> list[Comparison]:
    """Draws of the head by Pearson's r; Spearman's is half of it."""
    halves = [None if r is None else r / 2 for r in correlations]
    return [
        Comparison("head", f"draw {n}", r, half, 0.5)
        for n, (r, half) in enumerate(zip(correlations, halves, strict=True))
    ]


def test_averages_are_over_photos_and_blank_maps_are_counted_apart() -> None:
    """A photo counts once, however many of its draws are blank. Of two photos' mean a quarter of the resamples are one of
    them twice, so the interval is from one to the other."""
    steady = Comparison("mirrored", "left to right", 0.5, 0.25, 0.5)
    photos = [
        {"cam": [*heads(0.2, None, 0.4), steady], "is-cam": [steady]},
        {"cam": [*heads(-0.5, -0.7, -0.6), steady], "is-cam": [steady]},
        {"cam": [*heads(None, None, None), replace(steady, pearson=None, spearman=None)]},
    ]
    found = {(row.method, row.check): row for row in averages(photos)}
    assert list(found) == [("cam", "head"), ("cam", "mirrored"), ("is-cam", "mirrored")]
    drawn, mirrored = found["cam", "head"], found["cam", "mirrored"]
    assert (drawn.pearson, drawn.spearman) == (pytest.approx((0.3 - 0.6) / 2), pytest.approx((0.3 - 0.6) / 4))
    assert (drawn.interval, drawn.spread) == (pytest.approx((-0.6, 0.3)), (-0.7, 0.4))
    assert (drawn.maps, drawn.blank, mirrored.maps, mirrored.blank) == (9, 4, 3, 1)
    assert (mirrored.pearson, mirrored.interval, mirrored.spread) == (0.5, (0.5, 0.5), (0.5, 0.5))
    single, nothing = averages(photos[:1])[0], averages(photos[2:])[0]
    assert single.pearson == pytest.approx(0.3) and single.interval is None
    assert (nothing.pearson, nothing.spearman, nothing.interval, nothing.spread, nothing.blank) == (*[None] * 4, 3)
    assert averages_csv([nothing]).splitlines()[1] == "cam,head,all draws,,,,,,,3,3"
    assert averages_csv([drawn]).splitlines()[1] == "cam,head,all draws,-0.15,-0.6,0.3,-0.7,0.4,-0.075,9,4"


def test_maps_that_are_all_blank_are_drawn_as_gaps() -> None:
    """Without a mean, which there is none; a rival's name with a dollar sign starts no formula."""
    picture = as_figure("title", {"cam rivals=$\\x$": heads(None, None), "grad-cam": heads(0.1, None)})
    assert picture.width > picture.height


def test_the_command_writes_a_table_and_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each photo; what is not there is named, and the exit status says so. By few steps, which cost little."""
    monkeypatch.setattr(iscam.trust, "OTHER_STEPS", (1, 2))
    asked = ["sanity", str(CHELSEA), "nowhere.jpg", "--methods", "is-cam,cam", "--steps", "1", *SMALL]
    assert main([*asked, "--out", str(tmp_path)]) == 2
    said, complaint = capsys.readouterr()
    assert "nowhere.jpg: there is no such file" in complaint and "chelsea.jpg: class 1" in said
    assert {file.name for file in tmp_path.iterdir()} == {"chelsea.sanity.csv", "chelsea.sanity.png"}  # one photo's
    rows = rows_of(tmp_path / "chelsea.sanity.csv")
    assert list(rows[0]) == ["photo", "method", "check", "change", "pearson", "spearman", "probability"]
    assert sum(row["check"] == "randomised" for row in rows) == 2 * STAGES
    drawn = [float(row["pearson"]) for row in rows if (row["method"], row["check"]) == ("is-cam", "head")]
    line = next(line for line in said.splitlines() if line.split()[:2] == ["is-cam", "head"])
    assert len(drawn) == HEAD_DRAWS and f"{np.mean(drawn):6.3f}" in line
    assert line.endswith(f"{min(drawn):6.3f} to {max(drawn):6.3f}")
    assert [row["change"] for row in rows if row["check"] == "steps"] == ["N = 2"]
    assert {row["photo"] for row in rows} == {"chelsea.jpg"}
    assert all(-1 <= float(row[name]) <= 1 for row in rows for name in ("pearson", "spearman"))


def test_a_map_that_has_become_blank_correlates_with_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As CAM's of the astronaut does, whose sum turns negative everywhere: an empty cell, and a gap in the figure."""
    asked = ["--model", "photo11", "--methods", "cam", "--out", str(tmp_path)]
    assert main(["sanity", str(CHELSEA.with_name("astronaut.jpg")), *asked]) == 0
    rows = rows_of(tmp_path / "astronaut.sanity.csv")
    blank = [row["pearson"] == "" for row in rows]
    assert 0 < sum(blank) < len(blank) and blank == [row["spearman"] == "" for row in rows]
    lines = [line for line in capsys.readouterr().out.splitlines()[1:-1] if line.split()[1] != "head"]
    single = [row["pearson"] == "" for row in rows if row["check"] != "head"]
    assert [line.endswith(" blank  blank") for line in lines] == single


def by_contrast(explainer: Explainer, analysis: Analysis, _: int | None) -> Explanation:
    return explainer.explain(analysis, "grad-cam", 1, rivals="nearest:2", strength=0.5)


def test_several_photos_are_summed_up_and_no_input_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The photos' tables lie where the summary would go; the rows of a contrast are named as `evaluate` names them."""
    photo = tmp_path / "summary.jpg"
    photo.write_bytes(CHELSEA.read_bytes())
    asked = ["sanity", str(photo), str(photo), "--methods", "grad-cam", "--rivals", "nearest:2", "--strength", "0.5"]
    assert main([*asked, *SMALL, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    own, again, summary = (rows_of(tmp_path / f"summary{number}.sanity.csv") for number in ("", "-2", "-3"))
    assert again == own and photo.read_bytes() == CHELSEA.read_bytes()
    assert {row["photo"] for row in own} == {"summary.jpg"} and "\n2 photos\n" in said
    assert {row["method"] for row in (*summary, *own)} == {"grad-cam rivals=nearest:2 strength=0.5"}
    assert [row["check"] for row in summary] == [
        *["randomised"] * STAGES,
        "head",
        *["shifted"] * len(SHIFTS),
        "mirrored",
    ]
    for row in summary:  # of one photo twice
        mine = [float(each["pearson"]) for each in own if each["check"] == row["check"]]
        assert row["check"] != "head" or float(row["pearson"]) == pytest.approx(np.mean(mine), abs=1e-5)
        assert row["low"] == row["high"] == row["pearson"] and row["blank"] == "0"
    explainer = Explainer(photo11(SIDE))
    moved = stability(explainer, explainer.analyse(CHELSEA), by_contrast, SHIFTS[:1])
    assert float(summary[STAGES + 1]["pearson"]) == pytest.approx(next(moved).pearson, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--methods", "cam,eigen-cam", "--rivals", "all"), "leave it out with --rivals"),
        (("--strength", "0.5"), "rivals"),
        (("--target", "dog", "--rivals", "dog"), "same class"),
    ],
)
def test_a_contrast_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], told: str
) -> None:
    assert main(["sanity", str(CHELSEA), "--model", "photo11", *options, "--out", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_wrong_argument_is_answered_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        "sanity",
        str(CHELSEA),
        "--model",
        "photo11",
        "--methods",
        "cam",
        "--layer",
        "layer1",
        "--out",
        str(tmp_path),
    ]
    assert main(asked) == 2
    assert "just before the global pooling" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_any_name_of_a_photo_is_drawn_and_no_input_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dollar signs would start a formula that matplotlib cannot read; the labels lie where the table would go."""
    name = "a$\\x$b"
    photo, labels = tmp_path / f"{name}.jpg", tmp_path / f"{name}.sanity.csv"
    photo.write_bytes(CHELSEA.read_bytes())
    labels.write_text("\n".join(f"kind {i}" for i in range(len(CATEGORIES))), encoding="utf-8")
    own = ["--arch", "photo11", "--checkpoint", str(BUNDLED_WEIGHTS), "--labels", str(labels)]
    assert main(["sanity", str(photo), *own, "--methods", "eigen-cam", "--out", str(tmp_path)]) == 0
    assert "kind " in capsys.readouterr().out and labels.read_text(encoding="utf-8").startswith("kind 0")
    assert {file.name for file in tmp_path.iterdir()} == {
        *(photo.name, labels.name, f"{name}-2.sanity.csv", f"{name}-2.sanity.png")
    }
