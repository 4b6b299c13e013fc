"""THE loop from images to detections: of a data set, of a list of pictures, of the frames of a video.

    images --read, resized--> views --network--> RoIs with scores and boxes --merged, suppressed--> detections

A view of an image is the image at one scale, mirrored or not. Reading goes on in the threads of the loader, the network
sees one batch after the other, and the detections of a batch are chosen in a thread while the network sees the next.
`Predictor` runs the network on batches of images of any size.
"""
from __future__ import annotations

import collections
import itertools
import logging
import os
import pickle
import threading
from collections import namedtuple
from typing import Any, Iterable, Iterator, Sequence

import mxnet as mx
import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.rcnn.detection import detect, merge_views, per_class_nms
from lib.utils.console import progress
from lib.utils.memory import give_back
from lib.utils.whole_file import save_whole
from rfcn.core.loader import Batch
from rfcn.core.pipeline import in_threads
from rfcn.operator_py import use_seeds
from rfcn.operator_py.psroi_pooling import with_compiled_pooling

SIZES, INT8_SIZES = 2, 4  # of image that are kept bound on a device, such as an upright and a wide one
ROIS_COLUMNS, DETS_COLUMNS = 5, 5     # image index and box; box and score
# MXNet's Modules are not for several threads, and neither are callbacks of operators in Python: one thread at a time.
NETWORK_LOCK = threading.RLock()
# A process is forked between two of them: MXNet waits within the fork for its operators, and one in Python waits for
# the interpreter, which the fork holds: for ever.
os.register_at_fork(before=NETWORK_LOCK.acquire, after_in_parent=NETWORK_LOCK.release,
                    after_in_child=NETWORK_LOCK.release)
# batch: a Batch of data and im_info; images: how many of its images count, the rest fills it up;
# mirrored_widths: of each of these images, its width in pixels where the view is its mirror image, else None
View = namedtuple('View', 'batch images mirrored_widths')

logger = logging.getLogger(__name__)


def blob_name(output: str) -> str:
    """The name of a blob from that of an output, without '_output' and '_reshape'."""
    return output.replace('_output', '').replace('_reshape', '')


class Predictor:
    """A test graph with its parameters, bound on each device to the latest sizes of images.

    Binding to a new size takes time, because MXNet lays out the weights anew: with a ResNet-101 a tenth of the time of
    a detection in fp32, and as long as the detection itself in INT8. So the latest sizes stay bound. They share their
    parameters and the memory for intermediate results. Each has its own copy of the weights in MXNet's layout: for a
    ResNet-101 200 MB in fp32, 110 in bf16 and 65 in INT8. That limits how many are kept.

    MXNet folds weights when an executor first runs, so changed parameters need a new Predictor.

    Args:
        symbol: a test graph. data_names: its inputs.
        context: list of mx.Context, the devices.
        arg_params, aux_params: complete.
        sizes: how many sizes of image are kept bound on a device; at least 2, as a new one shares the memory of the
            latest one.
    """

    def __init__(self, symbol: mx.sym.Symbol, data_names: Sequence[str], context: list[mx.Context],
                 arg_params: dict[str, mx.nd.NDArray], aux_params: dict[str, mx.nd.NDArray], sizes: int = SIZES):
        on_cpu = all(device.device_type == 'cpu' for device in context)
        self.symbol = with_compiled_pooling(symbol) if on_cpu else symbol
        self.data_names = data_names
        self.context = context
        self.params = (arg_params, aux_params)
        self.sizes = sizes
        self._modules = [collections.OrderedDict() for _ in context]  # shapes of the inputs -> Module, the latest last

    @property
    def devices(self) -> int:
        """How many batches `predict_each` takes at a time."""
        return len(self.context)

    def predict(self, batch: Batch) -> dict[str, np.ndarray]:
        """Run the network on a batch of one device. Returns `blob_name` of an output -> array."""
        return self.predict_each([batch])[0]

    def predict_each(self, batches: list[Batch]) -> list[dict[str, np.ndarray]]:
        """`predict` for one batch on each device; batches may differ in shape, and be fewer than the devices."""
        modules = [self._module(device, batch.provide_data) for device, batch in enumerate(batches)]
        for module, context, batch in zip(modules, self.context, batches):
            use_seeds(context, batch.seeds)
            module.forward(batch, is_train=False)   # which does not wait for the result
        return [{blob_name(name): value.asnumpy()
                 for name, value in zip(module.output_names, module.get_outputs())} for module in modules]

    def _module(self, device, provide_data):
        modules, shapes = self._modules[device], tuple(tuple(desc.shape) for desc in provide_data)
        if shapes not in modules:
            if len(modules) == self.sizes:  # first, or the new one would add to the peak of memory
                modules.popitem(last=False)
                give_back()
            modules[shapes] = self._bound(device, provide_data)
        modules.move_to_end(shapes)
        return modules[shapes]

    def _bound(self, device, provide_data):
        module = mx.mod.Module(self.symbol, data_names=self.data_names, label_names=None, context=self.context[device])
        latest = next(reversed(self._modules[device].values()), None)
        if latest is not None:      # inputs are not shared: at each larger one MXNet would print a warning of its own
            latest._exec_group.shared_data_arrays[0].clear()
        module.bind(provide_data, for_training=False, shared_module=latest)
        if latest is None:
            module.set_params(*self.params, allow_extra=True)
        return module


