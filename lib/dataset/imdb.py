"""A data set: images with their objects, as a reader returned them, and an evaluation of detections.

A roidb is a list of entries, one for each image; two lists are joined with `+`. An entry is a dict:

    image           path of the image file
    index           its name within the data set
    height, width   int, pixels
    boxes           (n, 4) float32, pixels counted from 0
    gt_classes      (n,) int32, 1 and more: 0 is the background
    flipped         bool, whether the entry is that of the mirror image
    proposals       (m, 5) float32, boxes and scores; only in training with given proposals
"""
from __future__ import annotations

import logging
from typing import NamedTuple, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lib.bbox.bbox_transform import flip_boxes
from lib.dataset import faults as kinds
from lib.dataset.annotations import AnnotatedSet, unknown_labels
from lib.dataset.box_rule import CLIP, MIN_SIDE, RELEASE, VERDICTS, FittedItems, fit_items, hints, usage_text
from lib.dataset.faults import Faults, some_texts, stopping
from lib.dataset.image_sizes import unreadable, with_sizes
from lib.dataset.names import with_background
from lib.errors import DatasetError, or_skipped
from lib.utils.console import counted
from lib.utils.image_file import check_size
from lib.utils.memory import give_back

logger = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    """The evaluation of detections."""
    score: float                # the number by which checkpoints are compared; NaN without ground truth
    metrics: dict[str, float]   # name such as 'mAP@0.5' and 'AP@0.5/car' -> value
    table: str                  # the same as text


class CountedItems(NamedTuple):
    """The objects that detections are compared with."""
    items: np.ndarray           # (T,) of ITEM
    owners: np.ndarray          # (T,) int, number of the image of each, rising
    boxes: np.ndarray           # (T, 4) float64
    areas: np.ndarray           # (T,) float64 pixels: the stated area, or else that of the box


