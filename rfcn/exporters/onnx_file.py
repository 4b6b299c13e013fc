"""A detector as an ONNX file: standard operators alone, one image of any size.

    inputs     data (1, 3, H, W) float32: red, green, blue less their means; im_info (1, 3): height, width, scale
    outputs    rois (R, 5), cls_prob (1, R, C), bbox_pred (1, R, 4 * num_reg_classes), or
               boxes (n, 4) in pixels of the image before scaling, scores (n,), classes (n,) int64; the best first

The file's metadata says what a user of it must know: the names of the classes and how an image becomes `data`.
"""
import json

from lib.errors import ConfigError
from lib.utils.whole_file import save_whole
from rfcn import build
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.for_test import load_for_test
from rfcn.config.config import with_overrides
from rfcn.evaluate import nms_settings
from rfcn.exporters.onnx_detect import detections
from rfcn.exporters.onnx_graph import Graph
from rfcn.exporters.onnx_layers import add_network
from rfcn.symbols import make_symbol

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
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    arg_params, aux_params = load_for_test(cfg, params)
    checkpoint.check_params(symbol, build.input_shapes(cfg), arg_params, aux_params, params)
    graph = onnx_graph(cfg, symbol, arg_params, aux_params, with_detections)
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
        names, shapes = RAW_OUTPUTS, symbol.infer_shape(**build.input_shapes(cfg))[1]
    for name, shape, value in zip(names, shapes, found):
        graph.output(name, value, shape)
    return graph


def _plain_nms(cfg):
    """Keywords of `detections`."""
    views = len(build.test_scales(cfg)) * (2 if cfg.TEST.FLIP else 1)
    for key, unfit in (('TEST.NMS_METHOD', cfg.TEST.NMS_METHOD != 'nms'), ('TEST.BOX_VOTING', cfg.TEST.BOX_VOTING),
                       ('TEST.SCALES and TEST.FLIP', views > 1)):
        if unfit:
            raise ConfigError('%s: a file with detections has plain non-maximum suppression of one view of the image; '
                              'write TEST.NMS_METHOD=nms TEST.BOX_VOTING=false TEST.FLIP=false and one scale, or '
                              'export without --detections and do the rest outside' % key)
    settings = nms_settings(cfg)
    return {name: settings[name] for name in ('thresh', 'nms_thresh', 'max_per_image')}


def metadata(cfg) -> dict:
    """What the file says of itself: name -> text, JSON but for `format`."""
    shorter, longest = build.test_scales(cfg)[0]
    facts = dict(classes=list(cfg.dataset.CLASSES), means_rgb=[float(mean) for mean in cfg.network.PIXEL_MEANS[::-1]],
                 shorter_side=shorter, longest_side=longest, image_stride=cfg.network.IMAGE_STRIDE,
                 symbol=cfg.symbol, class_agnostic=cfg.CLASS_AGNOSTIC)
    return {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()}
