"""Loaders for training: images with the targets of the RPN, or with given RoIs and their targets.

The classes take numbers; `anchor_loader` and `roi_loader` make them from a configuration.

Shapes are in loader.py; with given RoIs there are, instead of those of the RPN,

    rois         (B, R, 5)     image number among those of its device, box in the network's pixels
    label        (B, R)        class, 0 for the background, -1 for a row that does not count
    bbox_target  (B, R, 4M)    and bbox_weight; M sets of boxes: 2 (class-agnostic) or C

R is the same in all batches, so that no graph is bound again because an image has more proposals than the last.
"""
import functools

import numpy as np

from lib.bbox.bbox_transform import IGNORE_LABEL
from lib.errors import ConfigError
from lib.rcnn.sample_rois import BACKGROUND, pad_sample, sample_labelled_rois
from lib.rpn.anchors import anchorless, as_blobs, assign_anchor, class_labels, generate_anchors, shifted_anchors
from lib.utils.image import resize_scale, tensor_vstack
from rfcn.config.config import rois_per_image
from rfcn.core.image_loaders import image_settings, scaled_rois
from rfcn.core.loader import Loader
from rfcn.core.workers import workers


class AnchorLoader(Loader):
    """Batches for the end-to-end and the RPN graph.

    Args:
        feature_shape: (height, width) of an image -> (H, W) of conv4.
        anchors: dict of base_size (the stride), ratios, scales.
        targets: keywords of `lib.rpn.anchors.assign_anchor`.
        max_gt_boxes: G; 0 for the largest number of objects in `roidb`.
        end2end: also give im_info and gt_boxes.
        tell_classes: label a positive anchor with the class of its object, not with 1.
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
        self._anchors = functools.lru_cache(maxsize=32)(
            lambda height, width: shifted_anchors(height, width, self.stride, self.base_anchors))

    def assemble(self, loaded):
        data = dict(data=tensor_vstack([image.tensor for image in loaded]))
        height, width = self.feature_shape(*data['data'].shape[2:])
        anchors = self._anchors(height, width)
        targets = [as_blobs(*self._assign(anchors, image), height, width) for image in loaded]
        label = {name: np.concatenate([t[name] for t in targets]) for name in targets[0]}
        if self.end2end:
            data['im_info'] = np.array([image.im_info for image in loaded], dtype=np.float32)
            data['gt_boxes'] = np.stack([pad_gt_boxes(image.gt_boxes, self.max_gt_boxes) for image in loaded])
        return data, label

    def _assign(self, anchors, image):
        labels, targets, weights = assign_anchor(anchors, image.gt_boxes, image.im_info[:2], rng=image.rng,
                                                 **self.targets)
        return class_labels(labels, anchors, image.gt_boxes) if self.tell_classes else labels, targets, weights


def pad_gt_boxes(gt_boxes, rows):
    """(n, 5) -> (rows, 5); missing rows are -1. Of more objects than `rows` the first ones are kept."""
    padded = np.full((rows, 5), IGNORE_LABEL, dtype=np.float32)
    count = min(rows, len(gt_boxes))
    padded[:count] = gt_boxes[:count]
    return padded


class RoiLoader(Loader):
    """Samples RoIs of each image anew in every epoch.

    Departure: the release rounds proposals to whole pixels of the network's input, though their targets were computed
    from the exact ones; here both are exact, as in end-to-end training and in testing.

    Args:
        roidb: entries with rois, max_overlaps, max_classes, bbox_targets: see `lib.rcnn.sample_rois`.
        rois_per_image: RoIs that train; -1 for all.
        fg_fraction: largest share of foreground among them; not used where all train.
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
        data = dict(data=tensor_vstack([image.tensor for image in loaded]), rois=rois)
        return data, dict(label=label, bbox_target=bbox_target, bbox_weight=bbox_weight)

    def _sample(self, number, image):
        entry, everything = image.entry, self.rois_per_image == -1
        count = len(entry['rois']) if everything else self.rois_per_image
        foreground = count if everything else int(np.round(self.fg_fraction * count))
        rois = scaled_rois(entry['rois'], number, image.im_info[2])
        sample = sample_labelled_rois(rois, entry['max_classes'], entry['max_overlaps'], entry['bbox_targets'],
                                      rng=image.rng, fg_rois_per_image=foreground, rois_per_image=count,
                                      **self.sampling)
        return pad_sample(*sample, rows=self.rows)


