"""Slow twins: every formula once more, one channel and one step at a time, in float64, sharing no code with `iscam`.

`network` is a float64 copy in eval mode, `layer` the dotted name of a module in it, `x` the normalised input
(1, 3, H, W) in float64, `c` a class index. A method gives (weights, raw): weights (C,), (C, h, w) or None, and raw
(h, w) with its ReLU applied. `noise` is (n, 3, H, W), standard normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise, permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]
Array = NDArray[np.float64]


def run(network: nn.Module, layer: str, x: Tensor, replace: Callable[[Tensor], Tensor] | None = None) -> Pair:
    """The layer's own output, as it was before anything behind it ran, and the logits (K,)."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
        seen.append(output.detach().clone())
        return None if replace is None else replace(output)

    handle = network.get_submodule(layer).register_forward_hook(hook)
    try:
        logits = network(x)[0]
        return seen[0], logits
    finally:
        handle.remove()


def spatial(output: Tensor) -> Tensor:
    """(1, C, h, w), or tokens (1, 1 + h * h, C), -> (C, h, w); the class token has no place and is dropped."""
    if output.ndim == 4:
        return output[0]
    side = math.isqrt(output.shape[1] - 1)
    return torch.stack([output[0, 1:, k].reshape(side, side) for k in range(output.shape[2])])


def activations(network: nn.Module, layer: str, x: Tensor) -> Pair:
    """A (C, h, w) and the logits (K,)."""
    with torch.no_grad():
        output, logits = run(network, layer, x)
    return spatial(output), logits


def gradients(network: nn.Module, layer: str, x: Tensor, c: int) -> Tensor:
    """dS_c / dA (C, h, w): the network's second half, fed with a copy of a leaf that in-place code may overwrite."""
    with torch.no_grad():
        leaf, _ = run(network, layer, x)
    leaf.requires_grad_()
    _, logits = run(network, layer, x, replace=lambda _: leaf.clone())
    return spatial(torch.autograd.grad(logits[c], leaf)[0])


def score(network: nn.Module, x: Tensor, c: int, weighting: str) -> float:
    with torch.no_grad():
        logits = network(x)[0]
    return logits[c].item() if weighting == "logit" else probability(network, logits, c)


class Findings(nn.Module):
    """A network whose classes do not exclude each other."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


def probability(network: nn.Module, logits: Tensor, c: int) -> float:
    """f_c: the softmax, or of findings the sigmoid."""
    if isinstance(network, Findings):
        return 1 / (1 + math.exp(-logits[c].item()))
    return 1 / (logits - logits[c]).exp().sum().item()


def resampling(old: int, new: int) -> Tensor:
    """(new, old): row p mixes the two old pixels around the centre of new pixel p, the edges repeated."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for p in range(new):
        place = max((p + 0.5) * old / new - 0.5, 0.0)
        left = int(place)
        matrix[p, left] += 1 - (place - left)
        matrix[p, min(left + 1, old - 1)] += place - left
    return matrix


def upsample(a: Tensor, size: tuple[int, int]) -> Tensor:
    """U: bilinear, align_corners=False, (h, w) -> (H, W)."""
    return resampling(a.shape[0], size[0]) @ a @ resampling(a.shape[1], size[1]).T


def mask(a: Tensor, size: tuple[int, int]) -> Tensor | None:
    """H_k = s(U(A_k)), None if the channel is flat."""
    if a.max() == a.min():
        return None
    u = upsample(a, size)
    return (u - u.min()) / (u.max() - u.min())


def heatmap(raw: Tensor, size: tuple[int, int]) -> Tensor:
    """E = s(U(ReLU(L))), 0 where that map is constant."""
    e = mask(raw.clamp(min=0), size)
    return torch.zeros(size, dtype=torch.float64) if e is None else e


def weighted_sum(weights: Tensor, a: Tensor) -> Tensor:
    """sum_k alpha_k o A_k (h, w), for weights (C,) or (C, h, w)."""
    return torch.stack([weights[k] * a[k] for k in range(len(a))]).sum(dim=0)