class IMDB:
    """A set of images with their objects. The classes with an evaluation (voc_eval.py, coco_eval.py) derive from it.

    The detections of a whole set are `all_boxes[class][image]`, (n, 5) float arrays of boxes and scores, in pixels
    counted from 0; `all_boxes[0]`, the background's, is not used.

    Args:
        data: what a reader returned.
        on_unknown_class: 'error', or 'ignore' to leave objects of other classes out and train on some of the classes.
        on_bad_image: 'error', or 'skip' to leave images whose header cannot be read out, with a warning.
        use_difficult: whether objects flagged as difficult, crowd or ignored are trained on.
        min_box_side, box_rule: `min_side` and `rule` of `fit_boxes`.
        max_pixels: of `imread`, with which the images will be read.
    Attributes:
        name: str, used in the names of result files.
        classes: tuple of str, '__background__' first.
        image_set_index: list of str, the names of the images within the set.
    Raises:
        FileNotFoundError: an image or an annotation is not there.
        DatasetError: another fault that stops training (see `stopping`), or no image is left.
    """

    def __init__(self, data: AnnotatedSet, *, on_unknown_class: str = 'error', on_bad_image: str = 'error',
                 use_difficult: bool = False, min_box_side: float = MIN_SIDE, box_rule: str = CLIP,
                 max_pixels: int | None = None):
        if on_unknown_class not in ('error', 'ignore'):
            raise DatasetError("%s: on_unknown_class must be 'error' or 'ignore', not %r"
                               % (data.name, on_unknown_class))
        faults = list(data.faults) + (unknown_labels(data) if on_unknown_class == 'error' else [])
        _stop_at(stopping(faults, on_bad_image, on_unknown_class))
        self.data = _without_bad_images(data, faults, on_bad_image)
        self.name = data.name
        self.image_set = data.image_set
        self.classes = with_background(data.classes, data.name)
        self.image_set_index = [picture.index for picture in self.data.pictures]
        self.min_box_side = min_box_side
        self.box_rule = box_rule
        self.use_difficult = use_difficult
        self.on_bad_image = on_bad_image
        self.max_pixels = max_pixels
        self._pictures = None
        self._fitted = self._found = None
        quiet = (kinds.LABEL, kinds.IMAGE)      # objects left out on purpose; images that were named above
        _log_some([fault for fault in faults if fault.kind not in quiet])

    @property
    def num_classes(self) -> int:
        """Number of classes, including the background."""
        return len(self.classes)

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self.image_set_index)

    @property
    def has_annotations(self) -> bool:
        """Whether the objects of the images are known."""
        return self.data.annotated

    def image_path(self, index: str) -> str:
        """Path of the image file of a name in `image_set_index`."""
        if self._pictures is None:
            self._pictures = {picture.index: picture for picture in self.data.pictures}
        return self._pictures[index].path

    @property
    def fitted(self) -> FittedItems:
        """The objects, with boxes fitted into the images, and which of them are used. Reads the images' headers."""
        if self._fitted is None:
            self._fit()
        return self._fitted

    def _fit(self):
        self.data, self._found = with_sizes(self.data)
        sizes, table = [picture.size for picture in self.data.pictures], self.data.table()
        self.data = self.data.with_table(table[0])
        self._fitted = fit_items(self.data, sizes, table, min_side=self.min_box_side,
                                 use_difficult=self.use_difficult, rule=self.box_rule)
        _log_some(self._found + hints(self.data, sizes, table))
        self._log_objects(self._fitted)
        give_back()

    def check_headers(self) -> None:
        """Raise an error if a header shows that an image cannot be read, is too large or not of its annotated size.

        Reading the pixels would tell it too, perhaps after hours. Nothing is raised where bad images are skipped, nor
        of sets whose headers are not read (see `with_sizes`).
        """
        if self._fitted is None:
            self._fit()
        _stop_at(stopping(self._found, self.on_bad_image))
        for picture in self.data.pictures if self.on_bad_image == 'error' else ():
            check_size(picture.path, picture.size, self.max_pixels)

    def gt_roidb(self) -> list[dict]:
        """The roidb to train or to detect on: an entry for each image, with the objects that are trained on."""
        used = self.fitted.used
        boxes = self.fitted.boxes[used].astype(np.float32)
        labels = self.fitted.items['label'][used].astype(np.int32) + 1
        ends = np.searchsorted(self.fitted.owners[used], np.arange(self.num_images + 1))
        return [make_entry(picture.path, picture.index, picture.size[1], picture.size[0], boxes[start:end],
                           labels[start:end])
                for picture, start, end in zip(self.data.pictures, ends, ends[1:])]

    def counted_items(self) -> CountedItems:
        """The ground truth of an evaluation, objects that need not be found (any with a flag) among them.

        It is what is trained on: boxes fitted into their images by the one rule, without those that it drops; a stated
        area of 0 counts as not stated. In the own sets of VOC and COCO, and under the release's rule, each object
        counts as it is written, as in their kits.
        """
        # Departure: in the release every object counts as it is written, also one that training drops.
        fitted, as_written = self.fitted, self.data.official or self.box_rule == RELEASE
        rows = np.flatnonzero(fitted.known if as_written else fitted.kept)
        items, boxes = fitted.items[rows], (fitted.items['box'] if as_written else fitted.boxes)[rows]
        whole = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
        stated = ~np.isnan(items['area']) & (as_written | (items['area'] > 0))
        return CountedItems(items, fitted.owners[rows], boxes, np.where(stated, items['area'], whole))

    def evaluate_detections(self, all_boxes: list, output_dir: str | None = None) -> Evaluation:
        """Compare detections with the ground truth.

        Args:
            all_boxes: detections of the whole set, see above.
            output_dir: folder to write the detections to, for `evaluate_files` or other programs; None writes nothing.
        Raises:
            DatasetError: `all_boxes` does not have a list for each class, and in it an array for each image.
        """
        raise NotImplementedError

    def check_detections(self, all_boxes: list) -> None:
        """Raise a DatasetError unless `all_boxes` has a list for each class, in it an (n, 5) array for each image."""
        lists = (list, tuple)
        if not isinstance(all_boxes, lists) or not all(isinstance(of_class, lists) for of_class in all_boxes[1:]):
            raise DatasetError('%s: expected detections as a list for each class of an array for each image, found %s'
                               % (self.name, 'other lists' if isinstance(all_boxes, lists) else
                                  'a ' + type(all_boxes).__name__))
        lengths = sorted({len(of_class) for of_class in all_boxes[1:]})
        if len(all_boxes) != self.num_classes or lengths not in ([], [self.num_images]):
            raise DatasetError('%s: expected detections of %d classes and %d images, found %d classes and %s images: '
                               'they were made for another data set or image set'
                               % (self.name, self.num_classes, self.num_images, len(all_boxes),
                                  ' or '.join(map(str, lengths)) or 'no'))
        shapes = {np.shape(dets) for of_class in all_boxes[1:] for dets in of_class if np.size(dets)}
        strange = next((shape for shape in shapes if len(shape) != 2 or shape[1] != 5), None)
        if strange is not None:
            raise DatasetError('%s: expected the detections of a class in an image as an array (n, 5) of x1, y1, x2, '
                               'y2 and score, found one of shape %s' % (self.name, strange))

    def _log_objects(self, fitted):
        """Log some of the boxes that are clipped or dropped, and how many objects are used."""
        faults = Faults()
        for number in np.flatnonzero(fitted.known & (fitted.verdicts > 0)):
            picture, item = self.data.pictures[fitted.owners[number]], fitted.items[number]
            kind = VERDICTS[fitted.verdicts[number]]
            faults.note(kind, picture.index, int(item['number']), '%s: %s' % (self.data.box_text(picture, item),
                        '%s: clipped' % kind if kind == kinds.CLIPPED else '%s: dropped' % kind))
        _log_some(faults)
        empty = self.num_images - len(np.unique(fitted.owners[fitted.used]))
        logger.info('%s: %s, %d without used objects; %s', self.name, counted(self.num_images, 'image'), empty,
                    usage_text(fitted))