def detect_batches(predictor: Predictor, batches: Iterable[tuple[Any, list[View]]],
                   **nms_settings: Any) -> Iterator[tuple[Any, list[list[np.ndarray]]]]:
    """Detections of the images of each batch.

    Args:
        predictor: of a test graph; `Predictor`.
        batches: iterable of (key, list of `View`): the views of the same images, which the network gets in turn.
        nms_settings: keywords of `choose_detections`.
    Yields:
        key, list over images of lists over classes of (n, 5) boxes and scores in pixels of the original image.
    """
    return in_threads(lambda key, views, outputs: (key, choose_detections(views, outputs, **nms_settings)),
                      _with_outputs(predictor, iter(batches)))


def _with_outputs(predictor, batches):
    """Yield key, views and the outputs for each view; one batch is computed on each device at a time."""
    while True:
        group = list(itertools.islice(batches, predictor.devices))
        if not group:
            return
        outputs = []
        for of_view in zip(*[views for _, views in group]):
            with NETWORK_LOCK:
                outputs.append(predictor.predict_each([view.batch for view in of_view]))
        for number, (key, views) in enumerate(group):
            yield key, views, [of_view[number] for of_view in outputs]


def choose_detections(views: list[View], outputs: list[dict[str, np.ndarray]],
                      max_log_ratio: float | None = MAX_LOG_RATIO, **nms_settings: Any) -> list[list[np.ndarray]]:
    """The detections of the images of one batch from the network's outputs for each view.

    Args:
        views: list of `View`, of the same images.
        outputs: for each view, of `Predictor.predict`: rois (B*R, 5), cls_prob (B, R, C), bbox_pred
            (B, R, 4 * num_reg_classes).
        max_log_ratio: see `lib.bbox.bbox_transform.nonlinear_pred`. nms_settings: see `detect_batches`.
    Returns:
        list over images of lists over classes of (n, 5).
    """
    candidates = [_candidates(view, of_view, max_log_ratio) for view, of_view in zip(views, outputs)]
    return [per_class_nms(*merge_views(of_image), **nms_settings) for of_image in zip(*candidates)]


def _candidates(view, outputs, max_log_ratio):
    """The scores, boxes and mirrored width of each image of a view, as `merge_views` takes them."""
    im_info = view.batch.data[1].asnumpy()                                       # (B, 3)
    rois = outputs['rois'].reshape(len(im_info), -1, ROIS_COLUMNS)
    return [detect(rois[i], outputs['cls_prob'][i], outputs['bbox_pred'][i], im_shape=im_info[i, :2],
                   scale=im_info[i, 2], max_log_ratio=max_log_ratio) + (view.mirrored_widths[i],)
            for i in range(view.images)]


def detect_all(predictor: Predictor, loaders: list, num_classes: int, **nms_settings: Any) -> list[list[np.ndarray]]:
    """Detections of every image of a data set, in the release's layout: all_boxes[class][image] = (n, 5).

    Args:
        loaders: list of `ImageLoader`, one for each view, whose entries are the same images in the same order.
        nms_settings: see `detect_batches`.
    """
    roidb = loaders[0].roidb
    all_boxes = [[np.zeros((0, DETS_COLUMNS), dtype=np.float32)] * len(roidb) for _ in range(num_classes)]
    title = 'test' if len(loaders) == 1 else 'test, %d views' % len(loaders)
    batches = progress(_loaded_views(loaders), title, 'batch', len(loaders[0]))
    number = 0
    for paths, detections in detect_batches(predictor, batches, **nms_settings):
        for path, by_class in zip(paths, detections):
            if path == roidb[number]['image']:  # else another image has taken the place of one that cannot be read
                for c in range(1, num_classes):
                    all_boxes[c][number] = by_class[c]
            number += 1
    return all_boxes


def _loaded_views(loaders):
    """Yield the paths of the images of each batch, and their views."""
    position = 0
    for batches in zip(*[loader.batches() for loader in loaders]):
        images = loaders[0].batch_size - batches[0].pad
        entries = [loader.roidb[position:position + images] for loader in loaders]
        yield batches[0].images, [View(batch, images, [e['width'] if e['flipped'] else None for e in of_view])
                                  for batch, of_view in zip(batches, entries)]
        position += images


def save_detections(all_boxes: list[list[np.ndarray]], path: str) -> None:
    """Write all_boxes in the release's pickle layout."""
    def write(temporary):
        with open(temporary, 'wb') as file:
            pickle.dump(all_boxes, file, protocol=2)
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    save_whole([path], write)
    logger.info('wrote %s', path)