def relu_sum(weights: Tensor, a: Tensor) -> Pair:
    return weights, weighted_sum(weights, a).clamp(min=0)


def contrast(a: Tensor, target: Tensor, against: Tensor) -> Tensor:
    """The signed raw map (h, w) of two classes' weights, no ReLU."""
    return weighted_sum(target, a) - weighted_sum(against, a)


def rather_than(target: Tensor, rivals: Sequence[Tensor], strength: float) -> Tensor:
    """alpha_k^c - gamma (sum alpha^c) mean_d pi_k^d (C,): on the scale of the target's own weights."""
    profiles = [[(weight / rival.sum()).item() for weight in rival] for rival in rivals]
    mean = [sum(of_k) / len(rivals) for of_k in zip(*profiles, strict=True)]
    return torch.stack([w - strength * target.sum() * m for w, m in zip(target, mean, strict=True)])


class Contrasted(nn.Module):
    """A network with one class more, whose logit is that of a class less the mean of its rivals'."""

    def __init__(self, network: nn.Module, c: int, rivals: Sequence[int], strength: float) -> None:
        super().__init__()
        self.network, self.c, self.rivals, self.strength = network, c, rivals, strength

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        mean = sum(logits[:, d] for d in self.rivals) / len(self.rivals)
        return torch.cat([logits, (logits[:, self.c] - self.strength * mean)[:, None]], dim=1)


def refine_cam(heatmaps: Sequence[Tensor]) -> Tensor:
    """The maps (H, W) multiplied place by place, less the least, over the largest."""
    product = [[math.prod(of.tolist()) for of in row] for row in torch.stack(list(heatmaps)).permute(1, 2, 0)]
    least = min(min(row) for row in product)
    most = max(max(row) for row in product)
    return torch.tensor(
        [[(value - least) / ((most - least) or 1) for value in row] for row in product], dtype=torch.float64
    )


def signed_heatmap(raw: Tensor, size: tuple[int, int]) -> Tensor:
    """A contrast upsampled, then divided by its largest absolute value: [-1, 1]; an empty one stays 0."""
    u = upsample(raw, size)
    return u / u.abs().max() if u.any() else u


def path_inputs(product: Tensor, steps: int, path: str) -> list[Tensor]:
    """M_1 .. M_N for the masked image `product` = X o H_k."""
    inputs, m = [], torch.zeros_like(product)
    for i in range(1, steps + 1):
        m = m + (i / steps) * product if path == "cumulative" else (i / steps) * product
        inputs.append(m)
    return inputs


def multipliers(steps: int, path: str) -> list[float]:
    return [m.item() for m in path_inputs(torch.tensor(1.0, dtype=torch.float64), steps, path)]


def masked_scores(a: Tensor, x: Tensor, weighting: str, rate: Callable[[Tensor], float]) -> Tensor:
    """alpha (C,) from one rating per masked image X o H_k. A flat channel has weight 0 and no part in the softmax."""
    masks = {k: mask(a[k], (x.shape[2], x.shape[3])) for k in range(len(a))}
    rated = {k: rate(x * h) for k, h in masks.items() if h is not None}
    if weighting == "logit":
        highest = max(rated.values(), default=0.0)
        total = sum(math.exp(s - highest) for s in rated.values())
        rated = {k: math.exp(s - highest) / total for k, s in rated.items()}
    return torch.tensor([rated.get(k, 0.0) for k in range(len(a))], dtype=torch.float64)


def is_cam(network: nn.Module, layer: str, x: Tensor, c: int, steps: int, path: str, weighting: str) -> Pair:
    def rate(product: Tensor) -> float:
        return sum(score(network, m, c, weighting) for m in path_inputs(product, steps, path)) / steps

    a, _ = activations(network, layer, x)
    return relu_sum(masked_scores(a, x, weighting, rate), a)


