"""Rows, one a RoI, in another order: where scores differ by less than two convolutions do, and copies of one RoI."""
import numpy as np


def match_rows(ours, theirs, near):
    """Numbers of our rows in their order, (R,); the numbers as they are where no other order brings the two together.

    Args:
        ours, theirs: (R, n).
        near: how far apart two elements of the same row may be.
    """
    numbers = np.arange(len(ours))
    if ours.shape != theirs.shape or np.all(np.abs(ours - theirs) <= near):
        return numbers
    order, free = [], np.ones(len(ours), dtype=bool)
    for row in theirs:
        candidates = np.flatnonzero(free & np.all(np.abs(ours - row) <= near, axis=1))
        if not len(candidates):
            return numbers
        order.append(candidates[0])
        free[candidates[0]] = False
    return np.array(order)


def exchange_copies(ours, theirs, fingerprints, near):
    """Our rows after those with equal fingerprints have changed places where that brings them to theirs.

    Args:
        ours, theirs: (R, n). fingerprints: (R, m). near: see `match_rows`.
    """
    if ours.shape != theirs.shape:
        return ours
    exchanged = ours.copy()
    groups = np.unique(fingerprints, axis=0, return_inverse=True)[1].ravel()
    for group in np.flatnonzero(np.bincount(groups) > 1):
        rows = np.flatnonzero(groups == group)
        exchanged[rows] = ours[rows][match_rows(ours[rows], theirs[rows], near)]
    return exchanged
