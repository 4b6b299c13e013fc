"""A detector as an ONNX file: standard operators alone, one image of any size.

    inputs     data (1, 3, H, W) float32: red, green, blue less their means; im_info (1, 3): height, width, scale
    outputs    rois (R, 5), cls_prob (1, R, C), bbox_pred (1, R, 4 * num_reg_classes), or
               boxes (n, 4) in pixels of the image before scaling, scores (n,), classes (n,) int64; the best first

Detections are those of `lib.rcnn.detection`, by ONNX operators. The file's metadata says what a user of it must know:
the names of the classes and how an image becomes `data`.
"""
import json

import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.errors import ConfigError
from lib.utils.whole_file import save_whole
from rfcn import inference
from rfcn.config.config import with_overrides
from rfcn.core.image_loaders import detection_scales
from rfcn.exporters.onnx_graph import FLOAT, INT64, Graph, columns, ints, size_of
from rfcn.exporters.onnx_layers import add_network
from rfcn.exporters.onnx_rpn import decode, im_info_at, nms_corners

INPUTS = {'data': (1, 3, 'height', 'width'), 'im_info': (1, 3)}
RAW_OUTPUTS = ('rois', 'cls_prob', 'bbox_pred')
DETECTION_OUTPUTS = ('boxes', 'scores', 'classes')


def export_onnx(cfg, params: str, path: str, with_detections: bool = False) -> None:
    """Write a checkpoint as ONNX.

    Args:
        cfg: a loaded configuration with class names. params: path of the checkpoint. path: of the file.
        with_detections: the file ends in detections and not in what the network says of each RoI.
    Raises:
        ConfigError: an operator that ONNX does not have; a setting that the detections of a file cannot have.
        CheckpointError: the parameters do not fit the configuration.
        UserError: the package onnx is not installed.
    """
    cfg = with_overrides(cfg, {'TEST.BATCH_IMAGES': 1})
    graph = onnx_graph(cfg, *inference.load_network(cfg, params), with_detections)
    save_whole([path], lambda temporary: graph.save(temporary, metadata(cfg), integer_outputs=('classes',)))


def onnx_graph(cfg, symbol, arg_params, aux_params, with_detections: bool) -> Graph:
    """The graph of `export_onnx`."""
    graph = Graph()
    for name, shape in INPUTS.items():
        graph.input(name, shape)
    found = add_network(graph, symbol, arg_params, aux_params)
    if with_detections:
        names, shapes = DETECTION_OUTPUTS, [('detections', 4), ('detections',), ('detections',)]
        found = detections(graph, *found, 'im_info', num_classes=cfg.dataset.NUM_CLASSES,
                           class_agnostic=cfg.CLASS_AGNOSTIC, **_plain_nms(cfg))
    else:
        names, shapes = RAW_OUTPUTS, symbol.infer_shape(**inference.input_shapes(cfg))[1]
    for name, shape, value in zip(names, shapes, found):
        graph.output(name, value, shape)
    return graph


def _plain_nms(cfg):
    """Keywords of `detections`."""
    views = len(detection_scales(cfg)) * (2 if cfg.TEST.FLIP else 1)
    for key, unfit in (('TEST.NMS_METHOD', cfg.TEST.NMS_METHOD != 'nms'), ('TEST.BOX_VOTING', cfg.TEST.BOX_VOTING),
                       ('TEST.SCALES and TEST.FLIP', views > 1)):
        if unfit:
            raise ConfigError('%s: a file with detections has plain non-maximum suppression of one view of the image; '
                              'write TEST.NMS_METHOD=nms TEST.BOX_VOTING=false TEST.FLIP=false and one scale, or '
                              'export without --detections and do the rest outside' % key)
    settings = inference.nms_settings(cfg)
    return {name: settings[name] for name in ('thresh', 'nms_thresh', 'max_per_image', 'max_log_ratio')}


def metadata(cfg) -> dict:
    """What the file says of itself: name -> text, JSON but for `format`."""
    shorter, longest = detection_scales(cfg)[0]
    facts = dict(classes=list(cfg.dataset.CLASSES), means_rgb=[float(mean) for mean in cfg.network.PIXEL_MEANS[::-1]],
                 shorter_side=shorter, longest_side=longest, image_stride=cfg.network.IMAGE_STRIDE,
                 symbol=cfg.symbol, class_agnostic=cfg.CLASS_AGNOSTIC)
    return {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()}


