"""Loaders for training: images with the targets of the RPN, or with given RoIs and their targets.

Shapes are in loader.py; with given RoIs there are, instead of those of the RPN,

    rois         (B, R, 5)     image number among those of its device, box in the network's pixels
    label        (B, R)        class, 0 for the background, -1 for a row that does not count
    bbox_target  (B, R, 4M)    and bbox_weight; M sets of boxes: 2 (class-agnostic) or C

R is the same in all batches, so that no graph is bound again because an image has more proposals than the last.
"""
import collections
import functools

import numpy as np

from lib.rcnn.sample_rois import sample_labelled_rois
from lib.rpn.anchor_target import as_blobs, assign_anchor, class_labels
from lib.rpn.generate_anchor import generate_anchors, shifted_anchors
from lib.utils.image import tensor_vstack
from rfcn.core.loader import Loader, scaled_rois


class AnchorLoader(Loader):
    """Batches for the end-to-end and the RPN graph.

    Args:
        feature_shape: (height, width) of an image -> (H, W) of conv4.
        anchors: dict of base_size (the stride), ratios, scales.
        targets: keywords of `lib.rpn.anchor_target.assign_anchor`.
        max_gt_boxes: G; 0 for the largest number of objects in `roidb`.
        end2end: also give im_info and gt_boxes.
        tell_classes: the label of a positive anchor is the class of its object, not 1.
    """

    def __init__(self, roidb, batch_size, *, feature_shape, anchors, targets, max_gt_boxes=0, end2end=True,
                 tell_classes=False, **settings):
        super().__init__(roidb, batch_size, **settings)
        self.feature_shape = feature_shape
        self.base_anchors = generate_anchors(anchors['base_size'], anchors['ratios'], anchors['scales'])
        self.stride = anchors['base_size']
        self.targets = targets
        self.max_gt_boxes = max_gt_boxes or max(1, max(len(entry['boxes']) for entry in roidb))
        self.end2end = end2end
        self.tell_classes = tell_classes
        self._anchors = functools.lru_cache(maxsize=64)(self._shifted_anchors)

    def assemble(self, loaded):
        data = collections.OrderedDict(data=tensor_vstack([image.tensor for image in loaded]))
        height, width = self.feature_shape(*data['data'].shape[2:])
        anchors = self._anchors(height, width)
        targets = [as_blobs(*self._assign(anchors, image), height, width) for image in loaded]
        label = collections.OrderedDict((name, np.concatenate([t[name] for t in targets])) for name in targets[0])
        if self.end2end:
            data['im_info'] = np.array([image.im_info for image in loaded], dtype=np.float32)
            data['gt_boxes'] = np.stack([pad_gt_boxes(image.gt_boxes, self.max_gt_boxes) for image in loaded])
        return data, label

    def _assign(self, anchors, image):
        labels, targets, weights = assign_anchor(anchors, image.gt_boxes, image.im_info[:2], rng=image.rng,
                                                 **self.targets)
        return class_labels(labels, anchors, image.gt_boxes) if self.tell_classes else labels, targets, weights

    def _shifted_anchors(self, height, width):
        return shifted_anchors(height, width, self.stride, self.base_anchors)


def pad_gt_boxes(gt_boxes, rows):
    """(n, 5) -> (rows, 5); missing rows are -1. Of more objects than `rows` the first ones are kept."""
    padded = np.full((rows, 5), -1, dtype=np.float32)
    count = min(rows, len(gt_boxes))
    padded[:count] = gt_boxes[:count]
    return padded


class RoiLoader(Loader):
    """Samples RoIs of each image anew in every epoch.

    Departure: the release rounds proposals to whole pixels of the network's input, though their targets were computed
    from the exact ones; here both are exact, as in end-to-end training and in testing.

    Args:
        roidb: entries with rois, max_overlaps, max_classes, bbox_targets: see `lib.rcnn.given_rois`.
        rois_per_image: RoIs that train; -1 for all of them.
        fg_fraction: largest part of them that may be foreground, unless all are taken.
        sampling: further keywords of `lib.rcnn.sample_rois.sample_labelled_rois`.
    """

    def __init__(self, roidb, batch_size, *, rois_per_image, fg_fraction, sampling, **settings):
        super().__init__(roidb, batch_size, **settings)
        self.rois_per_image = rois_per_image
        self.fg_fraction = fg_fraction
        self.sampling = sampling
        self.rows = max(len(entry['rois']) for entry in roidb) if rois_per_image == -1 else rois_per_image

    def assemble(self, loaded):
        samples = [self._sample(i, image) for i, image in enumerate(loaded)]
        rois, label, bbox_target, bbox_weight = (np.stack(parts) for parts in zip(*samples))
        data = collections.OrderedDict(data=tensor_vstack([image.tensor for image in loaded]), rois=rois)
        return data, collections.OrderedDict(label=label, bbox_target=bbox_target, bbox_weight=bbox_weight)

    def _sample(self, number, image):
        entry, everything = image.entry, self.rois_per_image == -1
        count = len(entry['rois']) if everything else self.rois_per_image
        foreground = count if everything else int(np.round(self.fg_fraction * count))
        rois = scaled_rois(entry['rois'], number, image.im_info[2])
        sample = sample_labelled_rois(rois, entry['max_classes'], entry['max_overlaps'], entry['bbox_targets'],
                                      rng=image.rng, fg_rois_per_image=foreground, rois_per_image=count,
                                      **self.sampling)
        return pad_sample(*sample, rows=self.rows)


def pad_sample(rois, label, bbox_target, bbox_weight, rows):
    """Fill a sample of one image up to `rows`: the last RoI again, with label -1 and weight 0."""
    below = ((0, rows - len(rois)), (0, 0))
    return (np.pad(rois, below, mode='edge'), np.pad(label, below[:1], mode='constant', constant_values=-1),
            np.pad(bbox_target, below, mode='constant'), np.pad(bbox_weight, below, mode='constant'))
