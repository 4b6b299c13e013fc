"""Batches for the graphs, made in background threads. This file is the home of the shapes of a batch.

    data         (B, 3, height, width)   images less PIXEL_MEANS, RGB, padded with zeros to the largest of the batch
    im_info      (B, 3)                  height, width of the image without padding, scale
    gt_boxes     (B, G, 5)               boxes in the network's pixels and classes; rows of class -1 are padding
    label        (B, A*H*W)              of the RPN: 1, 0, -1
    bbox_target  (B, 4A, H, W)           and bbox_weight: of the RPN

Randomness is a function of (seed, epoch, number of the batch), so a run can be taken up at any batch.
"""
import collections
import functools
import logging

import mxnet as mx
import numpy as np

from lib.errors import DatasetError
from lib.rpn.anchor_target import as_blobs, assign_anchor, class_labels
from lib.rpn.generate_anchor import generate_anchors, shifted_anchors
from lib.utils.epoch_order import epoch_order
from lib.utils.image import get_image, tensor_vstack
from rfcn.core.pipeline import in_threads

logger = logging.getLogger(__name__)

MAX_BAD_IN_A_ROW = 20  # give up when that many images in a row cannot be read


class Batch(mx.io.DataBatch):
    """A DataBatch that knows the paths of its images."""

    def __init__(self, data, label, pad, images):
        def described(arrays):
            return [mx.io.DataDesc(name, value.shape) for name, value in arrays.items()]

        super(Batch, self).__init__(data=[mx.nd.array(x) for x in data.values()],
                                    label=[mx.nd.array(x) for x in label.values()],
                                    pad=pad, provide_data=described(data), provide_label=described(label))
        self.images = images


