"""The things that the demo's pictures show, each a list of polygons.

A thing is known by its shape alone: colours, stripes, shading and size are drawn from the same distributions for all.
Coordinates are those of the unit frame: x to the right, y downwards, the thing about [-1, 1] wide and high.
"""
import math
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """One polygon of a thing. Parts are painted in order; a 'hole' takes away what lies under it."""

    points: np.ndarray  # (n, 2) float64, unit frame
    tone: str  # 'body', 'accent', 'light', 'dark' or 'hole'


def arc(cx, cy, rx, ry, start=0., stop=360., steps=32):
    """(steps, 2) points along an ellipse from `start` to `stop` degrees, clockwise on the screen from the right."""
    angles = [math.radians(start + (stop - start) * i / (steps - 1)) for i in range(steps)]
    return np.array([(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles])


def polygon(*points):
    """(n, 2) float64 of the points given one by one."""
    return np.array(points, dtype=np.float64)


def ball(rng):
    """A beach ball: a full disc with three wedges that meet somewhere near its middle."""
    pole = rng.uniform(-0.35, 0.35, 2)
    wedges = [np.vstack([pole, arc(0, 0, 1, 1, start, start + 60, 9)]) for start in (0, 120, 240)]
    return [Part(arc(0, 0, 1, 1), 'body')] + [Part(wedge, 'accent') for wedge in wedges]


def donut(rng):
    """A disc with a hole, often iced and strewn with sprinkles."""
    hole = rng.uniform(0.32, 0.45)
    parts = [Part(arc(0, 0, 1, 1), 'body')]
    if rng.uniform() < 0.6:
        wave = 1 + 0.06 * np.cos(7 * np.linspace(0, 2 * math.pi, 64))[:, None]
        parts.append(Part(arc(0, 0, 0.84, 0.84, steps=64) * wave, 'accent'))
        middle = (0.85 + hole) / 2
        for start in rng.uniform(0, 360, 7):
            parts.append(Part(arc(*arc(0, 0, middle, middle, start, start, 2)[0], 0.1, 0.06, steps=8), 'light'))
    return parts + [Part(arc(0, 0, hole, hole), 'hole')]


def star(rng):
    """A star of five points, sometimes with a smaller one inside."""
    inner = rng.uniform(0.40, 0.52)
    radii = np.array([1, inner] * 5)[:, None]
    outline = radii * arc(0, 0, 1, 1, -90, 234, 10)  # 36 degrees from corner to corner
    parts = [Part(outline, 'body')]
    if rng.uniform() < 0.4:
        parts.append(Part(0.5 * outline, 'accent'))
    return parts


def heart(rng):
    """A heart, sometimes with a second one inside."""
    angles = np.linspace(0, 2 * math.pi, 48)
    x = np.sin(angles) ** 3
    y = -(13 * np.cos(angles) - 5 * np.cos(2 * angles) - 2 * np.cos(3 * angles) - np.cos(4 * angles)) / 16
    outline = np.stack([x, y], axis=1)
    parts = [Part(outline, 'body')]
    if rng.uniform() < 0.4:
        parts.append(Part(0.55 * outline, 'accent'))
    return parts


def fish(rng):
    """A fish that looks to the left: a lens of a body, a forked tail, a fin on its back and an eye."""
    depth = rng.uniform(0.52, 0.68)
    fork = rng.uniform(0.65, 0.85)
    back = polygon((-0.45, -0.7 * depth), (-0.05, -1.35 * depth), (0.3, -0.6 * depth))
    tail = polygon((0.3, 0), (1, -0.9 * depth), (fork, 0), (1, 0.9 * depth))
    return [Part(back, 'body'), Part(tail, 'body'), Part(arc(-0.3, 0, 0.72, depth), 'body'),
            Part(polygon((-0.2, 0.1), (0.2, -0.1), (0.15, 0.35)), 'accent'),
            Part(arc(-0.68, -0.15, 0.15, 0.15, steps=16), 'light'), Part(arc(-0.7, -0.15, 0.07, 0.07, steps=8), 'dark')]


def house(rng):
    """A house with a pointed roof, a chimney, a door and a window."""
    eaves = rng.uniform(-0.25, 0.05)
    wall = rng.uniform(0.72, 0.85)
    door = rng.choice([-1, 1]) * 0.35
    return [Part(polygon((-wall, eaves), (wall, eaves), (wall, 1), (-wall, 1)), 'body'),
            Part(polygon((0.4, -0.9), (0.65, -0.9), (0.65, eaves), (0.4, eaves)), 'body'),
            Part(polygon((-1, eaves), (0, -1), (1, eaves)), 'accent'),
            Part(polygon((door - 0.2, 0.35), (door + 0.2, 0.35), (door + 0.2, 0.98), (door - 0.2, 0.98)), 'dark'),
            Part(polygon((-door - 0.2, 0.25), (-door + 0.2, 0.25), (-door + 0.2, 0.6), (-door - 0.2, 0.6)), 'light')]


def mushroom(rng):
    """A mushroom: half a disc with light dots on a pale stem that widens downwards."""
    brim = rng.uniform(0.05, 0.3)
    top, foot = rng.uniform(0.2, 0.3), rng.uniform(0.3, 0.45)
    cap = np.vstack([arc(0, brim, 1, 1 + brim, 180, 360), arc(0, brim, 1, 0.15, 0, 180)])
    dots = [(-0.5, -0.2, 0.17), (0.1, -0.55, 0.2), (0.5, -0.1, 0.15)]
    return ([Part(cap, 'body'), Part(polygon((-top, brim), (top, brim), (foot, 1), (-foot, 1)), 'light')]
            + [Part(arc(x, y, r, r, steps=16), 'light') for x, y, r in dots])


# How to draw each class, and how far it may be turned (degrees to either side) and still be itself.
SHAPES = {'ball': ball, 'donut': donut, 'fish': fish, 'heart': heart, 'house': house, 'mushroom': mushroom,
          'star': star}
MAX_TILT = {'ball': 180, 'donut': 180, 'fish': 40, 'heart': 35, 'house': 15, 'mushroom': 30, 'star': 180}
CLASSES = tuple(SHAPES)
