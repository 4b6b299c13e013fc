"""Position-sensitive RoI pooling by ONNX operators, equal to `lib/psroi/psroi_pooling.py`.

A bin is a rectangle of cells, so its sum is a product of three: a row of zeros and ones over the map's rows, the map, a
column of zeros and ones over the map's columns. Two matrix products thus sum up the bins of all RoIs, and each number
in a sum is added as it is: differences of running sums would lose digits on a large map. Row of bins by row, so that
no more than R * k * D * W numbers are kept at a time.
"""
import numpy as np

from rfcn.exporters.onnx_graph import FLOAT, Graph, columns, ints, numbers_to, size_of

LEAST_SIDE = np.float32(0.1)    # cells, of a RoI


def psroi_pool(graph: Graph, data: str, rois: str, *, spatial_scale: float, output_dim: int, bins: int) -> str:
    """Add the nodes of `lib.psroi.psroi_pooling.psroi_pool` for one image.

    Args:
        data: (1, output_dim * bins^2, H, W) score maps.
        rois: (R, 5) image index, which is 0, and box.
        spatial_scale, output_dim, bins: see there (bins: pooled_size).
    Returns:
        (R, output_dim, bins, bins).
    """
    x, width, y, height = scaled_rois(graph, rois, spatial_scale)
    rows, row_counts = bin_masks(graph, y, height, bins, size_of(graph, data, 2))           # (R, k, H), (R, k)
    cols, col_counts = bin_masks(graph, x, width, bins, size_of(graph, data, 3))            # (R, k, W), (R, k)
    cols = graph('Unsqueeze', graph('Transpose', cols, perm=[1, 0, 2]), ints(3))            # (k, R, W, 1)
    maps = graph('Reshape', data, ints(output_dim, bins * bins, 0, 0))                      # (D, k*k, H, W)
    maps = graph('Transpose', maps, perm=[1, 2, 0, 3])                                      # (k*k, H, D, W)
    sums = []
    for i in range(bins):
        of_row = graph('Slice', maps, ints(i * bins), ints((i + 1) * bins), ints(0))        # (k, H, D, W)
        of_row = graph('Reshape', of_row, ints(0, 0, -1))                                   # (k, H, D*W)
        mask = graph('Gather', rows, np.int64(i), axis=1)                                   # (R, H)
        summed = graph('Reshape', graph('MatMul', mask, of_row), ints(0, 0, output_dim, -1))    # (k, R, D, W)
        summed = graph('Squeeze', graph('MatMul', summed, cols), ints(3))                   # (k, R, D)
        sums.append(graph('Unsqueeze', summed, ints(0)))
    sums = graph('Transpose', graph('Concat', *sums, axis=0), perm=[2, 3, 0, 1])            # (R, D, k, k)
    cells = graph('Mul', graph('Unsqueeze', row_counts, ints(2)), graph('Unsqueeze', col_counts, ints(1)))
    return graph('Div', sums, graph('Unsqueeze', graph('Max', cells, np.float32(1)), ints(1)))


def scaled_rois(graph: Graph, rois: str, spatial_scale: float):
    """x, width, y, height in cells, each (R, 1); see `lib.psroi.psroi_pooling.scaled_roi`."""
    boxes = columns(graph, rois, 1, 5)
    away = graph('Floor', graph('Add', graph('Abs', boxes), np.float32(0.5)))
    rounded = graph('Mul', graph('Sign', boxes), away)                                      # halves away from zero
    scale = np.float32(spatial_scale)
    start = graph('Mul', columns(graph, rounded, 0, 2), scale)                              # (R, 2) x, y
    end = graph('Mul', graph('Add', columns(graph, rounded, 2, 4), np.float32(1)), scale)
    sides = graph('Max', graph('Sub', end, start), LEAST_SIDE)
    return (columns(graph, start, 0, 1), columns(graph, sides, 0, 1),
            columns(graph, start, 1, 2), columns(graph, sides, 1, 2))


def bin_masks(graph: Graph, start: str, length: str, bins: int, limit: str):
    """Which cells along one side belong to each bin; see `lib.psroi.psroi_pooling.bins`.

    Args:
        start, length: (R, 1) cells. limit: (1,) int64, cells of the map along that side.
    Returns:
        (R, k, limit) of 0 and 1, and (R, k) how many cells a bin has.
    """
    size = graph('Div', length, np.float32(bins))
    number = np.arange(bins, dtype=np.float32)[None]                                        # (1, k)
    first = graph('Floor', graph('Add', graph('Mul', size, number), start))                 # (R, k)
    end = graph('Ceil', graph('Add', graph('Mul', size, number + np.float32(1)), start))
    cell = numbers_to(graph, limit)
    inside = graph('And', graph('GreaterOrEqual', cell, graph('Unsqueeze', first, ints(2))),
                   graph('Less', cell, graph('Unsqueeze', end, ints(2))))                   # (R, k, limit)
    mask = graph('Cast', inside, to=FLOAT)
    return mask, graph('ReduceSum', mask, ints(2), keepdims=0)
