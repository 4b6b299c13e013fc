"""Draws boxes with class and score, and text, into images. It needs no screen: everything is an array.

Text is drawn in every alphabet that a font of this machine has.
"""
from __future__ import annotations

import colorsys
import functools
import itertools
import logging
from typing import Sequence, Tuple

import cv2
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from lib.utils.console import shown

Color = Tuple[int, int, int]     # B, G, R
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
NOT_FOR_TEXT = ('emoji', 'symbol', 'lastresort')    # parts of the names of fonts that are asked last
SLANTED_OR_BOLD = ('bold', 'italic', 'oblique')

logger = logging.getLogger(__name__)


def class_colors(num_classes: int) -> list[Color]:
    """A colour for each class, up to 600 classes all different. The first ones do not depend on the number."""
    # Steps of the golden ratio around the circle of hues never come back near a recent hue.
    hues = [(number * 0.618034) % 1.0 for number in range(num_classes)]
    colors = [colorsys.hsv_to_rgb(hue, 0.9, 0.95 if number % 2 else 0.75) for number, hue in enumerate(hues)]
    return [tuple(int(round(255 * level)) for level in reversed(color)) for color in colors]


def draw_boxes(im: np.ndarray, boxes: ArrayLike, colors: Sequence[Color], texts: Sequence[str],
               line: int | None = None) -> np.ndarray:
    """Draw boxes, then their labels on patches of the same colours. No line crosses a label.

    Args:
        im: (H, W, 3) uint8 BGR.
        boxes: (n, 4) boxes; of overlapping labels the last one is on top.
        colors: list of n tuples B, G, R.
        texts: list of n str; '' draws no label.
        line: thickness of the lines in pixels; by default a 250th of the image's shorter side.
    Returns:
        (H, W, 3) uint8 BGR, a new image.
    """
    picture = im.copy()
    corners = np.round(np.clip(np.asarray(boxes, dtype=np.float64).reshape(-1, 4), -1e4, 1e5)).astype(int).tolist()
    line = line or max(1, int(round(min(im.shape[:2]) / 250.0)))
    for (x1, y1, x2, y2), color in zip(corners, colors):
        cv2.rectangle(picture, (x1, y1), (x2, y2), color, line)
    for (x1, y1, _, _), color, text in zip(corners, colors, texts):
        if text:
            _draw_label(picture, x1, y1, color, text)
    return picture


def _draw_label(im, x, y, color, text):
    """A label above the corner (x, y), or below it where the image ends, and never beyond its right side."""
    size = label_size(im)
    width, height = text_size(text, size)
    left = max(0, min(x, im.shape[1] - width - 4))
    top = y - height if y >= height else min(max(y, 0), max(0, im.shape[0] - height))
    cv2.rectangle(im, (left, top), (left + width + 3, top + height - 1), color, cv2.FILLED)
    put_text(im, text, left + 2, top, size, ink_on(color))


def ink_on(color: Color) -> Color:
    """Black or white, whichever can be read better on a colour."""
    return BLACK if 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 128 else WHITE


def label_size(im: np.ndarray) -> int:
    """The height of a label's letters in pixels, which grows with the image."""
    return int(np.clip(min(im.shape[:2]) / 32, 11, 32))


