"""Anchors: boxes of fixed sizes and shapes at every cell of the feature map, which the RPN scores and moves.

`assign_anchor` chooses those that train the RPN, and gives them their targets.

THE anchor order, everywhere in this project: row of cells by row, cell by cell, and the anchors of one cell one after
the other (those of one ratio together, scales within). In a map of W cells a row, anchor a of cell (y, x) stands at
(y * W + x) * A + a.
"""
from __future__ import annotations

from types import ModuleType
from typing import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lib.bbox.bbox_transform import IGNORE_LABEL, bbox_overlaps, nonlinear_transform


def generate_anchors(base_size: int = 16, ratios: Sequence[float] = (0.5, 1, 2),
                     scales: Sequence[float] = (8, 16, 32)) -> np.ndarray:
    """The anchors of the cell at the image's top left corner (Faster R-CNN, section 3.1.1).

    Around the centre of a square of `base_size` pixels, for each ratio r: a box of about the square's area and of
    height r times its width, both rounded to whole pixels; then, for each scale, the box that is that many times as
    wide and high.

    Args:
        base_size: pixels, the stride of the feature map.
        ratios: heights over widths.
        scales: factors.
    Returns:
        (A, 4) float32 boxes, A = len(ratios) * len(scales), scales within ratios.
    """
    ratios, scales = np.asarray(ratios, dtype=np.float64), np.asarray(scales, dtype=np.float32)
    # Rounded before it is scaled, as in the release: a ratio of 0.5 gives 23 x 12, and 184 x 96 at scale 8.
    widths = np.round(np.sqrt(base_size * base_size / ratios))
    heights = np.round(widths * ratios)
    squares = np.stack((widths, heights), axis=1).astype(np.float32)
    sides = squares[:, None, :] * scales[None, :, None]                                      # (ratios, scales, 2)
    half = (sides.reshape(-1, 2) - 1) / 2
    centre = np.float32((base_size - 1) / 2)
    return np.concatenate((centre - half, centre + half), axis=1)


def shifted_anchors(height: int, width: int, stride: int, base_anchors: np.ndarray) -> np.ndarray:
    """The anchors of all cells of a feature map, in THE anchor order.

    They are float64, in which the sums are exact: an anchor has the same area in every cell. Rounded sums would give it
    a little more here and less there, and of the anchors that overlap an object most only some would be found.

    Args:
        height: rows of cells.
        width: cells per row.
        stride: pixels of the network's input from one cell to the next.
        base_anchors: (A, 4) the anchors of the first cell.
    Returns:
        (height * width * A, 4) float64.
    """
    shift_x, shift_y = np.arange(width) * stride, np.arange(height) * stride
    anchors = np.empty((height, width) + base_anchors.shape)                                 # (H, W, A, 4)
    anchors[..., 0::2] = base_anchors[:, 0::2] + shift_x[None, :, None, None]
    anchors[..., 1::2] = base_anchors[:, 1::2] + shift_y[:, None, None, None]
    return anchors.reshape(-1, 4)


