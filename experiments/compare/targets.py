"""What anchors and RoIs are to predict, with the same random draws."""
import numpy as np

from experiments.compare.report import PLAIN
from lib.bbox.bbox_regression import (add_bbox_regression_targets, compute_bbox_regression_targets,
                                      expand_bbox_regression_targets)
from lib.rcnn.proposal_target import proposal_target
from lib.rcnn.sample_rois import sample_rois
from lib.rpn.anchor_target import as_blobs, assign_anchor
from lib.rpn.generate_anchor import generate_anchors, shifted_anchors
from rfcn.config.defaults import KEYS

UNTOUCHED = 'an object that no anchor touches has no anchor; the release gives it all of overlap 0 (untouched_objects_match=True)'
PADDING = 'RoIs that fill up a batch train nothing; the release labels them background (pad_label=0)'
DRAW = 'draw afterwards'
# Keys of the release's cfg.TRAIN and the keywords of assign_anchor that they are here.
ANCHOR_KEYS = {'RPN_BATCH_SIZE': 'batch_size', 'RPN_FG_FRACTION': 'fg_fraction', 'RPN_POSITIVE_OVERLAP': 'fg_thresh',
                'RPN_NEGATIVE_OVERLAP': 'bg_thresh', 'RPN_CLOBBER_POSITIVES': 'clobber_positives', 'RPN_BBOX_WEIGHTS': 'bbox_weights'}
_SAMPLE = ('rois', 'labels', 'bbox_targets', 'bbox_weights')


def check_assign_anchor(vector, report):
    """Labels and targets of all anchors."""
    for i, case in vector.cases('gt_%d'):
        height, width = case['feat_shape'][2:]
        anchors = shifted_anchors(height, width, case['feat_stride'],
                                  generate_anchors(case['feat_stride'], case['ratios'], case['scales']))
        settings = {ANCHOR_KEYS[key]: case['overrides'][key] for key in case['overrides']}
        settings.update(allowed_border=case['allowed_border'])

        def run(**switch):
            rng = np.random.RandomState(case['seed'])
            blobs = as_blobs(*assign_anchor(anchors, vector['gt_%d' % i], vector['im_info_%d' % i][0, :2], rng=rng, **settings,
                                            **switch), height, width)
            return _anchor_numbers(blobs, vector['bbox_weight_nonzero_%d' % i], rng)
        names = ['label', 'bbox_weight_sum', 'bbox_weight_nonzero', 'bbox_weight_values', 'bbox_target_sum', 'bbox_target_abs_sum',
                 'bbox_target_at_nonzero'] + ['bbox_target'] * ('bbox_target_%d' % i in vector)
        theirs = {name: vector['%s_%d' % (name, i)] for name in names}
        theirs.update((key, case[key]) for key in ('n_fg', 'n_bg', 'n_ignore'))
        theirs.update(('shape of ' + name, case['shapes'][name]) for name in case['shapes'])
        theirs[DRAW] = case['npr_randint_2p30_after']
        report.check_all('anchors of image %d' % i, run(), theirs, PLAIN, lambda: run(untouched_objects_match=True), UNTOUCHED)


def _anchor_numbers(blobs, places, rng):
    """What a vector holds of the blobs; `places` are where their weights are not 0."""
    label, target, weight = blobs['label'], blobs['bbox_target'], blobs['bbox_weight']
    numbers = {'label': label, 'bbox_weight_sum': weight.sum(dtype=np.float64), 'bbox_weight_nonzero': np.flatnonzero(weight),
               'bbox_weight_values': weight[weight != 0], 'bbox_target': target, 'bbox_target_sum': target.sum(dtype=np.float64),
               'bbox_target_abs_sum': np.abs(target).sum(dtype=np.float64), 'bbox_target_at_nonzero': target.ravel()[places],
               'n_fg': np.sum(label == 1), 'n_bg': np.sum(label == 0), 'n_ignore': np.sum(label == -1), DRAW: rng.randint(1 << 30)}
    numbers.update(('shape of ' + name, blob.shape) for name, blob in blobs.items())
    return numbers


