"""How well the anchors' sizes and shapes fit those of the objects, and which would fit better."""
from typing import NamedTuple, Tuple

import numpy as np

from lib.rpn.generate_anchor import generate_anchors
from lib.utils.image import resize_scale

CELL = 16                   # pixels: ANCHOR_SCALES are in units of it
BINS = np.linspace(0, 1, 11)
ALIKE = 1.15                # two scales or ratios that differ by less are one
GAIN = 0.02                 # of the mean IoU, from which on other anchors are worth a change


class Fit(NamedTuple):
    """How well anchors fit. IoUs are those of an object with the best anchor of the same centre."""
    scales: Tuple[float, ...]
    ratios: Tuple[float, ...]
    overlaps: np.ndarray    # (n,) float64, one for each object

    @property
    def mean(self):
        """Mean IoU; 0 without objects."""
        return float(self.overlaps.mean()) if len(self.overlaps) else 0.0

    def share(self, threshold):
        """Part of the objects whose IoU reaches a threshold."""
        return float((self.overlaps >= threshold).mean()) if len(self.overlaps) else 0.0

    def histogram(self):
        """(10,) int: objects by IoU, in steps of 0.1."""
        return np.histogram(self.overlaps, bins=BINS)[0]


def network_sides(pairs, scales):
    """Widths and heights of objects at the network's scale.

    Args:
        pairs: of `usable_items`.
        scales: pairs (shorter side, longest side) of the configuration; each counts.
    Returns:
        (n * len(scales), 2) float64 pixels.
    """
    rows = []
    for target, longest in scales:
        for picture, item in pairs:
            x1, y1, x2, y2 = item.box
            scale = resize_scale(picture.size, target, longest)
            rows.append(((x2 - x1 + 1) * scale, (y2 - y1 + 1) * scale))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def fit_anchors(sides, scales, ratios, base_size=CELL):
    """Fit of anchors to objects of these sides (n, 2)."""
    anchors = generate_anchors(base_size, ratios, scales)
    wide, high = anchors[:, 2] - anchors[:, 0] + 1, anchors[:, 3] - anchors[:, 1] + 1
    common = np.minimum(sides[:, :1], wide) * np.minimum(sides[:, 1:], high)        # (n, A)
    union = sides.prod(axis=1)[:, None] + wide * high - common
    return Fit(tuple(scales), tuple(ratios), (common / union).max(axis=1) if len(sides) else np.zeros(0))


def suggest(sides, num_scales, num_ratios, base_size=CELL):
    """Scales and ratios, as many as given or fewer, at the centres of the objects' sizes and shapes.

    Sizes and shapes are clustered apart, both as logarithms, by Lloyd's rule from their quantiles on.
    """
    scales = _centres(np.sqrt(sides.prod(axis=1)) / base_size, num_scales)
    return fit_anchors(sides, scales, _centres(sides[:, 1] / sides[:, 0], num_ratios), base_size)


def better(fit, sides, base_size=CELL):
    """The suggestion with as many scales and ratios, or one scale more, if it fits clearly better than `fit`; else
    None.
    """
    best = None
    for more in (0, 1):
        other = suggest(sides, len(fit.scales) + more, len(fit.ratios), base_size) if len(sides) else fit
        if other.mean > (best or fit).mean + GAIN:
            best = other
    return best


def _centres(values, count, rounds=50):
    logs = np.log(values)
    centres = np.quantile(logs, (np.arange(count) + 0.5) / count)
    for _ in range(rounds):
        nearest = np.abs(logs[:, None] - centres).argmin(axis=1)
        centres = np.array([logs[nearest == number].mean() if (nearest == number).any() else centre
                            for number, centre in enumerate(centres)])
    kept = []
    for centre in np.exp(np.sort(centres)):
        if not kept or centre > kept[-1] * ALIKE:
            kept.append(float('%.2g' % centre))
    return tuple(kept)
