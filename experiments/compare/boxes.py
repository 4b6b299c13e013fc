"""Arithmetic of boxes: anchors, overlap and encoding, suppression."""
import numpy as np

from experiments.compare.report import PLAIN
from lib.bbox.bbox_transform import bbox_overlaps, bbox_overlaps_py, clip_boxes, nonlinear_pred, nonlinear_transform
from lib.nms.nms import nms, nms_py, soft_nms
from lib.rpn.anchors import generate_anchors

UNLIMITED = 'a side may grow 62.5-fold at most; the release believes any exponent (max_log_ratio=None)'
SOFT_NMS_THRESH = 0.6  # of the format


def check_anchors(vector, report):
    """anchors_i of base_size, ratios, scales."""
    for i, case in vector.cases('anchors_%d'):
        ours = generate_anchors(case['base_size'], case['ratios'], case['scales'])
        report.check('anchors %d' % i, ours, vector['anchors_%d' % i], PLAIN)


def check_boxes(vector, report):
    """IoU, encoding, decoding, clipping."""
    boxes, queries, gt = vector['a'], vector['q'], vector['gt']
    report.check('IoU', bbox_overlaps(boxes, queries), vector['overlaps'], PLAIN)
    report.check('IoU, NumPy', bbox_overlaps_py(boxes, queries), vector['overlaps'], PLAIN)
    report.check('encode', nonlinear_transform(boxes, gt), vector['transform'], PLAIN)
    in_float32 = nonlinear_transform(boxes.astype(np.float32), gt.astype(np.float32))
    report.check('encode, float32', in_float32, vector['transform_f32'], PLAIN)
    for match in vector.matching('deltas_(.+)'):
        _check_decoding(match.group(1), vector, report)
    if 'pred_empty' in vector:
        empty = nonlinear_pred(np.zeros((0, 4)), np.zeros((0, vector['pred_empty'].shape[1])))
        report.check('decode nothing', empty, vector['pred_empty'])


def _check_decoding(name, vector, report):
    deltas = vector['deltas_' + name]
    boxes = vector['a'][:len(deltas)].astype(np.float32)
    report.check('decode ' + name, nonlinear_pred(boxes, deltas), vector['pred_' + name], PLAIN,
                 lambda: nonlinear_pred(boxes, deltas, max_log_ratio=None), UNLIMITED)
    clipped = clip_boxes(vector['pred_' + name], vector['im_shape'])
    report.check('clip ' + name, clipped, vector['clip_' + name], PLAIN)


def check_nms(vector, report):
    """Indices kept by the release's Cython and Python NMS, and what soft-NMS makes of the scores."""
    rules = {'cpu': lambda dets, thresh, run: run(dets, thresh, drop_equal=True),
             'py': lambda dets, thresh, run: run(dets, thresh),
             'py64': lambda dets, thresh, run: run(dets.astype(np.float64), thresh)}
    for match in vector.matching(r'(cpu|py|py64)_(\d+|tie)_([0-9.]+)'):
        rule, dets, thresh = match.groups()
        for name, run in (('', nms), (', NumPy', nms_py)):
            kept = rules[rule](vector['dets_' + dets], float(thresh), run)
            report.check('%s %s at %s%s' % (rule, dets, thresh, name), kept, vector[match.group(0)])
    for match in vector.matching(r'softnms_(\d+|tie)(?:_max(\d+))?'):
        ours = soft_nms(vector['dets_' + match.group(1)].copy(), SOFT_NMS_THRESH, int(match.group(2) or -1))
        report.check(match.group(0), ours, vector[match.group(0)], PLAIN)