def cells_inside(anchors: ArrayLike, sides: ArrayLike, stride: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """The cells in which an anchor lies inside an image (`anchors_inside`), as ranges of columns and rows.

    Args:
        anchors: (A, 4) boxes of the first cell.
        sides: (n, 2) width and height of images, pixels of the network's input.
        stride: pixels from one cell to the next.
    Returns:
        first, last: (n, A, 2) float64, the first and the last such column and row of cells; first > last where there is
        none.
    """
    anchors, sides = np.asarray(anchors, dtype=np.float64), np.asarray(sides, dtype=np.float64)
    first = np.maximum(np.ceil(-anchors[:, :2] / stride), 0)                                  # (A, 2)
    last = np.ceil((sides[:, None] - anchors[:, 2:]) / stride) - 1                            # (n, A, 2)
    return np.broadcast_to(first, last.shape), last


def anchorless(anchors: ArrayLike, sides: ArrayLike, stride: int = 16) -> np.ndarray:
    """(n,) bool: whether no anchor lies inside an image, so that it trains nothing. Arguments as of `cells_inside`."""
    first, last = cells_inside(anchors, sides, stride)
    return ~(last >= first).all(axis=2).any(axis=1)


def assign_anchor(anchors: np.ndarray, gt_boxes: np.ndarray, im_size: Sequence[float], *, batch_size: int = 256,
                  fg_fraction: float = 0.5, fg_thresh: float = 0.7, bg_thresh: float = 0.3,
                  clobber_positives: bool = False, bbox_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
                  allowed_border: int = 0, untouched_objects_match: bool = False,
                  rng: np.random.RandomState | ModuleType = np.random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose the anchors that train the RPN and what each of them should predict.

    An anchor is positive when its IoU with some object reaches `fg_thresh`, or when no other anchor overlaps that
    object more (ties count). It is negative when its IoU with every object is below `bg_thresh`. All others, and all
    that leave the image, are ignored. Of the positives at most `fg_fraction * batch_size` are kept, of the negatives as
    many as fill the batch; the rest, drawn at random, is ignored too (Faster R-CNN, section 3.1.2 and 3.1.3).

    Args:
        anchors: (K, 4) of `shifted_anchors`, pixels of the network's input.
        gt_boxes: (G, 5) boxes and their classes; G may be 0. Rows of a negative class are padding.
        im_size: height and width of the image, in pixels of the network's input.
        batch_size: number of anchors that train.
        fg_fraction: largest share of them that may be positive.
        fg_thresh, bg_thresh: IoU, see above.
        clobber_positives: an IoU below `bg_thresh` makes an anchor negative even where it is the best for some object.
        bbox_weights: weights of the four deltas in the loss of a positive.
        allowed_border: pixels by which an anchor may leave the image.
        untouched_objects_match: whether all anchors of overlap 0 are positive for an object that no anchor overlaps, as
            in the release.
        rng: source of the random draws: a RandomState, or the module numpy.random.
    Returns:
        labels: (K,) float32; 1 positive, 0 negative, -1 ignored.
        bbox_targets: (K, 4) float32, the deltas to the best overlapping object, for every anchor inside the image.
        bbox_weights: (K, 4) float32, `bbox_weights` for the positives, 0 elsewhere.
    """
    gt_boxes = gt_boxes[gt_boxes[:, 4] >= 0, :4].astype(np.float64)
    labels = np.full(len(anchors), IGNORE_LABEL, dtype=np.float32)
    targets, weights = np.zeros((2, len(anchors), 4), dtype=np.float32)
    inside = anchors_inside(anchors, im_size, allowed_border)
    # Departure: the release fails in argmax when no anchor lies inside the image; such an image trains nothing here.
    if inside.size == 0:
        return labels, targets, weights
    if len(gt_boxes) == 0:
        labels[inside] = 0
    else:
        inside_anchors = anchors.take(inside, axis=0)
        overlaps = bbox_overlaps(gt_boxes, inside_anchors)                                   # (G, N)
        labels[inside] = label_anchors(overlaps, fg_thresh, bg_thresh, clobber_positives, untouched_objects_match)
        targets[inside] = nonlinear_transform(inside_anchors, gt_boxes.take(overlaps.argmax(axis=0), axis=0))
    _ignore_surplus(labels, 1, int(fg_fraction * batch_size), rng)
    _ignore_surplus(labels, 0, batch_size - np.count_nonzero(labels == 1), rng)
    weights[labels == 1] = bbox_weights
    return labels, targets, weights


def anchors_inside(anchors: np.ndarray, im_size: Sequence[float], allowed_border: int = 0) -> np.ndarray:
    """The indices of the anchors that leave an image (height, width) by at most `allowed_border` pixels."""
    height, width = im_size[0] + allowed_border, im_size[1] + allowed_border
    return np.flatnonzero((anchors[:, 0] >= -allowed_border) & (anchors[:, 1] >= -allowed_border)
                          & (anchors[:, 2] < width) & (anchors[:, 3] < height))


def label_anchors(overlaps: np.ndarray, fg_thresh: float, bg_thresh: float, clobber_positives: bool,
                  untouched_objects_match: bool) -> np.ndarray:
    """1, 0 or -1 for each anchor, from the IoU of each object with it, (G, N); see `assign_anchor`."""
    best_of_anchor, best_of_object = overlaps.max(axis=0), overlaps.max(axis=1, keepdims=True)
    is_best = overlaps == best_of_object
    if not untouched_objects_match:
        # Departure: where the best overlap of an object is 0, the release takes every anchor of overlap 0 for its best
        # one, and trains the network to find objects all over the background. Here such an object has no anchor.
        is_best &= best_of_object > 0
    labels = np.full(overlaps.shape[1], IGNORE_LABEL, dtype=np.float32)
    negative = best_of_anchor < bg_thresh
    labels[negative] = 0
    labels[is_best.any(axis=0)] = 1
    labels[best_of_anchor >= fg_thresh] = 1
    if clobber_positives:
        labels[negative] = 0
    return labels


def _ignore_surplus(labels, value, limit, rng):
    """Set all but `limit` of the labels that equal `value` to -1, at random."""
    candidates = np.flatnonzero(labels == value)
    if len(candidates) > limit:
        labels[rng.choice(candidates, size=len(candidates) - limit, replace=False)] = IGNORE_LABEL


def class_labels(labels: np.ndarray, anchors: np.ndarray, gt_boxes: np.ndarray) -> np.ndarray:
    """The labels of `assign_anchor` with the class of the object in place of 1.

    Args:
        labels: (K,) float32; 1 positive, 0 negative, -1 ignored.
        anchors: (K, 4).
        gt_boxes: (G, 5) boxes and their classes; rows of a negative class are padding.
    Returns:
        (K,) float32; for a positive the class of the object that it overlaps most, which also is its box target.
    """
    result = labels.copy()
    positive = np.flatnonzero(labels == 1)
    gt_boxes = gt_boxes[gt_boxes[:, 4] >= 0]
    if len(positive):
        result[positive] = gt_boxes[bbox_overlaps(anchors[positive], gt_boxes[:, :4]).argmax(axis=1), 4]
    return result


def as_blobs(labels: np.ndarray, bbox_targets: np.ndarray, bbox_weights: np.ndarray, height: int,
             width: int) -> dict[str, np.ndarray]:
    """Lay out the targets of a map of height x width cells as the RPN's losses read them, with A anchors per cell.

    Returns:
        dict of label (1, A * H * W), bbox_target and bbox_weight (1, 4 * A, H, W), the channels of one anchor together.
    """
    label = labels.reshape(height, width, -1).transpose(2, 0, 1).reshape(1, -1)
    target, weight = [np.ascontiguousarray(values.reshape(height, width, -1).transpose(2, 0, 1))[None]
                      for values in (bbox_targets, bbox_weights)]
    return {'label': label, 'bbox_target': target, 'bbox_weight': weight}
