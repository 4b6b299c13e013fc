"""The library's compiled functions beside NumPy and beside what packages offer."""
import cv2
import mxnet as mx
import numpy as np

from experiments.bench.measure import in_turn
from lib.bbox.bbox_transform import bbox_overlaps, bbox_overlaps_py
from lib.nms import nms as nms_module
from lib.nms.nms import nms, nms_py, soft_nms
from lib.psroi.psroi_pooling import psroi_pool_compiled
from lib.rcnn.detection import per_class_nms
from lib.rpn.anchors import assign_anchor, generate_anchors, shifted_anchors

SIZES = (300, 6000, 12000)
CLUSTERS = 3  # boxes per cluster: of 6,000 boxes some 2,000 stay


def dets_of(count, dtype=np.float32, seed=0):
    """(count, 5) boxes that lie in groups around objects, as proposals do, and their scores."""
    rng = np.random.RandomState(seed)
    centres = rng.uniform(0, 1000, (max(1, count // CLUSTERS), 2))[rng.randint(0, max(1, count // CLUSTERS), count)]
    centres += rng.normal(0, 6, (count, 2))
    sides = rng.uniform(60, 120, (count, 2))
    return np.hstack((centres - sides / 2, centres + sides / 2, rng.rand(count, 1))).astype(dtype)


def nms_candidates(count):
    """Who suppresses `count` boxes at an IoU of 0.7."""
    dets = dets_of(count)
    rows = mx.nd.array(np.hstack((np.zeros((count, 1)), dets[:, 4:], dets[:, :4])))
    boxes = np.hstack((dets[:, :2], dets[:, 2:4] - dets[:, :2] + 1)).tolist()
    scores = dets[:, 4].tolist()
    return {
        'compiled': lambda: nms(dets, 0.7),
        'NumPy': lambda: nms_py(dets, 0.7),
        'contrib.box_nms': lambda: mx.nd.contrib.box_nms(rows, 0.7, coord_start=2, score_index=1,
                                                         id_index=0).wait_to_read(),
        'cv2.dnn.NMSBoxes': lambda: cv2.dnn.NMSBoxes(boxes, scores, 0.0, 0.7),
    }


def soft_nms_candidates(count):
    """Soft-NMS; OpenCV's is of the same paper."""
    dets = dets_of(count)
    boxes, scores = np.hstack((dets[:, :2], dets[:, 2:4] - dets[:, :2] + 1)).astype(int).tolist(), dets[:, 4].tolist()
    return {
        'compiled': lambda: soft_nms(dets, 0.5),
        'NumPy': lambda: _soft_nms_numpy(dets),
        'cv2.dnn.softNMSBoxes': lambda: cv2.dnn.softNMSBoxes(boxes, scores, 0.0, 0.7),
    }


def overlap_candidates(count):
    """IoU with 20 objects."""
    boxes, objects = dets_of(count)[:, :4].astype(np.float64), dets_of(20, seed=1)[:, :4].astype(np.float64)
    return {'compiled': lambda: bbox_overlaps(boxes, objects), 'NumPy': lambda: bbox_overlaps_py(boxes, objects)}


def pooling_candidates(classes, bins=7, height=38, width=63, count=300):
    """Position-sensitive RoI pooling of the score maps of an image of 600 x 1000 pixels."""
    rng = np.random.RandomState(0)
    maps = rng.randn(1, classes * bins * bins, height, width).astype(np.float32)
    rois = np.insert(dets_of(count)[:, :4], 0, 0, axis=1)
    inputs = [mx.nd.array(values) for values in (maps, rois)]
    settings = dict(spatial_scale=1 / 16, output_dim=classes, pooled_size=bins)
    candidates = {'contrib.PSROIPooling': lambda: mx.nd.contrib.PSROIPooling(*inputs, **settings).wait_to_read()}
    if psroi_pool_compiled is not None:
        candidates['compiled'] = lambda: psroi_pool_compiled(maps, rois, **settings)
    return candidates


def run(short):
    """Rows of the table of kernels: milliseconds."""
    rounds = 5 if short else 21
    rows = []
    for name, candidates in ('NMS', nms_candidates), ('soft-NMS', soft_nms_candidates), ('IoU', overlap_candidates):
        for count in SIZES:
            if name == 'soft-NMS' and count > (300 if short else 6000):
                continue  # its work grows with the square of the boxes: seconds in NumPy
            rows.append(dict(kernel=name, boxes=count, **_milliseconds(candidates(count), rounds)))
    rows.append(dict(kernel='NMS a class, 80 classes', boxes=300, **_milliseconds(_per_class(), rounds)))
    rows.append(dict(kernel='anchor targets, 38x63 cells', boxes=38 * 63 * 9,
                     **_milliseconds(_anchor_targets(), rounds)))
    for classes in 21, 81:
        rows.append(dict(kernel='RoI pooling, %d classes' % classes, boxes=300,
                         **_milliseconds(pooling_candidates(classes), rounds)))
    return rows


def _milliseconds(candidates, rounds):
    return {name: parts['total'] * 1000 for name, parts in in_turn(candidates, rounds).items()}


def _soft_nms_numpy(dets):
    compiled, nms_module.soft_nms_sorted = nms_module.soft_nms_sorted, None
    try:
        return soft_nms(dets, 0.5)
    finally:
        nms_module.soft_nms_sorted = compiled


def _per_class(classes=80, count=300):
    rng = np.random.RandomState(0)
    scores = rng.dirichlet(np.full(classes + 1, 0.1), count)
    boxes = np.tile(dets_of(count, np.float64)[:, :4], 2)
    settings = dict(thresh=0.001, nms_thresh=0.3, max_per_image=100, class_agnostic=True)
    return {'compiled': lambda: per_class_nms(scores, boxes, **settings)}


def _anchor_targets():
    anchors = shifted_anchors(38, 63, 16, generate_anchors(16, (0.5, 1, 2), (8, 16, 32)))
    gt_boxes = np.hstack((dets_of(8)[:, :4], np.ones((8, 1)))).astype(np.float32)
    return {'compiled': lambda: assign_anchor(anchors, gt_boxes, (600, 1000), rng=np.random.RandomState(0))}
