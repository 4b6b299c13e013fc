"""Object proposals in files: read, wherever they were made (selective search, EdgeBoxes, an RPN), and given to images.

    .mat  cell array `boxes`, as the release and Fast R-CNN have it: y1, x1, y2, x2, counted from 1
    .mat  cell array `bbs`, as edgeBoxes.m returns it for a list of images: x, y, width, height, score, counted from 1
    .npz  `index`, the images' names, `counts`, how many boxes each has, and `dets`, (sum of counts, 4 or 5): all boxes,
          image after image, as x1, y1, x2, y2 and perhaps a score, counted from 0
    .pkl  a list of such arrays in the order of the image list (the release's RPN), or a dict of them by name

A .mat file may name its images in a cell array `images`. A name is the data set's `index`, with or without extension.
"""
from __future__ import annotations

import os
import zipfile
from collections import Counter
from typing import Sequence

import numpy as np

from lib.dataset import mat_file
from lib.errors import DatasetError
from lib.utils.image_file import IMAGE_EXTENSIONS
from lib.utils.limits import MAX_ARRAY_BYTES, MAX_PROPOSAL_BYTES, is_there, open_input
from lib.utils.safe_load import load_pickle
from lib.utils.whole_file import whole_file

# Pixels by which a box may leave the image: boxes found in an enlarged image end at (width * scale - 1) / scale.
TOLERANCE = 1.0
LEAST_LIMIT = 2 ** 28   # bytes: smaller files are never refused for their size


