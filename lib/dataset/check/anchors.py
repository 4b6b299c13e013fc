"""How well the anchors' sizes and shapes fit those of the objects, and which would fit better."""
from collections import Counter
from typing import NamedTuple, Tuple

import numpy as np

from lib.rpn.generate_anchor import generate_anchors
from lib.utils.image import resize_scale

CELL = 16                   # pixels: ANCHOR_SCALES are in units of it, and anchors stand that far apart
CENTRE = (CELL - 1) / 2     # of the first cell
SMALLEST = 0.5              # of the suggested scales: smaller objects need larger images, not smaller anchors
BINS = np.linspace(0, 1, 11)
ALIKE = 1.15                # two scales or ratios that differ by less are one
GAIN = 0.02                 # of the mean IoU, from which on other anchors are worth a change


class Objects(NamedTuple):
    """Objects as the network sees them; each stands there once for every scale of the configuration."""
    sides: np.ndarray       # (n, 2) float64, width and height, pixels
    offsets: np.ndarray     # (n, 2) float64, how far its centre is from that of the nearest cell, pixels
    weights: np.ndarray     # (n,) float64 of sum 1; all classes together weigh the same, as in the mean AP


class Fit(NamedTuple):
    """How well anchors fit. IoUs are those of an object with the best of all anchors."""
    scales: Tuple[float, ...]
    ratios: Tuple[float, ...]
    overlaps: np.ndarray    # (n,) float64, one for each object
    weights: np.ndarray     # of the objects

    @property
    def mean(self):
        """Mean IoU of the classes; 0 without objects."""
        return float(self.overlaps.dot(self.weights))

    def share(self, threshold):
        """Part of the objects whose IoU reaches a threshold."""
        return float((self.overlaps >= threshold).mean()) if len(self.overlaps) else 0.0

    def histogram(self):
        """(10,) int: objects by IoU, in steps of 0.1."""
        return np.histogram(self.overlaps, bins=BINS)[0]


def objects_at(pairs, scales):
    """Objects at the network's scales.

    Args:
        pairs: of `usable_items`.
        scales: pairs (shorter side, longest side) of the configuration; each counts.
    """
    counts = Counter(item.label for _, item in pairs)
    weights = [1 / counts[item.label] / len(counts) / len(scales) for _ in scales for _, item in pairs]
    factors = [resize_scale(picture.size, *scale) for scale in scales for picture, _ in pairs]
    boxes = np.array([item.box for _ in scales for _, item in pairs], dtype=np.float64).reshape(-1, 4)
    first, last, factors = boxes[:, :2], boxes[:, 2:], np.array(factors)[:, None]
    beside = (first + last) / 2 * factors - CENTRE      # a multiple of CELL at the centre of a cell
    offsets = np.abs((beside + CELL / 2) % CELL - CELL / 2)
    return Objects((last - first + 1) * factors, offsets, np.array(weights))


def fit_anchors(objects, scales, ratios):
    """Fit of anchors to Objects: the anchors stand at the cells' centres, an object has the nearest ones."""
    anchors = generate_anchors(CELL, ratios, scales)
    anchors = anchors[:, 2:] - anchors[:, :2] + 1                                   # (A, 2)
    sides, offsets = objects.sides[:, None], objects.offsets[:, None]               # (n, 1, 2)
    common = np.minimum(np.minimum(sides, anchors), (sides + anchors) / 2 - offsets).clip(0).prod(axis=2)    # (n, A)
    union = sides.prod(axis=2) + anchors.prod(axis=1) - common
    return Fit(tuple(scales), tuple(ratios), (common / union).max(axis=1), objects.weights)


def suggest(objects, num_scales, num_ratios):
    """Scales and ratios, as many as given or fewer, at the centres of the objects' sizes and shapes.

    Sizes and shapes are clustered apart, both as logarithms, by Lloyd's rule from their quantiles on.
    """
    sizes = np.maximum(np.sqrt(objects.sides.prod(axis=1)) / CELL, SMALLEST)
    shapes = objects.sides[:, 1] / objects.sides[:, 0]
    return fit_anchors(objects, _centres(sizes, objects.weights, num_scales),
                       _centres(shapes, objects.weights, num_ratios))


def better(fit, objects):
    """The suggestion with as many scales and ratios, or one scale more, if it fits clearly better than `fit`; else
    None.
    """
    best = None
    for more in (0, 1) if len(objects.sides) else ():
        other = suggest(objects, len(fit.scales) + more, len(fit.ratios))
        if other.mean > (best or fit).mean + GAIN:
            best = other
    return best


def _centres(values, weights, count, rounds=50):
    logs = np.log(values)
    order = np.argsort(logs, kind='stable')
    below = np.cumsum(weights[order]) - weights[order] / 2
    centres = np.interp((np.arange(count) + 0.5) / count, below, logs[order])
    for _ in range(rounds):
        nearest = np.abs(logs[:, None] - centres).argmin(axis=1)
        centres = np.array([np.average(logs[nearest == number], weights=weights[nearest == number])
                            if (nearest == number).any() else centre for number, centre in enumerate(centres)])
    kept = []
    for centre in np.exp(np.sort(centres)):
        if not kept or centre > kept[-1] * ALIKE:
            kept.append(float('%.2g' % centre))
    return tuple(kept)
