"""From the RPN's output to regions of interest, or to the best anchors where the RPN predicts the classes itself.

`recall` measures proposals: the share of the objects that they find.
"""
from __future__ import annotations

from types import ModuleType
from typing import Sequence

import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO, bbox_overlaps, clip_boxes, nonlinear_pred
from lib.nms.nms import decreasing_order, nms
from lib.rpn.anchors import shifted_anchors

THRESHOLDS = tuple(np.arange(10, 20) / 20)  # 0.5, 0.55, ... 0.95: those of COCO and of the release
SHOWN = (0.5, 0.6, 0.7, 0.8, 0.9)            # those of a table
# Name -> area of an object in pixels: at least the first number, less than the second. The sizes of the release.
AREAS = {'0-25': (0, 25 ** 2), '25-50': (25 ** 2, 50 ** 2), '50-100': (50 ** 2, 100 ** 2),
         '100-200': (100 ** 2, 200 ** 2), '200-300': (200 ** 2, 300 ** 2), '300-inf': (300 ** 2, np.inf)}


def propose(scores: np.ndarray, deltas: np.ndarray, im_info: Sequence[float], *, base_anchors: np.ndarray, stride: int,
            pre_nms_top_n: int = 6000, post_nms_top_n: int = 300, nms_thresh: float = 0.7, min_size: float = 0,
            max_log_ratio: float | None = MAX_LOG_RATIO,
            rng: np.random.RandomState | ModuleType = np.random) -> tuple[np.ndarray, np.ndarray]:
    """The best boxes that the RPN sees in one image (Faster R-CNN, section 3.3, "sharing features").

    Every anchor is moved by its deltas and clipped to the image; too small boxes are dropped, the best `pre_nms_top_n`
    go through non-maximum suppression in float32, and the best `post_nms_top_n` of what is left are the proposals.
    Where fewer are left, the rest is drawn from them at random, with replacement.

    Args:
        scores: (A, H, W) float32, probability of an object at each anchor.
        deltas: (4 * A, H, W) float32, the four deltas of one anchor together.
        im_info: height and width of the image in pixels of the network's input, and its scale: pixels of the input per
            pixel of the image. Only the first int(height / stride) x int(width / stride) cells of the map are used.
        base_anchors: (A, 4) anchors of the first cell.
        stride: pixels from one cell to the next.
        pre_nms_top_n, post_nms_top_n: numbers of boxes, see above; if the first is 0 or less, all boxes are taken.
        nms_thresh: largest IoU of two proposals.
        min_size: smallest width and height, in pixels of the image before scaling.
        max_log_ratio: see `nonlinear_pred`.
        rng: source of the random draws: a RandomState, or the module numpy.random.
    Returns:
        rois: (post_nms_top_n, 4) float32 boxes, the best scored first, then the repeated ones.
        scores: (post_nms_top_n, 1) float32.
    """
    height, width, scale = im_info
    # Departure: an image smaller than the stride has no whole cell, and the release no proposal; here it has one cell.
    high, wide = max(int(height / stride), 1), max(int(width / stride), 1)
    scores, deltas = scores[:, :high, :wide], deltas[:, :high, :wide]
    anchors = shifted_anchors(*scores.shape[1:], stride, base_anchors)
    scores, deltas = _in_anchor_order(scores, 1), _in_anchor_order(deltas, 4)
    top = slice(pre_nms_top_n if pre_nms_top_n > 0 else None)
    if min_size <= 0:   # no box is too small, so that only the best ones need to be decoded
        best = decreasing_order(scores[:, 0])[top]
        anchors, scores, deltas = (values.take(best, axis=0) for values in (anchors, scores, deltas))
    boxes = clip_boxes(nonlinear_pred(anchors, deltas, max_log_ratio), (height, width))
    candidates = _large_enough(boxes, scores, min_size * scale)
    if min_size > 0:
        candidates = candidates[decreasing_order(scores[candidates, 0])[top]]
    dets = np.hstack((boxes.take(candidates, axis=0), scores.take(candidates, axis=0))).astype(np.float32)
    keep = nms(dets, nms_thresh, max_keep=post_nms_top_n)
    if len(keep) < post_nms_top_n:
        keep = np.append(keep, rng.choice(keep, size=post_nms_top_n - len(keep)))
    return dets[keep, :4], dets[keep, 4:]


