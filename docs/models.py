"""Writes docs/models.md: what `iscam.adopt` finds in networks of twelve families.

    python -m docs.models

The networks are timm's, as large as they are usually taken, with random weights, so that nothing is downloaded: the layers
that are found, and the time of a pass, do not depend on what a network has learnt.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import timm
import torch

import iscam
from iscam import METHODS, Explainer, LoadedModel
from iscam.engine import Backend, set_threads, undisturbed
from iscam.show import markdown_table

PAGE = Path(__file__).with_name("models.md")
NETWORKS = {
    "ResNet": "resnet50",
    "RegNet": "regnety_016",
    "ConvNeXt": "convnext_tiny",
    "EfficientNet": "efficientnet_b0",
    "MobileNet": "mobilenetv3_large_100",
    "DenseNet": "densenet121",
    "VGG": "vgg16",
    "Inception": "inception_v3",
    "ViT": "vit_small_patch16_224",
    "DeiT": "deit_small_distilled_patch16_224",
    "Swin": "swin_tiny_patch4_window7_224",
    "MaxViT": "maxvit_tiny_tf_224",
}
HEADS = (
    "Family",
    "Network of timm",
    "Layers found, the first is explained",
    "Methods",
    "Norms folded",
    "Seconds a pass",
)
PASSES = 5  # of which the middle one counts
TEXT = """# Networks of one's own

`iscam.adopt` takes any image classifier that is an `nn.Module`:

```python
model = iscam.adopt(network, input_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256)
```

Its layers are found by a pass over noise. Of each map size the last layer is offered that the logits depend on and that
nothing leads past, as far as there is one; of tokens the last whose patches are read. Channels may come first or last, and
tokens may have others among them that have no place. The network's outputs are logits of classes that exclude each other
(`head="softmax"`) or do not (`head="sigmoid"`); a single one is that of a class against its absence, the softmax of (0, z).
Nothing of the network changes.

Written by `python -m docs.models` without trained weights, one photo a pass in float32 (threads: {threads}). Layers
stand with their map sizes; methods are counted that can serve the first layer, of {methods}.

{table}
Where a network has no global pooling followed by one linear layer behind the layer, it is CAM that cannot serve it.
"""


def row(family: str, name: str) -> list[str]:
    """What is found of a network."""
    torch.manual_seed(0)
    model = iscam.adopt(timm.create_model(name), label=name)
    layers = ", ".join(f"`{layer}` {height} x {width}" for layer, (height, width) in model.layers.items())
    served = sum(Explainer(model).refusal(key) is None for key in METHODS)
    return [family, f"`{name}`", layers, str(served), str(len(model.folds)), f"{seconds_a_pass(model):.3f}"]


def seconds_a_pass(model: LoadedModel) -> float:
    """Of one photo, precisely: the middle of some passes, after one that prepares them."""
    backend, side = Backend(model.network, model.folds, batch=1), model.geometry.input_size
    image, taken = torch.randn(1, 3, side, side), []
    with undisturbed(model.network):
        for _ in range(1 + PASSES):
            begun = time.perf_counter()
            backend.logits(image)
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def page(rows: list[list[str]]) -> str:
    """The page with its table."""
    return TEXT.format(threads=torch.get_num_threads(), methods=len(METHODS), table=markdown_table(HEADS, rows))


if __name__ == "__main__":
    set_threads()
    PAGE.write_text(page([row(*each) for each in NETWORKS.items()]), encoding="utf-8")
