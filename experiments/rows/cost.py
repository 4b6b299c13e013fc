"""What a row costs: parameters, arithmetic of an image, memory of a training step; from the graphs, nothing is run."""
from typing import NamedTuple

import mxnet as mx
import numpy as np

from experiments.bench.measure import gflop
from experiments.rows.table import END2END, GIVEN
from rfcn.core.image_loaders import detection_scales
from rfcn.core.module import fixed_param_names, planned_megabytes
from rfcn.core.target_loaders import feature_shape
from rfcn.symbols import make_symbol

OBJECTS = 20          # of an image, for the shapes
COPIES = 3            # of a parameter that is trained: itself, its gradient, its momentum


class Cost(NamedTuple):
    """What the network of one row costs."""
    parameters: int     # trained and fixed
    gflop: float        # of convolutions and the like, one test image, all views
    memory: float       # bytes: parameters, gradients, momentum, MXNet's plan of activations; largest step, one image


def cost(cfg, kind):
    """The `Cost` of a configuration, at its own image size.

    Args:
        kind: how it is trained, see `experiments.rows.table`.
    """
    network = make_symbol(cfg)
    graph = network.get_symbol_rfcn if kind == GIVEN else network.get_symbol
    symbol = graph(is_train=False)
    views = [scale for scale in detection_scales(cfg) for _ in range(2 if cfg.TEST.FLIP else 1)]
    inputs = [input_shapes(cfg, symbol, scale, cfg.TEST.RPN_POST_NMS_TOP_N) for scale in views]
    steps = [network.get_symbol] if kind == END2END else [network.get_symbol_rfcn]
    steps += [] if kind in (END2END, GIVEN) else [network.get_symbol_rpn]
    largest = max(cfg.SCALES, key=lambda scale: scale[0] * scale[1])
    memory = max(step_memory(cfg, step(is_train=True), largest) for step in steps)
    return Cost(num_parameters(symbol, inputs[0]), sum(gflop(symbol, **shapes) for shapes in inputs), memory)


def input_shapes(cfg, symbol, scale, rois=None):
    """Shapes of the inputs of a graph, by name, for one image.

    Args:
        scale: height and width of the image. rois: how many, of a graph that is given them; by default all that train.
    """
    height, width = scale
    anchors = cfg.network.NUM_ANCHORS
    if rois is None:
        rois = cfg.TRAIN.BATCH_ROIS if cfg.TRAIN.BATCH_ROIS > 0 else cfg.TEST.PROPOSAL_POST_NMS_TOP_N + OBJECTS
    shapes = {'data': (1, 3, height, width), 'im_info': (1, 3), 'rois': (1, rois, 5), 'gt_boxes': (1, OBJECTS, 5)}
    if 'rpn_cls_score_output' in symbol.get_internals().list_outputs():
        rows, columns = feature_shape(symbol)(height, width)
        label, targets = (1, anchors * rows * columns), (1, 4 * anchors, rows, columns)
    else:
        label, targets = (1, rois), (1, rois, 4 * (2 if cfg.CLASS_AGNOSTIC else cfg.dataset.NUM_CLASSES))
    shapes.update(label=label, bbox_target=targets, bbox_weight=targets)
    return {name: shapes[name] for name in symbol.list_arguments() if name in shapes}


def array_sizes(symbol, inputs):
    """How many numbers are in each argument of a graph, the inputs among them, and in each statistic: two dicts."""
    arguments, _, statistics = symbol.infer_shape(**inputs)
    return tuple({name: int(np.prod(shape)) for name, shape in zip(names, shapes)} for names, shapes in (
        (symbol.list_arguments(), arguments), (symbol.list_auxiliary_states(), statistics)))


def num_parameters(symbol, inputs):
    """Numbers in all parameters and statistics."""
    arguments, statistics = array_sizes(symbol, inputs)
    return sum(arguments.values()) - sum(arguments[name] for name in inputs) + sum(statistics.values())


def trained_names(cfg, symbol, inputs):
    """The parameters that a training graph trains."""
    fixed = set(fixed_param_names(symbol, cfg.network.FIXED_PARAMS)) | set(inputs)
    return [name for name in symbol.list_arguments() if name not in fixed]


def step_memory(cfg, symbol, scale):
    """Bytes that one training step plans to use, with one image."""
    inputs = input_shapes(cfg, symbol, scale)
    trained = trained_names(cfg, symbol, inputs)
    requests = {name: 'write' if name in trained else 'null' for name in symbol.list_arguments()}
    activations = planned_megabytes(symbol.simple_bind(mx.cpu(), grad_req=requests, **inputs)) << 20
    arguments, statistics = array_sizes(symbol, inputs)
    numbers = sum(arguments.values()) + sum(statistics.values())
    return activations + 4.0 * (numbers + (COPIES - 1) * sum(arguments[name] for name in trained))
