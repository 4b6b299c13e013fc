"""A picture: things strewn over a background, partly hiding one another, and the box of each."""
from typing import NamedTuple, Tuple

import cv2
import numpy as np

from experiments.demo.paint import background, blend, soften, sprite
from experiments.demo.shapes import CLASSES

MAX_OBJECTS = 6
SIDES = (0.15, 0.56)  # longer side of a thing over the side of the picture: 24 to 90 of 160 pixels
MIN_VISIBLE = 0.65  # share of a thing's pixels that the border and the others must leave in sight
OVERHANG = 8  # a thing's canvas reaches over the border by at most this fraction, 1/8, of itself
TRIES = 20  # places tried for a thing before it is left out
NOBODY = -1


class Thing(NamedTuple):
    """One annotated thing of a picture."""

    name: str
    box: Tuple[int, int, int, int]  # x1, y1, x2, y2, 0-based, both corners inside the box
    truncated: bool  # it reaches over the picture's border


def extent(mask):
    """x1, y1, x2, y2 of the pixels that are set in a (h, w) bool mask, both corners inside."""
    x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(x[0]), int(y[0]), int(x[-1]), int(y[-1])


def window(x, y, height, width, size):
    """Where a canvas with its corner at (x, y) meets the picture: slices of the picture, slices of the canvas."""
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + width, size), min(y + height, size)
    return (slice(y1, y2), slice(x1, x2)), (slice(y1 - y, y2 - y), slice(x1 - x, x2 - x))


def stay_visible(owners, areas, inside, mask, area):
    """Whether a thing may be put down: it and all that it hides keep MIN_VISIBLE of their pixels.

    Args:
        owners: (size, size) int, which thing is seen at a pixel, or NOBODY.
        areas: pixels of each thing so far, seen or not.
        inside: slices of the picture that the new thing's `mask` covers.
        area: pixels of the new thing, those beyond the border too.
    """
    if mask.sum() < MIN_VISIBLE * area:
        return False
    seen = np.bincount(owners[owners != NOBODY], minlength=len(areas))
    under = owners[inside][mask]
    hidden = np.bincount(under[under != NOBODY], minlength=len(areas))
    return bool(np.all(seen - hidden >= MIN_VISIBLE * np.array(areas)))


def find_place(thing, owners, areas, rng):
    """A random place for a sprite where `stay_visible` holds: slices of picture and sprite; None after TRIES tries."""
    (height, width), size = thing.alpha.shape, len(owners)
    solid = thing.alpha >= 128
    for _ in range(TRIES):
        x = rng.randint(-(width // OVERHANG), size - width + width // OVERHANG + 1)
        y = rng.randint(-(height // OVERHANG), size - height + height // OVERHANG + 1)
        inside, part = window(x, y, height, width, size)
        if stay_visible(owners, areas, inside, solid[part], solid.sum()):
            return inside, part
    return None


def put_down(image, thing, inside, part, rng):
    """Lay a sprite into `image`, in place, upon a soft shadow of itself."""
    alpha = thing.alpha[part] / np.float32(255)
    shade = cv2.GaussianBlur(thing.alpha, (7, 7), 2)[part] / np.float32(255)
    lit = blend(image[inside], 0, rng.uniform(0, 0.5) * shade)
    image[inside] = blend(lit, thing.colour[part], alpha)


def box_in_picture(thing, inside, part):
    """The Thing for a sprite at a place. The box bounds the whole thing, hidden parts too, clipped to the picture."""
    x1, y1, x2, y2 = extent(thing.alpha[part] >= 128)
    left, top = inside[1].start, inside[0].start
    truncated = (thing.alpha[part] >= 128).sum() < (thing.alpha >= 128).sum()
    return Thing(thing.name, (left + x1, top + y1, left + x2, top + y2), bool(truncated))


def draw_scene(rng, size=160):
    """Draw one picture.

    Of one to MAX_OBJECTS things, those that find a place are drawn, later ones over earlier ones.

    Args:
        rng: RandomState that all choices come from.
        size: side of the picture, pixels.
    Returns:
        image: (size, size, 3) uint8, BGR.
        things: list of Thing, at least one.
    """
    image = background(size, rng)
    behind = image[::8, ::8].reshape(-1, 3).mean(axis=0)
    owners = np.full((size, size), NOBODY)
    areas, things = [], []
    for _ in range(rng.randint(1, MAX_OBJECTS + 1)):
        side = size * rng.uniform(*SIDES)
        thing = sprite(CLASSES[rng.randint(len(CLASSES))], side, rng, behind)
        place = find_place(thing, owners, areas, rng)
        if place is None:
            continue
        inside, part = place
        put_down(image, thing, inside, part, rng)
        solid = thing.alpha >= 128
        owners[inside][solid[part]] = len(areas)
        areas.append(int(solid.sum()))
        things.append(box_in_picture(thing, inside, part))
    return soften(image, rng), things
