"""One decision of the network, taken apart: what `rfcn.explain` returns. All numbers are the running network's own."""
from typing import List, NamedTuple, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from lib.bbox.bbox_transform import bbox_overlaps
from lib.errors import ConfigError
from lib.nms.nms import nms
from lib.psroi.psroi_pooling import bins, scaled_roi
from lib.rcnn.detection import detect
from rfcn import inference
from rfcn.core.detect import NETWORK_LOCK, Predictor, View, choose_detections
from rfcn.core.image_loaders import detection_scales
from rfcn.core.loader import Batch
from rfcn.detector import Detection, Detector, Image, as_detections
from rfcn.operator_py.proposal import without_repetition
from rfcn.symbols import make_symbol
from rfcn.symbols.rfcn import TRANS_STD

PROPOSALS = 20      # of the RPN, that an explanation holds


class Vote(NamedTuple):
    """What the head says of one RoI. k bins per side, C classes, M sets of boxes (2, or C if class-specific).

    name: str, such as 'the RoI'.
    box: (4,) float32, the RoI in pixels of the image.
    roi: (4,) float32, the same in pixels of the network's input.
    cells: (k, k, 4) int, first and last cell + 1 of each bin: left, top, right, bottom; None without maps.
    pooled: (k, k) float32, bin (i, j): the mean of map (i, j) of the class over the bin's cells; None without maps.
    cls_score: (C,) float32, of all classes: the mean of their pooled bins.
    cls_prob: (C,) float32, the softmax of `cls_score`.
    box_bins: (4, k, k) float32, the pooled bins of dx, dy, dw, dh; None without maps.
    deltas: (4,) float32, their means.
    refined: (4,) float32, the box after these deltas, in pixels of the image.
    shifts: (k, k, 2) float32, of a deformable network: what the class's bins are moved by in x and y, in pixels of the
        image; else None.
    """

    name: str
    box: np.ndarray
    roi: np.ndarray
    cells: Optional[np.ndarray]
    pooled: Optional[np.ndarray]
    cls_score: np.ndarray
    cls_prob: np.ndarray
    box_bins: Optional[np.ndarray]
    deltas: np.ndarray
    refined: np.ndarray
    shifts: Optional[np.ndarray]


class Suppressed(NamedTuple):
    """A candidate of the class that NMS removed."""
    box: np.ndarray     # (4,)
    score: float
    by: int             # number of the kept one that removed it
    overlap: float      # their IoU


class Explanation(NamedTuple):
    """See `explain`.

    image: (h, w, 3) uint8 BGR. scale: pixels of the network's input for each pixel of the image.
    stride: pixels of the network's input for each cell of `maps`.
    classes: names, '__background__' first. class_number: of the class that is explained.
    detection: the Detection that is explained, None for a box that the caller gave.
    maps: (k, k, H, W) float32, the score maps of the class; map (i, j) answers for row i, column j of a RoI. None for a
        network without position-sensitive maps.
    channels: (k, k) int, which channels of the blob `rfcn_cls` these are: class * k * k + i * k + j. None likewise.
    votes: list of Vote: the RoI, then the same box moved by half of its width.
    objectness: (H, W) float32, the highest probability of an object among the anchors of each cell of conv4.
    proposals: (n, 4) float32, the best 20 boxes of the RPN, in pixels of the image.
    kept: (m, 5) float64, the candidates of the class that NMS keeps, boxes in pixels of the image and scores.
    suppressed: list of Suppressed.
    """

    image: np.ndarray
    scale: float
    stride: int
    classes: Sequence[str]
    class_number: int
    detection: Optional[Detection]
    maps: Optional[np.ndarray]
    channels: Optional[np.ndarray]
    votes: List[Vote]
    objectness: np.ndarray
    proposals: np.ndarray
    kept: np.ndarray
    suppressed: List[Suppressed]

    @property
    def class_name(self) -> str:
        """The name of the class that is explained."""
        return self.classes[self.class_number]