class Loader(object):
    """Base of the loaders: order, threads, images that cannot be read. Subclasses make arrays of images in `assemble`.

    Args:
        roidb: list of entries, see `lib/dataset/imdb.py`.
        batch_size: images a batch, over all devices.
        scales: pairs (shorter side, longest side), one drawn for each image.
        stride: images are padded to a multiple of it; 0 for none.
        shuffle_whole_batches: see `lib/utils/epoch_order.py`.
        workers: threads.
        on_bad_image: 'error' or 'skip': another image takes the place of one that cannot be read; `skipped` lists them.
    """

    def __init__(self, roidb, batch_size, *, scales, pixel_means, stride=0, shuffle=False, aspect_grouping=False,
                 shuffle_whole_batches=True, seed=0, workers=2, on_bad_image='error', max_pixels=None):
        if not roidb:
            raise DatasetError('no image to load: the image set is empty')
        self.roidb = roidb
        self.batch_size = batch_size
        self.scales = scales
        self.image_settings = dict(stride=stride, pixel_means=pixel_means)
        if max_pixels:
            self.image_settings['max_pixels'] = max_pixels
        self.shuffle = shuffle
        self.aspect_grouping = aspect_grouping
        self.shuffle_whole_batches = shuffle_whole_batches
        self.seed = seed
        self.workers = workers
        self.on_bad_image = on_bad_image
        self.skipped = collections.OrderedDict()  # path -> error

    def __len__(self):
        """Batches an epoch.

        Departure: the release drops the last incomplete batch; here it is filled up with the epoch's first images.
        """
        return -(-len(self.roidb) // self.batch_size)

    def order(self, epoch):
        """Image numbers of an epoch, (len(self) * batch_size,)."""
        order = epoch_order(np.arange(len(self.roidb)), [e['width'] for e in self.roidb],
                            [e['height'] for e in self.roidb], self.batch_size, shuffle=self.shuffle,
                            aspect_grouping=self.aspect_grouping,
                            shuffle_whole_batches=self.shuffle_whole_batches,
                            rng=np.random.RandomState([self.seed, epoch]))
        return np.resize(order, len(self) * self.batch_size)

    def batches(self, epoch=0, start=0):
        """Yield the batches of an epoch from number `start` on. What fails in a thread is raised here."""
        order = self.order(epoch).reshape(-1, self.batch_size)
        jobs = ((order[number], epoch, number) for number in range(start, len(order)))
        workers = self.workers
        results = in_threads(self._load, jobs, workers, ahead=2 * workers, on_wait=self._log_wait) if workers \
            else (self._load(*job) for job in jobs)
        for number, (data, label, images) in enumerate(results, start):
            pad = (number + 1) * self.batch_size - len(self.roidb)
            yield Batch(data, label, max(0, pad), images)

    def assemble(self, loaded, rng):
        """A batch's arrays from each image's (entry, tensor, im_info, gt_boxes): two ordered dicts, data and label."""
        raise NotImplementedError

    def _load(self, indices, epoch, number):
        rng = np.random.RandomState([self.seed, epoch, number])
        try:
            loaded = [self._load_image(i, rng) for i in indices]
            data, label = self.assemble(loaded, rng)
        except (DatasetError, FileNotFoundError):   # these name the file
            raise
        except Exception:
            logger.error('batch %d cannot be made of these images: %s', number + 1, self._paths(indices))
            raise
        return data, label, [entry['image'] for entry, _, _, _ in loaded]

    def _log_wait(self, indices, epoch, number):
        logger.warning('still waiting for the images of batch %d: %s. Does the disk answer?', number + 1,
                       self._paths(indices))

    def _paths(self, indices):
        return ', '.join(self.roidb[index]['image'] for index in indices)

    def _load_image(self, index, rng):
        for _ in range(MAX_BAD_IN_A_ROW):
            entry = self.roidb[index]
            scale = self.scales[rng.randint(len(self.scales))] if len(self.scales) > 1 else self.scales[0]
            try:
                return (entry,) + get_image(entry, scale[0], scale[1], **self.image_settings)
            except (DatasetError, FileNotFoundError) as error:
                if self.on_bad_image != 'skip':
                    raise
                self._note_bad(entry['image'], error)
                index = rng.randint(len(self.roidb))
        raise DatasetError('%d images in a row could not be read; the last was %s' % (MAX_BAD_IN_A_ROW, entry['image']))

    def log_skipped(self):
        """Log at the end of a run which images another one stood in for."""
        if self.skipped:
            logger.warning('%d images could not be read and were skipped (on_bad_image: skip):\n  %s',
                           len(self.skipped), '\n  '.join(map(str, self.skipped.values())))

    def _note_bad(self, path, error):
        if path not in self.skipped:
            logger.warning('skipped (on_bad_image: skip): %s', error)
        self.skipped[path] = error


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
        super(AnchorLoader, self).__init__(roidb, batch_size, **settings)
        self.feature_shape = feature_shape
        self.base_anchors = generate_anchors(anchors['base_size'], anchors['ratios'], anchors['scales'])
        self.stride = anchors['base_size']
        self.targets = targets
        self.max_gt_boxes = max_gt_boxes or max(1, max(len(entry['boxes']) for entry in roidb))
        self.end2end = end2end
        self.tell_classes = tell_classes
        self._anchors = functools.lru_cache(maxsize=64)(self._shifted_anchors)

    def assemble(self, loaded, rng):
        tensors, im_infos, boxes = zip(*[item[1:] for item in loaded])
        data = collections.OrderedDict(data=tensor_vstack(tensors))
        height, width = self.feature_shape(*data['data'].shape[2:])
        anchors = self._anchors(height, width)
        targets = [as_blobs(*self._assign(anchors, gt, info[:2], rng), height, width)
                   for gt, info in zip(boxes, im_infos)]
        label = collections.OrderedDict((name, np.concatenate([t[name] for t in targets])) for name in targets[0])
        if self.end2end:
            data['im_info'] = np.array(im_infos, dtype=np.float32)
            data['gt_boxes'] = np.stack([pad_gt_boxes(gt, self.max_gt_boxes) for gt in boxes])
        return data, label

    def _assign(self, anchors, gt_boxes, im_size, rng):
        labels, targets, weights = assign_anchor(anchors, gt_boxes, im_size, rng=rng, **self.targets)
        return class_labels(labels, anchors, gt_boxes) if self.tell_classes else labels, targets, weights

    def _shifted_anchors(self, height, width):
        return shifted_anchors(height, width, self.stride, self.base_anchors)


def pad_gt_boxes(gt_boxes, rows):
    """(n, 5) -> (rows, 5); missing rows are -1. Of more objects than `rows` the first ones are kept."""
    padded = np.full((rows, 5), -1, dtype=np.float32)
    count = min(rows, len(gt_boxes))
    padded[:count] = gt_boxes[:count]
    return padded


class TestLoader(Loader):
    """Images in their order, for testing: data and im_info. With `proposals`, also rois (B, R, 5) from the entries."""

    __test__ = False  # not a test case

    def __init__(self, roidb, batch_size, *, proposals=False, **settings):
        super(TestLoader, self).__init__(roidb, batch_size, **settings)
        self.proposals = proposals

    def assemble(self, loaded, rng):
        _, tensors, im_infos, _ = zip(*loaded)
        data = collections.OrderedDict(data=tensor_vstack(tensors), im_info=np.array(im_infos, dtype=np.float32))
        if self.proposals:
            data['rois'] = stack_rois([scaled_rois(entry['proposals'], i, info[2])
                                       for i, (entry, _, info, _) in enumerate(loaded)])
        return data, collections.OrderedDict()


def scaled_rois(proposals, image, scale):
    """Proposals (n, 4+) in pixels of the image -> rois (n, 5) in pixels of the network's input."""
    return np.hstack((np.full((len(proposals), 1), image), proposals[:, :4] * scale)).astype(np.float32)


def stack_rois(rois):
    """A list of (n, 5) -> (B, R, 5); shorter ones repeat their last row."""
    rows = max(len(r) for r in rois)
    return np.stack([np.pad(r, ((0, rows - len(r)), (0, 0)), mode='edge') for r in rois])
