"""Measures how well anchors fit the sizes and shapes of the objects, and suggests anchors that fit better."""
from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lib.rpn.anchors import cells_inside, generate_anchors
from lib.utils.image import resize_scale

SMALLEST = 0.5              # suggested scale: smaller objects need larger images, not smaller anchors
BINS = np.linspace(0, 1, 11)
ALIKE = 1.15                # suggested scales or ratios that differ by a smaller factor are merged
SAMPLED = 20000             # objects: of more, this many are measured
_CHUNK = 4096               # objects that are compared with all anchors at once
GAIN = 0.02                 # of the mean IoU: a smaller one is not worth other anchors


class Objects(NamedTuple):
    """Objects as the network sees them; each is listed once for every scale of the configuration."""
    sides: np.ndarray       # (n, 2) float64, width and height, pixels
    centres: np.ndarray     # (n, 2) float64, pixels
    images: np.ndarray      # (n, 2) float64, width and height of its image, pixels
    weights: np.ndarray     # (n,) float64 of sum 1; every class has the same weight, as in the mean AP


class Fit(NamedTuple):
    """How well anchors fit: the IoU of each object with the best of the anchors inside its image.

    Training ignores anchors that leave the image.
    """
    scales: tuple[float, ...]
    ratios: tuple[float, ...]
    overlaps: np.ndarray    # (n,) float64, one for each object
    weights: np.ndarray     # of the objects
    stride: int             # pixels, a cell of the feature map: distance of two anchors, and the unit of the scales

    @property
    def mean(self) -> float:
        """The mean over the classes of the mean IoU; 0 without objects."""
        return float(self.overlaps.dot(self.weights))

    def share(self, threshold: float) -> float:
        """The share of the objects whose IoU reaches a threshold; 0 without objects."""
        return float((self.overlaps >= threshold).mean()) if len(self.overlaps) else 0.0

    def histogram(self) -> np.ndarray:
        """(10,) int: number of objects by IoU, in steps of 0.1."""
        return np.histogram(self.overlaps, bins=BINS)[0]


def objects_at(boxes: ArrayLike, labels: ArrayLike, sizes: ArrayLike, scales: Sequence[tuple[int, int]]) -> Objects:
    """Objects at the network's scales.

    Args:
        boxes: (n, 4) of the objects.
        labels: (n,) int, their classes.
        sizes: (n, 2) width and height of their images.
        scales: pairs (shorter side, longest side) of the configuration.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    sizes = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    labels = np.asarray(labels, dtype=np.int64)
    counts = np.bincount(labels) if len(labels) else np.zeros(0)
    weights = 1 / counts[labels] / (counts > 0).sum() / len(scales) if len(labels) else np.zeros(0)
    factors = np.concatenate([_factors(sizes, *scale) for scale in scales])[:, None]
    boxes, sizes = np.tile(boxes, (len(scales), 1)), np.tile(sizes, (len(scales), 1))
    first, last = boxes[:, :2], boxes[:, 2:]
    return Objects((last - first + 1) * factors, (first + last) / 2 * factors, np.round(sizes * factors),
                   np.tile(weights, len(scales)))


def _factors(sizes, target, longest):
    """`resize_scale` of each image."""
    known, places = np.unique(sizes, axis=0, return_inverse=True)
    return np.array([resize_scale(tuple(size), target, longest) for size in known])[places.ravel()]


def sample(rows: np.ndarray) -> np.ndarray:
    """At most SAMPLED of the rows (n,), evenly spaced."""
    return rows if len(rows) <= SAMPLED else rows[np.linspace(0, len(rows) - 1, SAMPLED).astype(int)]


def fit_anchors(objects: Objects, scales: Sequence[float], ratios: Sequence[float], stride: int = 16) -> Fit:
    """The fit of anchors: each object is compared with the nearest anchor of each kind that lies inside its image.

    Args:
        objects: to fit.
        scales, ratios, stride: of the anchors (`generate_anchors`).
    """
    base = generate_anchors(stride, ratios, scales).astype(np.float64)                # (A, 4)
    anchors, middle = base[:, 2:] - base[:, :2] + 1, (base[:, 2:] + base[:, :2]) / 2
    overlaps = np.zeros(len(objects.sides))
    for start in range(0, len(overlaps), _CHUNK):
        part = slice(start, start + _CHUNK)
        first, last = cells_inside(base, objects.images[part], stride)              # (n, A, 2)
        sides, centres = objects.sides[part][:, None], objects.centres[part][:, None]
        cells = np.clip(np.round((centres - middle) / stride), first, np.maximum(first, last))
        offsets = np.abs(centres - middle - cells * stride)
        common = np.minimum(np.minimum(sides, anchors), (sides + anchors) / 2 - offsets).clip(0).prod(axis=2)
        union = sides.prod(axis=2) + anchors.prod(axis=1) - common
        overlaps[part] = np.where((last >= first).all(axis=2), common / union, 0).max(axis=1)
    return Fit(tuple(scales), tuple(ratios), overlaps, objects.weights, stride)


def suggest(objects: Objects, num_scales: int, num_ratios: int, stride: int = 16) -> Fit:
    """The fit of anchors of a stride with so many scales and ratios, or fewer, that are chosen for the objects.

    The logarithms of the objects' sizes, and those of their shapes, are clustered by k-means (Lloyd's algorithm), which
    starts from their quantiles. The centres of the clusters are the scales and the ratios.
    """
    sizes = np.maximum(np.sqrt(objects.sides.prod(axis=1)) / stride, SMALLEST)
    shapes = objects.sides[:, 1] / objects.sides[:, 0]
    return fit_anchors(objects, _centres(sizes, objects.weights, num_scales),
                       _centres(shapes, objects.weights, num_ratios), stride)


def better(fit: Fit, objects: Objects) -> Fit | None:
    """Anchors with as many scales and ratios as `fit`, or one scale more, that fit clearly better; else None."""
    best = None
    for more in (0, 1) if len(objects.sides) else ():
        other = suggest(objects, len(fit.scales) + more, len(fit.ratios), fit.stride)
        if other.mean > (best or fit).mean + GAIN:
            best = other
    return best


def _centres(values, weights, count):
    """At most `count` centres of the values' logarithms, rising: weighted k-means; those that are ALIKE are one."""
    logs = np.log(values)
    order = np.argsort(logs, kind='stable')
    below = np.cumsum(weights[order]) - weights[order] / 2
    centres = np.interp((np.arange(count) + 0.5) / count, below, logs[order])
    for _ in range(50):
        nearest = np.abs(logs[:, None] - centres).argmin(axis=1)
        centres = np.array([np.average(logs[nearest == number], weights=weights[nearest == number])
                            if (nearest == number).any() else centre for number, centre in enumerate(centres)])
    kept = []
    for centre in np.exp(np.sort(centres)):
        if not kept or centre > kept[-1] * ALIKE:
            kept.append(float('%.2g' % centre))
    return tuple(kept)
