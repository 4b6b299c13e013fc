"""Position-sensitive RoI pooling in NumPy (R-FCN, section 2.2), to read and to test against.

The network uses MXNet's operators `contrib.PSROIPooling` and `contrib.DeformablePSROIPooling`, which these equal.
All arithmetic is float32, as theirs: the borders of bins are rounded, so that a last bit can move a bin by a cell.
"""
import numpy as np

ONE = np.float32(1)


def psroi_pool(data, rois, spatial_scale, output_dim, pooled_size):
    """Average, in bin (i, j) of a RoI, the score map that is made for bin (i, j).

    The corners of a RoI are rounded to whole pixels, halves away from zero, and the last pixel counts. A RoI is at
    least 0.1 cells wide and high. A bin takes the cells from the floor of its start to the ceiling of its end, as far
    as the map goes; a bin without cells gives 0.

    Args:
        data: (B, output_dim * pooled_size^2, H, W) score maps; those of one output together, row of bins by row.
        rois: (R, 5) image index and box, in pixels of the network's input.
        spatial_scale: cells per pixel, 1 / stride.
        output_dim: D, outputs for each RoI.
        pooled_size: k, bins a side.
    Returns:
        (R, output_dim, k, k) float32.
    """
    data = np.asarray(data, dtype=np.float32)
    maps = data.reshape(len(data), output_dim, pooled_size, pooled_size, *data.shape[2:])    # (B, D, k, k, H, W)
    pooled = np.zeros((len(rois), output_dim, pooled_size, pooled_size), dtype=np.float32)
    for r, roi in enumerate(rois):
        x, y, width, height = scaled_roi(roi, spatial_scale)
        rows, columns = bins(y, height, pooled_size, maps.shape[4]), bins(x, width, pooled_size, maps.shape[5])
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    pooled[r, :, i, j] = maps[int(roi[0]), :, i, j, top:bottom, left:right].mean(axis=(1, 2))
    return pooled


def scaled_roi(roi, spatial_scale):
    """x, y, width, height of a RoI in cells, float32, its corners rounded to whole pixels first."""
    x1, y1, x2, y2 = round_half_away(np.asarray(roi[1:], dtype=np.float32))
    scale = np.float32(spatial_scale)
    x, y, x_end, y_end = x1 * scale, y1 * scale, (x2 + ONE) * scale, (y2 + ONE) * scale
    return x, y, max(x_end - x, np.float32(0.1)), max(y_end - y, np.float32(0.1))


def round_half_away(values):
    """Round to whole numbers, halves away from zero as C's round does; np.round takes halves to even."""
    return np.sign(values) * np.floor(np.abs(values) + np.float32(0.5))


def bins(start, length, count, limit):
    """First cell and last cell + 1 of each of `count` bins of a side of a RoI, clipped to a map of `limit` cells."""
    size = length / np.float32(count)
    edges = [(np.floor(np.float32(i) * size + start), np.ceil(np.float32(i + 1) * size + start)) for i in range(count)]
    return [(int(min(max(first, 0), limit)), int(min(max(last, 0), limit))) for first, last in edges]
