"""Rows for a list of images with their objects."""
import numpy as np

from experiments.compare.report import EXACT, PLAIN
from experiments.compare.vectors import plain
from lib.bbox.bbox_transform import bbox_overlaps

FRACTIONS = 'boxes are float32 and keep their fractions; the release cuts them off and keeps uint16'


def check_roidb(report, ours, theirs, identity, released=None, reason=None):
    """Compare entry by entry, a row for each field.

    Args:
        ours: list of entries, see `lib/utils/roidb.py`.
        theirs: the release's, from a json.
        identity: field of theirs that says which image it is, and a function of our entry that gives the same.
        released, reason: see `Report.check`; another list of entries.
    """
    theirs = plain(theirs)
    field, name = identity
    fields = {
        field: lambda entries: [name(entry) for entry in entries],
        'width': lambda entries: [entry['width'] for entry in entries],
        'height': lambda entries: [entry['height'] for entry in entries],
        'flipped': lambda entries: [entry['flipped'] for entry in entries],
        'gt_classes': lambda entries: np.concatenate([entry['gt_classes'] for entry in entries]),
        'max_classes': lambda entries: np.concatenate([entry['gt_classes'] for entry in entries]),  # an object is its own best match
        'max_overlaps': lambda entries: np.concatenate([_best_overlaps(entry['boxes']) for entry in entries]),
        'boxes': lambda entries: np.concatenate([entry['boxes'] for entry in entries]),
        'boxes_dtype': lambda entries: [entry['boxes'].dtype.name for entry in entries],
    }
    integers = [dict(entry, boxes=entry['boxes'].astype(np.uint16)) for entry in ours]
    for key in sorted({key for entry in theirs for key in entry}):
        expected = [entry[key] for entry in theirs]
        if key in ('boxes', 'gt_classes', 'max_classes', 'max_overlaps'):
            expected = np.concatenate([np.reshape(value, (-1, 4) if key == 'boxes' else -1) for value in expected])
        value = fields[key](ours)
        by_rule = released or (lambda: integers)
        report.check('roidb: ' + key, value, expected, PLAIN if key == 'max_overlaps' else EXACT, lambda: fields[key](by_rule()),
                     reason if released else FRACTIONS)


def _best_overlaps(boxes):
    return bbox_overlaps(boxes, boxes).max(axis=1) if len(boxes) else np.zeros(0)