def explain(detector: Detector, image: Image, box: Optional[Sequence[float]] = None, class_name: Optional[str] = None,
            detection: int = 0, rgb: bool = False) -> Explanation:
    """Take apart how R-FCN scores one RoI of an image (R-FCN, section 2.2).

    The RoI is that of a detection or the given box. With several scales or mirror images for testing (`TEST.SCALES`,
    `TEST.FLIP`) the first scale is explained.

    Args:
        detector: of fp32; its network is used.
        image, rgb: see `Detector.detect`.
        box: x1, y1, x2, y2 in pixels of the image, both corners inside: any RoI.
        class_name: the class to explain. By default that of the detection, or the likeliest object class of the box;
            with it, `detection` counts among the detections of this class alone.
        detection: number of the detection, the best is 0; not used with `box`.
    Returns:
        Explanation.
    Raises:
        ConfigError: the network has one stage and no RoIs, or computes in bf16 or INT8.
        ValueError: no Detector, no such class, no such detection, or no box.
    """
    _check(detector)
    number = None if class_name is None else detector.class_number(class_name)
    networks = _Networks(detector)
    array = detector.array_of(image, rgb)
    tensor, im_info, _ = detector.network_input(array, detection_scales(detector.cfg)[0])
    outputs = networks.see(tensor, im_info)
    scale = float(im_info[0, 2])
    scores, boxes = _decoded(outputs['rois'], outputs['cls_prob'][0], outputs['bbox_pred'][0], im_info[0], detector.cfg)
    found = None
    if box is None:
        found = _chosen_detection(detector, tensor, im_info, outputs, class_name, detection)
        number = detector.class_number(found.class_name)
        roi = outputs['rois'][_row_of(found, scores[:, number], _of_class(boxes, number)), 1:]
    else:
        roi = _checked_box(box, array) * np.float32(scale)
    rois = np.stack([roi, _moved(roi, im_info[0])]).astype(np.float32)
    head = networks.vote(tensor, rois)
    if number is None:
        number = 1 + int(head['cls_prob'][0, 1:].argmax())
    votes = [_vote(name, row, rois, head, number, im_info[0], detector.cfg)
             for row, name in enumerate(('the RoI', 'moved by half of its width'))]
    kept, suppressed = _suppression(scores[:, number], _of_class(boxes, number), detector.cfg)
    maps, channels = _maps_of_class(head, number, detector.cfg.network.POOLED_SIZE)
    return Explanation(array, scale, detector.cfg.network.RCNN_FEAT_STRIDE, detector.classes, number, found, maps,
                       channels, votes, networks.objectness(outputs),
                       without_repetition(outputs['rois'][:, 1:])[:PROPOSALS] / scale, kept, suppressed)