def score_cam(network: nn.Module, layer: str, x: Tensor, c: int, weighting: str) -> Pair:
    a, _ = activations(network, layer, x)
    return relu_sum(masked_scores(a, x, weighting, lambda product: score(network, product, c, weighting)), a)


def ss_cam(network: nn.Module, layer: str, x: Tensor, c: int, noise: Tensor) -> Pair:
    """The same noise fields for every channel, each channel with its own standard deviation."""

    def rate(product: Tensor) -> float:
        sigma = (2 / (product.max() - product.min())) ** 2
        return sum(score(network, product + sigma * z, c, "probability") for z in noise) / len(noise)

    a, _ = activations(network, layer, x)
    return relu_sum(masked_scores(a, x, "probability", rate), a)


def ablation_cam(network: nn.Module, layer: str, x: Tensor, c: int) -> Pair:
    """alpha_k = (S_c - S_c with A_k = 0) / |S_c|, 0 where S_c = 0. Among tokens only the patches are ablated."""
    a, logits = activations(network, layer, x)
    weights = torch.zeros(len(a), dtype=torch.float64)
    for k in range(len(a) if logits[c] != 0 else 0):

        def ablate(output: Tensor, k: int = k) -> Tensor:
            output = output.clone()
            (output[:, k] if output.ndim == 4 else output[:, 1:, k]).zero_()
            return output

        with torch.no_grad():
            weights[k] = (logits[c] - run(network, layer, x, ablate)[1][c]) / logits[c].abs()
    return relu_sum(weights, a)


def recipro_cam(network: nn.Module, layer: str, x: Tensor, c: int) -> tuple[None, Tensor]:
    """Each cell's probability when nothing of the maps is left but 1/4 of that cell, 1/8 of those beside, above and below
    it, and 1/16 of those at its corners. The class token, which has no place, stays."""
    a, _ = activations(network, layer, x)
    height, width = a.shape[1:]
    raw = torch.zeros(height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):

            def keep(output: Tensor, row: int = row, column: int = column) -> Tensor:
                output = output.clone()
                for i in range(height):
                    for j in range(width):
                        far = abs(i - row) + abs(j - column) if max(abs(i - row), abs(j - column)) <= 1 else None
                        share = 0.0 if far is None else (1 / 4, 1 / 8, 1 / 16)[far]
                        if output.ndim == 4:
                            output[:, :, i, j] *= share
                        else:
                            output[:, 1 + i * width + j] *= share
                return output

            with torch.no_grad():
                raw[row, column] = probability(network, run(network, layer, x, keep)[1], c)
    return None, raw


def cam(network: nn.Module, layer: str, x: Tensor, c: int, head: Tensor) -> Pair:
    """`head` (K, C): the weight of the one linear layer behind the pooling."""
    return relu_sum(head[c].detach(), activations(network, layer, x)[0])


def grad_cam(network: nn.Module, layer: str, x: Tensor, c: int) -> Pair:
    g = gradients(network, layer, x, c)
    return relu_sum(torch.stack([g_k.mean() for g_k in g]), activations(network, layer, x)[0])


def eq_19(g: Tensor, a: Tensor) -> Pair:
    """alpha_k = sum of g^2 / (2 g^2 + g^3 sum A_k) ReLU(g), term by term; where g <= 0 the term is 0 by its ReLU."""
    terms = [[d**2 / (2 * d**2 + d**3 * a_k.sum()) * d for d in g_k[g_k > 0]] for g_k, a_k in zip(g, a, strict=True)]
    return relu_sum(torch.tensor([sum(of_k) for of_k in terms], dtype=torch.float64), a)


def grad_cam_pp(network: nn.Module, layer: str, x: Tensor, c: int) -> Pair:
    return eq_19(gradients(network, layer, x, c), activations(network, layer, x)[0])


