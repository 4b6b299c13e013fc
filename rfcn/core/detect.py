"""THE loop from images to detections: of a data set, of a list of pictures, of the frames of a video.

    images --read, resized--> views --network--> RoIs with scores and boxes --merged, suppressed--> detections

A view of an image is the image at one scale, mirrored or not. Reading goes on in the threads of the loader, the network
sees one batch after the other, and the detections of a batch are chosen in a thread while the network sees the next.
"""
import itertools
import logging
import os
import pickle
import threading
from collections import namedtuple

import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.rcnn.detection import detect, merge_views, per_class_nms
from lib.utils.progress import progress
from lib.utils.whole_file import save_whole
from rfcn.core.pipeline import in_threads

logger = logging.getLogger(__name__)

ROIS_COLUMNS = 5
# MXNet's Modules are not for several threads, and neither are callbacks of operators in Python: one thread at a time.
NETWORK_LOCK = threading.RLock()

# batch: a DataBatch of data and im_info; images: how many of its images count, the rest fills it up;
# mirrored_widths: of each of these images, its width in pixels where the view is its mirror image, else None
View = namedtuple('View', 'batch images mirrored_widths')


def detect_batches(predictor, batches, **nms_settings):
    """Detections of the images of each batch.

    Args:
        predictor: of a test graph; `Predictor`.
        batches: iterable of (key, list of `View`): the views of the same images, which are seen one after the other.
        nms_settings: keywords of `choose_detections`.
    Yields:
        key, list over images of lists over classes of (n, 5) boxes and scores in pixels of the original image.
    """
    return in_threads(lambda key, views, outputs: (key, choose_detections(views, outputs, **nms_settings)),
                      _seen(predictor, iter(batches)))


def _seen(predictor, batches):
    """Yield key, views and the outputs for each view; as many batches are seen at a time as there are devices."""
    while True:
        group = list(itertools.islice(batches, predictor.devices))
        if not group:
            return
        outputs = [_see(predictor, of_view) for of_view in zip(*[views for _, views in group])]
        for number, (key, views) in enumerate(group):
            yield key, views, [of_view[number] for of_view in outputs]


def _see(predictor, views):
    with NETWORK_LOCK:
        return predictor.predict_each([view.batch for view in views])


def choose_detections(views, outputs, max_log_ratio=MAX_LOG_RATIO, **nms_settings):
    """The detections of the images of one batch from what the network says of each view.

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


def detect_all(predictor, loaders, num_classes, **nms_settings):
    """Detections of every image of a data set, in the release's layout: all_boxes[class][image] = (n, 5).

    Args:
        loaders: list of `ImageLoader`, one for each view, whose entries are the same images in the same order.
        nms_settings: see `detect_batches`.
    """
    roidb = loaders[0].roidb
    all_boxes = [[np.zeros((0, ROIS_COLUMNS), dtype=np.float32)] * len(roidb) for _ in range(num_classes)]
    title = 'test' if len(loaders) == 1 else 'test, %d views' % len(loaders)
    batches = progress(_loaded_views(loaders), title, 'batch', len(loaders[0]))
    number = 0
    for paths, detections in detect_batches(predictor, batches, **nms_settings):
        for path, by_class in zip(paths, detections):
            if path == roidb[number]['image']:  # not where another image stands in for one that cannot be read
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


def save_detections(all_boxes, path):
    """Write all_boxes in the release's pickle layout."""
    def write(temporary):
        with open(temporary, 'wb') as file:
            pickle.dump(all_boxes, file, protocol=2)
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    save_whole([path], write)
    logger.info('wrote %s', path)
