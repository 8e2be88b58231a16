"""Image classifiers of the library `transformers`, from a folder as the Hugging Face Hub stores them. Nothing in it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from iscam.images import Geometry

from .checkpoint import read_checkpoint
from .config import MOST_CLASSES, SIDES, is_plain, labels, mapping, number, numbers
from .hub import PREPROCESSOR, WEIGHTS
from .loaded import LoadedModel, numbered
from .preprocessing import measured
from .stored import FAILURES, described, require_like

ASKED = "pip install transformers"
UNREAD = ("timm_wrapper", "perceiver", "shieldgemma2", "imagegpt")  # of other parts, or of no pictures
# Fields by which another network, another program or a form of numbers would become part of this one: never set
PARTS = {
    "backbone",
    "backbone_config",
    "backbone_kwargs",
    "use_pretrained_backbone",
    "use_timm_backbone",
    "attn_implementation",
}
HEADS_OF = {"multi_label_classification": "sigmoid", "single_label_classification": "softmax"}
SWITCHES = (
    "do_resize",
    "do_center_crop",
    "do_rescale",
    "do_normalize",
    "do_flip_channel_order",
    "rescale_offset",
    "include_top",
)
BOUNDS = {"crop_pct": (0.1, 1.0), "rescale_factor": (1e-4, 1.0), "resample": (0, 5)}
FILTERS = {2: "bilinear", 3: "bicubic"}
LARGEST_SIDE = 2 * SIDES[1]  # to which a photo is resized before it is cut


@dataclass(frozen=True)
class Processed:
    """A processor of transformers as transforms: from an RGB picture to the input (3, H, W)."""

    processor: Any

    def __call__(self, image: Image.Image) -> Tensor:
        found: Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"][0]
        return found


def load_classifier(
    folder: Path, said: Mapping[str, Any], fed: Mapping[str, Any], key: str, label: str, device: str
) -> LoadedModel:
    """The network of a folder.

    Args:
        folder: holds `model.safetensors`.
        said, fed: what its config.json and its preprocessor_config.json say.
        key, label: its name, and what it is called for people.

    Raises:
        ValueError: they say what is not sane or not known here, or the weights do not fit; one sentence.
        OSError: there are no weights, or transformers is not installed.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise OSError(f"There is no {WEIGHTS} in {folder}: weights in other files, such as pickles, are not opened.")
    try:
        import transformers  # noqa: F401 - seconds that nobody else waits for
    except ImportError as error:
        raise OSError(f"{label} is a network of the library transformers, which is not here: {ASKED}.") from error
    head = HEADS_OF.get(str(said.get("problem_type") or "single_label_classification"))
    if head is None:
        raise ValueError(f"{label} is no classifier, as problem_type in its config.json says: choose another network.")
    names = mapping(said, "id2label")
    classes = int(number({"id2label": len(names)}, "id2label", 0, MOST_CLASSES, 0)) or 2
    categories = labels(names, None, classes) or numbered(classes)
    geometry, transforms = processing(fed, label)
    network = build_classifier(said, classes, read_checkpoint(file), label)
    return described(network, key, label, head, categories, geometry, transforms, file, device)


def build_classifier(said: Mapping[str, Any], classes: int, state: dict[str, Tensor], label: str) -> nn.Module:
    """The network that a config describes, filled by transformers' own rules for old names.

    Raises:
        ValueError: it is no image classifier, or the tensors are not those of it; one sentence.
    """
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING as KNOWN
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as NAMES

    kind = said.get("model_type")
    if not isinstance(kind, str) or kind not in NAMES or kind in UNREAD:
        raise ValueError(
            f"{label} is no image classifier of transformers that can be read here: choose another network."
        )
    config = _config(CONFIG_MAPPING[kind], said, classes, label)
    found = KNOWN[type(config)]
    makers = found if isinstance(found, tuple) else (found,)
    maker = next((each for each in makers if said.get("architectures") == [each.__name__]), makers[0])
    broken = f"The config.json of {label}, or its weights, are not those of a {kind}: fetch them again."
    try:
        with torch.device("meta"):
            outline = maker(config)
    except FAILURES as error:
        raise ValueError(broken) from error
    require_like(outline.state_dict(), state, label)
    try:
        with _quiet():
            network, report = maker.from_pretrained(None, config=config, state_dict=state, output_loading_info=True)
    except FAILURES as error:
        raise ValueError(broken) from error
    if left := [str(name) for problems in report.values() for name in problems]:
        raise ValueError(
            f"{WEIGHTS} of {label} does not fit its config.json, as {left[0][:80]} shows: fetch both again."
        )
    made: nn.Module = network
    return made


