"""Which weights are here, and how large the others are: known without torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from iscam.models import BUNDLED, LITE, MODELS, has_weights, missing_megabytes
from iscam.models.weights import FILES, cache_folder


def test_files_are_torchvisions() -> None:
    assert {*FILES, BUNDLED, LITE} == set(MODELS)
    for key, (name, megabytes) in FILES.items():
        weights = torchvision.models.get_model_weights(key).DEFAULT
        assert weights.url.rsplit("/", 1)[1] == name
        assert megabytes == round(weights.meta["_file_size"] * 2**20 / 1e6)


@pytest.mark.parametrize("variable", ["TORCH_HOME", "XDG_CACHE_HOME", None])
def test_they_lie_where_torch_hub_keeps_them(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    assert cache_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_what_is_here_need_not_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert missing_megabytes(BUNDLED) is None and missing_megabytes(LITE) is None
    assert missing_megabytes("resnet18") == 47 and not has_weights("resnet18")
    cache_folder().mkdir(parents=True)
    (cache_folder() / FILES["resnet18"][0]).touch()
    assert missing_megabytes("resnet18") is None and has_weights("resnet18")
