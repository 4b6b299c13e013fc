"""Arithmetic of boxes: anchors, overlap and encoding, suppression; from the network's output to detections."""
import numpy as np

from experiments.compare.report import PLAIN
from lib.bbox.bbox_transform import bbox_overlaps, bbox_overlaps_py, clip_boxes, nonlinear_pred, nonlinear_transform
from lib.nms.nms import nms, nms_py, soft_nms
from lib.rcnn.detection import detect, per_class_nms
from lib.rpn.anchors import generate_anchors

UNLIMITED = 'a side may grow 62.5-fold at most; the release does not limit it (max_log_ratio=None)'
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


def check_postprocess(vector, report):
    """Scores and boxes of the RoIs, and what is left after thresholds and suppression."""
    for i, case in enumerate(vector.record):
        settings = dict(thresh=case['thresh'], nms_thresh=case['NMS'], max_per_image=case['max_per_image'],
                        class_agnostic=case['CLASS_AGNOSTIC'])
        for j in vector.indices('rois_%d_%%d' % i):
            report.title = 'case %d, image %d' % (i, j)
            scores, boxes = _detect(vector, i, j)
            unlimited = _detect(vector, i, j, max_log_ratio=None)[1]
            report.check('classes', scores.shape[1], case['num_classes'])
            if j == 0:
                report.check('scores', scores, vector['im_detect_scores_%d' % i], PLAIN)
                report.check('boxes', boxes, vector['im_detect_boxes_%d' % i], PLAIN, lambda: unlimited, UNLIMITED)
            dets, released = (_as_rows(per_class_nms(scores, found, **settings)) for found in (boxes, unlimited))
            report.check_all({'kept': len(dets), 'detections': dets},
                             {'kept': case['kept'][j], 'detections': vector['dets_%d_%d' % (i, j)]}, PLAIN,
                             lambda: {'kept': len(released), 'detections': released}, UNLIMITED)


def _detect(vector, i, j, **switch):
    rois, cls_prob, bbox_pred, data_shape, scale = (vector['%s_%d_%d' % (name, i, j)] for name in (
        'rois', 'cls_prob', 'bbox_pred', 'data_shape', 'scale'))
    return detect(rois, cls_prob[0], bbox_pred[0], im_shape=data_shape[2:], scale=scale, **switch)


def _as_rows(by_class):
    """(n, 6) class, box and score."""
    return np.concatenate([np.insert(dets, 0, number, axis=1) for number, dets in enumerate(by_class)])
