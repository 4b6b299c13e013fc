"""Batches for the R-FCN graph on proposals that were made before. Shapes, besides those in loader.py:

    rois         (B, R, 5)     image number among those of its device, box in the network's pixels
    label        (B, R)        class, 0 for the background, -1 for a row that does not count
    bbox_target  (B, R, 4M)    and bbox_weight; M sets of boxes: 2 (class-agnostic) or C

R is the same in all batches, so that no graph is bound again because an image has more proposals than the last.
"""
import collections

import numpy as np

from lib.rcnn.sample_rois import sample_labelled_rois
from lib.utils.image import tensor_vstack
from rfcn.core.loader import Loader, scaled_rois


class RoiLoader(Loader):
    """Samples RoIs of each image anew in every epoch.

    Departure: the release rounds proposals to whole pixels of the network's input, though their targets were computed
    from the exact ones; here both are exact, as in end-to-end training and in testing.

    Args:
        roidb: entries with rois, max_overlaps, max_classes, bbox_targets: see `lib.rcnn.given_rois`.
        images_per_device: of the `batch_size` images.
        rois_per_image: RoIs that train; -1 for all of them.
        fg_fraction: largest part of them that may be foreground, unless all are taken.
        sampling: further keywords of `lib.rcnn.sample_rois.sample_labelled_rois`.
    """

    def __init__(self, roidb, batch_size, *, images_per_device, rois_per_image, fg_fraction, sampling, **settings):
        super(RoiLoader, self).__init__(roidb, batch_size, **settings)
        self.images_per_device = images_per_device
        self.rois_per_image = rois_per_image
        self.fg_fraction = fg_fraction
        self.sampling = sampling
        self.rows = max(len(entry['rois']) for entry in roidb) if rois_per_image == -1 else rois_per_image

    def assemble(self, loaded, rng):
        tensors = [tensor for _, tensor, _, _ in loaded]
        samples = [self._sample(entry, i % self.images_per_device, im_info[2], rng)
                   for i, (entry, _, im_info, _) in enumerate(loaded)]
        rois, label, bbox_target, bbox_weight = (np.stack(parts) for parts in zip(*samples))
        data = collections.OrderedDict(data=tensor_vstack(tensors), rois=rois)
        return data, collections.OrderedDict(label=label, bbox_target=bbox_target, bbox_weight=bbox_weight)

    def _sample(self, entry, image, scale, rng):
        everything = self.rois_per_image == -1
        count = len(entry['rois']) if everything else self.rois_per_image
        foreground = count if everything else int(np.round(self.fg_fraction * count))
        rois = scaled_rois(entry['rois'], image, scale)
        sample = sample_labelled_rois(rois, entry['max_classes'], entry['max_overlaps'], entry['bbox_targets'], rng=rng,
                                      fg_rois_per_image=foreground, rois_per_image=count, **self.sampling)
        return pad_sample(*sample, rows=self.rows)


def pad_sample(rois, label, bbox_target, bbox_weight, rows):
    """Fill a sample of one image up to `rows`: the last RoI again, with label -1 and weight 0."""
    below = ((0, rows - len(rois)), (0, 0))
    return (np.pad(rois, below, mode='edge'), np.pad(label, below[:1], mode='constant', constant_values=-1),
            np.pad(bbox_target, below, mode='constant'), np.pad(bbox_weight, below, mode='constant'))
