"""THE intersection over union of the compiled modules, inlined into them."""
cimport cython

ctypedef fused real:
    float
    double


@cython.cdivision(True)
cdef inline void overlaps_with(const real *box, const real *others, Py_ssize_t stride, Py_ssize_t num,
                               real *out) noexcept nogil:
    """IoU of `box` (x1, y1, x2, y2, area) with each of `num` boxes, given as five columns that stand `stride` numbers
    apart.

    The loop runs over contiguous memory without a branch, so that the compiler makes vector instructions of it.
    Multiplications and additions must not be fused (-ffp-contract=off), or the numbers would not be NumPy's.
    """
    cdef Py_ssize_t j
    cdef real left, top, right, bottom, w, h, union_area
    cdef real smallest = 1e-30      # two boxes without area would give 0 / 0
    for j in range(num):
        left = box[0] if box[0] > others[j] else others[j]
        top = box[1] if box[1] > others[stride + j] else others[stride + j]
        right = box[2] if box[2] < others[2 * stride + j] else others[2 * stride + j]
        bottom = box[3] if box[3] < others[3 * stride + j] else others[3 * stride + j]
        w = right - left + 1
        h = bottom - top + 1
        w = w if w > 0 else 0
        h = h if h > 0 else 0
        union_area = others[4 * stride + j] + box[4] - w * h
        out[j] = w * h / (union_area if union_area > smallest else smallest)
