"""Detections of a whole data set, or of one image, from a Predictor."""
import logging
import os
import pickle

import numpy as np
from tqdm import tqdm

from lib.rcnn.detection import detect, per_class_nms

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
    rois = outputs['rois'].reshape(len(im_info), -1, ROIS_COLUMNS)
    result = []
    for i in range(images):
        scores, boxes = detect(rois[i], outputs['cls_prob'][i], outputs['bbox_pred'][i], im_shape=im_info[i, :2],
                               scale=im_info[i, 2])
        result.append(per_class_nms(scores, boxes, **nms_settings))
    return result


def detect_all(predictor, loader, num_classes, **nms_settings):
    """Detections of every image of a loader, in the release's layout: all_boxes[class][image] = (n, 5)."""
    all_boxes = [[np.zeros((0, ROIS_COLUMNS), dtype=np.float32)] * len(loader.roidb) for _ in range(num_classes)]
    position = 0
    for batch in tqdm(loader.batches(), total=len(loader), desc='test', unit='batch', mininterval=1):
        images = loader.batch_size - batch.pad
        detections = image_detections(predictor.predict(batch), batch.data[1].asnumpy(), images, **nms_settings)
        for path, by_class in zip(batch.images, detections):
            if path == loader.roidb[position]['image']:  # not where another image stands in for one that cannot be read
                for c in range(1, num_classes):
                    all_boxes[c][position] = by_class[c]
            position += 1
    return all_boxes


def save_detections(all_boxes, path):
    """Write all_boxes in the release's pickle layout."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'wb') as file:
        pickle.dump(all_boxes, file, protocol=2)
    logger.info('wrote %s', path)
