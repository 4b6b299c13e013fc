# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Non-maximum suppression, compiled. `lib.nms.nms` holds the rules, the same in NumPy, and the functions to call.

Each box is compared with those kept so far, which are held as columns x1, y1, x2, y2, area.
"""
from libc.math cimport exp

import numpy as np

from lib.bbox.overlaps cimport overlaps_with, real

cdef enum:
    BLOCK = 64      # kept boxes that a box is compared with before it is tested whether one of them suppresses it


cdef inline bint any_above(const real *overlaps, Py_ssize_t num, real thresh, bint drop_equal) noexcept nogil:
    cdef Py_ssize_t j
    cdef int hits = 0
    if drop_equal:
        for j in range(num):
            hits |= overlaps[j] >= thresh
    else:
        for j in range(num):
            hits |= overlaps[j] > thresh
    return hits


cdef Py_ssize_t keep_best(const real[:, ::1] dets, const Py_ssize_t[:] order, real[:, ::1] kept, Py_ssize_t *keep,
                          real thresh, bint drop_equal, Py_ssize_t max_keep) noexcept nogil:
    """Fill `keep` with the rows that stay, at most `max_keep`, and `kept` with their columns; return how many."""
    cdef Py_ssize_t i, j, start, size, num = dets.shape[0], count = 0
    cdef real box[5]
    cdef real overlaps[BLOCK]
    cdef bint dropped
    for i in range(num):
        for j in range(4):
            box[j] = dets[order[i], j]
        box[4] = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
        dropped = False
        start = 0
        while start < count and not dropped:
            size = BLOCK if start + BLOCK < count else count - start
            overlaps_with(box, &kept[0, start], num, size, overlaps)
            dropped = any_above(overlaps, size, thresh, drop_equal)
            start += BLOCK
        if not dropped:
            for j in range(5):
                kept[j, count] = box[j]
            keep[count] = order[i]
            count += 1
            if count == max_keep:
                break
    return count


def nms_in_order(const real[:, ::1] dets, const Py_ssize_t[:] order, double thresh, bint drop_equal,
                 Py_ssize_t max_keep):
    """The rows of `dets` (N, 5) that stay when they are taken in the given order; see `lib.nms.nms.nms`."""
    cdef Py_ssize_t count, num = dets.shape[0]
    keep = np.empty(num, dtype=np.intp)
    if num == 0 or max_keep == 0:
        return keep[:0]
    cdef Py_ssize_t[::1] keep_view = keep
    cdef real[:, ::1] kept = np.empty((5, num), dtype=np.float32 if real is float else np.float64)
    with nogil:
        count = keep_best(dets, order, kept, &keep_view[0], <real>thresh, drop_equal, max_keep)
    return keep[:count]


def soft_nms_sorted(real[:, ::1] columns, double thresh, bint gaussian, Py_ssize_t max_dets):
    """Rescore boxes given as (6, N) x1, y1, x2, y2, area, score, in place.

    Box after box, the best of those that are left changes places with the first of them and lowers the scores of the
    others, until `max_dets` have been taken, or all if that is negative. They are the first columns then.
    """
    cdef Py_ssize_t k, j, num = columns.shape[1]
    if num == 0 or max_dets == 0:
        return
    cdef real box[5]
    cdef real[::1] overlaps = np.empty(num, dtype=np.asarray(columns).dtype)
    cdef real *scores = &columns[5, 0]
    with nogil:
        for k in range(num if max_dets < 0 or max_dets > num else max_dets):
            swap_columns(columns, k, best_of(scores, k, num))
            for j in range(5):
                box[j] = columns[j, k]
            overlaps_with(box, &columns[0, k], num, num - k, &overlaps[0])
            for j in range(k + 1, num):
                if gaussian and overlaps[j - k] > 0:
                    scores[j] *= <real>exp(-<double>(overlaps[j - k] * overlaps[j - k]) / thresh)
                elif not gaussian and overlaps[j - k] >= <real>thresh:
                    scores[j] *= 1 - overlaps[j - k]


cdef Py_ssize_t best_of(const real *scores, Py_ssize_t start, Py_ssize_t num) noexcept nogil:
    """The first position from `start` on that has the highest score."""
    cdef Py_ssize_t j, best = start
    for j in range(start + 1, num):
        if scores[j] > scores[best]:
            best = j
    return best


cdef void swap_columns(real[:, ::1] columns, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(columns.shape[0]):
        columns[row, a], columns[row, b] = columns[row, b], columns[row, a]
