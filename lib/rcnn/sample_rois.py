"""Which RoIs train the detector, and what each of them should predict.

`sample_rois` is for one image, `proposal_target` for a batch of end-to-end training, `add_roi_targets` for proposals
that were made before the training (alternating training, external proposals). `box_annotator_ohem` selects the RoIs of
the highest loss; the network does the same by MXNet's operators, and a test compares the two.
"""
from __future__ import annotations

from types import ModuleType
from typing import Any, Sequence

import numpy as np

from lib.bbox.bbox_regression import add_bbox_regression_targets, expand_bbox_regression_targets
from lib.bbox.bbox_transform import IGNORE_LABEL, bbox_overlaps, nonlinear_transform
from lib.nms.nms import decreasing_order

BACKGROUND = 0      # the label
LOG_FLOOR = 1e-14      # keeps the logarithm of a probability that underflowed finite, as in the release


def sample_rois(rois: np.ndarray, gt_boxes: np.ndarray, *, fg_rois_per_image: int, rois_per_image: int,
                num_classes: int, class_agnostic: bool, fg_thresh: float = 0.5, bg_thresh_hi: float = 0.5,
                bg_thresh_lo: float = 0.0, bbox_means: Sequence[float] | None = None,
                bbox_stds: Sequence[float] | None = None, bbox_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
                pad_label: int = IGNORE_LABEL,
                rng: np.random.RandomState | ModuleType = np.random
                ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Choose RoIs of one image, foreground first, and give each its label and box targets (Fast R-CNN, section 2.3).

    A RoI is foreground, of the class of the object that it overlaps most, when that IoU reaches `fg_thresh`; it is
    background when the IoU lies in [bg_thresh_lo, bg_thresh_hi). Surplus RoIs are dropped at random. If there are too
    few of both, the sample is filled with padding: RoIs drawn at random that train nothing.

    Args:
        rois: (R, 5) float32 image index and box.
        gt_boxes: (G, 5) float32 boxes and classes; if G is 0, all RoIs are background.
        fg_rois_per_image: largest number of foreground RoIs.
        rois_per_image: S, number of RoIs to return.
        num_classes: C, background included.
        class_agnostic: see `expand_bbox_regression_targets`.
        fg_thresh, bg_thresh_hi, bg_thresh_lo: IoU, see above.
        bbox_means, bbox_stds: (4,) to normalise the deltas with; None leaves them as they are.
        bbox_weights: weights of the four deltas in the loss.
        pad_label: label of padding; -1 is ignored by the losses, 0 is what the release uses.
        rng: source of the random draws: a RandomState, or the module numpy.random.
    Returns:
        rois: (S, 5) float32.
        labels: (S,) float32.
        bbox_targets, bbox_weights: (S, 4 * C) float32, or (S, 8) if class-agnostic.
    Raises:
        ValueError: there is no RoI.
    """
    labels, overlaps, matched = match_rois(rois, gt_boxes)
    if len(gt_boxes) == 0:
        overlaps[:] = bg_thresh_lo  # no object, so no RoI near one is preferred: every RoI may serve as background
    keep, num_fg, num_bg = choose_rois(overlaps, fg_rois_per_image, rois_per_image,
                                       fg_thresh, bg_thresh_hi, bg_thresh_lo, rng)
    labels = _final_labels(labels[keep], num_fg, num_bg, pad_label)
    rois = rois[keep]
    foreground = labels > BACKGROUND    # the others train no box, and their width may be 0
    targets = np.zeros((len(rois), 4), dtype=np.result_type(rois, gt_boxes))
    targets[foreground] = nonlinear_transform(rois[foreground, 1:], gt_boxes[matched[keep][foreground], :4])
    if bbox_means is not None:
        targets = (targets - np.asarray(bbox_means, dtype=np.float64)) / np.asarray(bbox_stds, dtype=np.float64)
    targets, weights = expand_bbox_regression_targets(np.hstack((labels[:, None], targets)), num_classes,
                                                      class_agnostic=class_agnostic, bbox_weights=bbox_weights)
    return rois, labels, targets, weights


def sample_labelled_rois(rois: np.ndarray, labels: np.ndarray, overlaps: np.ndarray, bbox_targets: np.ndarray, *,
                         fg_rois_per_image: int, rois_per_image: int, num_classes: int, class_agnostic: bool,
                         fg_thresh: float = 0.5, bg_thresh_hi: float = 0.5, bg_thresh_lo: float = 0.0,
                         bbox_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0), pad_label: int = IGNORE_LABEL,
                         rng: np.random.RandomState | ModuleType = np.random
                         ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`sample_rois` for alternating training, where labels and targets of all RoIs have been computed ahead.

    Args:
        rois: (R, 5) float32.
        labels: (R,) class of the object that each RoI overlaps most.
        overlaps: (R,) IoU with it; 0 for all RoIs of an image without objects, which then are background.
        bbox_targets: (R, 5) class and deltas, of `add_bbox_regression_targets`.
        The others, the returned values and the error: see `sample_rois`.
    """
    if overlaps.max(initial=0) == 0:    # no object: where there is one, it is a RoI itself, and its overlap is 1
        overlaps = np.full_like(overlaps, bg_thresh_lo)     # as in `sample_rois`
    keep, num_fg, num_bg = choose_rois(overlaps, fg_rois_per_image, rois_per_image,
                                       fg_thresh, bg_thresh_hi, bg_thresh_lo, rng)
    bbox_targets = bbox_targets[keep]
    # Departure: in the release padding keeps its box target, though it is labelled background.
    bbox_targets[num_fg + num_bg:, 0] = 0
    targets, weights = expand_bbox_regression_targets(bbox_targets, num_classes, class_agnostic=class_agnostic,
                                                      bbox_weights=bbox_weights)
    return rois[keep], _final_labels(labels[keep], num_fg, num_bg, pad_label), targets, weights


def match_rois(rois: np.ndarray, gt_boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The object that each RoI overlaps most.

    Returns:
        labels: (R,) float32, its class; 0 if the image has no objects.
        overlaps: (R,) float64, the IoU with it.
        matched: (R,) its row in `gt_boxes`.
    """
    if len(gt_boxes) == 0:
        return np.zeros(len(rois), dtype=np.float32), np.zeros(len(rois)), np.zeros(len(rois), dtype=np.intp)
    overlaps = bbox_overlaps(rois[:, 1:], gt_boxes)
    matched = overlaps.argmax(axis=1)
    return gt_boxes[matched, 4].astype(np.float32), overlaps.max(axis=1), matched


def choose_rois(overlaps: np.ndarray, fg_rois_per_image: int, rois_per_image: int, fg_thresh: float,
                bg_thresh_hi: float, bg_thresh_lo: float, rng: np.random.RandomState | ModuleType
                ) -> tuple[np.ndarray, int, int]:
    """Which RoIs train, from their IoU with the objects (R,); see `sample_rois`.

    Returns:
        keep: (rois_per_image,) indices: foreground, background, padding.
        num_fg, num_bg: how many of the first two.
    """
    if len(overlaps) == 0:
        raise ValueError('there is no RoI to choose %d from' % rois_per_image)
    foreground = _at_most(np.flatnonzero(overlaps >= fg_thresh), fg_rois_per_image, rng)
    background = np.flatnonzero((overlaps < bg_thresh_hi) & (overlaps >= bg_thresh_lo))
    background = _at_most(background, rois_per_image - len(foreground), rng)
    keep = np.append(foreground, background)
    while len(keep) < rois_per_image:
        size = min(len(overlaps), rois_per_image - len(keep))
        keep = np.append(keep, rng.choice(len(overlaps), size=size, replace=False))
    return keep, len(foreground), len(background)


def _at_most(indices, limit, rng):
    """All of `indices`, or `limit` of them at random."""
    return indices if len(indices) <= limit else rng.choice(indices, size=limit, replace=False)


def _final_labels(labels, num_fg, num_bg, pad_label):
    """The class for the foreground, 0 for the background, `pad_label` for the padding."""
    labels = labels.astype(np.float32)
    labels[num_fg:] = 0
    # Departure: the release labels padding background, even where it repeats a foreground RoI.
    labels[num_fg + num_bg:] = pad_label
    return labels


def proposal_target(rois: np.ndarray, gt_boxes: np.ndarray, *, batch_rois: int, fg_fraction: float, num_classes: int,
                    class_agnostic: bool,
                    rng: np.random.RandomState | ModuleType | list[np.random.RandomState] = np.random,
                    **sampling: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Add the objects to the proposals of each image, and sample RoIs with their targets from both.

    Args:
        rois: (R, 5) float32 proposals, image index and box; R / B of each image.
        gt_boxes: (B, G, 5) float32 boxes and classes; rows of a negative class are padding.
        batch_rois: number of RoIs of the whole batch, a multiple of B; -1 takes all.
        fg_fraction: largest share of them that may be foreground, unless all are taken.
        num_classes, class_agnostic, sampling: see `sample_rois`.
        rng: source of the random draws, or a list of sources, one for each image.
    Returns:
        rois, labels, bbox_targets, bbox_weights: as in `sample_rois`, image by image. With `batch_rois` -1 each image
            has a row for each proposal and G more: `pad_sample` adds those that no object fills, so that the number of
            rows does not depend on the number of objects.
    Raises:
        ValueError: `batch_rois` is not a multiple of the number of images.
    """
    if batch_rois != -1 and batch_rois % len(gt_boxes):
        raise ValueError('%d RoIs cannot be shared out equally to %d images' % (batch_rois, len(gt_boxes)))
    sampling.update(num_classes=num_classes, class_agnostic=class_agnostic)
    sources = rng if isinstance(rng, list) else [rng] * len(gt_boxes)
    samples = []
    for index, objects in enumerate(gt_boxes):
        candidates, objects = _with_objects(rois[rois[:, 0] == index], objects, index)
        limits = {'fg_rois_per_image': len(candidates), 'rois_per_image': len(candidates)}
        if batch_rois != -1:
            rois_per_image = batch_rois // len(gt_boxes)
            fg_rois_per_image = int(np.round(fg_fraction * rois_per_image))
            limits = {'fg_rois_per_image': fg_rois_per_image, 'rois_per_image': rois_per_image}
        sample = sample_rois(candidates, objects, rng=sources[index], **limits, **sampling)
        missing = gt_boxes.shape[1] - len(objects) if batch_rois == -1 else 0
        samples.append(pad_sample(*sample, rows=len(sample[0]) + missing))
    return tuple(np.concatenate(parts) for parts in zip(*samples))


def _with_objects(rois, gt_boxes, index):
    """The RoIs of one image with its objects appended, and the objects without padding."""
    objects = gt_boxes[gt_boxes[:, 4] >= 0]
    as_rois = np.hstack((np.full((len(objects), 1), index), objects[:, :4])).astype(np.float32)
    return np.vstack((rois, as_rois)), objects


def pad_sample(rois: np.ndarray, labels: np.ndarray, bbox_targets: np.ndarray, bbox_weights: np.ndarray, *,
               rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fill a sample of one image, as `sample_rois` returns it, up to `rows`: its last RoI again, with label -1 and
    weight 0, which trains nothing.
    """
    below = ((0, rows - len(rois)), (0, 0))
    return (np.pad(rois, below, mode='edge'), np.pad(labels, below[:1], mode='constant', constant_values=IGNORE_LABEL),
            np.pad(bbox_targets, below, mode='constant'), np.pad(bbox_weights, below, mode='constant'))


def add_roi_targets(roidb: list[dict], *, num_classes: int, class_agnostic: bool, thresh: float = 0.5,
                    bbox_means: Sequence[float] | None = None,
                    bbox_stds: Sequence[float] | None = None) -> tuple[list[dict], np.ndarray, np.ndarray]:
    """Make RoIs of the objects and the proposals of each image, and match them with the objects.

    Args:
        roidb: list of entries with boxes, gt_classes and proposals (m, 4 or more), see `lib/dataset/imdb.py`.
        The others: see `lib.bbox.bbox_regression.add_bbox_regression_targets`.
    Returns:
        roidb: list of new entries; instead of proposals they have
            rois (R, 4) float32, the objects first,
            max_overlaps (R,) float32, the IoU with the object that overlaps most, max_classes (R,) int32, its class,
            bbox_targets (R, 5) float32, class and normalised deltas.
        means, stds: of the deltas, (4 * num_reg_classes,).
    """
    matched = [_match(entry) for entry in roidb]
    means, stds = add_bbox_regression_targets(matched, num_classes=num_classes, class_agnostic=class_agnostic,
                                              thresh=thresh, bbox_means=bbox_means, bbox_stds=bbox_stds)
    return [_with_rois(entry, targets) for entry, targets in zip(roidb, matched)], means, stds


def _match(entry):
    """The entry that `add_bbox_regression_targets` reads: its boxes are all RoIs."""
    rois = np.vstack((entry['boxes'], entry['proposals'][:, :4])).astype(np.float32)
    gt_boxes = np.hstack((entry['boxes'], entry['gt_classes'][:, None]))
    classes, overlaps, _ = match_rois(np.insert(rois, 0, 0, axis=1), gt_boxes)
    return dict(boxes=rois, max_overlaps=overlaps, max_classes=classes)


def _with_rois(entry, matched):
    """The entry with RoIs in place of proposals. An image may have thousands: nothing is kept twice or in float64."""
    kept = {name: value for name, value in entry.items() if name != 'proposals'}
    return dict(kept, rois=matched['boxes'], bbox_targets=matched['bbox_targets'],
                max_overlaps=matched['max_overlaps'].astype(np.float32),
                max_classes=matched['max_classes'].astype(np.int32))


def box_annotator_ohem(cls_score: np.ndarray, bbox_pred: np.ndarray, labels: np.ndarray, bbox_targets: np.ndarray,
                       bbox_weights: np.ndarray, *, roi_per_img: int) -> tuple[np.ndarray, np.ndarray]:
    """Let only the RoIs of the highest loss train (R-FCN, section 2.2, "training").

    The loss of a RoI is the cross-entropy of its class and the smooth L1 of its box. RoIs of equal loss are taken in
    the order of `decreasing_order`.

    Args:
        cls_score: (R, C) float32, before the softmax.
        bbox_pred: (R, 4 * M) float32.
        labels: (R,) float32; RoIs of label -1 are never selected.
        bbox_targets, bbox_weights: (R, 4 * M) float32.
        roi_per_img: number of RoIs that train; all if there are fewer.
    Returns:
        labels: (R,) a copy, -1 for those that do not train.
        bbox_weights: (R, 4 * M) a copy, 0 for those that do not train.
    """
    loss = cross_entropy(cls_score, labels) + (bbox_weights * smooth_l1(bbox_pred - bbox_targets)).sum(axis=1)
    # Departure: the release has no RoIs of label -1; it would take the last class for theirs.
    loss[labels < 0] = -np.inf
    easy = decreasing_order(loss)[roi_per_img:]
    labels_ohem, bbox_weights_ohem = labels.copy(), bbox_weights.copy()
    labels_ohem[easy] = IGNORE_LABEL
    bbox_weights_ohem[easy] = 0
    bbox_weights_ohem[labels < 0] = 0
    return labels_ohem, bbox_weights_ohem


def cross_entropy(cls_score: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the softmax of each row (R, C) at its label, (R,); label -1 is taken for 0."""
    exponentials = np.exp(cls_score - cls_score.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    classes = np.maximum(labels, 0).astype(int)
    return -np.log(probabilities[np.arange(len(labels)), classes] + LOG_FLOOR)


def smooth_l1(x: np.ndarray) -> np.ndarray:
    """x^2 / 2 between -1 and 1, |x| - 1/2 outside (Fast R-CNN, equation 3)."""
    return np.where(np.abs(x) < 1, 0.5 * x * x, np.abs(x) - 0.5)
