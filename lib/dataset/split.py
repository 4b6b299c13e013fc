"""Splits a data set into sets that share no picture, and none that are nearly alike.

Pictures that differ in size, encoding or a few pixels alone (frames of one film, a photograph saved twice) belong
together: on both sides they would make a test look better than it is.
"""
from __future__ import annotations

from collections import defaultdict
from typing import Sequence

import cv2
import numpy as np

SIDE = 8        # a fingerprint has SIDE * SIDE bits
PARTS = 4       # fingerprints that differ in fewer bits than this are alike: then one of so many parts is equal


def fingerprint(image: np.ndarray) -> int:
    """64 bits of a picture, which stay nearly the same when it is resized or encoded anew: its difference hash.

    A bit says whether the picture, shrunk to 9 x 8 grey levels, gets brighter from one column to the next.

    Args:
        image: (H, W) uint8, grey.
    Returns:
        int below 2 ** 64.
    """
    small = cv2.resize(image, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA).astype(int)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), 'big')


def alike_groups(prints: Sequence[int]) -> list[list[int]]:
    """Groups of pictures whose fingerprints differ in fewer than PARTS bits, directly or over others.

    Args:
        prints: list of `fingerprint`.
    Returns:
        list of lists of numbers of pictures, each picture in one group; in the order of their first pictures.
    """
    parent = list(range(len(prints)))

    def root(number):
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    bits = SIDE * SIDE // PARTS
    buckets = defaultdict(list)     # a part and its place -> one picture of each fingerprint that has it there
    first = {}
    for number, value in enumerate(prints):
        if value in first:
            parent[number] = root(first[value])
            continue
        first[value] = number
        for part in range(PARTS):
            bucket = buckets[part, value >> part * bits & 2 ** bits - 1]
            for other in bucket:
                if bin(value ^ prints[other]).count('1') < PARTS:
                    parent[root(number)] = root(other)
            bucket.append(number)
    groups = defaultdict(list)
    for number in range(len(prints)):
        groups[root(number)].append(number)
    return list(groups.values())


def split(groups: list[list[int]], labels: Sequence[np.ndarray], shares: Sequence[float],
          rng: np.random.RandomState) -> list[list[int]]:
    """Share groups of pictures out, so that each set has its share of the objects of every class.

    Groups of the rarest classes go first, each to the set that lacks most objects of its rarest class; a group without
    objects goes to the set that lacks most pictures.

    Args:
        groups: of `alike_groups`.
        labels: for each picture, the labels of its objects: list of (n,) int arrays.
        shares: of the sets, sum 1.
        rng: np.random.RandomState; decides the order among equals.
    Returns:
        list of sorted lists of numbers of pictures, one for each share.
    """
    shares = np.asarray(shares, dtype=float)
    classes = max([int(of_image.max()) + 1 for of_image in labels if len(of_image)], default=0)
    counts = np.array([np.bincount(np.concatenate([labels[i] for i in group] + [[]]).astype(int), minlength=classes)
                       for group in groups]).reshape(len(groups), classes)
    sizes = np.array([len(group) for group in groups])
    totals = counts.sum(axis=0)
    lacking = np.outer(shares, totals)                                             # (sets, classes)
    pictures = shares * sizes.sum()
    rarest = np.where(counts > 0, totals, np.inf).argmin(axis=1) if classes else np.zeros(len(groups), dtype=int)
    empty = counts.sum(axis=1) == 0
    rarity = np.where(empty, np.inf, totals[rarest] if classes else np.inf)
    sets = [[] for _ in shares]
    for number in sorted(rng.permutation(len(groups)), key=lambda i: (rarity[i], -sizes[i])):
        need = pictures if empty[number] else lacking[:, rarest[number]]
        chosen = int(np.lexsort((-pictures, -need / shares))[0])
        sets[chosen] += groups[number]
        lacking[chosen] -= counts[number]
        pictures[chosen] -= sizes[number]
    return [sorted(of_set) for of_set in sets]