def smooth_grad_cam_pp(network: nn.Module, layer: str, x: Tensor, c: int, noise: Tensor) -> Pair:
    """The gradients are averaged over noisy inputs; the activations are those of the clean one."""
    sigma = 0.15 * (x.max() - x.min())
    g = torch.stack([gradients(network, layer, x + sigma * z, c) for z in noise]).mean(dim=0)
    return eq_19(g, activations(network, layer, x)[0])


def xgrad_cam(network: nn.Module, layer: str, x: Tensor, c: int, eps: float = 1e-7) -> Pair:
    g, a = gradients(network, layer, x, c), activations(network, layer, x)[0]
    weights = torch.zeros(len(a), dtype=torch.float64)
    for k in range(len(a)):
        if a[k].sum().abs() > eps:
            weights[k] = (g[k] * a[k]).sum() / (a[k].sum() + eps)
    return relu_sum(weights, a)


def hires_cam(network: nn.Module, layer: str, x: Tensor, c: int) -> Pair:
    return relu_sum(gradients(network, layer, x, c), activations(network, layer, x)[0])


def layer_cam(network: nn.Module, layer: str, x: Tensor, c: int) -> Pair:
    return relu_sum(gradients(network, layer, x, c).clamp(min=0), activations(network, layer, x)[0])


def eigen_cam(network: nn.Module, layer: str, x: Tensor) -> tuple[None, Tensor]:
    """The first principal component, by the eigenvectors of the channels' scatter matrix; class-agnostic."""
    a, _ = activations(network, layer, x)
    centred = torch.stack([(a_k - a_k.mean()).flatten() for a_k in a], dim=1)  # (hw, C)
    raw = (centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]).reshape(a.shape[1:])
    return None, (-raw if (raw * a.sum(dim=0)).sum() < 0 else raw).clamp(min=0)


def opti_cam(network: nn.Module, layer: str, x: Tensor, c: int, steps: int) -> Pair:
    """Weights softmax(w), of the channels that have a mask, by torch's own Adam: the best of those that were looked at."""
    a, _ = activations(network, layer, x)
    alive = [k for k in range(len(a)) if a[k].max() > a[k].min()]
    w = [torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in alive]
    adam = torch.optim.Adam(w, lr=0.1, maximize=True)
    best, weights = -math.inf, torch.zeros(len(a), dtype=torch.float64)
    for _ in range(steps):
        powers = [w_k.exp() for w_k in w]
        shares = [power / sum(powers) for power in powers]
        u = upsample(sum(share * a[k] for share, k in zip(shares, alive, strict=True)), (x.shape[2], x.shape[3]))
        logit = network(x * (u - u.min()) / (u.max() - u.min()))[0, c]
        if logit.item() > best:
            best = logit.item()
            for share, k in zip(shares, alive, strict=True):
                weights[k] = share.item()
        for w_k, slope in zip(w, torch.autograd.grad(logit, w), strict=True):
            w_k.grad = slope
        adam.step()
    return weights, weighted_sum(weights, a)


# Metrics: plain loops over pixels, in numpy and float64. `score` takes one input (3, H, W) and gives its class probability.


def confidence_figures(score: Callable[[Array], float], image: Array, heatmap: Array) -> dict[str, float]:
    """Average drop, increase and average gain of one photo."""
    p, q = score(image), score(np.stack([plane * heatmap for plane in image]))
    drop = (p - q) / p if q < p else 0.0
    gain = (q - p) / (1 - p) if q > p else 0.0
    return {"average-drop": drop, "increase": 1.0 if q > p else 0.0, "average-gain": gain}


def curve_area(
    score: Callable[[Array], float], start: Array, end: Array, heatmap: Array, steps: int
) -> tuple[list[float], float]:
    """RISE's curve, and the area under it: pixel after pixel goes from `start` to `end`, the highest of the map first."""
    height, width = heatmap.shape
    places = [(-heatmap[row, column], row, column) for row in range(height) for column in range(width)]
    places.sort()
    current, scores, done = start.copy(), [score(start)], 0
    for step in range(1, steps + 1):
        for _, row, column in places[done : round(step / steps * len(places))]:
            current[:, row, column] = end[:, row, column]
        done = round(step / steps * len(places))
        scores.append(score(current))
    return scores, sum((a + b) / 2 for a, b in pairwise(scores)) / steps


