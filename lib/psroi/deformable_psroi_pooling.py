"""Deformable position-sensitive RoI pooling (Deformable ConvNets, section 2.2) in NumPy, to read and test against."""
import numpy as np

from lib.psroi.psroi_pooling import round_half_away

HALF = np.float32(0.5)


def deformable_psroi_pool(data, rois, offsets, spatial_scale, output_dim, pooled_size, sample_per_part=4,
                          trans_std=0.1):
    """Average, in bin (i, j) of a RoI, points of the score map that is made for bin (i, j), after moving the bin.

    A bin is sampled at `sample_per_part` x `sample_per_part` points, whose values are interpolated between the four
    cells around them; points more than half a cell outside the map do not count. A bin without points gives 0.

    Args:
        data: (B, output_dim * pooled_size^2, H, W) score maps, as for `psroi_pool`.
        rois: (R, 5) image index and box, in pixels of the network's input.
        offsets: (R, 2 * M, k, k) shifts in x and y of each bin, in units of the RoI's size over `trans_std`; M shifts
            for output_dim / M outputs each. None moves nothing.
        spatial_scale: cells per pixel, 1 / stride.
        output_dim: D, outputs for each RoI.
        pooled_size: k, bins a side.
        sample_per_part: points a side of a bin.
        trans_std: see `offsets`.
    Returns:
        (R, output_dim, k, k) float32.
    """
    data = np.asarray(data, dtype=np.float32)
    maps = data.reshape(len(data), output_dim, pooled_size, pooled_size, *data.shape[2:])    # (B, D, k, k, H, W)
    if offsets is None:
        offsets = np.zeros((len(rois), 2, pooled_size, pooled_size))
    shifts = np.asarray(offsets, dtype=np.float32) * np.float32(trans_std)
    shifts = shifts.reshape(len(rois), -1, 2, pooled_size, pooled_size)                      # (R, M, 2, k, k)
    shifts = shifts.repeat(output_dim // shifts.shape[1], axis=1)                            # (R, D, 2, k, k)
    pooled = np.zeros((len(rois), output_dim, pooled_size, pooled_size), dtype=np.float32)
    for r, d, i, j in np.ndindex(*pooled.shape):
        shift_x, shift_y = shifts[r, d, :, i, j]
        x = sample_points(rois[r][1], rois[r][3], spatial_scale, j, pooled_size, sample_per_part, shift_x)
        y = sample_points(rois[r][2], rois[r][4], spatial_scale, i, pooled_size, sample_per_part, shift_y)
        pooled[r, d, i, j] = mean_of_points(maps[int(rois[r][0]), d, i, j], x, y)
    return pooled


def sample_points(start, end, spatial_scale, index, pooled_size, sample_per_part, shift):
    """Coordinates (sample_per_part,) in cells of the points of bin `index` of a RoI that goes from `start` to `end`."""
    scale = np.float32(spatial_scale)
    start, end = round_half_away(np.array([start, end], dtype=np.float32))
    first = start * scale - HALF
    length = max((end + np.float32(1)) * scale - HALF - first, np.float32(0.1))
    bin_size = length / np.float32(pooled_size)
    steps = np.arange(sample_per_part, dtype=np.float32) * (bin_size / np.float32(sample_per_part))
    return np.float32(index) * bin_size + first + shift * length + steps


def mean_of_points(values, x, y):
    """Mean of a map (H, W) at all points (y, x), interpolated; 0 if all of them lie outside."""
    height, width = values.shape
    x = np.clip(x[(x >= -HALF) & (x <= width - HALF)], 0, width - 1)
    y = np.clip(y[(y >= -HALF) & (y <= height - HALF)], 0, height - 1)
    if x.size == 0 or y.size == 0:
        return np.float32(0)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.ceil(x).astype(int), np.ceil(y).astype(int)
    dx, dy = (x - left)[None, :], (y - top)[:, None]
    upper = values[top][:, left] * (1 - dx) + values[top][:, right] * dx
    lower = values[bottom][:, left] * (1 - dx) + values[bottom][:, right] * dx
    return (upper * (1 - dy) + lower * dy).mean(dtype=np.float32)
