"""THE rule that judges a box, for training, checker, cleaned copies and evaluation."""
from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lib.dataset.annotations import FLAG_NAMES, AnnotatedSet
from lib.dataset.faults import CLIPPED, FAR, HINT, INVERTED, OUTSIDE, TINY, Faults
from lib.utils.console import counted

CLIP, RELEASE = 'clip', 'release'       # the rule, and that of the release for COCO's json
MIN_SIDE = 2            # pixels: a box that is thinner once it is cut off at the border is dropped
TOLERANCE = 0.5         # of the image's side: a box that sticks out by more at one edge is dropped, not clipped
SLACK = 1e-3            # pixels: fractions of the width, written with six digits, are not more exact

# Verdicts: numbers of the kinds of fault that a box may have. From the third on a box is dropped.
VERDICTS = (None, CLIPPED, INVERTED, OUTSIDE, FAR, TINY)
FIRST_DROPPED = 2


def fit_boxes(boxes: ArrayLike, sizes: ArrayLike, min_side: float = MIN_SIDE, rule: str = CLIP,
              areas: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Fit boxes as written into their images; THE rule.

    A box that sticks out is clipped. One is dropped that ends before it begins, lies outside, sticks out at an edge by
    more than TOLERANCE of the image's side, or is thinner than `min_side` once it is clipped. What a box is, is judged
    by its corners; the area that an annotation states means nothing here.

    Args:
        boxes: (n, 4) float64, x1, y1, x2, y2 counted from 0, both corners inside; any numbers.
        sizes: (n, 2) or (2,), width and height of the images, pixels.
        min_side: pixels.
        rule: CLIP, or RELEASE: what the release does with a COCO json (lib/dataset/coco.py, _load_coco_annotation): a
            corner left of the image is moved into it together with the whole box, boxes of any width stay, those
            whose annotation states no area do not.
        areas: (n,), needed by RELEASE.
    Returns:
        fitted: (n, 4) float64, inside the image where the box is not dropped.
        verdicts: (n,) uint8, index into VERDICTS; 0 for a box that is as it should be.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    last = np.broadcast_to(np.asarray(sizes, dtype=np.float64) - 1, (len(boxes), 2))
    first, end = boxes[:, :2], boxes[:, 2:]
    if rule == RELEASE:
        return _release_rule(first, end, last, areas)
    fitted = np.hstack([np.maximum(first, 0), np.fmin(end, last)])
    sides = fitted[:, 2:] - fitted[:, :2] + 1
    out = np.maximum(np.maximum(-first, end - last), 0)
    verdicts = np.zeros(len(boxes), dtype=np.uint8)
    for verdict, found in ((CLIPPED, (np.abs(boxes - fitted) > SLACK).any(axis=1)),
                           (TINY, (sides < min_side - SLACK ** 2).any(axis=1)),
                           (FAR, (out > TOLERANCE * (last + 1)).any(axis=1)),
                           (OUTSIDE, ((sides < 1) & (end >= first) & (out > 0)).any(axis=1)),
                           (INVERTED, (end < first - 1).any(axis=1))):     # end = first - 1 is empty: its side is 0
        verdicts[found] = VERDICTS.index(verdict)
    return fitted, verdicts


def _release_rule(first, end, last, areas):
    start = np.maximum(first, 0)
    stop = np.minimum(last, start + np.maximum(0, end - first))
    verdicts = np.where((stop < start).any(axis=1) | (areas <= 0), VERDICTS.index(OUTSIDE), 0).astype(np.uint8)
    return np.hstack([start, stop]), verdicts


def uninverted(box: Sequence[float]) -> tuple[float, float, float, float]:
    """The box with its corners in their order."""
    x1, y1, x2, y2 = box
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


class FittedItems(NamedTuple):
    """The items of a set as training and evaluation take them."""
    items: np.ndarray       # (N,) of ITEM
    owners: np.ndarray      # (N,) int, number of its picture
    boxes: np.ndarray       # (N, 4) fitted
    verdicts: np.ndarray    # (N,) index into VERDICTS
    known: np.ndarray       # (N,) bool, whether the label is a class
    used: np.ndarray        # (N,) bool, whether it is trained on

    @property
    def kept(self) -> np.ndarray:
        """(N,) bool: objects of a class with a box; those that are flagged too."""
        return self.known & (self.verdicts < FIRST_DROPPED)

    def counts(self) -> dict[str, int]:
        """Why items are not used -> how many, without those that did not occur."""
        reasons = OrderedDict([('of other classes', ~self.known)])
        rest = self.known & ~self.used
        for flag, name in FLAG_NAMES.items():
            reasons[name] = rest & (self.items['flags'] & flag > 0)
            rest = rest & ~reasons[name]
        for verdict in range(FIRST_DROPPED, len(VERDICTS)):
            reasons['dropped (%s)' % VERDICTS[verdict]] = rest & (self.verdicts == verdict)
        return OrderedDict((name, int(found.sum())) for name, found in reasons.items() if found.any())


def fit_items(data: AnnotatedSet, sizes: ArrayLike, *, min_side: float = MIN_SIDE, use_difficult: bool = False,
              rule: str = CLIP) -> FittedItems:
    """Apply the rule to all items of a set.

    Args:
        data: AnnotatedSet. sizes: (pictures, 2) width and height; NaN drops nothing. min_side, rule: of `fit_boxes`.
        use_difficult: whether flagged objects are trained on.
    Returns:
        FittedItems.
    """
    items, owners = data.table()
    sizes = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)[owners]
    with np.errstate(invalid='ignore'):
        boxes, verdicts = fit_boxes(items['box'], sizes, min_side, rule, items['area'])
    known = items['label'] < data.num_classes
    used = known & (verdicts < FIRST_DROPPED) & (use_difficult | (items['flags'] == 0))
    return FittedItems(items, owners, boxes, verdicts, known, used)


def hints(data: AnnotatedSet, sizes: ArrayLike) -> Faults:
    """Faults where all boxes of a CSV list together look as if pixels were counted from 1, or were fractions.

    Args:
        data: AnnotatedSet. sizes: (pictures, 2) width and height.
    """
    items, owners = data.table()
    boxes, faults = items['box'], Faults()
    if data.format != 'csv' or not len(boxes):
        return faults
    source = data.pictures[0].source
    if (np.abs(boxes) < MIN_SIDE).all():
        faults.note(HINT, '', None, '%s: all corners lie between %g and %g. Pixels are expected: if these are '
                    'fractions of the image, multiply them by its width and height'
                    % (source, boxes.min(), boxes.max()))
    beyond = boxes[:, 2:] - np.asarray(sizes, dtype=np.float64).reshape(-1, 2)[owners]
    if boxes.min() >= 1 and (beyond == 0).sum() > (beyond > 0).sum():
        faults.note(HINT, '', None, '%s: no box begins at 0, and some end one pixel beyond the image. If pixels are '
                    'counted from 1 there, set dataset.CSV_ORIGIN to 1' % source)
    return faults


def usage_text(fitted: FittedItems, what: str = 'trained on') -> str:
    """How many of the objects are used, and why others are not: a sentence without a full stop."""
    reasons = ['%d %s' % (number, name) for name, number in fitted.counts().items()]
    return 'of %s %d %s %s%s' % (counted(len(fitted.items), 'object'), fitted.used.sum(),
                                 'is' if fitted.used.sum() == 1 else 'are', what,
                                 ': ' + ', '.join(reasons) if reasons else '')
