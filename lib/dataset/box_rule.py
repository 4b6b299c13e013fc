"""THE rule for a box: is it used as it is, clipped or dropped? For training, checker, cleaned copies and evaluation."""
from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lib.dataset.annotations import FLAG_NAMES, AnnotatedSet
from lib.dataset.faults import CLIPPED, FAR, HINT, INVERTED, OUTSIDE, TINY, Faults
from lib.utils.console import counted

CLIP, RELEASE = 'clip', 'release'       # the rule, and the rule of the release for COCO's json
# Departure: the release trains on boxes of any side and place, and stops at an inverted one. Its rule for COCO's json
# moves a box that begins left of or above the image, and drops objects with an area of 0.
MIN_SIDE = 2            # pixels: a box whose clipped side is shorter is dropped
TOLERANCE = 0.5         # of the image's side: a box that sticks out by more at an edge is dropped, not clipped
SLACK = 1e-3            # pixels: rounding error of fractions of the width that are written with six digits
LARGEST_FRACTION = 2    # if no coordinate of a set is larger, they may be fractions of the sides, not pixels
# The four numbers of a box in the format's files. Some programs write another one's.
_CORNERS, _CORNER, _CENTRE = 'two corners', 'corner, width and height', 'centre, width and height'
_FORM = {'PascalVOC': _CORNERS, 'csv': _CORNERS, 'coco': _CORNER, 'yolo': _CENTRE}
_BLOCK = 2 ** 16        # boxes that are fitted at once: the steps between take several times their memory
_MISFITS, _MISFIT_SHARE, _MARGIN = 3, 0.25, 2   # a hint needs so many boxes, of the set, outside by so many pixels

# Kinds of fault that a box may have; its verdict is an index into them. From FIRST_DROPPED on the box is dropped.
VERDICTS = (None, CLIPPED, INVERTED, OUTSIDE, FAR, TINY)
FIRST_DROPPED = 2


