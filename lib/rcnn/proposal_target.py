"""The RoIs that train the detector end to end, for a batch of images."""
import numpy as np

from lib.rcnn.sample_rois import sample_rois


def proposal_target(rois, gt_boxes, *, batch_rois, fg_fraction, num_classes, class_agnostic, rng=np.random, **sampling):
    """Add the objects to the proposals of each image, and sample RoIs with their targets from both.

    Args:
        rois: (R, 5) float32 proposals, image index and box; R / B of each image.
        gt_boxes: (B, G, 5) float32 boxes and classes; rows of a negative class are padding.
        batch_rois: number of RoIs of the whole batch, a multiple of B; -1 takes all.
        fg_fraction: largest part of them that may be foreground, unless all are taken.
        num_classes, class_agnostic, rng, sampling: see `sample_rois`.
    Returns:
        rois, labels, bbox_targets, bbox_weights: as in `sample_rois`, image by image. With `batch_rois` -1 each image
            has as many rows as it has proposals, plus G: its first RoI takes the places of padding, with label -1 and
            weight 0.
    Raises:
        ValueError: `batch_rois` is no multiple of the number of images.
    """
    if batch_rois != -1 and batch_rois % len(gt_boxes):
        raise ValueError('%d RoIs cannot be shared out equally to %d images' % (batch_rois, len(gt_boxes)))
    sampling.update(num_classes=num_classes, class_agnostic=class_agnostic, rng=rng)
    samples = []
    for index, objects in enumerate(gt_boxes):
        candidates, objects = _with_objects(rois[rois[:, 0] == index], objects, index)
        limits = {'fg_rois_per_image': len(candidates), 'rois_per_image': len(candidates)}
        if batch_rois != -1:
            rois_per_image = batch_rois // len(gt_boxes)
            fg_rois_per_image = int(np.round(fg_fraction * rois_per_image))
            limits = {'fg_rois_per_image': fg_rois_per_image, 'rois_per_image': rois_per_image}
        sample = sample_rois(candidates, objects, **limits, **sampling)
        samples.append(_fill(sample, gt_boxes.shape[1] - len(objects)) if batch_rois == -1 else sample)
    return tuple(np.concatenate(parts) for parts in zip(*samples))


def _with_objects(rois, gt_boxes, index):
    """The RoIs of one image with its objects appended, and the objects alone."""
    objects = gt_boxes[gt_boxes[:, 4] >= 0]
    as_rois = np.hstack((np.full((len(objects), 1), index), objects[:, :4])).astype(np.float32)
    return np.vstack((rois, as_rois)), objects


def _fill(sample, missing):
    """Append `missing` rows that train nothing to a sample: its size must not depend on the number of objects."""
    rois, labels, bbox_targets, bbox_weights = sample
    zeros = np.zeros((missing, bbox_targets.shape[1]), dtype=np.float32)
    return (np.vstack((rois, np.repeat(rois[:1], missing, axis=0))),
            np.append(labels, np.full(missing, -1, dtype=np.float32)),
            np.vstack((bbox_targets, zeros)), np.vstack((bbox_weights, zeros)))
