"""Targets of the box regression: spread over classes, and computed ahead of training for given proposals."""
from __future__ import annotations

from typing import Sequence

import numpy as np

from lib.bbox.bbox_transform import bbox_overlaps, nonlinear_transform


def expand_bbox_regression_targets(bbox_targets_data: np.ndarray, num_classes: int, *, class_agnostic: bool,
                                   bbox_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
                                   ) -> tuple[np.ndarray, np.ndarray]:
    """Put the four deltas of each RoI where its class has its outputs, zeros elsewhere.

    Args:
        bbox_targets_data: (R, 5) class and deltas; rows of a class below 1 have no target.
        num_classes: C, background included.
        class_agnostic: there are only two "classes" of boxes, background and object, whatever C is.
        bbox_weights: weights of the four deltas in the loss.
    Returns:
        bbox_targets: (R, 4 * C) float32, or (R, 8) if class-agnostic.
        bbox_weights: the same shape, float32; `bbox_weights` where there is a target, 0 elsewhere.
    """
    num_outputs = 2 if class_agnostic else num_classes
    targets, weights = np.zeros((2, len(bbox_targets_data), num_outputs, 4), dtype=np.float32)
    rows = np.flatnonzero(bbox_targets_data[:, 0] > 0)
    outputs = 1 if class_agnostic else bbox_targets_data[rows, 0].astype(int)
    targets[rows, outputs] = bbox_targets_data[rows, 1:]
    weights[rows, outputs] = bbox_weights
    return targets.reshape(-1, 4 * num_outputs), weights.reshape(-1, 4 * num_outputs)


def compute_bbox_regression_targets(rois: np.ndarray, overlaps: np.ndarray, labels: np.ndarray, *,
                                    thresh: float = 0.5) -> np.ndarray:
    """Class and deltas of each of the given RoIs of one image, for alternating training.

    Each RoI whose overlap reaches `thresh` has as its target the object that it overlaps most.

    Args:
        rois: (R, 4) boxes: proposals, and the objects themselves, which are the RoIs of overlap 1.
        overlaps: (R,) IoU of each with its best object.
        labels: (R,) class of that object.
        thresh: least overlap of a RoI that has a target.
    Returns:
        (R, 5) float32 class and deltas; zeros where there is no target.
    """
    rois = rois[:, :4].astype(np.float64)
    targets = np.zeros((len(rois), 5), dtype=np.float32)
    objects, examples = rois[overlaps == 1], np.flatnonzero(overlaps >= thresh)
    # Departure: the release fails in argmax when no RoI is an object. Without objects there is nothing to predict.
    if len(objects) and len(examples):
        best = bbox_overlaps(rois[examples], objects).argmax(axis=1)
        targets[examples, 0] = labels[examples]
        targets[examples, 1:] = nonlinear_transform(rois[examples], objects[best])
    return targets


def add_bbox_regression_targets(roidb: list[dict], *, num_classes: int, class_agnostic: bool, thresh: float = 0.5,
                                bbox_means: Sequence[float] | None = None,
                                bbox_stds: Sequence[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Add normalised 'bbox_targets' (R, 5) to each entry of a roidb, for alternating training.

    Args:
        roidb: list of dicts with 'boxes' (R, 4), 'max_overlaps' (R,) and 'max_classes' (R,).
        num_classes: C, background included.
        class_agnostic: normalise all classes together: there are only two "classes" of boxes, background and object.
        thresh: see `compute_bbox_regression_targets`.
        bbox_means, bbox_stds: (4,) mean and standard deviation of the deltas, the same for all classes. If they are
            None, they are measured on the roidb, per class.
    Returns:
        means, stds: (4 * C,) float64 each, or (8,) if class-agnostic. A prediction times stds plus means is a delta.
    """
    for entry in roidb:
        entry['bbox_targets'] = compute_bbox_regression_targets(
            entry['boxes'], entry['max_overlaps'], entry['max_classes'], thresh=thresh)
    num_outputs = 2 if class_agnostic else num_classes
    if bbox_means is None:
        means, stds = _measure([entry['bbox_targets'] for entry in roidb], num_outputs, class_agnostic)
    else:
        means, stds = [np.tile(np.asarray(v, dtype=np.float64), (num_outputs, 1)) for v in (bbox_means, bbox_stds)]
    for entry in roidb:
        _normalise(entry['bbox_targets'], means, stds, class_agnostic)
    return means.ravel(), stds.ravel()


def _outputs(targets, class_agnostic):
    """The output of the box regression that each target belongs to: its class, or 1 if class-agnostic; 0 for none."""
    return (targets[:, 0] > 0).astype(int) if class_agnostic else targets[:, 0].astype(int)


def _measure(all_targets, num_outputs, class_agnostic):
    """Mean and standard deviation of the deltas of each output, (num_outputs, 4) each; 0 for the background."""
    targets = np.concatenate(all_targets)
    outputs = _outputs(targets, class_agnostic)
    means, stds = np.zeros((2, num_outputs, 4))
    for output in np.unique(outputs[outputs > 0]):
        deltas = targets[outputs == output, 1:].astype(np.float64)
        means[output], stds[output] = deltas.mean(axis=0), deltas.std(axis=0)
    return means, stds


def _normalise(targets, means, stds, class_agnostic):
    """Subtract the mean and divide by the deviation of its output from each target, in place."""
    outputs = _outputs(targets, class_agnostic)
    rows = np.flatnonzero(outputs > 0)
    # Departure: the release divides by 0, and gets NaN, for a class all of whose targets are the same (one example,
    # say).
    divisors = np.where(stds > 0, stds, 1)
    targets[rows, 1:] = (targets[rows, 1:] - means[outputs[rows]]) / divisors[outputs[rows]]
