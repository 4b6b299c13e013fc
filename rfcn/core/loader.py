"""Batches for the graphs, made in background threads. This file is the home of the shapes of a batch.

    data         (B, 3, height, width)   images less PIXEL_MEANS, RGB, padded with zeros to the largest of the batch
    im_info      (B, 3)                  height, width of the image without padding, scale
    gt_boxes     (B, G, 5)               boxes in the network's pixels and classes; rows of class -1 are padding
    label        (B, A*H*W)              of the RPN: 1, 0, -1
    bbox_target  (B, 4A, H, W)           and bbox_weight: of the RPN

B images are those of one device. Several devices have a batch each, of their own shape, as in the release.

What is drawn for an image is a function of (seed, epoch, position of the image in the order of the epoch): it does not
depend on the batch, the device or the worker that gets the image, and a run can be resumed at any image.
"""
import collections
import logging

import mxnet as mx
import numpy as np

from lib.errors import DatasetError, or_skipped
from lib.utils.console import counted
from lib.utils.image import get_image, resized_shape
from rfcn.core.pipeline import in_threads

logger = logging.getLogger(__name__)

MAX_BAD_IN_A_ROW = 20  # give up when that many images in a row cannot be read

Loaded = collections.namedtuple('Loaded', 'entry tensor im_info gt_boxes rng')  # an image that was read, and its draws


class Batch(mx.io.DataBatch):
    """The batch of one device.

    Args:
        data, label: name of an input of the graph -> array.
        pad: how many of its images, the last ones, only fill it up.
        images: paths of the images. seeds: of what the graph draws, one for each image.
    """

    def __init__(self, data, label=None, pad=0, images=(), seeds=None):
        def described(arrays):
            return [mx.io.DataDesc(name, value.shape) for name, value in arrays.items()]

        label = label or {}
        super().__init__(data=[mx.nd.array(x) for x in data.values()], label=[mx.nd.array(x) for x in label.values()],
                         pad=pad, provide_data=described(data), provide_label=described(label))
        self.images = images
        self.seeds = seeds

    @property
    def parts(self):
        """A batch for each device: this one."""
        return [self]

    @property
    def inputs(self):
        """Name -> NDArray of all inputs, data and labels."""
        return {desc.name: value for desc, value in zip(self.provide_data + self.provide_label, self.data + self.label)}


class DeviceBatches:
    """What several devices do in one step: `parts`, a Batch for each of them."""

    def __init__(self, parts):
        self.parts = parts
        self.images = [path for part in parts for path in part.images]


