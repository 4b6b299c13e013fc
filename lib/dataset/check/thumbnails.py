"""Small pictures of what is wrong, as data that a HTML page holds in itself."""
import cv2
import numpy as np

from lib.errors import DatasetError
from lib.utils.image import imread
from lib.utils.show_boxes import draw_boxes

SIDE = 260                              # pixels, the longer side
GOOD, BAD = (90, 170, 60), (40, 40, 230)    # B, G, R
OUTSIDE = (70, 70, 70)                  # what lies beyond the image's border
MARGIN = 0.25                           # of the image's shorter side: the most that is seen around a box
NAMED = 8                               # of more objects the labels are left out, they would hide the image


def thumbnail(picture, labels, bad=(), max_pixels=None):
    """A picture with its boxes, the bad ones in red; shows the surroundings of the first bad one, beyond the border
    too.

    Args:
        picture: Picture. labels: names of its items' labels. bad: numbers of items; without any the whole image is
            shown.
    Returns:
        (h, w, 3) uint8 BGR, None if the image cannot be read.
    """
    try:
        im = imread(picture.path, max_pixels) if picture.path else None
    except (DatasetError, FileNotFoundError):
        im = None
    if im is None:
        return None
    is_bad = np.isin(picture.items['number'], list(bad))
    wrong, right = picture.items[is_bad], picture.items[~is_bad]
    view = _view(wrong[0]['box'], im.shape[:2]) if len(wrong) else (0, 0) + im.shape[1::-1]
    small, scale = _crop(im, view)
    names = not len(wrong) and len(right) <= NAMED
    small = draw_boxes(small, _seen(right, view, scale), [GOOD] * len(right),
                       [labels[item['label']] if names else '' for item in right])
    return draw_boxes(small, _seen(wrong, view, scale), [BAD] * len(wrong), [labels[item['label']] for item in wrong])


def _seen(items, view, scale):
    """Boxes of items in pixels of the small picture."""
    return list((items['box'] - view[:2] * 2 + [0, 0, 1, 1]) * scale)


def _view(box, shape):
    """Left, top, right, bottom around a box: with a margin on each side, at most half an image beyond the border."""
    corners = np.array(box).reshape(2, 2)
    height, width = shape
    margin = min(max(3 * np.ptp(corners, axis=0).max(), 20), max(4, MARGIN * min(shape)))
    limits = np.array([-width / 2, -height / 2, -width / 2, -height / 2]), np.array([1.5 * width, 1.5 * height] * 2)
    corners = np.concatenate([corners.min(axis=0) - margin, corners.max(axis=0) + margin])
    left, top, right, bottom = (int(value) for value in np.clip(corners, *limits))
    left, top = min(left, width * 3 // 4), min(top, height * 3 // 4)           # some of the image itself is seen
    return left, top, max(right, left + 4, width // 4 + 1), max(bottom, top + 4, height // 4 + 1)


def _crop(im, view):
    left, top, right, bottom = view
    scale = SIDE / max(right - left, bottom - top)
    moved = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    size = max(1, int(round((right - left) * scale))), max(1, int(round((bottom - top) * scale)))
    if (left, top) == (0, 0) and (right, bottom) == im.shape[1::-1]:
        # warpAffine has no good way to make smaller
        return cv2.resize(im, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST), scale
    flags = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(im, moved, size, flags=flags, borderValue=OUTSIDE), scale