def score_boxes(detector: Detector, image: Image, boxes: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """What the head says of any boxes, without proposals, NMS or thresholds.

    Args:
        detector, image: see `explain`. boxes: (n, 4) in pixels of the image; n may be 0.
    Returns:
        votes (n, C) float32 and their softmax (n, C) float32.
    Raises:
        ConfigError, ValueError: as `explain`.
    """
    _check(detector)
    array = detector.array_of(image)
    if not len(boxes):
        return (np.zeros((0, len(detector.classes)), dtype=np.float32),) * 2
    tensor, im_info, _ = detector.network_input(array, detection_scales(detector.cfg)[0])
    rois = np.stack([_checked_box(box, array) for box in boxes]) * np.float32(im_info[0, 2])
    head = _Networks(detector).vote(tensor, rois)
    return head.get('cls_score', head.get('rcnn_cls')), head['cls_prob']


class _Networks:
    """The detector's graph with its inner blobs, and the same network on given RoIs."""

    WHOLE = ('rpn_cls_act_reshape_output',)
    HEAD = ('rfcn_cls_output', 'rfcn_bbox_output', 'psroipooled_cls_rois_output', 'psroipooled_loc_rois_output',
            'cls_score_reshape_output', 'rcnn_cls_output', 'rfcn_cls_offset_output')

    def __init__(self, detector):
        self.anchors = detector.cfg.network.NUM_ANCHORS
        network = make_symbol(detector.cfg)
        params = detector.predictor.params
        whole, head = network.get_symbol(is_train=False), network.get_symbol_rfcn(is_train=False)
        self.whole = self._predictor(whole, self.WHOLE, inference.INPUTS, detector, params)
        self.head = self._predictor(head, self.HEAD, ['data', 'rois'], detector, params)

    @staticmethod
    def _predictor(symbol, names, inputs, detector, params):
        internals = symbol.get_internals()
        inner = [internals[name] for name in names if name in internals.list_outputs()]
        return Predictor(mx.sym.Group(list(symbol) + inner), inputs, detector.predictor.context, *params)

    @staticmethod
    def _run(predictor, **inputs):
        with NETWORK_LOCK:
            return predictor.predict(Batch(inputs))

    def see(self, tensor, im_info):
        """The outputs for an image: rois (R, 5), cls_prob (1, R, C), bbox_pred (1, R, 4M), rpn_cls_act (1, 2A, H, W).
        """
        return self._run(self.whole, data=tensor, im_info=im_info)

    def vote(self, tensor, rois):
        """The outputs of the head for RoIs (R, 4): names of HEAD without '_output' and '_reshape'."""
        rois = np.insert(rois, 0, 0, axis=1)[None]
        outputs = self._run(self.head, data=tensor, rois=rois)
        return dict(outputs, cls_prob=outputs['cls_prob'][0], bbox_pred=outputs['bbox_pred'][0])

    def objectness(self, outputs):
        """(H, W): of each cell the highest probability of an object among its anchors."""
        return outputs['rpn_cls_act'][0, self.anchors:].max(axis=0)


def _check(detector):
    if not isinstance(detector, Detector):
        raise ValueError('detector: expected an rfcn.Detector, found a %s' % type(detector).__name__)
    cfg = detector.cfg
    if cfg.TEST.PRECISION != 'fp32':
        raise ConfigError('TEST.PRECISION: %s has no blobs to look into; explain with fp32, TEST.PRECISION=fp32'
                          % cfg.TEST.PRECISION)
    if not hasattr(make_symbol(cfg), 'head'):
        raise ConfigError('symbol: %s has one stage: there are no RoIs, maps and votes to explain' % cfg.symbol)


def _checked_box(box, image):
    box = np.asarray(box, dtype=np.float32).reshape(-1)
    if box.shape != (4,) or not np.isfinite(box).all() or box[2] < box[0] or box[3] < box[1]:
        raise ValueError('a box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, not %s' % (box.tolist(),))
    height, width = image.shape[:2]
    if box[0] < 0 or box[1] < 0 or box[2] > width - 1 or box[3] > height - 1:
        raise ValueError('the box %s leaves the image of %d x %d pixels' % (box.tolist(), width, height))
    return box


def _chosen_detection(detector, tensor, im_info, outputs, class_name, number):
    view = View(Batch(dict(data=tensor, im_info=im_info)), 1, [None])
    by_class, = choose_detections([view], [outputs], **inference.nms_settings(detector.cfg))
    found = [d for d in as_detections(by_class, detector.classes) if class_name in (None, d.class_name)]
    if not 0 <= number < len(found):
        raise ValueError('there is no detection %d: the image has %d%s with a score above %g'
                         % (number, len(found), ' of the class ' + class_name if class_name else '',
                            detector.cfg.TEST.SCORE_THRESH))
    return found[number]


def _decoded(rois, cls_prob, bbox_pred, im_info, cfg):
    """`lib.rcnn.detection.detect` by the rules of the configuration."""
    return detect(rois, cls_prob, bbox_pred, im_shape=im_info[:2], scale=im_info[2],
                  max_log_ratio=inference.nms_settings(cfg)['max_log_ratio'])


def _of_class(boxes, number):
    """(R, 4) boxes of a class from (R, 4 * M); the last four columns serve all classes if class-agnostic."""
    return boxes[:, 4:] if boxes.shape[1] == 8 else boxes[:, 4 * number:4 * number + 4]


def _row_of(found, scores, boxes):
    """The RoI that a detection comes from: the same score and box; after voting or soft-NMS the nearest box."""
    same = np.flatnonzero(np.isclose(scores, found.score, rtol=0, atol=1e-7))
    rows = same if len(same) else np.arange(len(scores))
    return rows[np.abs(boxes[rows] - found.box).sum(axis=1).argmin()]


def _maps_of_class(head, number, size):
    """The score maps (k, k, H, W) of a class and which channels of the blob `rfcn_cls` they are (k, k); None without
    maps.
    """
    if 'rfcn_cls' not in head:
        return None, None
    channels = number * size ** 2 + np.arange(size ** 2).reshape(size, size)
    return head['rfcn_cls'][0][channels], channels


def _moved(roi, im_info):
    """The RoI moved by half of its width, to the side where there is room."""
    half = (roi[2] - roi[0] + 1) / 2
    room_right, room_left = im_info[1] - 1 - roi[2], roi[0]
    shift = min(half, room_right) if room_right >= min(half, room_left) else -min(half, room_left)
    return roi + np.float32([shift, 0, shift, 0])


def _vote(name, row, rois, head, number, im_info, cfg):
    roi, scale = rois[row], im_info[2]
    size, stride = cfg.network.POOLED_SIZE, cfg.network.RCNN_FEAT_STRIDE
    _, refined = _decoded(np.insert(rois[row:row + 1], 0, 0, axis=1), head['cls_prob'][row:row + 1],
                          head['bbox_pred'][row:row + 1], im_info, cfg)
    cells = pooled = box_bins = shifts = None
    if 'psroipooled_cls_rois' in head:
        pooled = head['psroipooled_cls_rois'][row, number]
        box_bins = _box_bins(head, row, number, size)
        cells = _cells(roi, size, stride, head['rfcn_cls'].shape[2:])
    if 'rfcn_cls_offset' in head:
        sides = roi_sides(roi, stride)
        offsets = head['rfcn_cls_offset'][row].reshape(-1, 2, size, size)[number]                    # (2, k, k)
        shifts = (offsets.transpose(1, 2, 0) * TRANS_STD * sides / scale).astype(np.float32)
    cls_score = head.get('cls_score', head.get('rcnn_cls'))[row]
    return Vote(name, roi / scale, roi, cells, pooled, cls_score, head['cls_prob'][row], box_bins,
                _of_class(head['bbox_pred'][row:row + 1], number)[0], _of_class(refined, number)[0].astype(np.float32),
                shifts)


def roi_sides(roi, stride):
    """(2,) float32 width and height of a RoI in pixels of the network's input; pooling rounds its corners first."""
    return np.float32(scaled_roi(np.insert(roi, 0, 0), 1.0 / stride)[2:]) * stride


def _box_bins(head, row, number, size):
    """(4, k, k): the pooled bins of the class's four deltas."""
    bins_of_sets = head['psroipooled_loc_rois'][row].reshape(-1, 4, size, size)                      # (M, 4, k, k)
    return bins_of_sets[-1] if len(bins_of_sets) == 2 else bins_of_sets[number]


def _cells(roi, size, stride, shape) -> np.ndarray:
    """The cells of each bin as position-sensitive pooling takes them, before a deformable network moves them."""
    x, y, width, height = scaled_roi(np.insert(roi, 0, 0), 1.0 / stride)
    columns, rows = bins(x, width, size, shape[1]), bins(y, height, size, shape[0])
    return np.array([[(left, top, right, bottom) for left, right in columns] for top, bottom in rows])


def _suppression(scores, boxes, cfg) -> Tuple[np.ndarray, List[Suppressed]]:
    """What plain NMS keeps of a class, best first, and what removed the others."""
    settings = inference.nms_settings(cfg)
    rows = np.flatnonzero(scores > settings['thresh'])
    dets = np.hstack((boxes[rows], scores[rows, None])).astype(np.float64)
    if not len(dets):
        return dets, []
    keep = nms(dets, cfg.TEST.NMS)
    kept, others = dets[keep], np.delete(dets, keep, axis=0)
    overlaps = bbox_overlaps(others[:, :4], kept[:, :4])                                              # (removed, kept)
    by = (overlaps > cfg.TEST.NMS).argmax(axis=1) if len(others) else []    # the best scored one that overlaps enough
    return kept, [Suppressed(det[:4].astype(np.float32), float(det[4]), int(b), float(overlap[b]))
                  for det, b, overlap in zip(others, by, overlaps)]
