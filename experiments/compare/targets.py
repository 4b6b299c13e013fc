"""What anchors and RoIs are to predict, with the same random draws."""
import numpy as np

from experiments.compare.report import PLAIN
from lib.bbox.bbox_regression import (
    add_bbox_regression_targets,
    compute_bbox_regression_targets,
    expand_bbox_regression_targets,
)
from lib.rcnn.sample_rois import proposal_target, sample_rois
from lib.rpn.anchors import as_blobs, assign_anchor, generate_anchors, shifted_anchors
from rfcn.config.defaults import KEYS

UNTOUCHED = ('an object that no anchor touches has no anchor; the release gives it all anchors of overlap 0 '
             '(untouched_objects_match=True)')
PADDING = 'RoIs that fill up a batch train nothing; the release labels them background (pad_label=0)'
DRAW = 'draw afterwards'
# Keys of the release's cfg.TRAIN and the keywords of assign_anchor that they are here.
ANCHOR_KEYS = {'RPN_BATCH_SIZE': 'batch_size', 'RPN_FG_FRACTION': 'fg_fraction', 'RPN_POSITIVE_OVERLAP': 'fg_thresh',
               'RPN_NEGATIVE_OVERLAP': 'bg_thresh', 'RPN_CLOBBER_POSITIVES': 'clobber_positives',
               'RPN_BBOX_WEIGHTS': 'bbox_weights'}
_SAMPLE_KEYS = {'fg_rois_per_image': 'fg_rois_per_image', 'rois_per_image': 'rois_per_image',
                'num_classes': 'num_classes', 'CLASS_AGNOSTIC': 'class_agnostic', 'FG_THRESH': 'fg_thresh',
                'BG_THRESH_HI': 'bg_thresh_hi', 'BG_THRESH_LO': 'bg_thresh_lo', 'BBOX_WEIGHTS': 'bbox_weights'}
_ANCHOR_NUMBERS = ('label', 'bbox_weight_sum', 'bbox_weight_nonzero', 'bbox_weight_values', 'bbox_target_sum',
                   'bbox_target_abs_sum', 'bbox_target_at_nonzero')
_COUNTS = ('n_fg', 'n_bg', 'n_ignore')
_NORMALISATION = {'bbox_means': KEYS['TRAIN.BBOX_MEANS'].default, 'bbox_stds': KEYS['TRAIN.BBOX_STDS'].default}


def check_assign_anchor(vector, report):
    """Labels and targets of all anchors."""
    for i, case in vector.cases('gt_%d'):
        report.title = 'image %d' % i
        names = _ANCHOR_NUMBERS + ('bbox_target',) * ('bbox_target_%d' % i in vector)
        theirs = {name: vector['%s_%d' % (name, i)] for name in names}
        theirs['counts'] = [case[key] for key in _COUNTS]
        theirs['shapes'] = sum((case['shapes'][name] for name in ('label', 'bbox_target', 'bbox_weight')), [])
        theirs[DRAW] = case['npr_randint_2p30_after']
        report.check_all(assigned_anchors(vector, i, case), theirs, PLAIN,
                         lambda: assigned_anchors(vector, i, case, untouched_objects_match=True), UNTOUCHED)


def assigned_anchors(vector, i, case, **switch):
    """What a vector holds of case i, made by our rule or with a switch of it."""
    height, width = case['feat_shape'][2:]
    anchors = shifted_anchors(height, width, case['feat_stride'],
                              generate_anchors(case['feat_stride'], case['ratios'], case['scales']))
    settings = {ANCHOR_KEYS[key]: value for key, value in case['overrides'].items()}
    rng = np.random.RandomState(case['seed'])
    targets = assign_anchor(anchors, vector['gt_%d' % i], vector['im_info_%d' % i][0, :2], rng=rng,
                            allowed_border=case['allowed_border'], **settings, **switch)
    blobs = as_blobs(*targets, height, width)
    label, target, weight = blobs['label'], blobs['bbox_target'], blobs['bbox_weight']
    return {'label': label, 'bbox_target': target, DRAW: rng.randint(1 << 30),
            'bbox_weight_sum': weight.sum(dtype=np.float64), 'bbox_weight_nonzero': np.flatnonzero(weight),
            'bbox_weight_values': weight[weight != 0], 'bbox_target_sum': target.sum(dtype=np.float64),
            'bbox_target_abs_sum': np.abs(target).sum(dtype=np.float64),
            'bbox_target_at_nonzero': target.ravel()[vector['bbox_weight_nonzero_%d' % i]],
            'counts': [np.sum(label == value) for value in (1, 0, -1)],
            'shapes': label.shape + target.shape + weight.shape}


