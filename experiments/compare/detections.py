"""From the network's output to detections."""
import numpy as np

from experiments.compare.boxes import UNLIMITED
from experiments.compare.report import PLAIN
from lib.rcnn.detection import detect, per_class_nms


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
            dets = _as_rows(per_class_nms(scores, boxes, **settings))
            report.check('kept', len(dets), case['kept'][j])
            report.check('detections', dets, vector['dets_%d_%d' % (i, j)], PLAIN,
                         lambda: _as_rows(per_class_nms(scores, unlimited, **settings)), UNLIMITED)


def _detect(vector, i, j, **switch):
    rois, cls_prob, bbox_pred, data_shape, scale = (vector['%s_%d_%d' % (name, i, j)] for name in (
        'rois', 'cls_prob', 'bbox_pred', 'data_shape', 'scale'))
    return detect(rois, cls_prob[0], bbox_pred[0], im_shape=data_shape[2:], scale=scale, **switch)


def _as_rows(by_class):
    """(n, 6) class, box and score."""
    return np.concatenate([np.insert(dets, 0, number, axis=1) for number, dets in enumerate(by_class)])
