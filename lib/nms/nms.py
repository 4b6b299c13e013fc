"""Non-maximum suppression: of boxes that overlap too much, the one with the best score stays. Soft-NMS, box voting.

Order: boxes are taken by decreasing score; of equal scores, the last one given comes first.
# Departure: in the release the order of equal scores is that of NumPy's default sort, which differs between versions
# and processors. For up to 16 boxes our order is the release's.

Arithmetic: float32 dets are compared in float32 (the RPN's proposals), all others in float64 (the final detections).
"""
from __future__ import annotations

import numpy as np

from lib.bbox.bbox_transform import bbox_overlaps

try:
    from lib.nms.cpu_nms import nms_in_order, soft_nms_sorted
except ImportError:  # not built: NumPy does the same below, only slower
    nms_in_order = soft_nms_sorted = None


def decreasing_order(scores: np.ndarray) -> np.ndarray:
    """The indices of `scores` (N,) from the highest to the lowest: THE order of equal scores, see above."""
    return np.argsort(scores, kind='stable')[::-1]


def nms(dets: np.ndarray, thresh: float, drop_equal: bool = False, max_keep: int = -1) -> np.ndarray:
    """Keep each box whose IoU with every better box that was kept is at most `thresh`.

    Args:
        dets: (N, 5) boxes and their scores.
        thresh: largest IoU that two kept boxes may have.
        drop_equal: an IoU of exactly `thresh` suppresses too. The release's Cython NMS does so; its NumPy and GPU NMS
            do not.
        max_keep: largest number of boxes to keep; -1 for no limit.
    Returns:
        (n,) indices into `dets` of the boxes that stay, the best score first.
    Raises:
        ValueError: `dets` does not have five columns.
    """
    if nms_in_order is None:
        return nms_py(dets, thresh, drop_equal, max_keep)
    dets = np.ascontiguousarray(_as_dets(dets))
    order = decreasing_order(dets[:, 4])
    return nms_in_order(dets, order, _limit(thresh, dets.dtype, drop_equal), drop_equal, max_keep)


def nms_py(dets: np.ndarray, thresh: float, drop_equal: bool = False, max_keep: int = -1) -> np.ndarray:
    """`nms` in NumPy: used where the compiled module is absent, and to test it."""
    dets = _as_dets(dets)
    limit = _limit(thresh, dets.dtype, drop_equal)
    order = decreasing_order(dets[:, 4])
    columns = _columns(dets)
    keep = []
    while order.size and len(keep) != max_keep:
        keep.append(order[0])
        overlaps = _overlaps_with(columns[:, order[0]], columns[:, order[1:]])
        order = order[1:][overlaps < limit if drop_equal else overlaps <= limit]
    return np.array(keep, dtype=np.intp)


def soft_nms(dets: np.ndarray, thresh: float, max_dets: int = -1, method: str = 'gaussian') -> np.ndarray:
    """Lower the scores of boxes that overlap a better one, instead of dropping them (Bodla et al., 2017).

    A score is multiplied by exp(-IoU^2 / thresh) ('gaussian'), or by 1 - IoU where the IoU reaches `thresh` ('linear').

    Args:
        dets: (N, 5) boxes and their scores.
        thresh: divisor in the Gaussian, or the IoU from which on the linear rule holds.
        max_dets: largest number of boxes to return; -1 for no limit.
        method: 'gaussian', as in the release, or 'linear'.
    Returns:
        (n, 5) the boxes with their new scores, by decreasing new score; the dtype of `dets`.
    Raises:
        ValueError: `dets` does not have five columns, or the method is unknown.
    """
    if method not in ('gaussian', 'linear'):
        raise ValueError("the method of soft-NMS must be 'gaussian' or 'linear', not %r" % (method,))
    dets = _as_dets(dets)
    columns = _columns(dets[decreasing_order(dets[:, 4])])
    rescore = soft_nms_sorted or soft_nms_sorted_py
    rescore(columns, thresh, method == 'gaussian', max_dets)
    taken = slice(None if max_dets < 0 else max_dets)
    return np.ascontiguousarray(columns[[0, 1, 2, 3, 5], taken].T)


def soft_nms_sorted_py(columns: np.ndarray, thresh: float, gaussian: bool, max_dets: int) -> None:
    """`lib.nms.cpu_nms.soft_nms_sorted` in NumPy."""
    num = columns.shape[1]
    for k in range(num if max_dets < 0 else min(max_dets, num)):
        best = k + columns[5, k:].argmax()
        columns[:, [k, best]] = columns[:, [best, k]]
        overlaps = _overlaps_with(columns[:, k], columns[:, k + 1:])
        if gaussian:
            columns[5, k + 1:] *= np.exp(-overlaps ** 2 / thresh)
        else:
            columns[5, k + 1:] *= np.where(overlaps >= columns.dtype.type(thresh), 1 - overlaps, 1)


def box_voting(kept: np.ndarray, dets: np.ndarray, thresh: float) -> np.ndarray:
    """Move each kept box to the mean, weighted by score, of all boxes that overlap it (Gidaris and Komodakis, 2015).

    Args:
        kept: (n, 5) dets that survived suppression.
        dets: (N, 5) dets before suppression; those of `kept` among them.
        thresh: least IoU of a box that has a vote.
    Returns:
        (n, 5) the moved boxes with the scores of `kept`; the dtype of `kept`.
    """
    kept, dets = _as_dets(kept), _as_dets(dets)
    votes = np.where(bbox_overlaps(kept, dets) >= thresh, dets[:, 4], 0)                     # (n, N)
    total = votes.sum(axis=1, keepdims=True)
    voted = kept.copy()
    elected = total[:, 0] > 0
    voted[elected, :4] = (votes @ dets[:, :4])[elected] / total[elected]
    return voted


def _as_dets(dets):
    dets = np.asarray(dets)
    if dets.ndim != 2 or dets.shape[1] != 5:
        raise ValueError('dets must have the shape (N, 5): x1, y1, x2, y2, score; not %s' % (dets.shape,))
    return dets if dets.dtype == np.float32 else dets.astype(np.float64, copy=False)


def _columns(dets):
    """(6, N) x1, y1, x2, y2, area, score."""
    columns = np.empty((6, len(dets)), dtype=dets.dtype)
    columns[:4] = dets[:, :4].T
    columns[4] = (columns[2] - columns[0] + 1) * (columns[3] - columns[1] + 1)
    columns[5] = dets[:, 4]
    return columns


def _overlaps_with(box, others):
    """IoU, (N,), of a column of `_columns` with others (6, N), in their dtype; compiled in lib/bbox/overlaps.pxd."""
    w = np.maximum(np.minimum(box[2], others[2]) - np.maximum(box[0], others[0]) + 1, 0)
    h = np.maximum(np.minimum(box[3], others[3]) - np.maximum(box[1], others[1]) + 1, 0)
    inter = w * h
    return inter / np.maximum(others[4] + box[4] - inter, others.dtype.type(1e-30))


def _limit(thresh, dtype, drop_equal):
    """The number of `dtype` to compare overlaps with.

    The release's NumPy NMS (`overlap > thresh`) compares with `thresh` rounded to the dtype of the boxes. Its Cython
    NMS (`overlap >= thresh`) compares with `thresh` itself. That equals a comparison with the smallest number of
    `dtype` that is not less than `thresh`.
    """
    limit = dtype.type(thresh)
    return np.nextafter(limit, dtype.type(np.inf)) if drop_equal and float(limit) < thresh else limit