def check_sample_rois(vector, report):
    """RoIs that train, their labels and targets."""
    names = ('rois', 'labels', 'bbox_targets', 'bbox_weights')
    for i, case in vector.cases('gt_%d'):
        report.title = 'image %d' % i
        rois, gt_boxes = vector['rois_%d' % i], vector['gt_%d' % i]
        settings = {keyword: case[key] for key, keyword in _SAMPLE_KEYS.items()}
        if case['BBOX_NORMALIZATION_PRECOMPUTED']:
            settings.update(bbox_means=case['BBOX_MEANS'], bbox_stds=case['BBOX_STDS'])
        case.note('BATCH_ROIS', 'BBOX_MEANS', 'BBOX_STDS')  # the first is rois_per_image, the others may not be used
        report.check('n', len(rois), case['n'])
        run = sampler(names, case['seed'], lambda **more: sample_rois(rois, gt_boxes, **settings, **more))
        theirs = dict({name: vector['out_%s_%d' % (name, i)] for name in names}, n_fg=case['n_fg_label'],
                      shapes=sum(case['shapes'], []), dtypes=case['dtypes'])
        theirs[DRAW] = case['npr_randint_2p30_after']
        report.check_all(run(), theirs, PLAIN, lambda: run(pad_label=0), PADDING)


def check_proposal_target(vector, report):
    """The same for a batch, objects included, end to end."""
    names = ('rois', 'label', 'bbox_target', 'bbox_weight')
    for i, case in vector.cases('gt_%d'):
        report.title = 'batch %d' % i
        rois, gt_boxes = vector['rois_%d' % i], vector['gt_%d' % i].reshape(case['batch_images'], -1, 5)
        settings = dict(batch_rois=case['batch_rois'], fg_fraction=case['fg_fraction'], num_classes=case['num_classes'],
                        class_agnostic=case['CLASS_AGNOSTIC'], **_NORMALISATION)
        run = sampler(names, case['npr_seed'], lambda **more: proposal_target(rois, gt_boxes, **settings, **more))
        theirs = dict({name: vector['out_%s_%d' % (name, i)] for name in names}, n_fg=case['n_fg'],
                      shapes=sum(case['shapes'], []))
        theirs[DRAW] = case['npr_randint_2p30_after']
        report.check_all(run(), theirs, PLAIN, lambda: run(pad_label=0), PADDING)


def sampler(names, seed, sample):
    """A function (switch) -> what a vector holds of a sample of RoIs.

    Args:
        names: of the four arrays that `sample(rng=...)` returns; the second is the labels.
    """
    def run(**switch):
        rng = np.random.RandomState(seed)
        arrays = sample(rng=rng, **switch)
        return dict(zip(names, arrays), n_fg=np.sum(arrays[1] > 0), dtypes=[array.dtype.name for array in arrays],
                    shapes=[side for array in arrays for side in array.shape], **{DRAW: rng.randint(1 << 30)})
    return run


def check_expand_targets(vector, report):
    """Targets laid out by class."""
    for i in vector.indices('in_%d'):
        class_agnostic, num_classes = vector['args_%d' % i].tolist()
        targets, weights = expand_bbox_regression_targets(
            vector['in_%d' % i], num_classes, class_agnostic=bool(class_agnostic),
            bbox_weights=vector['bbox_weights_cfg_%d' % i])
        report.check('targets %d' % i, targets, vector['targets_%d' % i], PLAIN)
        report.check('weights %d' % i, weights, vector['weights_%d' % i], PLAIN)


def check_bbox_regression(vector, report):
    """Targets of given proposals, for alternate training, before and after they are normalised over the images."""
    thresh = KEYS['TRAIN.BBOX_REGRESSION_THRESH'].default
    for i, case in enumerate(vector.record):
        report.title = 'case %d' % i
        roidb = [{name: vector['%s_%d_%d' % (name, i, j)] for name in ('boxes', 'max_overlaps', 'max_classes')}
                 for j in vector.indices('boxes_%d_%%d' % i)]
        for j, entry in enumerate(roidb):
            raw = compute_bbox_regression_targets(entry['boxes'], entry['max_overlaps'], entry['max_classes'],
                                                  thresh=thresh)
            report.check('raw targets of image %d' % j, raw, vector['raw_targets_%d_%d' % (i, j)], PLAIN)
        given = _NORMALISATION if case['BBOX_NORMALIZATION_PRECOMPUTED'] else {}
        means, stds = add_bbox_regression_targets(roidb, num_classes=len(vector['means_%d' % i]) // 4, thresh=thresh,
                                                  class_agnostic=case['CLASS_AGNOSTIC'], **given)
        report.check('means', means, vector['means_%d' % i], PLAIN)
        report.check('stds', stds, vector['stds_%d' % i], PLAIN)
        for j, entry in enumerate(roidb):
            report.check('targets of image %d' % j, entry['bbox_targets'], vector['targets_%d_%d' % (i, j)], PLAIN)
