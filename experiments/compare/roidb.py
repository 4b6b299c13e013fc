"""Rows for a list of images with their objects."""
import numpy as np

from experiments.compare.report import EXACT, PLAIN
from experiments.compare.vectors import plain
from lib.bbox.bbox_transform import bbox_overlaps

FRACTIONS = 'boxes are float32 and keep their fractions; the release cuts them off and keeps uint16'


def check_roidb(report, ours, theirs, identity, released=None, reason=FRACTIONS):
    """Compare entry by entry, a row for each field.

    Args:
        ours: list of entries, see `lib/dataset/imdb.py`.
        theirs: the release's, from a json.
        identity: field of theirs that says which image it is, and a function of our entry that gives the same.
        released: entries by the release's rule, if other than ours with whole-numbered boxes.
        reason: why ours differ from those.
    """
    theirs = plain(theirs)
    released = [dict(entry, boxes=entry['boxes'].astype(np.uint16)) for entry in released or ours]
    for key in sorted({key for entry in theirs for key in entry}):
        field = identity[1] if key == identity[0] else _FIELDS[key]
        join = _joined(_ROWS[key]) if key in _ROWS else list
        report.check('roidb ' + key, join([field(entry) for entry in ours]), join([entry[key] for entry in theirs]),
                     PLAIN if key == 'max_overlaps' else EXACT, lambda: join([field(entry) for entry in released]),
                     FRACTIONS if key == 'boxes_dtype' else reason)


def _joined(shape):
    """A function that joins arrays, or lists, of several images."""
    return lambda values: np.concatenate([np.reshape(value, shape) for value in values])


def _best_overlaps(entry):
    boxes = entry['boxes']
    return bbox_overlaps(boxes, boxes).max(axis=1) if len(boxes) else np.zeros(0)


_FIELDS = {key: lambda entry, key=key: entry[key] for key in ('width', 'height', 'flipped', 'gt_classes', 'boxes')}
_FIELDS['max_classes'] = _FIELDS['gt_classes']  # an object is its own best match
_FIELDS['max_overlaps'] = _best_overlaps
_FIELDS['boxes_dtype'] = lambda entry: entry['boxes'].dtype.name
_ROWS = {'boxes': (-1, 4), 'gt_classes': -1, 'max_classes': -1, 'max_overlaps': -1}  # fields with a row an object
