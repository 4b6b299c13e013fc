"""Anchors: the boxes of fixed sizes and shapes, at every cell of the feature map, that the RPN chooses from.

THE anchor order, everywhere in this project: row of cells by row, cell by cell, and the anchors of one cell one after
the other (those of one ratio together, scales within). In a map of W cells a row, anchor a of cell (y, x) stands at
(y * W + x) * A + a.
"""
import numpy as np


def generate_anchors(base_size=16, ratios=(0.5, 1, 2), scales=(8, 16, 32)):
    """The anchors of the cell at the image's top left corner (Faster R-CNN, section 3.1.1).

    Around the centre of a square of `base_size` pixels, for each ratio r: a box of about the square's area and of
    height r times its width, both rounded to whole pixels; then, for each scale, the box that is that many times as
    wide and high.

    Args:
        base_size: pixels, the stride of the feature map.
        ratios: heights over widths.
        scales: factors.
    Returns:
        (A, 4) float32 boxes, A = len(ratios) * len(scales), scales within ratios.
    """
    ratios, scales = np.asarray(ratios, dtype=np.float64), np.asarray(scales, dtype=np.float64)
    # Rounded before it is scaled, as in the release: a ratio of 0.5 gives 23 x 12, and 184 x 96 at scale 8.
    widths = np.round(np.sqrt(base_size * base_size / ratios))
    heights = np.round(widths * ratios)
    sides = np.stack((widths, heights), axis=1)[:, None, :] * scales[None, :, None]          # (ratios, scales, 2)
    half = (sides.reshape(-1, 2) - 1) / 2
    centre = (base_size - 1) / 2
    return np.concatenate((centre - half, centre + half), axis=1).astype(np.float32)


def shifted_anchors(height, width, stride, base_anchors):
    """The anchors of all cells of a feature map, in THE anchor order.

    Args:
        height: rows of cells.
        width: cells a row.
        stride: pixels of the network's input from one cell to the next.
        base_anchors: (A, 4) the anchors of the first cell.
    Returns:
        (height * width * A, 4) float32.
    """
    shift_x, shift_y = np.arange(width) * stride, np.arange(height) * stride
    anchors = np.empty((height, width) + base_anchors.shape, dtype=np.float32)               # (H, W, A, 4)
    anchors[..., 0::2] = base_anchors[:, 0::2] + shift_x[None, :, None, None]
    anchors[..., 1::2] = base_anchors[:, 1::2] + shift_y[:, None, None, None]
    return anchors.reshape(-1, 4)


def cells_inside(anchors, sides, stride=16):
    """In which cells an anchor of the first cell, moved there, lies inside an image.

    Args:
        anchors: (A, 4) boxes of the first cell.
        sides: (n, 2) width and height of images, pixels of the network's input.
        stride: pixels from one cell to the next.
    Returns:
        first, last: (n, A, 2) float64, numbers of the first and of the last such cell along x and y; first > last where
        there is none.
    """
    anchors, sides = np.asarray(anchors, dtype=np.float64), np.asarray(sides, dtype=np.float64)
    first = np.maximum(np.ceil(-anchors[:, :2] / stride), 0)                                  # (A, 2)
    last = np.floor((sides[:, None] - 1 - anchors[:, 2:]) / stride)                           # (n, A, 2)
    return np.broadcast_to(first, last.shape), last
