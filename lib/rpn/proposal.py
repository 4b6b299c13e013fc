"""From the RPN's output to regions of interest, or to the best anchors where it tells the classes itself."""
import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO, clip_boxes, nonlinear_pred
from lib.nms.nms import decreasing_order, nms
from lib.rpn.generate_anchor import shifted_anchors


def propose(scores, deltas, im_info, *, base_anchors, stride, pre_nms_top_n=6000, post_nms_top_n=300, nms_thresh=0.7,
            min_size=0, max_log_ratio=MAX_LOG_RATIO, rng=np.random):
    """The best boxes that the RPN sees in one image (Faster R-CNN, section 3.3, "sharing features").

    Every anchor is moved by its deltas and clipped to the image; too small boxes are dropped, the best `pre_nms_top_n`
    go through non-maximum suppression in float32, and the best `post_nms_top_n` of what is left are the proposals.
    Where fewer are left, the rest is drawn from them at random, with replacement.

    Args:
        scores: (A, H, W) float32, probability of an object at each anchor.
        deltas: (4 * A, H, W) float32, the four deltas of one anchor together.
        im_info: height and width of the image in pixels of the network's input, and how many of them a pixel of the
            unscaled image became. Of the map only the first int(height / stride) x int(width / stride) cells are used.
        base_anchors: (A, 4) anchors of the first cell.
        stride: pixels from one cell to the next.
        pre_nms_top_n, post_nms_top_n: numbers of boxes, above; 0 or less for the first means all.
        nms_thresh: largest IoU of two proposals.
        min_size: least width and height, in pixels of the unscaled image.
        max_log_ratio: see `nonlinear_pred`.
        rng: source of the random draws.
    Returns:
        rois: (post_nms_top_n, 4) float32 boxes, the best scored first, then the repeated ones.
        scores: (post_nms_top_n, 1) float32.
    """
    height, width, scale = im_info
    # Departure: an image smaller than the stride has no whole cell, and the release no proposal; here it has one cell.
    rows, columns = max(int(height / stride), 1), max(int(width / stride), 1)
    scores, deltas = scores[:, :rows, :columns], deltas[:, :rows, :columns]
    anchors = shifted_anchors(*scores.shape[1:], stride, base_anchors)
    scores, deltas = _in_anchor_order(scores, 1), _in_anchor_order(deltas, 4)
    top = slice(pre_nms_top_n if pre_nms_top_n > 0 else None)
    if min_size <= 0:   # no box is too small: the others need not be decoded
        best = decreasing_order(scores[:, 0])[top]
        anchors, scores, deltas = (values.take(best, axis=0) for values in (anchors, scores, deltas))
    boxes = clip_boxes(nonlinear_pred(anchors, deltas, max_log_ratio), (height, width))
    rows = _large_enough(boxes, scores, min_size * scale)
    if min_size > 0:
        rows = rows[decreasing_order(scores[rows, 0])[top]]
    dets = np.hstack((boxes.take(rows, axis=0), scores.take(rows, axis=0))).astype(np.float32)
    keep = nms(dets, nms_thresh, max_keep=post_nms_top_n)
    if len(keep) < post_nms_top_n:
        keep = np.append(keep, rng.choice(keep, size=post_nms_top_n - len(keep)))
    return dets[keep, :4], dets[keep, 4:]


def best_anchors(prob, deltas, im_info, *, base_anchors, stride, count):
    """The `count` anchors of an image that are the least likely to be background.

    Args:
        prob: (C, A * H, W) float32, probabilities of the classes at each anchor, A maps of a class one after the other.
        deltas: (4 * A, H, W) float32, the four deltas of one anchor together.
        im_info: height and width of the image in pixels of the network's input; what lies beyond is padding.
        base_anchors: (A, 4) anchors of the first cell.
        stride: pixels from one cell to the next.
    Returns:
        anchors (count, 4), probabilities (count, C), deltas (count, 4), all float32. Where there are fewer anchors,
        rows of 0 follow: the probability of every class is 0 there.
    """
    num_anchors, (height, width) = len(base_anchors), deltas.shape[1:]
    anchors = shifted_anchors(height, width, stride, base_anchors)
    prob = prob.reshape(-1, num_anchors, height, width).transpose(2, 3, 1, 0).reshape(len(anchors), -1)
    deltas = deltas.transpose(1, 2, 0).reshape(-1, 4)
    rows, columns = max(int(im_info[0] / stride), 1), max(int(im_info[1] / stride), 1)
    inside = np.zeros((height, width, num_anchors), dtype=bool)
    inside[:rows, :columns] = True
    candidates = np.flatnonzero(inside)
    best = candidates[decreasing_order(-prob[candidates, 0])[:count]]
    missing = ((0, count - len(best)), (0, 0))
    return tuple(np.pad(values[best], missing, mode='constant') for values in (anchors, prob, deltas))


def _in_anchor_order(values, size):
    """(A * size, H, W) -> (H * W * A, size): one row an anchor, in THE anchor order."""
    return values.transpose(1, 2, 0).reshape(-1, size)


def _large_enough(boxes, scores, min_size):
    """The rows of the boxes that are at least `min_size` pixels wide and high; if none is, of the best scored box."""
    rows = np.flatnonzero((boxes[:, 2] - boxes[:, 0] + 1 >= min_size) & (boxes[:, 3] - boxes[:, 1] + 1 >= min_size))
    # Departure: the release fails in random.choice when no box is large enough.
    return rows if rows.size else decreasing_order(scores[:, 0])[:1]