def fit_boxes(boxes: ArrayLike, sizes: ArrayLike, min_side: float = MIN_SIDE, rule: str = CLIP,
              areas: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Fit boxes as written into their images; THE rule.

    A box that sticks out is clipped. A box is dropped if it ends before it begins, lies outside, sticks out at an edge
    by more than TOLERANCE of the image's side, or has a side shorter than `min_side` after clipping. Only the corners
    count, not the area that an annotation states.

    Args:
        boxes: (n, 4) float64, x1, y1, x2, y2 counted from 0, both corners inside; any numbers.
        sizes: (n, 2) or (2,), width and height of the images, pixels.
        min_side: shortest side of a box, in pixels.
        rule: CLIP, or RELEASE, as the release reads a COCO json (lib/dataset/coco.py, _load_coco_annotation): a box
            that begins left of or above the image is moved into it as a whole, boxes of any size stay, and boxes with a
            stated area of 0 are dropped.
        areas: (n,) stated areas, needed by RELEASE.
    Returns:
        fitted: (n, 4) float64; a box that is not dropped lies inside its image.
        verdicts: (n,) uint8, indices into VERDICTS; 0 for a box without fault.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    last = np.broadcast_to(np.asarray(sizes, dtype=np.float64) - 1, (len(boxes), 2))
    first, end = boxes[:, :2], boxes[:, 2:]
    if rule == RELEASE:
        return _release_rule(first, end, last, areas)
    fitted = np.hstack([np.maximum(first, 0), np.fmin(end, last)])
    sides = fitted[:, 2:] - fitted[:, :2] + 1
    out = np.maximum(np.maximum(-first, end - last), 0)
    verdicts = np.zeros(len(boxes), dtype=np.uint8)     # of several verdicts the one that comes last here counts
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
    """The box with its corners in order: x1 <= x2, y1 <= y2."""
    x1, y1, x2, y2 = box
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


class FittedItems(NamedTuple):
    """The items of a set as training and evaluation take them."""
    items: np.ndarray       # (N,) of ITEM
    owners: np.ndarray      # (N,) int, number of the picture of each
    boxes: np.ndarray       # (N, 4) float64, fitted
    verdicts: np.ndarray    # (N,) uint8, indices into VERDICTS
    known: np.ndarray       # (N,) bool, whether the label is a class
    used: np.ndarray        # (N,) bool, whether the object is trained on

    @property
    def kept(self) -> np.ndarray:
        """(N,) bool: objects of a known class whose box is not dropped, flagged ones included."""
        return self.known & (self.verdicts < FIRST_DROPPED)

    def counts(self) -> dict[str, int]:
        """Reason why items are not used -> how many; reasons without items are left out."""
        reasons = {'of other classes': ~self.known}
        rest = self.known & ~self.used
        for flag, name in FLAG_NAMES.items():
            flagged = rest & (self.items['flags'] & flag > 0)
            reasons['flagged as ' + name] = flagged
            rest = rest & ~flagged
        for verdict in range(FIRST_DROPPED, len(VERDICTS)):
            reasons['dropped (%s)' % VERDICTS[verdict]] = rest & (self.verdicts == verdict)
        return {name: int(found.sum()) for name, found in reasons.items() if found.any()}


def fit_items(data: AnnotatedSet, sizes: ArrayLike, table: tuple[np.ndarray, np.ndarray] | None = None, *,
              min_side: float = MIN_SIDE, use_difficult: bool = False, rule: str = CLIP) -> FittedItems:
    """Apply the rule to all items of a set.

    Args:
        data: the set.
        sizes: (pictures, 2) width and height of the images; NaN if unknown: only what needs no size is checked then.
        table: `data.table()`, where it is at hand.
        min_side, rule: of `fit_boxes`.
        use_difficult: whether flagged objects are trained on.
    """
    items, owners = table or data.table()
    sizes = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    boxes, verdicts = np.empty((len(items), 4)), np.empty(len(items), np.uint8)
    for start in range(0, len(items), _BLOCK):
        part = slice(start, start + _BLOCK)
        with np.errstate(invalid='ignore'):
            boxes[part], verdicts[part] = fit_boxes(items['box'][part], sizes[owners[part]], min_side, rule,
                                                    items['area'][part])
    known = items['label'] < data.num_classes
    used = known & (verdicts < FIRST_DROPPED) & (use_difficult | (items['flags'] == 0))
    return FittedItems(items, owners, boxes, verdicts, known, used)


def hints(data: AnnotatedSet, sizes: ArrayLike, table: tuple[np.ndarray, np.ndarray] | None = None) -> Faults:
    """Faults for a set whose boxes look as if its files meant them in another way than the format does.

    They may be fractions of the image, another format's four numbers, or, in a CSV list, pixels counted from 1, or
    columns in another order.

    Args:
        data, sizes, table: as of `fit_items`.
    """
    items, owners = table or data.table()
    boxes, sizes, faults = items['box'], np.asarray(sizes, dtype=np.float64).reshape(-1, 2)[owners], Faults()
    texts = []
    if len(boxes):
        texts.append('' if data.format == 'yolo' else _perhaps_fractions(boxes))
        texts.append(_perhaps_other_numbers(data.format, boxes, sizes))
    if len(boxes) and data.format == 'csv':
        texts.append(_perhaps_from_1(boxes, sizes))
        texts.append(_perhaps_other_columns({data.labels[number] for number in np.unique(items['label'])}, len(items)))
    for text in filter(None, texts):
        faults.note(HINT, '', None, '%s: %s' % (data.pictures[0].source, text))
    return faults


# Each of the next four gives the text of a hint, or '' where there is no reason for it.

def _perhaps_fractions(boxes):
    if boxes.min() <= -LARGEST_FRACTION or boxes.max() >= LARGEST_FRACTION:
        return ''
    return ('no corner is %d pixels away from 0. Pixels are expected: if these are fractions of the image, multiply '
            'them by its width and height' % LARGEST_FRACTION)


def _perhaps_from_1(boxes, sizes):
    beyond = boxes[:, 2:] - sizes
    if boxes.min() < 1 or (beyond == 0).sum() <= (beyond > 0).sum():
        return ''
    return ('no box begins at 0, and some end one pixel beyond the image. If pixels are counted from 1 there, set '
            'dataset.CSV_ORIGIN to 1')


def _perhaps_other_columns(names, objects):
    numbers = all(name.replace('.', '', 1).isdecimal() for name in names)
    if not numbers or len(names) < max(_MISFITS, objects / 2):
        return ''
    return ('the classes of %d objects are %d different numbers, such as %s. If the columns are not image, x1, y1, x2, '
            'y2, class in this order, name them in a first line' % (objects, len(names), min(names)))


def _perhaps_other_numbers(kind, boxes, sizes):
    form = _FORM[kind]
    numbers = _numbers(form, boxes[:, :2], boxes[:, 2:] + 1)
    misfits = int((~_fits(form, *numbers, sizes)).sum())
    others = [other for other in (_CORNERS, _CORNER) if _fits(other, *numbers, sizes).all()]
    if misfits < max(_MISFITS, _MISFIT_SHARE * len(boxes)) or not others:
        return ''
    return ('%d of %d boxes leave their image or end before they begin, and none would if the four numbers were %s. '
            'This format expects %s: correct the files' % (misfits, len(boxes), ', or '.join(others), form))


def _numbers(form, start, end):
    """The four numbers that stand for boxes from `start` to `end`, (n, 2) each."""
    return {_CORNERS: (start, end), _CORNER: (start, end - start), _CENTRE: ((start + end) / 2, end - start)}[form]


def _fits(form, first, second, sizes):
    """(n,) bool: whether four numbers, taken so, are a box in its image."""
    start, end = {_CORNERS: (first, second), _CORNER: (first, first + second),
                  _CENTRE: (first - second / 2, first + second / 2)}[form]
    return ((start >= -_MARGIN) & (end <= sizes + _MARGIN) & (end > start)).all(axis=1)


def usage_text(fitted: FittedItems, what: str = 'used') -> str:
    """How many objects are used, and why the others are not: a sentence without a full stop."""
    reasons = ['%d %s' % (number, name) for name, number in fitted.counts().items()]
    return 'of %s %d %s %s%s' % (counted(len(fitted.items), 'object'), fitted.used.sum(),
                                 'is' if fitted.used.sum() == 1 else 'are', what,
                                 ': ' + ', '.join(reasons) if reasons else '')