def _config(kind: Any, said: Mapping[str, Any], classes: int, label: str) -> Any:
    """A config of transformers with those fields alone that are of the network's own kind, and plain.

    Raises:
        ValueError: one of them is something else; one sentence.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import PreTrainedConfig

    fields = {name for name in kind().to_dict() if not name.startswith("_")} - set(PreTrainedConfig().to_dict()) - PARTS
    given = {name: value for name, value in said.items() if name in fields}
    if wrong := next((name for name, value in given.items() if not is_plain(value)), None):
        raise ValueError(f"In the network's config of {label} {wrong} is no number, plain word or short list of these.")
    if given.get("num_channels", 3) != 3:
        raise ValueError(f"{label} takes other inputs than photos in colours, as num_channels in its config.json says.")
    try:
        return kind(**given, num_labels=classes)
    except (*FAILURES, StrictDataclassError) as error:
        raise ValueError(
            f"The config.json of {label} does not describe a {kind.model_type}: fetch it again."
        ) from error


def processing(fed: Mapping[str, Any], label: str) -> tuple[Geometry, Processed]:
    """Which part of a photo is seen, and the transforms, by the processor of transformers that is named.

    Raises:
        ValueError: it is none, or is told what is not sane; one sentence.
    """
    import transformers
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES as NAMES

    named = str(fed.get("image_processor_type") or fed.get("feature_extractor_type"))
    named = named.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")
    if named not in {name for makers in NAMES.values() for name in makers.values()}:
        raise ValueError(f"{PREPROCESSOR} of {label} names no image processor that is known: choose another network.")
    options = _options(fed)
    try:
        transforms = Processed(getattr(transformers, named)(**options))
        geometry = measured(transforms)
    except FAILURES as error:
        raise ValueError(
            f"Photos cannot be prepared as {PREPROCESSOR} of {label} says: choose another network."
        ) from error
    if not SIDES[0] <= geometry.input_size <= SIDES[1]:
        raise ValueError(f"{label} takes inputs of {geometry.input_size} pixels, beyond {SIDES[0]} to {SIDES[1]}.")
    return replace(geometry, interpolation=FILTERS.get(fed.get("resample", 2), "bilinear")), transforms


def _options(fed: Mapping[str, Any]) -> dict[str, Any]:
    """What a processor is told: switches, sizes and numbers within bounds. Raises ValueError, one sentence."""
    given: dict[str, Any] = {name: fed[name] for name in SWITCHES if isinstance(fed.get(name), bool)}
    given |= {name: number(fed, name, *BOUNDS[name], 0) for name in BOUNDS if fed.get(name) is not None}
    if "resample" in given:
        given["resample"] = int(given["resample"])
    for name in ("size", "crop_size"):
        sides = fed.get(name)
        if sides is not None:
            each = sides if isinstance(sides, dict) else {name: sides}
            whole = {side: int(number(each, side, SIDES[0], LARGEST_SIDE, 0)) for side in each}
            given[name] = whole if isinstance(sides, dict) else whole[name]
    for name, low in (("image_mean", -10.0), ("image_std", 1e-4)):
        if fed.get(name) is not None:
            given[name] = list(numbers(fed, name, 3, low, 1000, ()))
    return given


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and warnings, which are switched back as they were."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
