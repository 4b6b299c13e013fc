"""Detections of a data set and how good they are; used while training and by `rfcn/test.py`."""
import numpy as np

from rfcn import build
from rfcn.core.detect import detect_all


def nms_settings(cfg):
    """Keywords of `lib.rcnn.detection.per_class_nms` from a configuration; by RELEASE_RULES also `max_log_ratio`."""
    test = cfg.TEST
    thresh = test.SOFT_NMS_SIGMA if test.NMS_METHOD == 'soft_gaussian' else test.NMS
    released = {'max_log_ratio': None} if cfg.RELEASE_RULES else {}
    return dict(released, thresh=test.SCORE_THRESH, nms_thresh=thresh, max_per_image=test.max_per_image,
                class_agnostic=cfg.CLASS_AGNOSTIC, method=test.NMS_METHOD.replace('soft_', ''),
                vote_thresh=test.BOX_VOTING_THRESH if test.BOX_VOTING else None)


def detections(cfg, predictor, roidb, proposals=False):
    """all_boxes[class][image] = (n, 5) of the images of a list of entries; with `proposals`, of these."""
    order = by_shape(roidb)
    loaders = build.view_loaders(cfg, [roidb[i] for i in order], proposals)
    all_boxes = detect_all(predictor, loaders, cfg.dataset.NUM_CLASSES, **nms_settings(cfg))
    loaders[0].log_skipped()  # those of the other views skip the same ones
    return [[of_class[i] for i in np.argsort(order)] for of_class in all_boxes]


def by_shape(roidb):
    """The order that puts images of one shape side by side.

    The network is bound to a shape less often, and batches need less padding.
    """
    return sorted(range(len(roidb)), key=lambda i: (roidb[i]['width'] / roidb[i]['height'], roidb[i]['width']))


def evaluate(cfg, predictor, imdb, output_path=None):
    """Detect on every image of `imdb`.

    Returns:
        Evaluation, all_boxes.
    """
    all_boxes = detections(cfg, predictor, imdb.test_roidb())
    return imdb.evaluate_detections(all_boxes, output_path), all_boxes