def best_anchors(prob: np.ndarray, deltas: np.ndarray, im_info: Sequence[float], *, base_anchors: np.ndarray,
                 stride: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `count` anchors of an image that are the least likely to be background.

    Args:
        prob: (C, A * H, W) float32, probabilities of the classes at each anchor, A maps of a class one after the other.
        deltas: (4 * A, H, W) float32, the four deltas of one anchor together.
        im_info: height and width of the image in pixels of the network's input; what lies beyond is padding.
        base_anchors: (A, 4) anchors of the first cell.
        stride: pixels from one cell to the next.
        count: of the rows that are returned.
    Returns:
        anchors (count, 4) float64, probabilities (count, C), deltas (count, 4). If there are fewer anchors, rows of
        zeros follow.
    """
    num_anchors, (height, width) = len(base_anchors), deltas.shape[1:]
    anchors = shifted_anchors(height, width, stride, base_anchors)
    prob = prob.reshape(-1, num_anchors, height, width).transpose(2, 3, 1, 0).reshape(len(anchors), -1)
    deltas = _in_anchor_order(deltas, 4)
    rows, columns = max(int(im_info[0] / stride), 1), max(int(im_info[1] / stride), 1)
    inside = np.zeros((height, width, num_anchors), dtype=bool)
    inside[:rows, :columns] = True
    candidates = np.flatnonzero(inside)
    best = candidates[decreasing_order(-prob[candidates, 0])[:count]]
    missing = ((0, count - len(best)), (0, 0))
    return tuple(np.pad(values[best], missing, mode='constant') for values in (anchors, prob, deltas))


def _in_anchor_order(values, size):
    """(A * size, H, W) -> (H * W * A, size): one row per anchor, in THE anchor order."""
    return values.transpose(1, 2, 0).reshape(-1, size)


def _large_enough(boxes, scores, min_size):
    """The rows of the boxes that are at least `min_size` pixels wide and high; without any, the row of the best."""
    rows = np.flatnonzero((boxes[:, 2] - boxes[:, 0] + 1 >= min_size) & (boxes[:, 3] - boxes[:, 1] + 1 >= min_size))
    # Departure: the release fails in random.choice when no box is large enough.
    return rows if rows.size else decreasing_order(scores[:, 0])[:1]


def best_overlaps(proposals: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The IoU with which each object is found, when each proposal can find one object only.

    The proposal and the object of the highest IoU are matched first, then the best pair of those that are left, until
    no objects or no proposals are left.

    Args:
        proposals: (N, 4 or more) boxes.
        boxes: (G, 4) objects.
    Returns:
        (G,) float64; 0 for an object without a proposal. (Release: IMDB.evaluate_recall.)
    """
    overlaps = bbox_overlaps(proposals, boxes)
    found = np.zeros(len(boxes))
    for _ in range(min(overlaps.shape)):
        proposal, box = np.unravel_index(overlaps.argmax(), overlaps.shape)
        found[box] = overlaps[proposal, box]
        overlaps[proposal] = overlaps[:, box] = -1
    return found


def recall(all_proposals: Sequence[np.ndarray], all_boxes: Sequence[np.ndarray], counts: Sequence[int],
           thresholds: Sequence[float], area: tuple[float, float] = (0, np.inf)) -> np.ndarray:
    """The share of the objects that are found by the first proposals of each image with at least a given IoU.

    Args:
        all_proposals: for each image (n, 4 or more) boxes, the best first; at least one image.
        all_boxes: for each image (G, 4) objects.
        counts: numbers of proposals per image to evaluate.
        thresholds: IoUs.
        area: in pixels; only objects of at least the first number and less than the second count.
    Returns:
        (len(counts), len(thresholds)) float64; NaN where there is no object. The mean over the thresholds is the
        average recall.
    """
    all_boxes = [boxes[_within(boxes, area)] for boxes in all_boxes]
    pairs = list(zip(all_proposals, all_boxes))
    found = np.array([np.concatenate([best_overlaps(proposals[:count], boxes) for proposals, boxes in pairs])
                      for count in counts])                                             # (len(counts), all objects)
    if found.shape[1] == 0:
        return np.full((len(counts), len(thresholds)), np.nan)
    return np.stack([(found >= thresh).mean(axis=1) for thresh in thresholds], axis=1)


def _within(boxes, area):
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    return (areas >= area[0]) & (areas < area[1])


def recall_table(all_proposals: Sequence[np.ndarray], all_boxes: Sequence[np.ndarray], counts: Sequence[int]) -> str:
    """Recall as text: a row per number of proposals, then, for the largest number, a row per size of the objects.

    The last column, AR, is the average recall over `THRESHOLDS`. Arguments as of `recall`.
    """
    rows = [['proposals'] + ['IoU %g' % thresh for thresh in SHOWN] + ['AR']]
    for count in counts:
        rows.append(_row('%d' % count, all_proposals, all_boxes, count))
    for name, area in AREAS.items():
        rows.append(_row('size %s' % name, all_proposals, all_boxes, max(counts), area))
    title = '%d images, %d objects, %.1f proposals per image' % (
        len(all_boxes), sum(map(len, all_boxes)), np.mean([len(proposals) for proposals in all_proposals]))
    return '\n'.join([title] + ['%-13s' % row[0] + ''.join('%9s' % cell for cell in row[1:]) for row in rows])


def _row(name, all_proposals, all_boxes, count, area=(0, np.inf)):
    values, = recall(all_proposals, all_boxes, [count], SHOWN + THRESHOLDS, area)
    return [name] + ['-' if np.isnan(value) else '%.3f' % value
                     for value in list(values[:len(SHOWN)]) + [values[len(SHOWN):].mean()]]