def save_proposals(path: str, index: Sequence[str], all_proposals: Sequence[np.ndarray]) -> None:
    """Write a file of proposals. It gets its name only when it is complete.

    Args:
        path: ending in `.npz`.
        index: names of N images.
        all_proposals: N arrays (n, 5), boxes and scores.
    """
    arrays = {'index': np.array(index, dtype=str),
              'counts': np.array([len(dets) for dets in all_proposals], dtype=np.int64),
              'dets': np.concatenate([np.zeros((0, 5), dtype=np.float32)] + list(all_proposals)).astype(np.float32)}
    # np.savez of NumPy 1 leaves its archive open after an error, and Python prints a traceback of closing it later.
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, 'w') as archive:
        for name, array in arrays.items():
            with archive.open(name + '.npy', 'w', force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def load_proposals(path: str, indexes: Sequence[str]) -> list[np.ndarray]:
    """The proposals of a list of images.

    Args:
        path: of a .mat, .npz or .pkl file; see the head of this file.
        indexes: names of the images. A file without names must have as many images, in the same order; one with names
            may have more, in any order.
    Returns:
        list of (m, 5) float32 arrays, x1, y1, x2, y2 from 0 and score.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: the file is damaged or of another kind, has another number of images, or lacks one.
    """
    if not is_there(path):
        raise FileNotFoundError('%s: there is no such file of proposals; rfcn propose can write one' % path)
    readers = {'.mat': _read_mat, '.npz': _read_npz, '.pkl': _read_pickle}
    extension = os.path.splitext(path)[1].lower()
    if extension not in readers:
        raise DatasetError('%s: expected proposals in a file whose name ends in %s' % (path, ', '.join(readers)))
    arrays, names = readers[extension](path, most_bytes(len(indexes)))
    if names is not None:
        arrays = _by_name(arrays, names, indexes, path)
    elif len(arrays) != len(indexes):
        raise DatasetError('%s: proposals of %d images expected, found %d, and no names. Was it made for another image '
                           'set?' % (path, len(indexes), len(arrays)))
    return [_as_proposals(array, index, path) for array, index in zip(arrays, indexes)]


def check_proposals(proposals: np.ndarray, entry: dict, path: str) -> None:
    """Raise a DatasetError, which names image and box, unless proposals lie in their image.

    They may leave it by up to TOLERANCE pixels: those of an RPN end where the enlarged image did.

    Args:
        proposals: (m, 5) float32.
        entry: of the roidb.
        path: of the file of proposals, for errors.
    """
    last = np.array([entry['width'] - 1, entry['height'] - 1] * 2, dtype=np.float32)
    boxes = proposals[:, :4]
    with np.errstate(invalid='ignore'):  # NaN compares as false
        good = (boxes >= -TOLERANCE) & (boxes <= last + TOLERANCE)
        good = good.all(axis=1) & (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
    bad = np.flatnonzero(~good)
    if len(bad):
        raise DatasetError('%s: image %s of %d x %d pixels, proposal %d is (x1, y1, x2, y2) = (%s): outside, or ends '
                           'before it begins. Was it made for another image set, or written in another order?'
                           % (path, entry['index'], entry['width'], entry['height'], bad[0],
                              ', '.join('%g' % value for value in boxes[bad[0]])))


def _by_name(arrays, names, indexes, path):
    """The arrays of these images, in their order."""
    number = {name: i for i, name in enumerate(names)}
    if len(number) < len(names):
        twice = next(name for i, name in enumerate(names) if number[name] != i)
        raise DatasetError('%s: it names %d images twice, such as %s. Give each image its proposals once'
                           % (path, len(names) - len(number), twice))
    alike = Counter(map(_bare, names))      # a.jpg and a.png are two images; neither of them is meant by a
    bare = {_bare(name): i for i, name in enumerate(names) if alike[_bare(name)] == 1}
    found = [number.get(index, bare.get(_bare(index))) for index in indexes]
    missing = [index for index, place in zip(indexes, found) if place is None]
    if missing:
        raise DatasetError('%s: no proposals for %d of %d images, such as %s; it has %d images, such as %s. Was it '
                           'made for another image set?' % (path, len(missing), len(indexes), missing[0], len(number),
                                                       next(iter(number), 'none')))
    return [arrays[place] for place in found]


def most_bytes(images: int) -> int:
    """How many bytes the proposals of so many images may unpack to. The file may hold those of other sets too."""
    return min(MAX_ARRAY_BYTES, max(LEAST_LIMIT, 4 * images * MAX_PROPOSAL_BYTES))


def _read_mat(path, most):
    """Arrays of x1, y1, x2, y2 (, score) from 0, and names or None."""
    content, found = mat_file.load(path, ('boxes', 'bbs', 'images'), most)
    key = next((key for key in ('boxes', 'bbs') if key in content), None)
    if key is None:
        raise DatasetError("%s: a cell array 'boxes' (y1, x1, y2, x2) or 'bbs' (x, y, width, height, score) expected, "
                           'found %s' % (path, ', '.join(found) or 'nothing'))
    convert = _from_selective_search if key == 'boxes' else _from_edge_boxes
    arrays = [convert(cell, path) for cell in content[key]]
    if 'images' not in content:
        return arrays, None
    names = [str(cell) for cell in content['images']]
    if len(names) != len(arrays):
        raise DatasetError('%s: it names %d images and has boxes of %d: the two must be equal'
                           % (path, len(names), len(arrays)))
    return arrays, names


def _from_selective_search(cell, path):
    # float before the subtraction: of uint16, 0 - 1 would be 65535
    cell = _numbers(cell, (4,), path)
    return cell[:, [1, 0, 3, 2]] - 1


def _from_edge_boxes(cell, path):
    x, y, width, height, score = _numbers(cell, (5,), path).T
    return np.stack([x - 1, y - 1, x + width - 2, y + height - 2, score], axis=1)


def _read_npz(path, most):
    names, counts, dets = read_npz(path, ('index', 'counts', 'dets'), most)
    if names.ndim != 1 or dets.ndim != 2 or counts.shape != names.shape or counts.dtype.kind not in 'iu' \
            or counts.min(initial=0) < 0 or counts.max(initial=0) > len(dets) or counts.sum() != len(dets):
        raise DatasetError('%s: its arrays do not fit together: index %s, counts %s, dets %s. Expected are n names, n '
                           'whole numbers, and as many rows as they sum up to'
                           % (path, names.shape, counts.shape, dets.shape))
    if names.dtype.kind not in 'Uiu':
        raise DatasetError('%s: index: an array of texts or whole numbers expected, the names of the images, found %s'
                           % (path, names.dtype))
    return np.split(dets, np.cumsum(counts)[:-1]), [str(name) for name in names.tolist()]


def _read_pickle(path, _):
    content = load_pickle(path)
    if isinstance(content, dict):
        return list(content.values()), [str(name) for name in content]
    if isinstance(content, (list, tuple)):
        return content, None
    raise DatasetError('%s: a list of arrays or a dict of them expected, found %s' % (path, type(content).__name__))


def _as_proposals(array, index, path):
    array = _numbers(array, (4, 5), '%s: image %s' % (path, index))
    # MATLAB's arrays lie in memory column by column, and ours row by row.
    return np.hstack([array, np.ones((len(array), 5 - array.shape[1]))]).astype(np.float32, order='C')


def _numbers(array, columns, source):
    """(m, one of `columns`) float64; an empty array of any shape is (0, columns[0])."""
    array = np.asarray(array)
    if array.size == 0:
        return np.zeros((0, columns[0]))
    if array.ndim != 2 or array.shape[1] not in columns or array.dtype.kind not in 'fiu':
        raise DatasetError('%s: an array of numbers (m, %s) expected, found %s of shape %s'
                           % (source, ' or '.join(map(str, columns)), array.dtype, array.shape))
    return array.astype(np.float64)


def _bare(name):
    """An image's name without an image's extension."""
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in IMAGE_EXTENSIONS else name


def read_npz(path: str | os.PathLike, names: Sequence[str], most: int = MAX_ARRAY_BYTES) -> list[np.ndarray]:
    """The arrays of these names in an .npz file.

    Raises:
        DatasetError: there is no such file, it is damaged, lacks one of the arrays, holds Python objects, or would
            unpack to more than `most` bytes.
    """
    try:
        with open_input(path) as file:
            with zipfile.ZipFile(file) as archive:
                size = sum(info.file_size for info in archive.infolist())
            if size > most:
                raise ValueError('it would unpack to %d bytes, more than %d' % (size, most))
            file.seek(0)
            with np.load(file, allow_pickle=False) as content:
                arrays = [content[name] for name in names]
        if not all(isinstance(array, np.ndarray) for array in arrays):
            raise ValueError('not all of them are arrays')  # NumPy returns the bytes of other files as they are
        return arrays
    except Exception as error:  # a damaged file raises nearly anything
        raise DatasetError('%s: not an .npz file of plain arrays %s, or a damaged one (%s). Make it again'
                           % (path, ', '.join(names), error)) from None
