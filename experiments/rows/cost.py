"""What a row costs: parameters, arithmetic of an image, memory of a training step; from the graphs, nothing is run."""
import re
from typing import NamedTuple

import mxnet as mx
import numpy as np

from experiments.bench.measure import gflop
from experiments.rows.table import END2END, GIVEN
from rfcn.core.loader import detection_scales
from rfcn.core.module import fixed_param_names
from rfcn.core.target_loaders import feature_shape
from rfcn.symbols import make_symbol

OBJECTS = 20          # of an image, for the shapes
COPIES = 3            # of a parameter that is trained: itself, its gradient, its momentum


class Cost(NamedTuple):
    """Of one row."""
    parameters: int     # trained and fixed
    gflop: float        # of convolutions and the like, one test image, all views
    memory: float       # bytes: parameters, gradients, momentum, MXNet's plan of activations; largest step, one image


def cost(cfg, kind):
    """Of the configuration's own image size.

    Args:
        kind: how it is trained, see `experiments.rows.table`.
    """
    network = make_symbol(cfg)
    graph = network.get_symbol_rfcn if kind == GIVEN else network.get_symbol
    symbol = graph(is_train=False)
    views = [scale for scale in detection_scales(cfg) for _ in range(2 if cfg.TEST.FLIP else 1)]
    inputs = [{name: shape for name, shape in input_shapes(cfg, symbol, scale, cfg.TEST.RPN_POST_NMS_TOP_N).items()
               if name in symbol.list_arguments()} for scale in views]
    steps = [network.get_symbol] if kind == END2END else [network.get_symbol_rfcn]
    steps += [] if kind in (END2END, GIVEN) else [network.get_symbol_rpn]
    largest = max(cfg.SCALES, key=lambda scale: scale[0] * scale[1])
    memory = max(step_memory(cfg, step(is_train=True), largest) for step in steps)
    return Cost(num_parameters(symbol, inputs[0]), sum(gflop(symbol, **shapes) for shapes in inputs), memory)


def input_shapes(cfg, symbol, scale, rois):
    """Shapes of all inputs that any graph has, for one landscape picture at a scale, and `rois` given RoIs."""
    height, width = scale
    anchors = cfg.network.NUM_ANCHORS
    shapes = {'data': (1, 3, height, width), 'im_info': (1, 3), 'rois': (1, rois, 5), 'gt_boxes': (1, OBJECTS, 5)}
    if 'rpn_cls_score_output' in symbol.get_internals().list_outputs():
        rows, columns = feature_shape(symbol)(height, width)
        maps = (1, 4 * anchors, rows, columns)
        return dict(shapes, label=(1, anchors * rows * columns), bbox_target=maps, bbox_weight=maps)
    targets = (1, rois, 4 * (2 if cfg.CLASS_AGNOSTIC else cfg.dataset.NUM_CLASSES))
    return dict(shapes, label=(1, rois), bbox_target=targets, bbox_weight=targets)


def num_parameters(symbol, inputs):
    """Numbers in all parameters and statistics."""
    arguments, _, statistics = symbol.infer_shape(**inputs)
    shapes = [shape for name, shape in zip(symbol.list_arguments(), arguments) if name not in inputs] + statistics
    return sum(int(np.prod(shape)) for shape in shapes)


def step_memory(cfg, symbol, scale):
    """Bytes that one training step plans to use, with one image."""
    rois = cfg.TRAIN.BATCH_ROIS if cfg.TRAIN.BATCH_ROIS > 0 else cfg.TEST.PROPOSAL_POST_NMS_TOP_N + OBJECTS
    shapes = input_shapes(cfg, symbol, scale, rois)
    shapes = {name: shape for name, shape in shapes.items() if name in symbol.list_arguments()}
    fixed = set(fixed_param_names(symbol, cfg.network.FIXED_PARAMS)) | set(shapes)
    requests = {name: 'null' if name in fixed else 'write' for name in symbol.list_arguments()}
    plan = symbol.simple_bind(mx.cpu(), grad_req=requests, **shapes).debug_str()
    activations = int(re.search(r'Total (\d+) MB allocated', plan).group(1)) << 20
    arguments, _, statistics = symbol.infer_shape(**shapes)
    numbers = [np.prod(shape) * (1 if name in fixed else COPIES)
               for name, shape in zip(symbol.list_arguments(), arguments)] + [np.prod(shape) for shape in statistics]
    return activations + 4.0 * sum(numbers)
