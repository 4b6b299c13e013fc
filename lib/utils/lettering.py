"""Text in pictures, in every alphabet that a font of this machine has."""
import functools
import itertools
import logging

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lib.utils.shown import shown

logger = logging.getLogger(__name__)

NOT_FOR_TEXT = ('emoji', 'symbol', 'lastresort')    # parts of the names of fonts that are asked last
SLANTED_OR_BOLD = ('bold', 'italic', 'oblique')


def text_size(text, size):
    """Width and height in pixels of a line of text whose letters are `size` pixels high; all lines are equally high."""
    opacity = _opacity(shown(text), size)
    return opacity.shape[1], opacity.shape[0]


def put_text(im, text, left, top, size, color):
    """Draw a line of text into an image.

    Letters that no font of this machine has are written as \\u72d7, and that is logged once.

    Args:
        im: (H, W, 3) uint8 BGR, changed in place; what stands outside of it is cut off.
        text: str, shown by `lib.utils.shown`.
        left, top: int, the corner of the text's rectangle, whose sides are those of `text_size`.
        size: int, pixels.
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
    """The numbers of the letters that a font has; none for a file that is no scalable font."""
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