def _stop_at(faults):
    """Raise the error of the first of some faults that stop."""
    for fault in faults:
        absent = fault.kind in (kinds.MISSING, kinds.NOT_ANNOTATED)
        error = (FileNotFoundError if absent else DatasetError)(fault.text)
        raise or_skipped(error) if fault.kind in kinds.STOP_UNLESS_SKIPPED else error


def _without_bad_images(data, faults, on_bad_image):
    """A set without the images that cannot be read, which the log names. Raises a DatasetError if none is left."""
    bad = {fault.index: fault.text for fault in faults if fault.kind == kinds.IMAGE}
    if on_bad_image == 'skip':
        bad.update(unreadable(data.pictures))
    for text in bad.values():
        logger.warning('%s: left out (on_bad_image: skip)', text)
    kept = [picture for picture in data.pictures if picture.index not in bad]
    if not kept:
        raise DatasetError('%s: %s' % (data.name, 'none of the images can be read, such as %s' % next(iter(
            bad.values())) if bad else 'the list of images is empty'))
    return data._replace(pictures=kept)


def check_usable(imdbs: Sequence[IMDB], what: str = 'trained on') -> None:
    """Raise a DatasetError with counts unless all data sets have annotations and one has an object that is used."""
    for imdb in imdbs:
        if not imdb.has_annotations:
            raise DatasetError('%s: has no annotations, so that nothing of it can be %s; expected %s and so on'
                               % (imdb.name, what, imdb.data.pictures[0].source))
    if not any(imdb.fitted.used.any() for imdb in imdbs):
        raise DatasetError('; '.join('%s: %s' % (imdb.name, usage_text(imdb.fitted, what)) for imdb in imdbs)
                           + '. Correct the annotations; rfcn check names each object')


def _log_some(faults):
    for text in some_texts(faults):
        logger.warning('%s', text)


def make_entry(image: str, index: str, height: int, width: int, boxes: ArrayLike = (),
               gt_classes: ArrayLike = ()) -> dict:
    """Make a roidb entry; without boxes for an image without objects or with unknown objects. Arrays of the entry's
    types are not copied.
    """
    return {'image': image, 'index': index, 'height': int(height), 'width': int(width), 'flipped': False,
            'boxes': np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
            'gt_classes': np.asarray(gt_classes, dtype=np.int32)}


def append_flipped_images(roidb: list[dict]) -> list[dict]:
    """Append the mirror image of each entry. The pixels are mirrored later, when the image is read.

    Returns:
        list of twice the length: the entries, then their mirror images in the same order.
    Raises:
        DatasetError: a box ends before it begins.
    """
    return roidb + [flip_entry(entry) for entry in roidb]


def flip_entry(entry: dict) -> dict:
    """Mirror an entry's boxes and proposals left to right; done twice, the entry is as before. A new entry.

    Raises:
        DatasetError: a box ends before it begins.
    """
    check_boxes(entry)
    flipped = dict(entry, boxes=flip_boxes(entry['boxes'], entry['width']), flipped=not entry['flipped'])
    if 'proposals' in entry:
        boxes, scores = entry['proposals'][:, :4], entry['proposals'][:, 4:]
        flipped['proposals'] = np.hstack([flip_boxes(boxes, entry['width']), scores])
    return flipped


def check_boxes(entry: dict) -> None:
    """Raise a DatasetError that names image and box if a box ends before it begins or has NaN."""
    # Departure: the release asserts it after mirroring, without naming the image. Its uint16 boxes failed whenever a
    # box began at pixel 0 (0 - 1 = 65535).
    boxes = entry['boxes']
    good = boxes[:, 2:] >= boxes[:, :2]
    if not good.all():
        bad = np.flatnonzero(~good.all(axis=1))
        raise DatasetError('%s: box %d is (x1, y1, x2, y2) = (%s), expected x2 >= x1 and y2 >= y1. Correct it'
                           % (entry['image'], bad[0], ', '.join('%g' % value for value in boxes[bad[0]])))


def filter_roidb(roidb: list[dict], keep_empty: bool = True) -> list[dict]:
    """Check all boxes, and drop images without objects unless `keep_empty`.

    Raises:
        DatasetError: a box ends before it begins, or no entry is left.
    """
    # Departure: the release always drops images without objects. They teach the network what background looks like.
    kept = [entry for entry in roidb if keep_empty or len(entry['boxes'])]
    if not kept:
        raise DatasetError('nothing to train on: of %d images none has an object' % len(roidb))
    for entry in kept:
        check_boxes(entry)
    return kept
