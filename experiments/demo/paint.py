"""Paint: backgrounds with texture, and things with a pattern, light and shade, and an outline.

All steps are integer arithmetic of OpenCV (its bit-exact modes) or element by element in NumPy, so that a random state
gives the same picture on every machine.
"""
import math
from typing import NamedTuple

import cv2
import numpy as np

from experiments.demo.shapes import MAX_TILT, SHAPES

POLYGON_SHIFT = 4  # fillPoly takes 1/16 pixel
MAX_ASPECT = 1.35  # how far a thing is stretched beyond its natural width or height
OUTLINE = np.ones((3, 3), np.uint8)


class Sprite(NamedTuple):
    """A painted thing on its own small canvas, before it is put into a picture."""

    name: str
    colour: np.ndarray  # (h, w, 3) uint8, BGR
    alpha: np.ndarray  # (h, w) uint8, 255 where the thing hides what is behind


def blend(under, over, weight):
    """`under` (h, w, 3) uint8 with `over`, of a shape that broadcasts, mixed in by `weight` (h, w) of [0, 1]."""
    weight = np.asarray(weight, np.float32)[..., None]
    return np.rint(under + (np.asarray(over, np.float32) - under) * weight).astype(np.uint8)


def stripes(height, width, rng, period):
    """(h, w) float32 of 0 and 1: parallel bands about `period` pixels apart, of any direction, slightly wavy."""
    angle, phase, wave = rng.uniform(0, math.pi), rng.uniform(0, 1), rng.uniform(0, 0.12)
    y, x = np.mgrid[:height, :width] / period  # float64: where a band ends must not hang on the last bit of a sine
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return ((across + wave * np.sin(4 * along) + phase) % 1 < 0.5).astype(np.float32)


def noise_map(size, rng, cells):
    """(size, size) float32 in [0, 1]: random values on a grid of `cells` x `cells`, smooth between them."""
    grid = rng.randint(0, 256, (cells, cells)).astype(np.uint8)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.float32) / 255


def background(size, rng):
    """(size, size, 3) uint8: two colours that flow into one another, some with stripes or tiles, all with grain."""
    first, second = rng.randint(30, 226, (2, 3)).astype(np.float32)
    third = np.clip(first + rng.uniform(-70, 70, 3), 0, 255).astype(np.float32)
    image = np.empty((size, size, 3), np.uint8)
    image[:] = np.rint(first)
    slope = np.linspace(0, 1, size, dtype=np.float32)
    image = blend(image, second, 0.5 * slope[:, None] + 0.5 * slope if rng.uniform() < 0.5 else noise_map(size, rng, 4))
    kind = rng.uniform()
    if kind < 0.35:
        image = blend(image, third, 0.6 * stripes(size, size, rng, rng.uniform(8, 40)))
    elif kind < 0.55:
        period = rng.uniform(12, 40)
        tiles = stripes(size, size, rng, period) != stripes(size, size, rng, period)
        image = blend(image, third, 0.6 * tiles)
    grain = 0.7 * noise_map(size, rng, size // 8) + 0.3 * noise_map(size, rng, size // 2)
    return blend(image, 255 * (rng.uniform() < 0.5), rng.uniform(0.1, 0.4) * grain)


def palette(rng, behind):
    """Colours by tone. The body's is the farthest from `behind` (3,) of four random colours, so that it shows."""
    choices = rng.randint(0, 256, (4, 3))
    distances = np.abs(choices - np.asarray(behind)).sum(axis=1)
    body = choices[distances.argmax()]
    accent = (body + rng.randint(60, 196, 3)) % 256
    light, dark = rng.randint(200, 256, 3), rng.randint(0, 60, 3)
    return {'body': body, 'accent': accent, 'light': light, 'dark': dark}


def place_parts(parts, side, rng, max_tilt):
    """Stretch, mirror and turn a thing, then scale it to `side` pixels along the longer side of its box.

    Returns:
        the polygons in pixels, (n, 2) float64 each, their box beginning at (1, 1); height and width of the canvas,
        which leaves one pixel free on every side.
    """
    stretch = math.exp(rng.uniform(-0.5, 0.5) * math.log(MAX_ASPECT))
    mirror = rng.choice([-1, 1])
    tilt = math.radians(rng.uniform(-max_tilt, max_tilt))
    turn = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    polygons = [part.points * (mirror * stretch, 1 / stretch) @ turn.T for part in parts]
    corners = np.vstack(polygons)
    low, extent = corners.min(axis=0), corners.max(axis=0) - corners.min(axis=0)
    scale = side / extent.max()
    width, height = np.ceil(extent * scale).astype(int) + 3
    return [(points - low) * scale + 1 for points in polygons], height, width


def shaded(colour, rng):
    """(h, w, 3) uint8: `colour` with light falling from one side and a soft highlight towards it."""
    height, width = colour.shape[:2]
    angle = rng.uniform(0, 2 * math.pi)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    towards = x * math.cos(angle) + y * math.sin(angle)
    gloss = 1 - ((x - 0.4 * math.cos(angle)) ** 2 + (y - 0.4 * math.sin(angle)) ** 2) / 0.2
    darker = blend(colour, 0, rng.uniform(0.1, 0.3) * (1 - towards).clip(0, 2))
    return blend(darker, 255, rng.uniform(0, 0.5) * gloss.clip(0, 1))


def sprite(name, side, rng, behind=(128, 128, 128)):
    """Paint one thing of class `name`, its box `side` pixels along the longer side, to be seen before colour `behind`.

    Returns:
        Sprite. Its box is the extent of alpha >= 128.
    """
    parts = SHAPES[name](rng)
    tones = palette(rng, behind)
    polygons, height, width = place_parts(parts, side, rng, MAX_TILT[name])
    colour = np.empty((height, width, 3), np.uint8)
    colour[:] = tones['body']
    if rng.uniform() < 0.3:
        colour = blend(colour, tones['accent'], 0.5 * stripes(height, width, rng, side * rng.uniform(0.15, 0.4)))
    alpha = np.zeros((height, width), np.uint8)
    for part, points in zip(parts, polygons):
        corners = [np.rint(points * 2 ** POLYGON_SHIFT).astype(np.int32)]
        cv2.fillPoly(alpha, corners, 0 if part.tone == 'hole' else 255, cv2.LINE_AA, POLYGON_SHIFT)
        if part.tone not in ('body', 'hole'):
            cv2.fillPoly(colour, corners, tones[part.tone].tolist(), cv2.LINE_AA, POLYGON_SHIFT)
    colour = shaded(colour, rng)
    if rng.uniform() < 0.8:
        border = alpha - cv2.erode(alpha, OUTLINE, iterations=1 + (side > 45), borderValue=0)
        colour = blend(colour, tones['dark'], 0.8 / 255 * border)
    return Sprite(name, colour, alpha)


def soften(image, rng):
    """What a cheap camera does to `image` (h, w, 3) uint8: half of the pictures blurred a little, all with noise."""
    if rng.uniform() < 0.5:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.4, 0.9))
    noise = rng.normal(0, rng.uniform(2, 6), image.shape)
    return np.rint(image + noise).clip(0, 255).astype(np.uint8)
