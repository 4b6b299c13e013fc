"""Proposals of a data set in a file: `.npz` with three arrays, read without unpickling anything.

    index    (N,) text     names of the images within their data set
    counts   (N,) int64    how many proposals each image has
    dets     (M, 5)        float32 boxes in pixels of the image and scores, image after image, the best first
"""
import os
import zipfile

import numpy as np

from lib.errors import DatasetError


def save_proposals(path, index, all_proposals):
    """Write a file of proposals; it has its name only once it is complete.

    Args:
        path: ending in `.npz`.
        index: list of N image names.
        all_proposals: list of N arrays (n, 5).
    """
    temporary = '%s.tmp-%d' % (path, os.getpid())
    try:
        with open(temporary, 'wb') as file:
            np.savez(file, index=np.array(index, dtype=str),
                     counts=np.array([len(dets) for dets in all_proposals], dtype=np.int64),
                     dets=np.concatenate([np.zeros((0, 5), dtype=np.float32)] + list(all_proposals)).astype(np.float32))
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def load_proposals(path, index):
    """Read the proposals of some images.

    Args:
        path: of a file written by `save_proposals`.
        index: list of image names; the file may hold more, in any order.
    Returns:
        list of (n, 5) float32, one for each name.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: the file is damaged, or lacks an image.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError('%s: there is no such file of proposals; rfcn/test_rpn.py writes one' % path)
    names, counts, dets = _read(path)
    ends = np.cumsum(counts)
    rows = {name: slice(end - count, end) for name, count, end in zip(names.tolist(), counts, ends)}
    missing = [name for name in index if name not in rows]
    if missing:
        raise DatasetError('%s: no proposals for %d of %d images, the first of them %s. Were they made for another '
                           'image set?' % (path, len(missing), len(index), missing[0]))
    return [dets[rows[name]] for name in index]


def _read(path):
    """The three arrays, checked against each other."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names, counts, dets = (file[name] for name in ('index', 'counts', 'dets'))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError('%s: no file of proposals, or a damaged one (%s). Make it again' % (path, error)) from None
    if dets.shape[1:] != (5,) or dets.dtype != np.float32 or names.ndim != 1 or names.shape != counts.shape \
            or counts.dtype.kind != 'i' or counts.min(initial=0) < 0 or counts.sum() != len(dets):
        raise DatasetError('%s: its arrays do not fit together: index %s, counts %s, dets %s. Make it again'
                           % (path, names.shape, counts.shape, dets.shape))
    return names, counts, dets
