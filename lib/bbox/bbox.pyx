# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Intersection over union of two sets of boxes, compiled; `bbox_overlaps_py` of bbox_transform.py does it in NumPy."""
import numpy as np

from lib.bbox.overlaps cimport overlaps_with


def bbox_overlaps_cython(const double[:, ::1] boxes, const double[:, ::1] query_columns):
    """IoU, (N, K), of boxes (N, 5) with boxes given as columns (5, K); the fifth number of each is its area."""
    cdef Py_ssize_t n, num_queries = query_columns.shape[1]
    overlaps = np.empty((boxes.shape[0], num_queries))
    if overlaps.size == 0:
        return overlaps
    cdef double[:, ::1] out = overlaps
    with nogil:
        for n in range(boxes.shape[0]):
            overlaps_with(&boxes[n, 0], &query_columns[0, 0], num_queries, num_queries, &out[n, 0])
    return overlaps