def check_sample_rois(vector, report):
    """RoIs that train, their labels and targets."""
    for i, case in vector.cases('gt_%d'):
        settings = dict(fg_rois_per_image=case['fg_rois_per_image'], rois_per_image=case['rois_per_image'],
                        num_classes=case['num_classes'], class_agnostic=case['CLASS_AGNOSTIC'], fg_thresh=case['FG_THRESH'],
                        bg_thresh_hi=case['BG_THRESH_HI'], bg_thresh_lo=case['BG_THRESH_LO'], bbox_weights=case['BBOX_WEIGHTS'])
        if case['BBOX_NORMALIZATION_PRECOMPUTED']:
            settings.update(bbox_means=case['BBOX_MEANS'], bbox_stds=case['BBOX_STDS'])
        case.note('BATCH_ROIS', 'BBOX_MEANS', 'BBOX_STDS')  # the former is in rois_per_image
        theirs = {name: vector['out_%s_%d' % (name, i)] for name in _SAMPLE}
        theirs.update({'n': case['n'], 'n_fg_label': case['n_fg_label'], 'shapes': sum(case['shapes'], []), 'dtypes': case['dtypes'],
                       DRAW: case['npr_randint_2p30_after']})

        def run(**switch):
            rng = np.random.RandomState(case['seed'])
            sample = sample_rois(vector['rois_%d' % i], vector['gt_%d' % i], rng=rng, **settings, **switch)
            return _sample_numbers(sample, _SAMPLE, rng, n=len(vector['rois_%d' % i]), n_fg_label=np.sum(sample[1] > 0),
                                   dtypes=[array.dtype.name for array in sample])
        report.check_all('RoIs of image %d' % i, run(), theirs, PLAIN, lambda: run(pad_label=0), PADDING)


def _sample_numbers(sample, names, rng, **more):
    """Arrays by name, their shapes one after the other, and the next number of `rng`."""
    return dict(zip(names, sample), shapes=[side for array in sample for side in array.shape], **more, **{DRAW: rng.randint(1 << 30)})


def check_proposal_target(vector, report):
    """The same for a batch, objects included, end to end."""
    names = ('rois', 'label', 'bbox_target', 'bbox_weight')
    for i, case in vector.cases('gt_%d'):
        rois, gt_boxes = vector['rois_%d' % i], vector['gt_%d' % i].reshape(case['batch_images'], -1, 5)
        settings = dict(batch_rois=case['batch_rois'], fg_fraction=case['fg_fraction'], num_classes=case['num_classes'],
                        class_agnostic=case['CLASS_AGNOSTIC'], bbox_means=KEYS['TRAIN.BBOX_MEANS'].default,
                        bbox_stds=KEYS['TRAIN.BBOX_STDS'].default)
        theirs = {name: vector['out_%s_%d' % (name, i)] for name in names}
        theirs.update({'n_fg': case['n_fg'], 'shapes': sum(case['shapes'], []), DRAW: case['npr_randint_2p30_after']})

        def run(**switch):
            rng = np.random.RandomState(case['npr_seed'])
            sample = proposal_target(rois, gt_boxes, rng=rng, **settings, **switch)
            return _sample_numbers(sample, names, rng, n_fg=np.sum(sample[1] > 0))
        report.check_all('batch %d' % i, run(), theirs, PLAIN, lambda: run(pad_label=0), PADDING)


def check_expand_targets(vector, report):
    """Targets laid out by class."""
    for i in vector.indices('in_%d'):
        class_agnostic, num_classes = vector['args_%d' % i].tolist()
        targets, weights = expand_bbox_regression_targets(vector['in_%d' % i], num_classes, class_agnostic=bool(class_agnostic),
                                                          bbox_weights=vector['bbox_weights_cfg_%d' % i])
        report.check('targets %d' % i, targets, vector['targets_%d' % i], PLAIN)
        report.check('weights %d' % i, weights, vector['weights_%d' % i], PLAIN)


def check_bbox_regression(vector, report):
    """Targets of given proposals, for alternate training, before and after they are normalised over the images."""
    for i, case in enumerate(vector.record):
        roidb = [{'boxes': vector['boxes_%d_%d' % (i, j)], 'max_overlaps': vector['max_overlaps_%d_%d' % (i, j)],
                  'max_classes': vector['max_classes_%d_%d' % (i, j)]} for j in vector.indices('boxes_%d_%%d' % i)]
        for j, entry in enumerate(roidb):
            raw = compute_bbox_regression_targets(entry['boxes'], entry['max_overlaps'], entry['max_classes'],
                                                  thresh=KEYS['TRAIN.BBOX_REGRESSION_THRESH'].default)
            report.check('case %d, image %d, raw' % (i, j), raw, vector['raw_targets_%d_%d' % (i, j)], PLAIN)
        given = {}
        if case['BBOX_NORMALIZATION_PRECOMPUTED']:
            given = dict(bbox_means=KEYS['TRAIN.BBOX_MEANS'].default, bbox_stds=KEYS['TRAIN.BBOX_STDS'].default)
        means, stds = add_bbox_regression_targets(roidb, num_classes=len(vector['means_%d' % i]) // 4,
                                                  class_agnostic=case['CLASS_AGNOSTIC'], **given)
        report.check('case %d, means' % i, means, vector['means_%d' % i], PLAIN)
        report.check('case %d, stds' % i, stds, vector['stds_%d' % i], PLAIN)
        for j, entry in enumerate(roidb):
            report.check('case %d, image %d, targets' % (i, j), entry['bbox_targets'], vector['targets_%d_%d' % (i, j)], PLAIN)
