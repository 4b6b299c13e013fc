# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Position-sensitive RoI pooling, compiled. `lib.psroi.psroi_pooling` has the rule, and the same in NumPy.

A bin reads the same few cells of the maps of all classes. In the layout of the network these lie far apart, so the maps
of one bin are first laid out with the classes side by side; then a cell is one addition of short vectors. A sum takes
its cells row by row, as MXNet's operator does: the results are equal to the last bit.
"""
from libc.math cimport ceilf, floorf, roundf
from libc.stdlib cimport free, malloc

import numpy as np

cdef struct Side:       # of a RoI, in cells: where it begins and how long one of its bins is
    float start
    float bin


cdef inline Side side_of(float first, float last, float scale, int count) noexcept nogil:
    cdef Side side
    cdef float length
    side.start = roundf(first) * scale
    length = (roundf(last) + 1) * scale - side.start
    side.bin = (length if length > <float>0.1 else <float>0.1) / count
    return side


cdef inline int clipped(float cell, int limit) noexcept nogil:
    return <int>cell if 0 < cell < limit else (limit if cell >= limit else 0)


cdef void classes_side_by_side(const float *maps, Py_ssize_t stride, int num, int cells, float *out) noexcept nogil:
    """out[cell, d] = maps[d * stride + cell]: of `num` maps, the first of which is given."""
    cdef int d, cell
    cdef const float *values
    for d in range(num):
        values = maps + d * stride
        for cell in range(cells):
            out[cell * num + d] = values[cell]


cdef void mean_of_cells(const float *cells, int width, int num, int top, int bottom, int left, int right,
                        float *out) noexcept nogil:
    """out[d]: mean of the cells of a bin, given as (H, W, num). A bin without cells is 0."""
    cdef int y, x, d
    cdef float area = (bottom - top) * (right - left)
    cdef const float *values
    for d in range(num):
        out[d] = 0
    if bottom <= top or right <= left:
        return
    for y in range(top, bottom):
        for x in range(left, right):
            values = cells + (<Py_ssize_t>y * width + x) * num
            for d in range(num):
                out[d] += values[d]
    for d in range(num):
        out[d] /= area


cdef void pool_bin(const float *cells, const float[:, ::1] rois, int image, float scale, int height, int width, int num,
                   int count, int i, int j, float *mean, float[:, :, :, ::1] pooled) noexcept nogil:
    """Bin (i, j) of the RoIs that lie in one image."""
    cdef Py_ssize_t r
    cdef int d
    cdef Side rows, columns
    for r in range(rois.shape[0]):
        if <int>rois[r, 0] != image:
            continue
        rows = side_of(rois[r, 2], rois[r, 4], scale, count)
        columns = side_of(rois[r, 1], rois[r, 3], scale, count)
        mean_of_cells(cells, width, num,
                      clipped(floorf(i * rows.bin + rows.start), height),
                      clipped(ceilf((i + 1) * rows.bin + rows.start), height),
                      clipped(floorf(j * columns.bin + columns.start), width),
                      clipped(ceilf((j + 1) * columns.bin + columns.start), width), mean)
        for d in range(num):
            pooled[r, d, i, j] = mean[d]


def psroi_pool(const float[:, :, :, ::1] data, const float[:, ::1] rois, float spatial_scale, int output_dim,
               int pooled_size):
    """`lib.psroi.psroi_pooling.psroi_pool`, compiled: the same shapes, float32, C-contiguous.

    A RoI whose image index lies outside the batch gives 0.

    Raises:
        ValueError: another dtype, layout or number of maps, or RoIs without five columns.
    """
    if data.shape[1] != output_dim * pooled_size * pooled_size or rois.shape[1] != 5:
        raise ValueError('expected (B, %d * %d * %d, H, W) maps and (R, 5) RoIs, found %d maps and %d columns'
                         % (output_dim, pooled_size, pooled_size, data.shape[1], rois.shape[1]))
    cdef int height = data.shape[2], width = data.shape[3], num = output_dim, bins = pooled_size * pooled_size
    cdef int image, place
    cdef Py_ssize_t cells = <Py_ssize_t>height * width
    pooled = np.zeros((rois.shape[0], output_dim, pooled_size, pooled_size), dtype=np.float32)
    cdef float[:, :, :, ::1] out = pooled
    cdef float *side_by_side = <float *>malloc((cells + 1) * num * sizeof(float))   # and one row for a mean
    if side_by_side == NULL:
        raise MemoryError('no memory for %d x %d cells of %d maps' % (height, width, num))
    with nogil:
        for image in range(<int>data.shape[0]):
            for place in range(bins):
                classes_side_by_side(&data[image, place, 0, 0], bins * cells, num, <int>cells, side_by_side)
                pool_bin(side_by_side, rois, image, spatial_scale, height, width, num, pooled_size,
                         place // pooled_size, place % pooled_size, side_by_side + cells * num, out)
    free(side_by_side)
    return pooled
