"""Rows for a list of images with their objects."""
import numpy as np

from experiments.compare.report import EXACT, PLAIN
from experiments.compare.vectors import plain
from lib.bbox.bbox_transform import bbox_overlaps

FRACTIONS = 'boxes are float32 and keep their fractions; the release cuts them off and keeps uint16'


def check_roidb(report, ours, theirs, identity, released=None, reason=FRACTIONS):
    """Compare entry by entry, a row for each field.

    Args:
        ours: list of entries, see `lib/utils/roidb.py`.
        theirs: the release's, from a json.
        identity: field of theirs that says which image it is, and a function of our entry that gives the same.
        released: entries by the release's rule, if other than ours with whole-numbered boxes; `reason` says why ours differ.
    """
    theirs = plain(theirs)
    released = [dict(entry, boxes=entry['boxes'].astype(np.uint16)) for entry in released or ours]
    for key in sorted({key for entry in theirs for key in entry}):
        field = identity[1] if key == identity[0] else _FIELDS[key]
        expected, joined = [entry[key] for entry in theirs], key in _JOINED
        if joined:
            expected = np.concatenate([np.reshape(value, _JOINED[key]) for value in expected])
        value, by_rule = [(np.concatenate if joined else list)([field(entry) for entry in entries]) for entries in (ours, released)]
        report.check('roidb: ' + key, value, expected, PLAIN if key == 'max_overlaps' else EXACT, lambda: by_rule,
                     FRACTIONS if key == 'boxes_dtype' else reason)


def _best_overlaps(boxes):
    return bbox_overlaps(boxes, boxes).max(axis=1) if len(boxes) else np.zeros(0)


_FIELDS = {key: lambda entry, key=key: entry[key] for key in ('width', 'height', 'flipped', 'gt_classes', 'boxes')}
_FIELDS['max_classes'] = _FIELDS['gt_classes']  # an object is its own best match
_FIELDS['max_overlaps'] = lambda entry: _best_overlaps(entry['boxes'])
_FIELDS['boxes_dtype'] = lambda entry: entry['boxes'].dtype.name
_JOINED = {'boxes': (-1, 4), 'gt_classes': -1, 'max_classes': -1, 'max_overlaps': -1}  # shapes of the arrays, joined over the images
