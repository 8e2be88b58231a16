"""Image classifiers of transformers, where that library is installed, from the configurations that are stored with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from iscam.engine import UNFIT

from .adoption import adopt
from .checkpoint import read_checkpoint
from .configuration import class_names, colours, number
from .loaded import LoadedModel
from .names import PREPARATION, WEIGHTS

KINDS = (  # that classify images by themselves, without another network in them
    *("beit", "bit", "convnext", "convnextv2", "deit", "dinov2", "focalnet", "mobilenet_v1", "mobilenet_v2"),
    *("regnet", "resnet", "swin", "swinv2", "vit"),
)
PROCESSORS = ("Beit", "Bit", "ConvNext", "DeiT", "MobileNetV1", "MobileNetV2", "ViT")  # that are understood here
NOT_TAKEN = ("auto_map", "quantization_config", "dtype", "torch_dtype", "transformers_version")
FILTERS = {2: "bilinear", 3: "bicubic"}  # as Pillow counts them


def of_transformers(
    config: dict[str, Any], preparation: dict[str, Any], folder: Path, label: str, device: str
) -> LoadedModel:
    """See `stored.load_stored`, and raises as that."""
    try:
        from transformers import AutoConfig, AutoModelForImageClassification
    except ImportError as error:
        raise OSError(f"{label} is a network of transformers, which is not here: pip install transformers.") from error
    classifier: Any = AutoModelForImageClassification
    kind = config["model_type"]
    if kind not in KINDS:
        raise ValueError(f"{label} is a {str(kind)[:60]!r}, which is none of {', '.join(KINDS)}.")
    words = config.get("id2label")
    if not isinstance(words, dict) or not words:
        raise ValueError(f"The configuration of {label} names no classes (id2label).")
    names = [words.get(str(index)) for index in range(len(words))]
    settings = {name: value for name, value in config.items() if name not in NOT_TAKEN and not name.startswith("_")}

    network = _filled(classifier, AutoConfig, settings, read_checkpoint(folder / WEIGHTS), label)
    several = config.get("problem_type") == "multi_label_classification"
    return adopt(
        network.to(device).to(memory_format=torch.channels_last),
        categories=class_names(names, len(names)),
        head="sigmoid" if several else "softmax",
        label=label,
        **_prepared(preparation),
    )


def _filled(
    classifier: Any, configuration: Any, settings: dict[str, Any], state: dict[str, Tensor], label: str
) -> nn.Module:
    """The network with its weights, which the library may know by older names; built without memory first, to see how large it
    is. Raises ValueError, a sentence, if it cannot be built or they do not fit."""
    try:
        config = configuration.for_model(**settings)
        with torch.device("meta"):
            outline = classifier.from_config(config, attn_implementation="eager")
        size, given = (sum(each.numel() for each in values) for values in (outline.parameters(), state.values()))
        if size > given:
            raise ValueError(f"{size:,} parameters are described, and {given:,} are there")
        network, told = type(outline).from_pretrained(
            None, config=config, state_dict=state, attn_implementation="eager", output_loading_info=True
        )
        if wrong := [name for kind in ("missing_keys", "mismatched_keys", "unexpected_keys") for name in told[kind]]:
            raise ValueError(f"its {wrong[0]} is another or missing")
    except (*UNFIT, StrictDataclassError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ValueError(f"The weights and the configuration of {label} do not fit: {reason[:200]}.") from error
    found: nn.Module = network.eval()
    return found


def _prepared(given: dict[str, Any]) -> dict[str, Any]:
    """How photos are cut and normalised, as arguments of `adopt`. Raises ValueError, a sentence, where that is not known."""
    said = str(given.get("image_processor_type", given.get("feature_extractor_type", "")))
    kind = re.sub("(FeatureExtractor|ImageProcessor)(Fast|Pil)?$", "", said)
    if kind not in PROCESSORS:
        raise ValueError(f"{PREPARATION} names {said[:60]!r}, which is of none of {', '.join(PROCESSORS)}.")
    if (
        given.get("do_rescale", True) is not True
        or abs(number(given, "rescale_factor", 0, 1, 1 / 255) - 1 / 255) > 1e-6
    ):
        raise ValueError(f"{PREPARATION} scales photos to other values than 0 to 1.")
    if given.get("do_flip_channel_order"):
        raise ValueError(f"{PREPARATION} exchanges red and blue, which is not done here.")
    size, crop = given.get("size"), given.get("crop_size")
    if isinstance(size, dict) and "shortest_edge" in size:
        resize, how = int(number(size, "shortest_edge", 16, 1024)), "center"
    elif isinstance(size, dict) and size.get("height") == size.get("width"):
        resize, how = int(number(size, "height", 16, 1024)), "squash"
    elif isinstance(size, int):
        resize, how = int(number(given, "size", 16, 1024)), "squash" if kind == "ViT" else "center"
    else:
        raise ValueError(f"{PREPARATION} does not say to which square photos are resized (size).")
    side = resize
    if kind == "ConvNext":  # small inputs are cut out of larger ones
        resize, how = (
            (int(side / number(given, "crop_pct", 0.1, 1, 224 / 256)), "center") if side < 384 else (side, "squash")
        )
    elif given.get("do_center_crop"):
        wanted = crop if isinstance(crop, dict) else {"height": crop}
        side = int(number(wanted, "height", 16, resize))
    if how == "squash" and side != resize:
        raise ValueError(f"{PREPARATION} bends photos and then cuts them, which is not done here.")
    if given.get("resample", 2) not in FILTERS:
        raise ValueError(f"{PREPARATION} has a filter (resample) that is neither bilinear (2) nor bicubic (3).")
    normal = given.get("do_normalize", True)
    mean = colours(given, "image_mean", -10) if normal else (0.0, 0.0, 0.0)
    std = colours(given, "image_std", 1e-3) if normal else (1.0, 1.0, 1.0)
    interpolation = FILTERS[given.get("resample", 2)]
    return {"input_size": side, "resize": resize, "mean": mean, "std": std, "crop": how, "interpolation": interpolation}