def blurred(image: Array, size: int = 11, sigma: float = 5.0) -> Array:
    """A Gaussian blur (3, H, W), pixel by pixel; beyond the rim the photo goes on mirrored, its last pixels not repeated."""
    reach = size // 2
    offsets = range(-reach, reach + 1)
    weights = {(d, a): math.exp(-(d * d + a * a) / (2 * sigma * sigma)) for d in offsets for a in offsets}

    def mirrored(place: int, length: int) -> int:
        place = abs(place)
        return 2 * (length - 1) - place if place >= length else place

    height, width = image.shape[1:]
    found = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            for (down, across), weight in weights.items():
                found[:, row, column] += (
                    weight * image[:, mirrored(row + down, height), mirrored(column + across, width)]
                )
    return found / sum(weights.values())


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's r; 0 where one of both is the same everywhere."""
    if len(set(one)) == 1 or len(set(other)) == 1:
        return 0.0
    means = sum(one) / len(one), sum(other) / len(other)
    pairs = [(a - means[0], b - means[1]) for a, b in zip(one, other, strict=True)]
    above = sum(a * b for a, b in pairs)
    return above / math.sqrt(sum(a * a for a, _ in pairs) * sum(b * b for _, b in pairs))


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's: Pearson's r of the places, counted; equal ones share theirs."""

    def places(values: Sequence[float]) -> list[float]:
        return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]

    return correlation(places(one), places(other))


def coherency(heatmap: Array, again: Array) -> float:
    return (1 + correlation([float(a) for a in heatmap.flat], [float(b) for b in again.flat])) / 2


def harmonic_adcc(p: float, q: float, heatmap: Array, again: Array) -> float:
    """ADCC from its three parts."""
    parts = coherency(heatmap, again), 1 - sum(heatmap.flat) / heatmap.size, 1 - max(0.0, p - q) / p
    return 3 / sum(1 / part for part in parts)


def harmonic_arcc(heatmap: Array, again: Array, road: float) -> float:
    """ARCC from its three parts, of which ROAD's may be nothing."""
    if road <= 0:
        return 0.0
    parts = coherency(heatmap, again), 1 - sum(heatmap.flat) / heatmap.size, 2 * road
    return 3 / sum(1 / part for part in parts)


def curve_correlation(scores: Sequence[float], heatmap: Array) -> float:
    """r of what a curve rises in each of its steps, and of what the map has on the pixels of the step."""
    steps, values = len(scores) - 1, sorted((float(value) for value in heatmap.flat), reverse=True)
    ends = [round(step / steps * len(values)) for step in range(steps + 1)]
    sums = [sum(values[start:end]) for start, end in pairwise(ends)]
    return correlation([after - before for before, after in pairwise(scores)], sums)


