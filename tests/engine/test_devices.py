"""Devices: how they are called, which are there, and what is said of those that are not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

from iscam import Explainer, LoadedModel
from iscam.engine.backend import Backend
from iscam.engine.devices import check_device, device_label, find_device, full_float32, has_bf16, set_threads
from iscam.project import EXAMPLES
from tests import tiny_models
from tests.conftest import ROOT

CPU = torch.device("cpu")
There = Callable[[int, bool], None]


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> There:
    """`there(2, False)`: a machine with two CUDA devices and no MPS."""

    def pretend(cuda: int, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:12", "mps", "auto"])
def test_names_of_devices_are_known(name: str) -> None:
    assert check_device(name) == name


@pytest.mark.parametrize(
    "name", ["", "tpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:²", "cpu:0", "cuda:0\n"]
)
def test_other_names_are_refused_with_the_names_there_are(name: str) -> None:
    for refuse in (check_device, find_device):
        with pytest.raises(ValueError, match=r"^The device must be cpu, cuda, cuda:0 .*, mps or auto, not ") as caught:
            refuse(name)
        assert repr(name) in str(caught.value)


def test_a_name_is_checked_without_torch() -> None:
    code = "import sys; from iscam.engine import check_device; check_device('cuda:1'); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("cuda", "mps", "found"), [(0, False, "cpu"), (0, True, "mps"), (1, False, "cuda"), (2, True, "cuda")]
)
def test_auto_is_a_gpu_if_there_is_one(there: There, cuda: int, mps: bool, found: str) -> None:
    """CUDA before MPS before the processor."""
    there(cuda, mps)
    assert find_device("auto") == found


@pytest.mark.parametrize(
    ("cuda", "mps", "names"),
    [(0, False, ["cpu"]), (2, False, ["cpu", "cuda", "cuda:0", "cuda:1"]), (0, True, ["cpu", "mps"])],
)
def test_what_is_there_is_found_and_what_is_not_is_refused(
    there: There, cuda: int, mps: bool, names: list[str]
) -> None:
    """The sentence says what is there."""
    there(cuda, mps)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1", "cuda:7", "mps"):
        if name in names:
            assert find_device(name) == name
            continue
        with pytest.raises(ValueError, match=rf"^There is no device {name} that torch can use here: ") as caught:
            find_device(name)
        assert str(caught.value).endswith(f": choose one of {', '.join(names)}." if len(names) > 1 else "only the cpu.")


def test_a_cuda_device_is_called_by_its_makers_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: f"the card of {name}")
    assert [device_label(name) for name in ("cpu", "mps", "cuda:1")] == ["cpu", "mps", "the card of cuda:1"]


def test_bfloat16_is_not_emulated_and_not_run_where_nobody_has_measured_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card from before 2020 computes it, but slower than float32."""
    monkeypatch.delenv("ISCAM_NO_BF16", raising=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not has_bf16("cuda:0") and not has_bf16("mps")


def test_bfloat16_can_be_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """ISCAM_NO_BF16=1, and only 1, takes rough passes from every backend made from then on."""
    monkeypatch.delenv("ISCAM_NO_BF16", raising=False)
    found = has_bf16(CPU)
    monkeypatch.setenv("ISCAM_NO_BF16", "0")
    assert has_bf16(CPU) == found
    monkeypatch.setenv("ISCAM_NO_BF16", "1")
    assert not has_bf16(CPU)
    assert not Backend(tiny_models.build("TinyPooled")).has_rough


def test_the_number_of_threads_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number sets it; nothing, or an empty text, leaves it; anything else is refused in a sentence."""
    monkeypatch.setenv("ISCAM_THREADS", "2")
    set_threads()
    assert torch.get_num_threads() == 2
    for bad in ("two", "0", "-1", "1.5"):
        monkeypatch.setenv("ISCAM_THREADS", bad)
        with pytest.raises(ValueError, match=rf"^ISCAM_THREADS must be a whole number of threads, not '{bad}'\.$"):
            set_threads()
    monkeypatch.setenv("ISCAM_THREADS", "")
    set_threads()
    monkeypatch.delenv("ISCAM_THREADS")
    set_threads()
    assert torch.get_num_threads() == 2


# TF32

FLAGS = torch.backends.cuda.matmul, torch.backends.cudnn.conv


def precisions() -> list[str]:
    return [place.fp32_precision for place in FLAGS]


@pytest.fixture
def coarse() -> Iterator[None]:
    """A program that allows TF32 everywhere."""
    before = precisions()
    for place in FLAGS:
        place.fp32_precision = "tf32"
    yield
    for place, precision in zip(FLAGS, before, strict=True):
        place.fp32_precision = precision


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("method", ["score-cam", "ablation-cam", "recipro-cam", "grad-cam"])
def test_no_pass_of_a_map_runs_with_tf32(tiny: Callable[..., LoadedModel], method: str) -> None:
    """Of whatever kind: the first one, masked ones, the end of the network, and those with gradients."""
    model, seen = tiny("TinyPooled"), set[tuple[str, ...]]()
    model.network.fc.register_forward_pre_hook(lambda *_: seen.add(tuple(precisions())))
    explainer = Explainer(model, "exact")
    analysis = explainer.analyse(EXAMPLES / "chelsea.jpg")
    explainer.explain(analysis, method)
    assert seen == {("ieee", "ieee")} and precisions() == ["tf32", "tf32"]


@pytest.mark.usefixtures("coarse")
def test_a_backend_alone_runs_without_tf32_and_allows_it_again() -> None:
    """Also after a pass that failed, and without a word of a deprecated setting."""
    network = tiny_models.build("TinyPooled")
    images, seen = tiny_models.sample(network, 1), []
    network.register_forward_pre_hook(lambda *_: seen.append(precisions()))
    Backend(network).logits(images)
    assert seen == [["ieee", "ieee"]] and precisions() == ["tf32", "tf32"]
    with pytest.raises(RuntimeError):
        Backend(network).logits(images[:, :1])


@pytest.mark.usefixtures("coarse")
def test_what_forbids_tf32_is_not_touched() -> None:
    """Nothing is set that would only be set to what it is: "none" means that it is not allowed here."""
    torch.backends.cuda.matmul.fp32_precision = "none"
    with full_float32():
        assert precisions() == ["none", "ieee"]
    assert precisions() == ["none", "tf32"]
