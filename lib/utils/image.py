"""From an image to the network's input: resize, subtract the means, pad, stack."""
from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from lib.bbox.bbox_transform import clip_boxes
from lib.errors import DatasetError
from lib.utils.console import shown
from lib.utils.image_file import imread
from lib.utils.limits import MAX_PIXELS


def resize(im: np.ndarray, target_size: int, max_size: int, stride: int = 0,
           interpolation: int = cv2.INTER_LINEAR) -> tuple[np.ndarray, float]:
    """Scale an image until its shorter side is `target_size`, or its longer side `max_size` if that is reached first.

    Args:
        im: (h, w, 3) uint8.
        target_size, max_size: int, pixels.
        stride: see `pad_to_stride`.
        interpolation: of cv2.resize.
    Returns:
        (H, W, 3) uint8, and the scale: pixels of the new image per pixel of the old. (Release: lib/utils/image.py,
        resize.)
    """
    scale = resize_scale(im.shape[:2], target_size, max_size)
    return pad_to_stride(rescaled(im, scale, interpolation), stride), scale


def rescaled(im: np.ndarray, scale: float, interpolation: int) -> np.ndarray:
    """An image (h, w, 3) times `scale`; the short side of a very long and thin one stays one pixel."""
    if round(scale * min(im.shape[:2])) < 1:    # OpenCV raises an error
        size = tuple(max(1, int(round(scale * side))) for side in im.shape[1::-1])
        return cv2.resize(im, size, interpolation=interpolation)
    return cv2.resize(im, None, None, fx=scale, fy=scale, interpolation=interpolation)


def resize_scale(shape: Sequence[int], target_size: int, max_size: int) -> float:
    """The scale by which `resize` multiplies the sides (height, width) of an image."""
    short, long = sorted(shape)
    scale = float(target_size) / short
    return float(max_size) / long if np.round(scale * long) > max_size else scale


def resized_shape(shape: Sequence[int], target_size: int, max_size: int, stride: int = 0) -> tuple[int, int]:
    """The sides (height, width) that `resize` and `pad_to_stride` make of an image's sides (height, width)."""
    scale = resize_scale(shape, target_size, max_size)
    sides = [max(1, int(np.round(scale * side))) for side in shape]
    return tuple(side + (-side % stride if stride else 0) for side in sides)


def pad_to_stride(im: np.ndarray, stride: int) -> np.ndarray:
    """Add zeros below and to the right until height and width are multiples of `stride`; 0 adds none."""
    if not stride:
        return im
    bottom, right = -im.shape[0] % stride, -im.shape[1] % stride
    return cv2.copyMakeBorder(im, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)


def transform(im: np.ndarray, pixel_means: Sequence[float]) -> np.ndarray:
    """Make the network's input of an image: RGB planes minus the mean colour.

    Args:
        im: (H, W, 3) uint8 BGR.
        pixel_means: (3,) mean of B, G, R.
    Returns:
        (1, 3, H, W) float32.
    """
    tensor = np.empty((1, 3) + im.shape[:2], dtype=np.float32)
    for plane in range(3):
        np.subtract(im[:, :, 2 - plane], np.float32(pixel_means[2 - plane]), out=tensor[0, plane])
    return tensor


def transform_inverse(tensor: np.ndarray, pixel_means: Sequence[float]) -> np.ndarray:
    """The image of a network's input: the inverse of `transform`.

    Args:
        tensor: (1, 3, H, W) float, RGB planes minus their means.
        pixel_means: (3,) mean of B, G, R.
    Returns:
        (H, W, 3) uint8 RGB, ready for a plot. Values outside 0 to 255 are clipped.
    """
    # Departure: the release cuts off the fraction, so that 99.99999 becomes 99, and lets 256 wrap to 0.
    rgb = tensor[0].transpose(1, 2, 0) + np.asarray(pixel_means, dtype=np.float64)[::-1]
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def tensor_vstack(arrays: Sequence[np.ndarray], pad: float = 0) -> np.ndarray:
    """Stack arrays along their first axis. Along the other axes each is padded at the end to the size of the largest.

    Args:
        arrays: one or more arrays (n_i, ...) with the same number of axes.
        pad: value of the added elements.
    Returns:
        (sum of n_i, ...) array of the first array's dtype; of a single array, itself.
    """
    if len(arrays) == 1:
        return arrays[0]
    tail = tuple(np.max([a.shape[1:] for a in arrays], axis=0).astype(int))
    stacked = np.full((sum(len(a) for a in arrays),) + tail, pad, dtype=arrays[0].dtype)
    row = 0
    for array in arrays:
        stacked[(slice(row, row + len(array)),) + tuple(slice(n) for n in array.shape[1:])] = array
        row += len(array)
    return stacked


def network_input(im: np.ndarray, target_size: int, max_size: int, stride: int,
                  pixel_means: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees of an image: `resize`, `pad_to_stride`, `transform`.

    Args:
        im: (h, w, 3) uint8 BGR.
        target_size, max_size, stride, pixel_means: see there.
    Returns:
        tensor: (1, 3, H, W) float32.
        im_info: (3,) float32 height and width of the image in the tensor, and its scale.
    """
    im, scale = resize(im, target_size, max_size)
    # Departure: with a stride the release writes the padded size here, so that boxes and anchors may lie
    # in the padding.
    im_info = np.array([im.shape[0], im.shape[1], scale], dtype=np.float32)
    return transform(pad_to_stride(im, stride), pixel_means), im_info


def get_image(entry: dict, target_size: int, max_size: int, stride: int, pixel_means: Sequence[float],
              max_pixels: int | None = MAX_PIXELS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the image of a roidb entry with its objects, mirrored if the entry says so, at the network's scale.

    Args:
        entry: dict with image, boxes, gt_classes, flipped, and optionally the annotated height and width.
        target_size, max_size, stride, pixel_means: as in `network_input`.
    Returns:
        tensor, im_info: of `network_input`.
        gt_boxes: (G, 5) float32 boxes, rounded to whole pixels and clipped into the image, and their classes.
    Raises:
        FileNotFoundError, DatasetError: as `imread`. DatasetError also if the image does not have the annotated size.
    """
    im = imread(entry['image'], max_pixels)
    _check_annotated_size(entry, im)
    scale = resize_scale(im.shape[:2], target_size, max_size)   # in im_info it is rounded to float32
    tensor, im_info = network_input(im[:, ::-1] if entry['flipped'] else im, target_size, max_size, stride, pixel_means)
    boxes = np.round(np.asarray(entry['boxes'], dtype=np.float64).reshape(-1, 4) * scale)
    gt_boxes = np.empty((len(boxes), 5), dtype=np.float32)
    gt_boxes[:, :4] = clip_boxes(boxes, im_info[:2].astype(int))
    gt_boxes[:, 4] = entry['gt_classes']
    return tensor, im_info, gt_boxes


def _check_annotated_size(entry, im):
    height, width = entry.get('height', im.shape[0]), entry.get('width', im.shape[1])
    if im.shape[:2] != (height, width):
        raise DatasetError('%s: the image is %d x %d pixels, its annotation says %d x %d. Correct the annotation '
                           '(boxes refer to the pixels as stored, before any EXIF rotation)'
                           % (shown(entry['image']), im.shape[1], im.shape[0], width, height))