def single_deletion(score: Callable[[Array], float], image: Array, heatmap: Array) -> float:
    """One of 16 patches at a time is set to 0: the ranks of what that costs against those of the map's sums."""
    drops, sums = [], []
    height, width = heatmap.shape
    for number in range(16):
        changed, total = image.copy(), 0.0
        for row in range(height * (number // 4) // 4, height * (number // 4 + 1) // 4):
            for column in range(width * (number % 4) // 4, width * (number % 4 + 1) // 4):
                changed[:, row, column] = 0
                total += float(heatmap[row, column])
        drops.append(score(image) - score(changed))
        sums.append(total)
    return rank_correlation(drops, sums)


def imputed(image: Array, removed: Array) -> Array:
    """ROAD's linear imputation without its noise, by a dense system: every hole is the weighted mean of its neighbours."""
    holes = [(int(row), int(column)) for row, column in np.argwhere(removed)]
    height, width = removed.shape
    system, given = np.zeros((len(holes), len(holes))), np.zeros((len(holes), len(image)))
    for number, (row, column) in enumerate(holes):
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                there = row + down, column + across
                if (down, across) == (0, 0) or not (0 <= there[0] < height and 0 <= there[1] < width):
                    continue
                weight = 1 / 12 if down and across else 1 / 6
                system[number, number] += weight
                if removed[there]:
                    system[number, holes.index(there)] -= weight
                else:
                    given[number] += weight * image[:, there[0], there[1]]
    found = image.copy()
    for values, (row, column) in zip(np.linalg.solve(system, given), holes, strict=True):
        found[:, row, column] = values
    return found


def road(score: Callable[[Array], float], image: Array, heatmap: Array, percentiles: Sequence[int]) -> float:
    """ROAD without its noise: half of what is left more by removing the lowest first than by removing the highest first."""
    places = [(float(heatmap[place]), place) for place in np.ndindex(heatmap.shape)]
    halves = []
    for percentile in percentiles:
        left = []
        for sign in (1, -1):  # lowest first, highest first; equal ones in raster order
            removed = np.zeros(heatmap.shape, dtype=bool)
            for _, place in sorted(places, key=lambda pair: sign * pair[0])[: round(percentile / 100 * len(places))]:
                removed[place] = True
            left.append(score(imputed(image, removed)))
        halves.append((left[0] - left[1]) / 2)
    return sum(halves) / len(halves)


def box_figures(heatmap: Array, box: tuple[float, float, float, float]) -> dict[str, float]:
    """Pointing game, energy in the box, and the box's share of the area; pixels count by their middle."""
    left, top, right, bottom = box
    inside = total = count = 0.0
    best, hit = -1.0, 0.0
    for row in range(heatmap.shape[0]):
        for column in range(heatmap.shape[1]):
            within = left <= column + 0.5 < right and top <= row + 0.5 < bottom
            total += heatmap[row, column]
            inside += heatmap[row, column] * within
            count += within
            if heatmap[row, column] > best:
                best, hit = heatmap[row, column], float(within)
    return {"pointing": hit, "energy": inside / total, "area": count / heatmap.size}


def ordinal_alpha(ratings: Array) -> float:
    """Krippendorff's alpha of ordinal ratings (coders, units), NaN where there is none, by every pair of coders in a unit."""
    values = sorted(set(ratings[np.isfinite(ratings)].tolist()))
    coincidences = dict.fromkeys(((one, other) for one in values for other in values), 0.0)
    for unit in ratings.T:
        given = [rating for rating in unit.tolist() if not math.isnan(rating)]
        for one, other in permutations(given, 2):
            coincidences[one, other] += 1 / (len(given) - 1)
    times = {value: sum(coincidences[value, other] for other in values) for value in values}
    total = sum(times.values())
    observed = expected = 0.0
    for (one, other), pairs in coincidences.items():
        between = sum(times[value] for value in values if min(one, other) <= value <= max(one, other))
        square = (between - (times[one] + times[other]) / 2) ** 2
        observed += pairs * square / total
        expected += times[one] * times[other] * square / (total * (total - 1))
    return 1 - observed / expected


def mean_spearman(values: Array) -> float:
    """The mean of Spearman's r over all pairs of rows (photos, methods), ties at the mean of their ranks; 0 of a flat row."""

    def rank(row: list[float], value: float) -> float:
        return sum(other < value for other in row) + (sum(other == value for other in row) + 1) / 2

    places = [[rank(row, value) for value in row] for row in values.tolist()]
    middle = (len(places[0]) + 1) / 2
    found = []
    for one, other in combinations(places, 2):
        products = sum((a - middle) * (b - middle) for a, b in zip(one, other, strict=True))
        squares = [sum((a - middle) ** 2 for a in row) for row in (one, other)]
        found.append(products / math.sqrt(squares[0] * squares[1]) if min(squares) else 0.0)
    return sum(found) / len(found)
