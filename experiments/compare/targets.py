"""What anchors and RoIs are to predict, with the same random draws."""
import numpy as np

from experiments.compare.report import PLAIN
from lib.bbox.bbox_regression import (add_bbox_regression_targets, compute_bbox_regression_targets,
                                      expand_bbox_regression_targets)
from lib.rcnn.proposal_target import proposal_target
from lib.rcnn.sample_rois import sample_rois
from lib.rpn.anchor_target import as_blobs, assign_anchor
from lib.rpn.generate_anchor import generate_anchors, shifted_anchors

UNTOUCHED = 'an object that no anchor touches has no anchor; the release gives it all anchors of overlap 0 (untouched_objects_match)'
PADDING = 'RoIs that fill up the batch train nothing; the release labels them background (pad_label=0)'
# Keys of the release's cfg.TRAIN and the keywords of assign_anchor that they are here.
_ANCHOR_KEYS = {'RPN_BATCH_SIZE': 'batch_size', 'RPN_FG_FRACTION': 'fg_fraction', 'RPN_POSITIVE_OVERLAP': 'fg_thresh',
                'RPN_NEGATIVE_OVERLAP': 'bg_thresh', 'RPN_CLOBBER_POSITIVES': 'clobber_positives', 'RPN_BBOX_WEIGHTS': 'bbox_weights'}
_SAMPLE = ('rois', 'labels', 'bbox_targets', 'bbox_weights')


def check_with_draws(report, title, seed, theirs, run, switch, reason):
    """Rows for the arrays that `run(rng)` returns and for the amount of randomness it used.

    Args:
        theirs: name -> array, in the order of what `run` returns; 'draw after' is a number drawn next.
        switch: keyword and its value that restore the release's rule.
    """
    def with_draw(**switched):
        rng = np.random.RandomState(seed)
        values = list(run(rng, **switched))
        return values + [rng.randint(1 << 30)]
    ours, released = with_draw(), with_draw(**switch)
    for name, value, release_value, expected in zip(theirs, ours, released, theirs.values()):
        report.check('%s: %s' % (title, name), value, expected, PLAIN if np.asarray(expected).dtype.kind == 'f' else report_exact(),
                     lambda: release_value, reason)