def anchor_loader(cfg, roidb, symbol, devices=1):
    """The loader of the end-to-end graph, or of the RPN graph, whose batches have targets and no gt_boxes.

    Args:
        devices: how many; each gets TRAIN.BATCH_IMAGES images per step.
    """
    train, network = cfg.TRAIN, cfg.network
    check_anchors(cfg, roidb)
    return AnchorLoader(
        roidb, train.BATCH_IMAGES, feature_shape=feature_shape(symbol), end2end='gt_boxes' in symbol.list_arguments(),
        tell_classes=rpn_classes(symbol, network.NUM_ANCHORS) > 2, max_gt_boxes=train.MAX_GT_BOXES,
        anchors=dict(base_size=network.RPN_FEAT_STRIDE, ratios=network.ANCHOR_RATIOS, scales=network.ANCHOR_SCALES),
        targets=dict(batch_size=train.RPN_BATCH_SIZE, fg_fraction=train.RPN_FG_FRACTION,
                     fg_thresh=train.RPN_POSITIVE_OVERLAP, bg_thresh=train.RPN_NEGATIVE_OVERLAP,
                     clobber_positives=train.RPN_CLOBBER_POSITIVES, bbox_weights=train.RPN_BBOX_WEIGHTS,
                     untouched_objects_match=cfg.RELEASE_RULES),
        shuffle=train.SHUFFLE, aspect_grouping=train.ASPECT_GROUPING, threads=train.WORKERS,
        shuffle_whole_batches=not cfg.RELEASE_RULES, on_bad_image=cfg.dataset.on_bad_image, **shares(devices),
        **image_settings(cfg, cfg.SCALES))


def check_anchors(cfg, roidb):
    """Raise a ConfigError where no anchor lies inside any image of a roidb: the RPN would learn nothing.

    Departure: the release fails at such an image.
    """
    sizes = np.unique([(entry['width'], entry['height']) for entry in roidb], axis=0)
    images = [np.round(size * resize_scale(tuple(size), *scale)) for size in sizes for scale in cfg.SCALES]
    scales, ratios, stride = cfg.network.ANCHOR_SCALES, cfg.network.ANCHOR_RATIOS, cfg.network.RPN_FEAT_STRIDE
    if anchorless(generate_anchors(stride, ratios, scales), images, stride).all():
        raise ConfigError('network.ANCHOR_SCALES=%s network.ANCHOR_RATIOS=%s at SCALES=%s: none of these anchors lies '
                          'inside a training image, so that they can train nothing. rfcn check tells which would fit'
                          % tuple(str(list(value)).replace(' ', '') for value in (scales, ratios, cfg.SCALES)))


def feature_shape(symbol):
    """A function (height, width) of the input -> (H, W) of conv4, read off the graph."""
    scores = symbol.get_internals()['rpn_cls_score_output']

    @functools.lru_cache(maxsize=None)
    def shape(height, width):
        return scores.infer_shape(data=(1, 3, height, width))[1][0][2:]
    return shape


def rpn_classes(symbol, num_anchors):
    """How many classes the RPN of a graph tells apart: 2, or those of the data."""
    return symbol.get_internals()['rpn_cls_score_output'].infer_shape(data=(1, 3, 64, 64))[1][0][1] // num_anchors


def shares(devices):
    """Keywords of a training loader: how each step is shared by the devices of all workers."""
    return dict(devices=devices, rank=workers().rank, ranks=workers().count)


def roi_loader(cfg, roidb, devices=1):
    """The loader of the R-FCN graph; each device gets TRAIN.BATCH_IMAGES images per step."""
    train = cfg.TRAIN
    sampling = dict(fg_thresh=train.FG_THRESH, bg_thresh_hi=train.BG_THRESH_HI, bg_thresh_lo=train.BG_THRESH_LO,
                    num_classes=cfg.dataset.NUM_CLASSES, class_agnostic=cfg.CLASS_AGNOSTIC,
                    bbox_weights=train.BBOX_WEIGHTS, pad_label=BACKGROUND if cfg.RELEASE_RULES else IGNORE_LABEL)
    return RoiLoader(roidb, train.BATCH_IMAGES, rois_per_image=rois_per_image(cfg), fg_fraction=train.FG_FRACTION,
                     sampling=sampling, shuffle=train.SHUFFLE, threads=train.WORKERS,
                     aspect_grouping=train.ASPECT_GROUPING, shuffle_whole_batches=not cfg.RELEASE_RULES,
                     on_bad_image=cfg.dataset.on_bad_image, **shares(devices),
                     **image_settings(cfg, cfg.SCALES))
