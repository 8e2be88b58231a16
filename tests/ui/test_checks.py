"""What a client sends is refused in a sentence, or becomes a question."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from iscam.images import read_photo
from iscam.ui.asked import checks
from iscam.ui.done import faithfulness
from iscam.ui.done.opening import PHOTO
from iscam.ui.seen.faithfulness import Scrub
from iscam.ui.seen.words import map_choices
from tests.ui.stand_in import LOOK, OFFER


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "alexnet"},
        {"model": ["photo11"]},
        {"layer": "layer9"},
        {"layer": {}},
        {"target": 1.5},
        {"target": True},
        {"against": [1]},
        {"target": 2, "against": 2},
        {"steps": -1},
        {"steps": 0},
        {"steps": 10**9},
        {"steps": float("nan")},
        {"steps": float("inf")},
        {"steps": 2.5},
        {"steps": "10"},
        {"steps": None},
        {"steps": True},
        {"methods": []},
        {"methods": None},
        {"methods": ["is-cam", "sorcery"]},
        {"methods": [["is-cam"]]},
        {"path": "zigzag"},
        {"path": None},
        {"weighting": 3},
        {"engine": "steam"},
        {"engine": ["fast"]},
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(wrong: dict[str, Any], photo: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        checks.question(OFFER, photo, **{"model": "photo11"} | wrong)


def test_a_photo_is_known_by_its_file_only_where_it_may_be_read(photo: dict[str, str], tmp_path: Path) -> None:
    """Else one could ask of any file of the server whether it is a certain one."""
    elsewhere = shutil.copy(photo["path"], tmp_path / "elsewhere.png")
    assert checks.digest(photo) == read_photo(photo["path"]).sha256
    assert checks.digest({"path": str(elsewhere)}) is None
    assert [checks.digest(none) for none in (None, {}, {"path": 7}, {"path": "nothing"})] == [None] * 4


def test_right_settings_become_a_question(photo: dict[str, str]) -> None:
    question = checks.question(
        OFFER, photo, "photo11", "layer2", 3, None, 12.0, ["grad-cam", "is-cam", "is-cam"], "linear", "logit", "exact"
    )
    assert (question.layer, question.target, question.settings.steps, question.engine) == ("layer2", 3, 12, "exact")
    assert question.methods == ("is-cam", "grad-cam")  # once each, in the order of the table
    assert question.photo.size == (50, 30)


def test_equal_photos_have_equal_digests(photo: dict[str, str], uploads: Path) -> None:
    shutil.copy(photo["path"], uploads / "copy.png")
    assert (
        checks.question(OFFER, {"path": str(uploads / "copy.png")}).photo.sha256
        == checks.question(OFFER, photo).photo.sha256
    )
    assert checks.question(OFFER, {"path": str(PHOTO)}).photo.sha256 != checks.question(OFFER, photo).photo.sha256


@pytest.mark.parametrize(
    "given",
    [
        None,
        "mine.png",
        {},
        {"path": None},
        {"path": 3},
        {"url": "data:image/png;base64,AAAA", "path": ""},
        {"path": "data:image/png;base64,AAAA"},
        {"path": "/etc/hostname"},
        {"path": "../../secret.png"},
        {"path": "http://127.0.0.1/x.png"},
        {"path": "a\0b"},
    ],
)
def test_only_uploads_and_examples_are_read(given: Any) -> None:
    with pytest.raises(ValueError, match=r'^["A-Z].*\.$'):
        checks.question(OFFER, given)


def test_a_link_out_of_the_upload_folder_is_refused(tmp_path: Path, uploads: Path) -> None:
    Image.new("RGB", (5, 5)).save(tmp_path / "private.png")
    (uploads / "link.png").symlink_to(tmp_path / "private.png")
    for path in (tmp_path / "private.png", uploads / "link.png", uploads / ".." / "private.png"):
        with pytest.raises(ValueError, match="not in a folder"):
            checks.question(OFFER, {"path": str(path)})


def test_a_heic_that_is_dropped_is_taken(uploads: Path) -> None:
    """The browser may not show it; the maps do."""
    pillow_heif.register_heif_opener()
    Image.new("RGB", (60, 40), "teal").save(uploads / "IMG_0001.HEIC", "HEIF")
    question = checks.question(OFFER, {"path": str(uploads / "IMG_0001.HEIC")})
    assert (question.photo.size, question.photo.name) == ((60, 40), "IMG_0001.HEIC")
    (uploads / "IMG_0002.HEIC").write_bytes((uploads / "IMG_0001.HEIC").read_bytes()[:300])
    with pytest.raises(ValueError, match=r'^"IMG_0002.HEIC" .*\.$'):
        checks.question(OFFER, {"path": str(uploads / "IMG_0002.HEIC")})


def test_a_camera_raw_file_that_is_dropped_is_answered(uploads: Path) -> None:
    (uploads / "DSC_1.CR3").write_bytes(b"\0\0\0\x18ftypcrx " + bytes(99))
    with pytest.raises(ValueError, match=r'^"DSC_1.CR3" .*camera raw file \(Canon CR3\).*\.$'):
        checks.question(OFFER, {"path": str(uploads / "DSC_1.CR3")})


@pytest.mark.parametrize(
    "look",
    [(-0.1, *LOOK[1:]), (float("nan"), *LOOK[1:]), ("1", *LOOK[1:]), (0.5, "pink", "overlay"), (0.5, "jet", "x")],
)
def test_wrong_looks_are_refused(look: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        checks.look(*look)


def test_a_box_is_read_in_per_cent_and_must_be_one() -> None:
    for written in ("10, 20, 50, 100", " 10 20 50 100", "10% 20% 50% 100%", "10;20;50;100;"):
        assert faithfulness.box_of(written, (200, 50)) == (20, 10, 100, 50)
    assert all(faithfulness.box_of(nothing, (9, 9)) is None for nothing in ("", " ", None, 3))
    for wrong in (
        "50 0 10 100",
        "0 0 0 10",
        "-1 0 10 10",
        "0 0 101 10",
        "a b c d",
        "nan 0 1 1",
        "0 0 1 1 1",
        "10 20 50",
    ):
        with pytest.raises(ValueError, match="four numbers"):
            faithfulness.box_of(wrong, (200, 50))


@pytest.mark.parametrize("also", ["adcc", ["energy"], [3], {"adcc": 1}, None])
def test_only_the_slow_metrics_are_asked_for_by_name(also: object) -> None:
    with pytest.raises(ValueError, match="adcc, road, arcc, opti-cam"):
        faithfulness.slow(also)


@pytest.mark.parametrize(
    "scrub",
    [("nobody", "deletion", 25), ("is-cam", "x", 25), ("is-cam", "deletion", 101), ("is-cam", "deletion", True)],
)
def test_a_wrong_perturbation_is_refused(scrub: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(A photo is perturbed|The share).*\.$"):
        Scrub.read(dict(zip(("by", "how", "share"), scrub, strict=True)))


def test_whatever_map_is_offered_can_be_perturbed_by() -> None:
    """Also one that has not been made: the card says so."""
    for _, key in map_choices():
        assert Scrub.read({"by": key, "how": "deletion", "share": 25}).by == key
