"""Detections of a data set and how good they are; used while training and by `rfcn/test.py`."""
from rfcn import build
from rfcn.core.tester import detect_all


def nms_settings(cfg):
    """Keywords of `lib.rcnn.detection.per_class_nms` from a configuration."""
    test = cfg.TEST
    return dict(thresh=test.SCORE_THRESH, nms_thresh=test.NMS, max_per_image=test.max_per_image,
                class_agnostic=cfg.CLASS_AGNOSTIC)


def evaluate(cfg, predictor, imdb, output_path=None):
    """Detect on every image of `imdb`.

    Returns:
        Evaluation, all_boxes.
    """
    loader = build.test_loader(cfg, imdb.gt_roidb())
    all_boxes = detect_all(predictor, loader, imdb.num_classes, **nms_settings(cfg))
    return imdb.evaluate_detections(all_boxes, output_path), all_boxes
