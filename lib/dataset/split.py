"""Splits a data set into sets; pictures that are nearly alike stay in the same set.

Pictures that differ only in size, encoding or a few pixels (frames of one film, a photograph saved twice) must not be
in two sets: a test with pictures like those of the training gives results that are too good.
"""
from __future__ import annotations

from collections import defaultdict
from typing import Mapping, Sequence

import cv2
import numpy as np

SIDE = 8        # a fingerprint has SIDE * SIDE bits
FEW = 20        # groups: of fewer, the sets after the first get no more than their share of them
PARTS = 4       # fingerprints are alike if they differ in fewer bits than this; then one of so many parts is equal


def fingerprint(image: np.ndarray) -> int:
    """The difference hash of a picture: 64 bits that change little when it is resized or encoded again.

    The picture is shrunk to 9 x 8 grey levels. A bit is 1 where it gets brighter from one column to the next.

    Args:
        image: (H, W) uint8, grey.
    Returns:
        int below 2 ** 64.
    """
    small = cv2.resize(image, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA).astype(int)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), 'big')


def alike_groups(prints: Sequence[int]) -> list[list[int]]:
    """Group the pictures whose fingerprints differ in fewer than PARTS bits, directly or through other pictures.

    Args:
        prints: the `fingerprint` of each picture.
    Returns:
        lists of numbers of pictures, in the order of their first pictures; each picture is in one list.
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
          rng: np.random.RandomState, placed: Mapping[int, int] | None = None) -> list[list[int]]:
    """Distribute groups of pictures over sets, so that each set gets its share of the objects of every class.

    Groups with the rarest classes come first. Each goes to the set that lacks most objects of the rarest class in the
    group; a group without objects goes to the set that lacks most pictures.

    Of fewer than FEW groups, that rule alone would leave the first set, to train on, a third: a picture has objects of
    several classes. Then each other set gets its share of the groups at most, rounded down, and one at least; the first
    gets the rest. Of 8 groups and shares of 0.7, 0.15 and 0.15 these are 6, 1 and 1.

    Args:
        groups: of `alike_groups`.
        labels: for each picture the labels of its objects, (n,) int.
        shares: of the sets, all above 0, sum 1.
        rng: decides the order of equal groups.
        placed: number of a group -> number of the set that it belongs to; the others are distributed beside these.
    Returns:
        for each share a sorted list of numbers of pictures.
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
    room = np.full(len(shares), len(groups))        # how many groups more a set may get
    if len(groups) < FEW:
        room[1:] = np.maximum(1, shares[1:] * len(groups))
        room[0] -= room[1:].sum()
    sets, placed = [[] for _ in shares], placed or {}
    for number in sorted(rng.permutation(len(groups)), key=lambda i: (i not in placed, rarity[i], -sizes[i])):
        need = pictures if empty[number] else lacking[:, rarest[number]]
        chosen = placed.get(number, int(np.lexsort((-pictures, -need / shares, room < 1))[0]))
        room[chosen] -= 1
        sets[chosen] += groups[number]
        lacking[chosen] -= counts[number]
        pictures[chosen] -= sizes[number]
    return [sorted(of_set) for of_set in sets]
