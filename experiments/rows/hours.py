"""How long a row would take here: the seconds of one image, measured or given, times the images of its schedule.

A step is measured with random weights and random pixels at the row's own size, one image at a time: forward, backward,
update. Several scales of training count by their pixels. What is left out: reading images (which goes on beside the
network) and talk between hosts, so that N hosts take at least the Nth part.
"""
import statistics
import time
from typing import Dict, NamedTuple, Tuple

import mxnet as mx
import numpy as np

from experiments.bench.subjects import random_params
from experiments.bench.training import LABELS, OPTIMIZER
from experiments.rows.cost import input_shapes
from experiments.rows.schedule import row_steps, test_images, training_images
from experiments.rows.table import ALTERNATE, GIVEN, TEST
from rfcn.config.config import load_config, rois_per_image, with_overrides
from rfcn.core.detect import Predictor
from rfcn.core.image_loaders import detection_scales
from rfcn.core.loader import Batch
from rfcn.core.module import TrainModule
from rfcn.precision.bf16 import has_bf16, with_bf16_convolutions, with_bf16_weights
from rfcn.precision.quantization import quantize
from rfcn.symbols import make_symbol

FP32, BF16, INT8, ANY = 'fp32', 'bf16', 'INT8', 'as given'
WHOLE, RPN, RFCN = 'get_symbol', 'get_symbol_rpn', 'get_symbol_rfcn'    # the graphs of a network
ROUNDS, WARM_UP = 3, 1


class Hours(NamedTuple):
    """The hours of one row on one machine: precision -> hours."""
    images: int                 # trained, over all steps
    tests: int                  # images to test
    training: Dict[str, float]
    testing: Dict[str, float]


def hours(row, seconds, overrides=()):
    """What a row takes.

    Args:
        seconds: a function (cfg, graph, is_train, precision) -> seconds of an image: `MeasuredSeconds` or
            `given_seconds`.
    Raises:
        DatasetError, FileNotFoundError: the row's images are neither counted in schedule.py nor here.
    """
    given = not isinstance(seconds, MeasuredSeconds)
    cfg = load_config(row.cfg_path, ['gpus='] + list(overrides))
    trained = [] if row.kind == TEST else row_steps(row, overrides)
    passes = [(graph_of(step.name, row.kind), True, step.images * relative_pixels(cfg)) for step in trained]
    if row.kind == ALTERNATE:   # two RPNs propose for the images themselves
        images = training_images(cfg) // (2 if cfg.TRAIN.FLIP else 1)
        passes.append((RPN, False, 2 * images))
    tests, network = test_images(cfg), RFCN if row.kind == GIVEN else WHOLE
    to_train = [ANY] if given else [FP32] + [BF16] * has_bf16()
    to_test = to_train + [INT8] * (not given and row.kind != GIVEN)     # only a whole network has an INT8 model
    training = {precision: sum(count * seconds(cfg, graph, is_train, precision) for graph, is_train, count in passes)
                / 3600 for precision in to_train if passes}
    testing = {precision: tests * test_pixels(cfg) * seconds(cfg, network, False, precision) / 3600
               for precision in to_test}
    return Hours(sum(step.images for step in trained), tests, training, testing)


def graph_of(step, kind):
    """The graph that a step of a training trains."""
    if kind == ALTERNATE:
        return RPN if step.startswith('rpn') else RFCN
    return RFCN if kind == GIVEN else WHOLE


def reference_scale(cfg):
    """The scale that is measured: the first one of the tests."""
    return detection_scales(cfg)[0]


def relative_pixels(cfg):
    """Pixels of a training image, the mean over its scales, in those of the scale that is measured."""
    return float(np.mean([np.prod(scale) for scale in cfg.SCALES]) / np.prod(reference_scale(cfg)))


def test_pixels(cfg):
    """Pixels of all views of a test image, in those of the scale that is measured."""
    views = sum(np.prod(scale) for scale in detection_scales(cfg)) * (2 if cfg.TEST.FLIP else 1)
    return float(views / np.prod(reference_scale(cfg)))


