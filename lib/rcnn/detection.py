"""From the network's output for one image, seen once or several times, to its detections."""
from __future__ import annotations

from typing import Sequence

import numpy as np

from lib.bbox.bbox_transform import MAX_LOG_RATIO, clip_boxes, flip_boxes, nonlinear_pred
from lib.nms.nms import box_voting, nms, soft_nms


def detect(rois: np.ndarray, cls_prob: np.ndarray, bbox_pred: np.ndarray, *, im_shape: Sequence[int], scale: float,
           max_log_ratio: float | None = MAX_LOG_RATIO) -> tuple[np.ndarray, np.ndarray]:
    """Scores and boxes of every RoI, in pixels of the image as it was before scaling.

    Args:
        rois: (R, 5) float32 image index and box, in pixels of the network's input.
        cls_prob: (R, C) probabilities.
        bbox_pred: (R, 4 * M) deltas, in their own units: not divided by BBOX_STDS.
        im_shape: height and width to clip the boxes to, in pixels of the network's input.
        scale: pixels of the network's input per pixel of the image.
        max_log_ratio: see `nonlinear_pred`.
    Returns:
        scores: (R, C), `cls_prob`.
        boxes: (R, 4 * M) float64.
    """
    boxes = clip_boxes(nonlinear_pred(rois[:, 1:], bbox_pred, max_log_ratio), im_shape)
    return cls_prob, boxes / scale


def merge_views(views: Sequence[tuple[np.ndarray, np.ndarray, int | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Join the scores and boxes of all views of an image; suppression chooses among them afterwards.

    Args:
        views: (scores, boxes, mirrored_width) of each view: scores (R, C); boxes (R, 4 * M) in pixels of the view
            before scaling; the width of the image in pixels if the view is its mirror image, else None.
    Returns:
        scores (sum of R, C), boxes (sum of R, 4 * M) in pixels of the image.
    """
    boxes = [boxes if width is None else flip_boxes(boxes.reshape(-1, 4), width).reshape(boxes.shape)
             for _, boxes, width in views]
    return np.concatenate([scores for scores, _, _ in views]), np.concatenate(boxes)


def per_class_nms(scores: np.ndarray, boxes: np.ndarray, *, thresh: float, nms_thresh: float, max_per_image: int,
                  class_agnostic: bool, method: str = 'nms', vote_thresh: float | None = None) -> list[np.ndarray]:
    """The detections of one image: per class, those above `thresh` that survive suppression; of all, the best.

    Args:
        scores: (R, C); class 0 is background.
        boxes: (R, 4 * C), or (R, 8) if class-agnostic: the last four columns serve all classes.
        thresh: a score must be greater, before and after soft-NMS has lowered it.
        nms_thresh: largest IoU of two detections of a class; for soft-NMS its `thresh`.
        max_per_image: largest number of detections; those that tie with the last one stay too. 0 or less: no limit.
        class_agnostic: whether `boxes` holds (R, 8).
        method: 'nms', or 'gaussian' or 'linear' for soft-NMS.
        vote_thresh: IoU of `box_voting`; None for no voting.
    Returns:
        list of C arrays (n, 5) float64 x1, y1, x2, y2, score, by decreasing score; that of the background is empty.
    """
    all_dets = [np.zeros((0, 5))]
    for cls in range(1, scores.shape[1]):
        rows = np.flatnonzero(scores[:, cls] > thresh)
        column = 4 if class_agnostic else 4 * cls
        dets = np.empty((len(rows), 5))
        dets[:, :4] = boxes[rows, column:column + 4]
        dets[:, 4] = scores[rows, cls]
        if method == 'nms':
            kept = dets[nms(dets, nms_thresh)]
        else:
            kept = soft_nms(dets, nms_thresh, method=method)
            kept = kept[kept[:, 4] > thresh]
        all_dets.append(kept if vote_thresh is None else box_voting(kept, dets, vote_thresh))
    return limit_detections(all_dets, max_per_image)


def limit_detections(all_dets: list[np.ndarray], max_per_image: int) -> list[np.ndarray]:
    """Drop the detections, a list of (n, 5) arrays, that score less than the `max_per_image`-th best of all."""
    scores = np.concatenate([dets[:, 4] for dets in all_dets])
    if max_per_image <= 0 or len(scores) <= max_per_image:
        return all_dets
    least = np.sort(scores)[-max_per_image]
    return [dets[dets[:, 4] >= least] for dets in all_dets]
