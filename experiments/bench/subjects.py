"""What is measured: R-FCN with random weights, and images drawn for the purpose."""
import collections
import contextlib

import cv2
import mxnet as mx
import numpy as np

from experiments.bench.measure import Stopwatch, unfused
from lib.utils.image import get_image, tensor_vstack
from lib.utils.image_file import imwrite
from rfcn import inference
from rfcn.checkpoints.pretrained import init_params
from rfcn.config.config import PROJECT, load_config
from rfcn.core.detect import Predictor, View, choose_detections
from rfcn.core.loader import Batch
from rfcn.precision import quantization
from rfcn.precision.bf16 import has_bf16, with_bf16_weights
from rfcn.symbols import make_symbol

CONFIG = PROJECT + '/experiments/rfcn/cfgs/resnet_v1_101_voc0712_rfcn_end2end_ohem.yaml'
HEIGHT, WIDTH = 600, 1000
FP32, UNFUSED, BF16, INT8 = 'fp32', 'fp32 unfused', 'bf16', 'int8'
PRECISIONS = (FP32, UNFUSED) + (BF16,) * has_bf16() + (INT8,)
OBJECTS = (1, 7, 3, 12)  # of the images, in turn

# Random weights do not keep activations in bounds as trained ones do: pixels are some 60 grey levels from their mean,
# and each unit adds to what it gets.
PIXEL_SCALE, RESIDUAL_SCALE = 1.0 / 60, 0.25


def config(depth, *overrides):
    """The release's VOC configuration, 21 classes, 300 RoIs, with another backbone."""
    return load_config(CONFIG, ['symbol=resnet_v1_%d_rfcn' % depth] + list(overrides))


def random_params(symbol, input_shapes):
    """Random arg_params and aux_params of a graph, scaled so that signals neither grow nor vanish on their way."""
    arg_params, aux_params, _ = init_params(symbol, input_shapes)
    arg_params['bn_conv1_gamma'][:] *= PIXEL_SCALE
    for name, value in arg_params.items():
        if name.endswith('branch2c_gamma'):
            value[:] *= RESIDUAL_SCALE
    return arg_params, aux_params


def write_images(folder, count):
    """Draw photograph-like images. Returns roidb entries with objects."""
    rng = np.random.RandomState(0)
    roidb = []
    for number in range(count):
        path = '%s/%d.jpg' % (folder, number)
        blobs = rng.randint(0, 247, (HEIGHT // 20, WIDTH // 20, 3)).astype(np.uint8)
        grain = rng.randint(0, 9, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        imwrite(path, cv2.resize(blobs, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) + grain)
        objects = OBJECTS[number % len(OBJECTS)]
        corners = rng.uniform((0, 0, 40, 40), (WIDTH - 300, HEIGHT - 300, 290, 290), (objects, 4))
        boxes = np.hstack((corners[:, :2], corners[:, :2] + corners[:, 2:])).astype(np.float32)
        roidb.append(dict(image=path, index=str(number), height=HEIGHT, width=WIDTH, boxes=boxes, flipped=False,
                          gt_classes=rng.randint(1, 21, objects).astype(np.int32)))
    return roidb


class Detection:
    """Detection with a network of random weights, from an image file to boxes.

    Args:
        depth: of the ResNet. roidb: of images. images: how many at a time.
        precisions: some of PRECISIONS. overrides: 'KEY=VALUE' of the configuration, for another network.
    """

    def __init__(self, depth, roidb, images=1, precisions=PRECISIONS, overrides=()):
        self.cfg = config(depth, 'TEST.BATCH_IMAGES=%d' % images, *overrides)
        self.roidb, self.images = roidb, images
        self.symbol = make_symbol(self.cfg).get_symbol(is_train=False)
        params = random_params(self.symbol, inference.input_shapes(self.cfg))
        self.predictors = {}
        for precision in precisions:
            graph = (self.symbol,) + params
            if precision == INT8:
                graph = quantization.quantize(*graph, [self.batch()])
            elif precision == BF16:
                graph = with_bf16_weights(*graph)
            self.predictors[precision] = Predictor(graph[0], inference.INPUTS, [mx.cpu()], *graph[1:])
            with unfused() if precision == UNFUSED else contextlib.nullcontext():
                self.run(precision)  # binds the graph

    def batch(self):
        """The first images, read and made into a batch."""
        scale, = self.cfg.SCALES
        loaded = [get_image(entry, *scale, 0, np.array(self.cfg.network.PIXEL_MEANS))
                  for entry in self.roidb[:self.images]]
        arrays = collections.OrderedDict(data=tensor_vstack([tensor for tensor, _, _ in loaded]),
                                         im_info=np.array([info for _, info, _ in loaded]))
        return Batch(arrays, {}, pad=0, images=[])

    def run(self, precision):
        """Detect on one batch. Returns the seconds of its parts."""
        watch = Stopwatch()
        batch = self.batch()
        watch.lap('pre')
        outputs = self.predictors[precision].predict(batch)
        watch.lap('network')
        view = View(batch, self.images, [None] * self.images)
        choose_detections([view], [outputs], **inference.nms_settings(self.cfg))
        watch.lap('post')
        return watch.seconds