class Loader:
    """Base of the loaders: order, threads, images that cannot be read. Subclasses make arrays of images in `assemble`.

    Args:
        roidb: list of entries, see `lib/dataset/imdb.py`.
        batch_size: images per device.
        devices: of this process.
        rank, ranks: number of this worker, and how many workers share each step: it makes its own batches alone.
        scales: pairs (shorter side, longest side), one drawn for each image.
        stride: images are padded to a multiple of it; 0 for none.
        shuffle_whole_batches: see `epoch_order`.
        threads: how many read ahead; with 0 images are read when their batch is asked for.
        on_bad_image: 'error' or 'skip': another image takes the place of one that cannot be read; `skipped` lists them.
    """

    def __init__(self, roidb, batch_size, *, scales, pixel_means, stride=0, shuffle=False, aspect_grouping=False,
                 shuffle_whole_batches=True, seed=0, devices=1, rank=0, ranks=1, threads=2, on_bad_image='error',
                 max_pixels=None):
        if not roidb:
            raise DatasetError('no image to load: the image set is empty')
        self.roidb = roidb
        self.batch_size = batch_size
        self.devices = devices
        self.rank = rank
        self.step_size = batch_size * devices * ranks   # images that all devices of all workers see in a step
        self.scales = scales
        self.image_settings = dict(stride=stride, pixel_means=pixel_means)
        if max_pixels:
            self.image_settings['max_pixels'] = max_pixels
        self.shuffle = shuffle
        self.aspect_grouping = aspect_grouping
        self.shuffle_whole_batches = shuffle_whole_batches
        self.seed = seed
        self.threads = threads
        self.on_bad_image = on_bad_image
        self.skipped = {}   # path -> error

    def __len__(self):
        """Steps per epoch.

        Departure: the release drops the last incomplete batch; here it is filled up with the epoch's first images.
        """
        return -(-len(self.roidb) // self.step_size)

    def order(self, epoch, step_size=None):
        """Image numbers of an epoch, (len(roidb),).

        Args:
            step_size: images per step of the run that began the epoch, if not of this one; grouping by aspect
                depends on it.
        """
        return epoch_order(np.arange(len(self.roidb)), [e['width'] for e in self.roidb],
                           [e['height'] for e in self.roidb], step_size or self.step_size, shuffle=self.shuffle,
                           aspect_grouping=self.aspect_grouping, shuffle_whole_batches=self.shuffle_whole_batches,
                           rng=np.random.RandomState([self.seed, epoch]))

    def batches(self, epoch=0, start=0, step_size=None):
        """Yield the batches of an epoch, one for each step. What fails in a thread is raised here.

        Args:
            start: images of the epoch that are done.
            step_size: see `order`.
        Returns:
            iterator of Batch or, with several devices, of DeviceBatches.
        """
        order = self.order(epoch, step_size)
        filled = self._filled(order, start)
        jobs = ((filled[positions], epoch, positions) for positions in self._own_positions(start, len(filled)))
        loaded = in_threads(self._load, jobs, self.threads, ahead=2 * self.threads, on_wait=self._log_wait) \
            if self.threads else (self._load(*job) for job in jobs)
        parts = (self._batch(*item) for item in loaded)
        return parts if self.devices == 1 else map(DeviceBatches, zip(*[parts] * self.devices))

    def sizes(self):
        """All sizes of an epoch: (height, width) of the network's input -> number and scale of an image that has it."""
        found = {}
        for number, entry in enumerate(self.roidb):
            for scale in self.scales:
                size = resized_shape((entry['height'], entry['width']), *scale, stride=self.image_settings['stride'])
                found.setdefault(size, (number, scale))
        return found

    def largest_batch(self):
        """A batch that repeats the image which is largest in the network's input; graphs are bound with it.

        MXNet keeps the memory of the first shape that a graph is bound to, and smaller shapes fit in. A batch of
        several images of different shapes is padded on both sides and may be larger: MXNet then takes more memory.
        """
        sizes = self.sizes()
        number, scale = sizes[max(sizes, key=lambda size: size[0] * size[1])]
        entry = self.roidb[number]
        try:
            image = Loaded(entry, *get_image(entry, *scale, **self.image_settings), np.random.RandomState(self.seed))
        except (DatasetError, FileNotFoundError) as error:
            if self.on_bad_image != 'skip':
                raise or_skipped(error) from None
            return next(self.batches())
        data, label = self.assemble([image] * self.batch_size)
        parts = [self._batch(data, label, 0, [entry] * self.batch_size, [0] * self.batch_size)] * self.devices
        return parts[0] if self.devices == 1 else DeviceBatches(parts)

    def assemble(self, loaded):
        """A batch's arrays from its images, a list of Loaded: two dicts, data and label."""
        raise NotImplementedError

    def seeds(self, entries, epoch, positions):
        """Seeds for what the operators on the host draw, one for each image of a batch."""
        return [(self.seed * 1000003 + epoch * len(self.roidb) + int(n)) % 2 ** 32 for n in positions]

    def _filled(self, order, start):
        """The order with images appended so that whole steps are left from position `start` on."""
        return np.concatenate((order, np.resize(order, -(len(order) - start) % self.step_size)))

    def _own_positions(self, start, stop):
        """The positions in the order, for each batch of this worker: step by step, device by device."""
        batches = np.arange(start, stop).reshape(-1, self.step_size // self.batch_size, self.batch_size)
        first = self.rank * self.devices
        return batches[:, first:first + self.devices].reshape(-1, self.batch_size)

    def _load(self, indices, epoch, positions):
        try:
            loaded = [self._load_image(i, np.random.RandomState([self.seed, epoch, position]))
                      for i, position in zip(indices, positions)]
            data, label = self.assemble(loaded)
        except (DatasetError, FileNotFoundError):   # these name the file
            raise
        except Exception:
            logger.error('a batch cannot be made of these images: %s', self._paths(indices))
            raise
        entries = [item.entry for item in loaded]
        return data, label, int(np.sum(positions >= len(self.roidb))), entries, self.seeds(entries, epoch, positions)

    @staticmethod
    def _batch(data, label, pad, entries, seeds):
        return Batch(data, label, pad, [entry['image'] for entry in entries], seeds)

    def _log_wait(self, indices, epoch, positions):
        logger.warning('still waiting for these images: %s. Does the disk answer?', self._paths(indices))

    def _paths(self, indices):
        return ', '.join(self.roidb[index]['image'] for index in indices)

    def _load_image(self, index, rng):
        for _ in range(MAX_BAD_IN_A_ROW):
            entry = self.roidb[index]
            scale = self.scales[rng.randint(len(self.scales))] if len(self.scales) > 1 else self.scales[0]
            try:
                return Loaded(entry, *get_image(entry, scale[0], scale[1], **self.image_settings), rng)
            except (DatasetError, FileNotFoundError) as error:
                if self.on_bad_image != 'skip':
                    raise or_skipped(error) from None
                if entry['image'] not in self.skipped:
                    logger.warning('skipped (on_bad_image: skip): %s', error)
                self.skipped[entry['image']] = error
                index = rng.randint(len(self.roidb))
        raise DatasetError('%d images in a row could not be read; the last was %s. Is their disk there? rfcn check '
                           'names all that cannot be read' % (MAX_BAD_IN_A_ROW, entry['image']))

    def log_skipped(self):
        """Log, at the end of a run, which images were replaced by others."""
        if self.skipped:
            logger.warning('skipped %s that could not be read (on_bad_image: skip):\n  %s',
                           counted(len(self.skipped), 'image'), '\n  '.join(map(str, self.skipped.values())))


def epoch_order(index, widths, heights, batch_size, *, shuffle, aspect_grouping, shuffle_whole_batches=True,
                rng=np.random):
    """Shuffle images; with `aspect_grouping` a batch has landscape or portrait images alone.

    Args:
        index: (N,) int, the images in their last order, which plain shuffling permutes, as in the release.
        widths, heights: (N,) of image 0, 1, ..., pixels.
        batch_size: images per batch.
        shuffle_whole_batches: see the departure below; False is the release's rule.
    Returns:
        (N,) int, every image once.
    Source: the release's AnchorLoader.reset.
    """
    if not shuffle:
        return index
    if not aspect_grouping:
        return index[rng.permutation(len(index))]
    landscape = np.asarray(widths) >= np.asarray(heights)
    order = np.hstack((rng.permutation(np.where(landscape)[0]), rng.permutation(np.where(~landscape)[0])))
    whole = len(order) // batch_size * batch_size
    # Departure: where the batches come out even the release shuffles none of them (its slice [:-0] is empty), so that
    # every epoch is all landscape, then all portrait.
    if whole < len(order) or shuffle_whole_batches:
        batches = order[:whole].reshape(-1, batch_size)
        order[:whole] = batches[rng.permutation(len(batches))].ravel()
    return order
