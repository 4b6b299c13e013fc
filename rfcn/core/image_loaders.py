"""Loaders of images alone, for detection. The class takes numbers; `image_loader` makes it from a configuration.

What the configuration tells every loader, and the scales to test at, have their home here. Shapes are in loader.py.
"""
import zlib

import numpy as np

from lib.dataset.imdb import flip_entry
from lib.utils.image import resized_shape, tensor_vstack
from rfcn.core.loader import Loader


class ImageLoader(Loader):
    """Images in their order, for detection: data and im_info. With `proposals`, also rois (B, R, 5) from the entries.

    Each batch is for one device: with several, the predictor takes as many batches at a time. The last batch is filled
    up with its own images, and what is drawn for an image depends on its name. So a batch gives the same detections
    however the images are shared out to workers.
    """

    def __init__(self, roidb, batch_size, *, proposals=False, **settings):
        super().__init__(roidb, batch_size, **settings)
        self.proposals = proposals

    def assemble(self, loaded):
        data = dict(data=tensor_vstack([image.tensor for image in loaded]),
                    im_info=np.array([image.im_info for image in loaded], dtype=np.float32))
        if self.proposals:
            data['rois'] = stack_rois([scaled_rois(image.entry['proposals'], i, image.im_info[2])
                                       for i, image in enumerate(loaded)])
        return data, {}

    def seeds(self, entries, epoch, positions):
        names = [str(entry.get('index', entry['image'])) for entry in entries]
        return [zlib.crc32(name.encode('utf-8', 'surrogateescape')) for name in names]

    def _filled(self, order, start):
        last = order[start + (len(order) - start) // self.step_size * self.step_size:]
        return np.concatenate((order, np.resize(last, -len(last) % self.step_size))) if len(last) else order


def scaled_rois(proposals, image, scale):
    """Proposals (n, 4+) in pixels of the image -> rois (n, 5) in pixels of the network's input."""
    return np.hstack((np.full((len(proposals), 1), image), proposals[:, :4] * scale)).astype(np.float32)


def stack_rois(rois):
    """A list of (n, 5) -> (B, R, 5); shorter ones repeat their last row."""
    rows = max(len(r) for r in rois)
    return np.stack([np.pad(r, ((0, rows - len(r)), (0, 0)), mode='edge') for r in rois])


def image_settings(cfg, scales):
    """Keywords that every loader takes."""
    return dict(scales=scales, pixel_means=np.array(cfg.network.PIXEL_MEANS), stride=cfg.network.IMAGE_STRIDE,
                seed=cfg.seed, max_pixels=cfg.dataset.MAX_PIXELS)


def detection_scales(cfg):
    """The scales to test at: TEST.SCALES, or else the first of SCALES."""
    return cfg.TEST.SCALES or cfg.SCALES[:1]


def proposal_scale(cfg):
    """The scale for the proposals of alternating training: TEST.PROPOSAL_SCALE, or else the first to test at."""
    # Departure: the release takes the first of SCALES.
    return (cfg.TEST.PROPOSAL_SCALE or detection_scales(cfg))[0]


def image_loader(cfg, roidb, proposals=False, scale=None):
    """The loader for testing, at `scale`, (shorter side, longest side), or else at the first scale to test at."""
    return ImageLoader(roidb, cfg.TEST.BATCH_IMAGES, proposals=proposals, threads=cfg.TRAIN.WORKERS,
                       on_bad_image=cfg.dataset.on_bad_image,
                       **image_settings(cfg, [scale or detection_scales(cfg)[0]]))


def largest_first(roidb, scale):
    """The order of images by their size in the network's input, those of one shape side by side.

    Memory that is asked for once suffices for all that follow, the network is bound to a shape less often, and batches
    need less padding.

    Args:
        roidb: list of entries.
        scale: (shorter side, longest side).
    Returns:
        list of the entries' numbers.
    """
    def key(number):
        height, width = resized_shape((roidb[number]['height'], roidb[number]['width']), *scale)
        return -height * width, width
    return sorted(range(len(roidb)), key=key)


def view_loaders(cfg, roidb, proposals=False):
    """A loader for each view of the images, with the images in the same order.

    The views: at each scale for testing and, with TEST.FLIP, mirrored.
    """
    mirrored = [flip_entry(entry) for entry in roidb] if cfg.TEST.FLIP else None
    return [image_loader(cfg, entries, proposals, scale)
            for scale in detection_scales(cfg) for entries in (roidb, mirrored) if entries is not None]
