"""Boxes: overlap, encoding, decoding, clipping and flipping.

THE box format, everywhere in this project: x1, y1, x2, y2 in pixels, 0-based, float32, both corners INSIDE the box, so
that

    width = x2 - x1 + 1        height = y2 - y1 + 1        centre = x1 + (width - 1) / 2

and the box of a single pixel is (x, y, x, y). The whole of an image of W x H pixels is (0, 0, W - 1, H - 1).

A box is predicted relative to another as four deltas (Fast R-CNN, appendix C): the shift of the centre in units of the
other's width and height, and the logarithm of the ratio of the widths and of the heights.
"""
from __future__ import annotations

import math
from typing import Sequence

import numpy as np

try:
    from lib.bbox.bbox import bbox_overlaps_cython
except ImportError:  # not built: NumPy does the same below, only slower
    bbox_overlaps_cython = None

# The largest growth of a side that a network may predict: from 16 pixels, the stride, to 1000, the longest side of an
# input.
MAX_LOG_RATIO = math.log(1000 / 16)
# Label of an anchor or a RoI that trains nothing, class of a row of gt_boxes that is padding. No loss counts it.
IGNORE_LABEL = -1


def bbox_overlaps(boxes: np.ndarray, query_boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of every box with every query box, in float64.

    Args:
        boxes: (N, 4 or more) numbers; columns after the fourth are ignored.
        query_boxes: (K, 4 or more) numbers.
    Returns:
        (N, K) float64 between 0 and 1.
    Raises:
        ValueError: an argument does not have rows of at least four numbers.
    """
    boxes, query_boxes = _as_corners(boxes, 'boxes'), _as_corners(query_boxes, 'query_boxes')
    if bbox_overlaps_cython is None:
        return bbox_overlaps_py(boxes, query_boxes)
    return bbox_overlaps_cython(_with_areas(boxes), np.ascontiguousarray(_with_areas(query_boxes).T))


def bbox_overlaps_py(boxes: np.ndarray, query_boxes: np.ndarray) -> np.ndarray:
    """`bbox_overlaps` in NumPy: used where the compiled module is absent, and to test it."""
    boxes, query_boxes = _as_corners(boxes, 'boxes'), _as_corners(query_boxes, 'query_boxes')
    top_left = np.maximum(boxes[:, None, :2], query_boxes[None, :, :2])                      # (N, K, 2)
    bottom_right = np.minimum(boxes[:, None, 2:], query_boxes[None, :, 2:])
    sides = np.maximum(bottom_right - top_left + 1, 0)
    inter = sides[..., 0] * sides[..., 1]
    union = _areas(boxes)[:, None] + _areas(query_boxes)[None, :] - inter
    return inter / np.maximum(union, 1e-30)  # two boxes without area would give 0 / 0


def _as_corners(boxes, name):
    """The first four columns in float64."""
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] < 4:
        raise ValueError('%s must have the shape (N, 4), not %s' % (name, boxes.shape))
    return boxes[:, :4].astype(np.float64, copy=False)


def _areas(boxes):
    return (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)


def _with_areas(boxes):
    """(N, 5): the corners and the area of each box, row by row in memory whatever the order of `boxes` is."""
    rows = np.empty((len(boxes), 5))
    rows[:, :4], rows[:, 4] = boxes, _areas(boxes)
    return rows


def _centres_and_sides(boxes):
    """Centre x, centre y, width, height, each (N,), in the dtype of `boxes`."""
    widths = boxes[:, 2] - boxes[:, 0] + 1.0
    heights = boxes[:, 3] - boxes[:, 1] + 1.0
    return boxes[:, 0] + 0.5 * (widths - 1.0), boxes[:, 1] + 0.5 * (heights - 1.0), widths, heights


def nonlinear_transform(ex_rois: np.ndarray, gt_rois: np.ndarray) -> np.ndarray:
    """Encode: the deltas that turn each box of `ex_rois` into the box of `gt_rois` in the same row.

    dx = (cx' - cx) / w, dy = (cy' - cy) / h, dw = log(w' / w), dh = log(h' / h). The arithmetic is that of the inputs'
    dtype.

    Args:
        ex_rois: (N, 4) boxes, the given ones.
        gt_rois: (N, 4 or more) boxes, the wanted ones.
    Returns:
        (N, 4) deltas dx, dy, dw, dh.
    Raises:
        ValueError: the two differ in length.
    """
    if len(ex_rois) != len(gt_rois):
        raise ValueError('%d boxes cannot be paired with %d' % (len(ex_rois), len(gt_rois)))
    ctr_x, ctr_y, widths, heights = _centres_and_sides(ex_rois)
    gt_ctr_x, gt_ctr_y, gt_widths, gt_heights = _centres_and_sides(gt_rois)
    return np.stack(((gt_ctr_x - ctr_x) / widths, (gt_ctr_y - ctr_y) / heights,
                     np.log(gt_widths / widths), np.log(gt_heights / heights)), axis=1)


def nonlinear_pred(boxes: np.ndarray, box_deltas: np.ndarray,
                   max_log_ratio: float | None = MAX_LOG_RATIO) -> np.ndarray:
    """Decode: apply deltas to boxes. The inverse of `nonlinear_transform`.

    Args:
        boxes: (N, 4) boxes.
        box_deltas: (N, 4 * M) deltas; M predictions for each box, one per class.
        max_log_ratio: larger dw and dh are cut down to it; None does not limit them.
    Returns:
        (N, 4 * M) float64 boxes.
    Raises:
        ValueError: the two differ in length, or `box_deltas` has no multiple of four columns.
    """
    if len(boxes) != len(box_deltas) or box_deltas.shape[1] % 4:
        raise ValueError('boxes %s do not go with deltas %s' % (boxes.shape, box_deltas.shape))
    ctr_x, ctr_y, widths, heights = [v[:, None] for v in _centres_and_sides(boxes.astype(np.float64, copy=False))]
    pred_boxes = np.empty(box_deltas.shape)
    for axis, (centres, sides) in enumerate(((ctr_x, widths), (ctr_y, heights))):
        log_ratios = box_deltas[:, axis + 2::4]
        if max_log_ratio is not None:
            # Departure: the release takes the exponential of whatever the network says, which overflows to inf early in
            # training and ends in NaN losses. We limit the growth; ordinary deltas are far below the limit.
            log_ratios = np.minimum(log_ratios, max_log_ratio)
        pred_centres = box_deltas[:, axis::4] * sides + centres
        half_sides = 0.5 * (np.exp(log_ratios) * sides - 1.0)
        pred_boxes[:, axis::4] = pred_centres - half_sides
        pred_boxes[:, axis + 2::4] = pred_centres + half_sides
    return pred_boxes


def clip_boxes(boxes: np.ndarray, im_shape: Sequence[float]) -> np.ndarray:
    """Move every corner that lies outside an image of `im_shape` = (height, width) pixels to its border.

    Args:
        boxes: (N, 4 * M) boxes.
        im_shape: height and width; further numbers are ignored.
    Returns:
        (N, 4 * M), a new array of the same dtype.
    """
    height, width = im_shape[:2]
    clipped = np.empty_like(boxes)
    clipped[:, 0::2] = np.clip(boxes[:, 0::2], 0, width - 1)
    clipped[:, 1::2] = np.clip(boxes[:, 1::2], 0, height - 1)
    return clipped


def flip_boxes(boxes: np.ndarray, width: int) -> np.ndarray:
    """The boxes of an image of `width` pixels after left and right have been exchanged: (N, 4), a new array."""
    flipped = boxes.copy()
    flipped[:, 0] = width - 1 - boxes[:, 2]
    flipped[:, 2] = width - 1 - boxes[:, 0]
    return flipped