def detections(graph: Graph, rois: str, cls_prob: str, bbox_pred: str, im_info: str, *, num_classes: int,
               class_agnostic: bool, thresh: float, nms_thresh: float, max_per_image: int,
               max_log_ratio=MAX_LOG_RATIO):
    """Add the nodes of `lib.rcnn.detection`: decoding, suppression class by class, the best of all classes.

    Args:
        rois: (R, 5). cls_prob: (1, R, C). bbox_pred: (1, R, 4 * M). im_info: (1, 3).
        num_classes, class_agnostic, thresh, nms_thresh, max_per_image: see `per_class_nms`.
        max_log_ratio: see `lib.bbox.bbox_transform.nonlinear_pred`.
    Returns:
        boxes (n, 4) in pixels of the image before scaling, scores (n,), classes (n,) int64 from 1 on; the best first.
    """
    rois, cls_prob, bbox_pred = [_last_first(graph, x, axis) for x, axis in ((rois, 0), (cls_prob, 1), (bbox_pred, 1))]
    scores = graph('Transpose', graph('Squeeze', cls_prob, ints(0)), perm=[1, 0])           # (C, R)
    scores = graph('Slice', scores, ints(1), ints(num_classes), ints(0))                    # (C-1, R)
    sets = 2 if class_agnostic else num_classes
    deltas = graph('Reshape', bbox_pred, ints(-1, sets, 4))                                 # (R, M, 4)
    deltas = graph('Transpose', graph('Slice', deltas, ints(1), ints(sets), ints(1)), perm=[1, 0, 2])   # (M-1, R, 4)
    boxes = decode(graph, columns(graph, rois, 1, 5), deltas, im_info, max_log_ratio)
    boxes = graph('Div', boxes, im_info_at(graph, im_info, 2))
    # NonMaxSuppression knows images, each with boxes that its classes share. Boxes of one class alone are an image.
    by_image = graph('Unsqueeze', scores, ints(0 if class_agnostic else 1))
    selected = graph('NonMaxSuppression', nms_corners(graph, boxes), by_image, size_of(graph, rois, 0),
                     np.array([nms_thresh], dtype=np.float32), np.array([thresh], dtype=np.float32))    # (n, 3)
    classes = columns(graph, selected, 1, 2) if class_agnostic else columns(graph, selected, 0, 1)      # (n, 1)
    row = columns(graph, selected, 2, 3)
    chosen = graph('GatherND', scores, graph('Concat', classes, row, axis=1))               # (n,)
    order, chosen = _best(graph, chosen, max_per_image)
    sources = graph('Concat', columns(graph, selected, 0, 1), row, axis=1)
    boxes = graph('GatherND', boxes, graph('Gather', sources, order, axis=0))               # (n, 4)
    classes = graph('Add', graph('Squeeze', graph('Gather', classes, order, axis=0), ints(1)), np.int64(1))
    return boxes, chosen, classes


def _last_first(graph, x, axis):
    """RoIs in reverse. Of equal scores the runtimes' NonMaxSuppression takes the first box, `lib.nms` the last one; on
    a map of a few cells many RoIs pool the same ones and score alike."""
    return graph('Slice', x, ints(-1), ints(np.iinfo(np.int64).min), ints(axis), ints(-1))


def _best(graph, scores, most):
    """Indices and values of the `most` highest scores (n,), highest first, and of those that tie with the last one."""
    count = size_of(graph, scores, 0)
    ordered, order = graph('TopK', scores, count, outputs=2, axis=0, largest=1, sorted=1)
    if most <= 0:
        return order, ordered
    last = graph('Max', graph('Sub', graph('Min', count, ints(most)), ints(1)), ints(0))
    least = graph('Gather', graph('Concat', ordered, np.zeros(1, dtype=np.float32), axis=0), last, axis=0)
    staying = graph('Cast', graph('GreaterOrEqual', ordered, least), to=FLOAT)
    staying = graph('Cast', graph('ReduceSum', staying, ints(0), keepdims=1), to=INT64)
    return (graph('Slice', order, ints(0), staying, ints(0)), graph('Slice', ordered, ints(0), staying, ints(0)))
