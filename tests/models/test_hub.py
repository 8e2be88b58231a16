"""Networks from the Hub, which is a small server here, as huggingface_hub knows it: what is fetched, refused and told."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants

import iscam
from iscam.models import ensure_weights, hub
from tests.hub_server import Hub
from tests.models.test_stored import store, timm_config

COMMIT = "0123456789" * 4
CONFIG, WEIGHTS = "config.json", "model.safetensors"


@pytest.fixture
def repository(served: type[Hub]) -> Path:
    """`org/mine`, in its folder."""
    torch.manual_seed(0)
    store(served.root / "org" / "mine", timm.create_model("resnet10t", num_classes=3), timm_config())
    return served.root / "org" / "mine"


def test_it_is_fetched_once_and_told_of(served: type[Hub], repository: Path) -> None:
    told: list[tuple[int, int]] = []
    ensure_weights("hf-hub:org/mine", lambda done, total: told.append((done, total)))
    size = (repository / WEIGHTS).stat().st_size
    assert told[-1] == (size, size)
    served.asked.clear()
    model = iscam.load_model("hf-hub:org/mine")
    assert (model.key, model.label, model.categories) == ("hf-hub:org/mine", "org/mine", ("ash", "birch", "elm"))
    assert served.asked == []  # what is in the cache needs no network
    assert iscam.load_model(f"local-dir:{repository}").weights_sha256 == model.weights_sha256


def test_timms_names_are_those_of_its_repositories(served: type[Hub]) -> None:
    network = timm.create_model("resnet18", num_classes=1000)
    cfg = {"input_size": [3, 64, 64], "label_names": None}
    store(
        served.root / "timm" / "resnet18.a1_in1k",
        network,
        timm_config(architecture="resnet18", num_classes=1000, cfg=cfg),
    )
    for name in ("timm/resnet18", "timm/resnet18.a1_in1k"):
        model = iscam.load_model(name)
        assert model.key == name and model.label == name and model.categories[0] == "tench"


def test_a_visitor_who_stops_stops_the_download(repository: Path) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        ensure_weights("hf-hub:org/mine", stop)
    assert hub.cached_repository("org/mine") is None
    assert ensure_weights("hf-hub:org/mine").is_file()  # and it can be begun again


@pytest.mark.parametrize("size", [10**9 + 1, 10**15])
def test_weights_have_a_limit(served: type[Hub], repository: Path, size: int) -> None:
    (repository / "claims").write_text(str(size))
    with pytest.raises(OSError, match="at most 1000"):
        ensure_weights("hf-hub:org/mine")
    assert not [line for line in served.asked if line.startswith("GET")]  # nothing was fetched


def test_a_full_disk_is_left_alone(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SPARE_BYTES", 10**18)
    with pytest.raises(OSError, match="no room"):
        ensure_weights("hf-hub:org/mine")


def test_a_download_that_takes_too_long_ends(
    served: type[Hub], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "FETCH_SECONDS", -1.0)
    with pytest.raises(OSError, match="took longer"):
        ensure_weights("hf-hub:org/mine")


def test_weights_in_another_form_are_not_read(repository: Path) -> None:
    os.rename(repository / WEIGHTS, repository / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"no model\.safetensors"):
        iscam.load_model("hf-hub:org/mine")


def test_what_is_not_there(served: type[Hub]) -> None:
    with pytest.raises(OSError, match="no public repository org/nothing"):
        iscam.load_model("hf:org/nothing")


def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = partial(hub.hf_hub_download, cache_dir=tmp_path, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr(hub, "hf_hub_download", nowhere)
    monkeypatch.setattr(hub, "try_to_load_from_cache", partial(hub.try_to_load_from_cache, cache_dir=tmp_path))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its attempts
    with pytest.raises(OSError, match="local-dir:FOLDER") as caught:
        iscam.load_model("timm/resnet18")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_offline(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_weights("hf-hub:org/mine")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert iscam.load_model("hf-hub:org/mine").key == "hf-hub:org/mine"
    with pytest.raises(OSError, match="local-dir:FOLDER"):
        iscam.load_model("hf-hub:org/other")


def test_a_hostile_configuration_is_refused_from_the_hub_too(repository: Path) -> None:
    (repository / CONFIG).write_text(json.dumps(timm_config(model_args={"checkpoint_path": "/etc/passwd"})))
    with pytest.raises(ValueError, match="checkpoint_path"):
        iscam.load_model("hf-hub:org/mine")