def given_seconds(training, testing):
    """The function `seconds` of `hours` that measures nothing: the same for all graphs and precisions."""
    return lambda cfg, graph, is_train, precision: training if is_train else testing


class MeasuredSeconds:
    """Measures the seconds of an image; equal graphs are measured once."""

    def __init__(self):
        self.known: Dict[Tuple, float] = {}

    def __call__(self, cfg, graph, is_train, precision):
        cfg = with_overrides(cfg, {'TRAIN.BATCH_IMAGES': 1, 'TEST.BATCH_IMAGES': 1,
                                   'TRAIN.BATCH_ROIS': rois_per_image(cfg)})
        symbol = getattr(make_symbol(cfg), graph)(is_train=is_train)
        batch = random_batch(cfg, symbol)
        key = (symbol.tojson(), str(batch.provide_data), is_train, precision)
        if key not in self.known:
            self.known[key] = measured(trainer(cfg, symbol, batch, precision) if is_train
                                       else tester(symbol, batch, precision))
        return self.known[key]


def measured(run):
    """Median seconds of a call."""
    times = []
    for _ in range(WARM_UP + ROUNDS):
        started = time.perf_counter()
        run()
        mx.nd.waitall()
        times.append(time.perf_counter() - started)
    return statistics.median(times[WARM_UP:])


def random_batch(cfg, symbol):
    """One image at the reference scale and what else a graph reads."""
    shapes = input_shapes(cfg, symbol, reference_scale(cfg))
    rng = np.random.RandomState(0)
    height, width = shapes['data'][2:]

    def boxes(shape):
        corners = rng.uniform(0, 0.7, shape[:-1] + (2,))
        sides = rng.uniform(0.05, 0.3, shape[:-1] + (2,))
        return np.concatenate((corners, corners + sides), -1) * ([width, height] * 2)

    values = {'data': lambda shape: rng.normal(0, 60, shape), 'im_info': lambda shape: np.array([[height, width, 1]]),
              'gt_boxes': lambda shape: np.concatenate((boxes(shape), np.ones(shape[:-1] + (1,))), -1),
              'rois': lambda shape: np.concatenate((np.zeros(shape[:-1] + (1,)), boxes(shape)), -1),
              'label': lambda shape: rng.randint(0, 2, shape)}
    arrays = {name: values.get(name, np.zeros)(shape) for name, shape in shapes.items()}
    return Batch({name: array for name, array in arrays.items() if name not in LABELS},
                 {name: array for name, array in arrays.items() if name in LABELS})


def trainer(cfg, symbol, batch, precision):
    """A function that makes one training step."""
    params = random_params(symbol, {name: value.shape for name, value in batch.inputs.items()})
    graph = with_bf16_convolutions(symbol) if precision == BF16 else symbol
    module = TrainModule(graph, [desc.name for desc in batch.provide_data],
                         [desc.name for desc in batch.provide_label], [mx.cpu()], fixed=cfg.network.FIXED_PARAMS)
    module.start(batch, *params, optimizer_params=OPTIMIZER, kvstore='local')
    return lambda: module.step(batch)


def tester(symbol, batch, precision):
    """A function that runs a test graph on one image."""
    graph = (symbol,) + tuple(random_params(symbol, {desc.name: desc.shape for desc in batch.provide_data}))
    if precision == INT8:
        graph = quantize(*graph, [batch])
    elif precision == BF16:
        graph = with_bf16_weights(*graph)
    predictor = Predictor(graph[0], [desc.name for desc in batch.provide_data], [mx.cpu()], *graph[1:])
    return lambda: predictor.predict(batch)


def lines(row, found, hosts):
    """The lines of a row: hours to train and to test, on one machine and on several."""
    def cells(by_precision, share):
        return '  '.join('%s %s' % (name, ('%.1f' if value / share >= 0.1 else '%.3f') % (value / share))
                         for name, value in by_precision.items())
    for count in hosts:
        yield '%-46s %5d  train %s  test %s' % (row.name, count, cells(found.training, count) or '-',
                                                cells(found.testing, count))
