"""Detections of a whole data set, or of one image, from a Predictor."""
import logging
import os
import pickle

import numpy as np
from tqdm import tqdm

from lib.rcnn.detection import detect, per_class_nms
from lib.utils.whole_file import save_whole
from rfcn.core.pipeline import in_threads

logger = logging.getLogger(__name__)

ROIS_COLUMNS = 5


def image_detections(outputs, im_info, images, **nms_settings):
    """Per-class detections of each image of a batch.

    Args:
        outputs: of `Predictor.predict`: rois (B*R, 5), cls_prob (B, R, C), bbox_pred (B, R, 4 * num_reg_classes).
        im_info: (B, 3). images: how many of the batch's images count; the rest fills it up.
        nms_settings: keywords of `lib.rcnn.detection.per_class_nms`.
    Returns:
        list over images of lists over classes of (n, 5) boxes and scores in pixels of the original image.
    """
    return [per_class_nms(scores, boxes, **nms_settings)
            for scores, boxes in image_candidates(outputs, im_info, images)]


def image_candidates(outputs, im_info, images):
    """What `per_class_nms` chooses from: list over images of scores and boxes. Args: see `image_detections`."""
    rois = outputs['rois'].reshape(len(im_info), -1, ROIS_COLUMNS)
    return [detect(rois[i], outputs['cls_prob'][i], outputs['bbox_pred'][i], im_shape=im_info[i, :2],
                   scale=im_info[i, 2]) for i in range(images)]


def detect_all(predictor, loader, num_classes, **nms_settings):
    """Detections of every image of a loader, in the release's layout: all_boxes[class][image] = (n, 5)."""
    def finish(batch, outputs):
        images = loader.batch_size - batch.pad
        return batch.images, image_detections(outputs, batch.data[1].asnumpy(), images, **nms_settings)

    all_boxes = no_detections(num_classes, len(loader.roidb))
    position = 0
    batches = tqdm(loader.batches(), total=len(loader), desc='test', unit='batch', mininterval=1)
    seen = ((batch, predictor.predict(batch)) for batch in batches)
    for paths, detections in in_threads(finish, seen):  # while the network sees the next batch
        place(all_boxes, position, detections, paths, loader.roidb)
        position += len(detections)
    return all_boxes


def no_detections(num_classes, images):
    """all_boxes[class][image] without a detection."""
    return [[np.zeros((0, ROIS_COLUMNS), dtype=np.float32)] * images for _ in range(num_classes)]


def place(all_boxes, position, detections, paths, roidb):
    """Put the detections of a batch into all_boxes from image number `position` on; `paths` are those of its images."""
    for number, (path, by_class) in enumerate(zip(paths, detections), position):
        if path == roidb[number]['image']:  # not where another image stands in for one that cannot be read
            for c in range(1, len(all_boxes)):
                all_boxes[c][number] = by_class[c]


def save_detections(all_boxes, path):
    """Write all_boxes in the release's pickle layout."""
    def write(temporary):
        with open(temporary, 'wb') as file:
            pickle.dump(all_boxes, file, protocol=2)
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    save_whole([path], write)
    logger.info('wrote %s', path)