def draw_detections(im: np.ndarray, dets_by_class: Sequence[np.ndarray | None], class_names: Sequence[str],
                    thresh: float = 0.0) -> np.ndarray:
    """Draw detections, the best ones on top.

    Args:
        im: (H, W, 3) uint8 BGR.
        dets_by_class: an (n, 5) array of boxes and scores for each class; the background's is ignored. None or an empty
            list stands for no detections.
        class_names: names, '__background__' first.
        thresh: lowest score that is drawn.
    Returns:
        (H, W, 3) uint8 BGR, a new image.
    """
    rows = [(det[4], label, det[:4]) for label, dets in enumerate(dets_by_class) if label and dets is not None
            for det in np.asarray(dets, dtype=np.float64).reshape(-1, 5) if det[4] >= thresh]
    rows.sort(key=lambda row: row[0])
    colors = class_colors(len(class_names))
    texts = ['%s %.2f' % (class_names[label], score) for score, label, _ in rows]
    return draw_boxes(im, [box for _, _, box in rows], [colors[label] for _, label, _ in rows], texts)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height in pixels of a line of text whose letters are `size` pixels high; all lines are equally high."""
    opacity = _opacity(shown(text), size)
    return opacity.shape[1], opacity.shape[0]


def put_text(im: np.ndarray, text: str, left: int, top: int, size: int, color: Color) -> None:
    """Draw a line of text into an image.

    Letters that no font of this machine has are written as \\u72d7, and that is logged once.

    Args:
        im: (H, W, 3) uint8 BGR, changed in place; text outside of it is cut off.
        text: control characters are escaped by `shown`.
        left, top: the corner of the text's rectangle, whose sides are those of `text_size`.
        size: height of the letters in pixels.
        color: B, G, R.
    """
    opacity = _opacity(shown(text), size)
    height, width = im.shape[:2]
    rows = slice(max(0, -top), max(0, min(opacity.shape[0], height - top)))
    columns = slice(max(0, -left), max(0, min(opacity.shape[1], width - left)))
    part = opacity[rows, columns, None].astype(np.float32) / 255
    place = im[max(0, top):max(0, top) + part.shape[0], max(0, left):max(0, left) + part.shape[1]]
    place[:] = np.round(place * (1 - part) + np.float32(color) * part).astype(np.uint8)


@functools.lru_cache(maxsize=1024)
def _opacity(text, size):
    """(h, w) uint8: how much of each pixel the letters cover."""
    runs = [(path, ''.join(c for _, c in run))
            for path, run in itertools.groupby(((_font_of(c), c) for c in _written(text)), key=lambda pair: pair[0])]
    ascent, descent = _font(_default(), size).getmetrics()
    widths = [_font(path, size).getlength(part) for path, part in runs]
    picture = Image.new('L', (max(1, int(np.ceil(sum(widths)))), ascent + descent))
    left = 0.0
    for (path, part), width in zip(runs, widths):
        ImageDraw.Draw(picture).text((left, ascent), part, fill=255, font=_font(path, size), anchor='ls')
        left += width
    return np.asarray(picture)


def _written(text):
    """The text, with an escape in place of each letter that no font has."""
    return ''.join(c if _font_of(c) else c.encode('unicode_escape').decode('ascii') for c in text)


@functools.lru_cache(maxsize=None)
def _font_of(character):
    """Path of the first font that has a letter; None if there is none."""
    if ord(character) in _letters(_default()):
        return _default()
    for path in _other_fonts():
        if ord(character) in _letters(path):
            return path
    logger.warning('no font of this machine has the letter %s (U+%04X), which pictures show as an escape; a package '
                   'such as fonts-noto-cjk brings more alphabets', character, ord(character))
    return None


@functools.lru_cache(maxsize=None)
def _font(path, size):
    return ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=None)
def _letters(path):
    """The numbers of the letters that a font has; none for a file that is not a scalable font."""
    from matplotlib.ft2font import FT2Font
    try:
        _font(path, 16)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@functools.lru_cache(maxsize=None)
def _default():
    """DejaVu Sans, which matplotlib brings: Latin, Greek, Cyrillic, Hebrew, Arabic, Georgian, Armenian, signs."""
    import matplotlib
    return matplotlib.get_data_path() + '/fonts/ttf/DejaVuSans.ttf'


@functools.lru_cache(maxsize=None)
def _other_fonts():
    """The fonts of the machine, those for text first; upright regular ones before others."""
    from matplotlib import font_manager

    def rank(path):
        name = path.lower()
        return any(word in name for word in NOT_FOR_TEXT), any(word in name for word in SLANTED_OR_BOLD), path
    return sorted(font_manager.findSystemFonts(), key=rank)
