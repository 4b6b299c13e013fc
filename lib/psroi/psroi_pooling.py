"""Position-sensitive RoI pooling (R-FCN, section 2.2), plain and deformable, in NumPy: to read and to test against.

The network uses MXNet's operators `contrib.PSROIPooling` and `contrib.DeformablePSROIPooling`, which give the same
numbers; detection on the CPU uses `psroi_pool_compiled` in place of the first. All arithmetic is float32, as in the
operators: the borders of bins are rounded, so that one bit can move a bin by a cell.
"""
from __future__ import annotations

from typing import Sequence

import numpy as np

try:
    from lib.psroi.cpu_psroi import psroi_pool as psroi_pool_compiled
except ImportError:  # not built: detection keeps MXNet's operator, which is slower
    psroi_pool_compiled = None

ONE, HALF = np.float32(1), np.float32(0.5)


def psroi_pool(data: np.ndarray, rois: np.ndarray, spatial_scale: float, output_dim: int,
               pooled_size: int) -> np.ndarray:
    """Average, in bin (i, j) of each RoI, the score map that belongs to bin (i, j).

    The corners of a RoI are rounded to whole pixels, halves away from zero, and the last pixel counts. A RoI is at
    least 0.1 cells wide and high. A bin takes the cells from the floor of its start to the ceiling of its end, as far
    as the map goes; a bin without cells gives 0.

    Args:
        data: (B, output_dim * pooled_size^2, H, W) score maps. Those of one output stand together, row of bins by row.
        rois: (R, 5) image index and box, in pixels of the network's input.
        spatial_scale: cells per pixel, 1 / stride.
        output_dim: D, number of outputs per RoI.
        pooled_size: k, bins per side.
    Returns:
        (R, output_dim, k, k) float32.
    Raises:
        ValueError: the number of maps does not fit.
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


def scaled_roi(roi: Sequence[float], spatial_scale: float) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """x, y, width, height of a RoI in cells, float32, its corners rounded to whole pixels first."""
    x1, y1, x2, y2 = round_half_away(np.asarray(roi[1:], dtype=np.float32))
    scale = np.float32(spatial_scale)
    x, y, x_end, y_end = x1 * scale, y1 * scale, (x2 + ONE) * scale, (y2 + ONE) * scale
    return x, y, max(x_end - x, np.float32(0.1)), max(y_end - y, np.float32(0.1))


def round_half_away(values: np.ndarray) -> np.ndarray:
    """Round to whole numbers, halves away from zero as C's round does; np.round takes halves to even."""
    return np.sign(values) * np.floor(np.abs(values) + HALF)


def bins(start: np.float32, length: np.float32, count: int, limit: int) -> list[tuple[int, int]]:
    """First cell and last cell + 1 of each of `count` bins of a side of a RoI, clipped to a map of `limit` cells."""
    size = length / np.float32(count)
    edges = [(np.floor(np.float32(i) * size + start), np.ceil(np.float32(i + 1) * size + start)) for i in range(count)]
    return [(int(min(max(first, 0), limit)), int(min(max(last, 0), limit))) for first, last in edges]


def deformable_psroi_pool(data: np.ndarray, rois: np.ndarray, offsets: np.ndarray | None, spatial_scale: float,
                          output_dim: int, pooled_size: int, sample_per_part: int = 4,
                          trans_std: float = 0.1) -> np.ndarray:
    """Move each bin (i, j) of each RoI, then average sampled points of the score map that belongs to bin (i, j).

    A bin is sampled at `sample_per_part` x `sample_per_part` points, whose values are interpolated between the four
    cells around them; points more than half a cell outside the map do not count. A bin without points gives 0.

    Args:
        data: (B, output_dim * pooled_size^2, H, W) score maps, as for `psroi_pool`.
        rois: (R, 5) image index and box, in pixels of the network's input.
        offsets: (R, 2 * M, k, k) shifts in x and y of each bin, in units of the RoI's size times `trans_std`; M shifts
            for output_dim / M outputs each. None moves no bin.
        spatial_scale: cells per pixel, 1 / stride.
        output_dim: D, number of outputs per RoI.
        pooled_size: k, bins per side.
        sample_per_part: points per side of a bin.
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


def sample_points(start: float, end: float, spatial_scale: float, index: int, pooled_size: int, sample_per_part: int,
                  shift: np.float32) -> np.ndarray:
    """Coordinates (sample_per_part,) in cells of the points of bin `index` of a RoI that goes from `start` to `end`."""
    scale = np.float32(spatial_scale)
    start, end = round_half_away(np.array([start, end], dtype=np.float32))
    first = start * scale - HALF
    length = max((end + ONE) * scale - HALF - first, np.float32(0.1))
    bin_size = length / np.float32(pooled_size)
    steps = np.arange(sample_per_part, dtype=np.float32) * (bin_size / np.float32(sample_per_part))
    return np.float32(index) * bin_size + first + shift * length + steps


def mean_of_points(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.float32:
    """Mean of a map (H, W) at all points (y, x), bilinearly interpolated; 0 if all points lie outside."""
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
