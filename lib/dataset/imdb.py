"""A data set: images with their objects, as one of the readers found them, and an evaluation of detections.

A roidb is a list of entries, one for each image; two are joined with `+`. An entry is a dict: image (path), index (name
within its data set), height, width (int, pixels), boxes ((n, 4) float32, pixels counted from 0), gt_classes ((n,)
int32), flipped (bool), and in alternate training proposals ((m, 5) float32 boxes and score).
"""
from __future__ import annotations

import logging
from collections import Counter
from typing import NamedTuple, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lib.bbox.bbox_transform import flip_boxes
from lib.dataset import faults as kinds
from lib.dataset.annotations import AnnotatedSet, Picture, unknown_labels, with_background
from lib.dataset.box_rule import CLIP, MIN_SIDE, VERDICTS, FittedItems, fit_items, hints, usage_text
from lib.dataset.faults import Faults, stopping
from lib.errors import DatasetError
from lib.utils.console import counted
from lib.utils.image_file import image_head

EXAMPLES = 5                # of each kind of fault, named in the log
HEADS_AT_START = 20000      # images: the orientations of larger sets are left to the checker

logger = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    """How good detections are."""
    score: float                # the number by which checkpoints are compared; NaN where there is no ground truth
    metrics: dict[str, float]   # flat names: 'mAP@0.5', 'AP@0.5/car'
    table: str                  # the same to read


class IMDB:
    """A set of images with their objects; the evaluations (voc_eval.py, coco_eval.py) derive from it.

    Detections of a whole set are `all_boxes[class][image]` = (n, 5) float array of box and score, boxes in pixels
    counted from 0; `all_boxes[0]`, the background's, is not used.

    Args:
        data: AnnotatedSet.
        on_unknown_class: 'error', or 'ignore': objects of other classes are left out, to train on some of the classes.
        on_bad_image: 'error', or 'skip': images whose header cannot be read are left out, with a warning.
        use_difficult: whether objects flagged as difficult, crowds or ignored are trained on.
        min_box_side, box_rule: of `fit_boxes`.
    Attributes:
        name: str, used in the names of result files.
        classes: tuple of str, '__background__' first.
        image_set_index: list of str, the images' names within the set.
    Raises:
        FileNotFoundError: an image is not there. DatasetError: anything else is wrong with the annotations.
    """

    def __init__(self, data: AnnotatedSet, *, on_unknown_class: str = 'error', on_bad_image: str = 'error',
                 use_difficult: bool = False, min_box_side: float = MIN_SIDE, box_rule: str = CLIP):
        if on_unknown_class not in ('error', 'ignore'):
            raise DatasetError("%s: on_unknown_class must be 'error' or 'ignore', not %r"
                               % (data.name, on_unknown_class))
        faults = list(data.faults) + (unknown_labels(data) if on_unknown_class == 'error' else [])
        for fault in stopping(faults, on_bad_image, on_unknown_class):
            absent = fault.kind in (kinds.MISSING, kinds.NOT_ANNOTATED)
            raise (FileNotFoundError if absent else DatasetError)(fault.text)
        bad = {fault.index: fault.text for fault in faults if fault.kind == kinds.IMAGE}
        if on_bad_image == 'skip':
            bad.update(_unreadable(data.pictures))
        for text in bad.values():
            logger.warning('%s: left out (on_bad_image: skip)', text)
        data = data._replace(pictures=[picture for picture in data.pictures if picture.index not in bad])
        if not data.pictures:
            raise DatasetError('%s: %s' % (data.name, 'none of the images can be read, such as %s' % next(iter(
                bad.values())) if bad else 'the list of images is empty'))
        self.data = data
        self.name = data.name
        self.image_set = data.image_set
        self.classes = with_background(data.classes, data.name)
        self.image_set_index = [picture.index for picture in data.pictures]
        self.min_box_side = min_box_side
        self.box_rule = box_rule
        self.use_difficult = use_difficult
        self._pictures = None
        self._fitted = None
        _log_faults(faults)

    @property
    def num_classes(self) -> int:
        """Number of classes, the background among them."""
        return len(self.classes)

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self.image_set_index)

    @property
    def has_annotations(self) -> bool:
        """Whether the objects are known."""
        return self.data.annotated

    def image_path(self, index: str) -> str:
        """Path of the image file of that name."""
        if self._pictures is None:
            self._pictures = {picture.index: picture for picture in self.data.pictures}
        return self._pictures[index].path

    @property
    def fitted(self) -> FittedItems:
        """`FittedItems`: which of the objects are used, and their boxes as they fit into the images."""
        if self._fitted is None:
            self.data, turned = with_sizes(self.data)
            sizes = [picture.size for picture in self.data.pictures]
            self._fitted = fit_items(self.data, sizes, min_side=self.min_box_side, use_difficult=self.use_difficult,
                                 rule=self.box_rule)
            _log_some(turned + hints(self.data, sizes))
            self._log_objects(self._fitted)
        return self._fitted

    def gt_roidb(self) -> list[dict]:
        """List of roidb entries, one for each image, with the objects that are used."""
        used = self.fitted.used
        boxes = self.fitted.boxes[used].astype(np.float32)
        labels = self.fitted.items['label'][used].astype(np.int32) + 1
        ends = np.searchsorted(self.fitted.owners[used], np.arange(self.num_images + 1))
        return [make_entry(picture.path, picture.index, picture.size[1], picture.size[0], boxes[start:end],
                           labels[start:end])
                for picture, start, end in zip(self.data.pictures, ends, ends[1:])]

    def test_roidb(self) -> list[dict]:
        """The entries to detect on: with their objects, if these are known."""
        return self.gt_roidb()

    def evaluate_detections(self, all_boxes: list, output_dir: str | None = None) -> Evaluation:
        """Compare detections with the ground truth; with `output_dir`, write them there to be evaluated again or
        elsewhere.

        Returns:
            Evaluation.
        Raises:
            DatasetError: `all_boxes` has not a list for each class and an array for each image.
        """
        raise NotImplementedError

    def check_detections(self, all_boxes: list) -> None:
        """Raise a DatasetError unless `all_boxes` has a list for each class and in it an array for each image."""
        lengths = sorted({len(of_class) for of_class in all_boxes[1:]})
        if len(all_boxes) != self.num_classes or lengths not in ([], [self.num_images]):
            raise DatasetError('%s: expected detections of %d classes and %d images, found %d classes and %s images: '
                               'they were made for another data set or image set'
                               % (self.name, self.num_classes, self.num_images, len(all_boxes),
                                  ' or '.join(map(str, lengths)) or 'no'))

    def _log_objects(self, fitted):
        """Warn of each box that is clipped or dropped, some of each kind; then the counts."""
        faults = Faults()
        for number in np.flatnonzero(fitted.known & (fitted.verdicts > 0)):
            picture, item = self.data.pictures[fitted.owners[number]], fitted.items[number]
            kind = VERDICTS[fitted.verdicts[number]]
            faults.note(kind, picture.index, int(item['number']), '%s: %s' % (box_text(self.data, picture, item),
                        '%s: clipped' % kind if kind == kinds.CLIPPED else '%s: dropped' % kind))
        _log_some(faults)
        empty = self.num_images - len(np.unique(fitted.owners[fitted.used]))
        logger.info('%s: %s, %d without objects to train on; %s', self.name, counted(self.num_images, 'image'), empty,
                    usage_text(fitted))


def _unreadable(pictures):
    """Index -> error, of the pictures whose size is not annotated and whose header cannot be read."""
    errors = {}
    for picture in pictures:
        try:
            picture.size or image_head(picture.path)
        except (DatasetError, FileNotFoundError) as error:
            errors[picture.index] = str(error)
    return errors


def box_text(data: AnnotatedSet, picture: Picture, item: np.void, size: tuple[int, int] | None = None) -> str:
    """File, place, box and image size, for messages."""
    return '%s, box (%s) in an image of %d x %d pixels' % (
        (data.where(picture, item), ', '.join('%g' % value for value in item['box'])) + (size or picture.size))


def with_sizes(data: AnnotatedSet) -> tuple[AnnotatedSet, Faults]:
    """The set with the size of every image, read from its header where the annotations do not tell; and faults for the
    images with an orientation other than 1.

    Raises:
        FileNotFoundError, DatasetError: an image that should tell its size cannot be read.
    """
    pictures, turned = [], Faults()
    for picture in data.pictures:
        head = None
        if picture.size is None:
            try:
                head = image_head(picture.path)
            except (DatasetError, FileNotFoundError) as error:
                raise type(error)('%s: has no <size> of the image, and the image does not tell: %s'
                                  % (picture.source, error) if data.format == 'PascalVOC' else str(error)) from error
        elif len(data.pictures) <= HEADS_AT_START:
            try:
                head = image_head(picture.path)
            except (DatasetError, FileNotFoundError):
                pass                                    # it stops when, or is skipped where, its pixels are read
        if head is not None and head.orientation != 1:
            turned.note(kinds.TURNED, picture.index, None, turned_text(picture.path, head.orientation))
        pictures.append(picture if picture.size else picture._replace(size=head.size))
    return data._replace(pictures=pictures), turned


def turned_text(path: str, orientation: int) -> str:
    """What is to be known of an image with an orientation."""
    return ('%s: has the EXIF or TIFF orientation %d: viewers turn it, the network sees the pixels as stored. '
            'Boxes must refer to the pixels as stored; rfcn check --fix OUT --upright writes upright pictures with '
            'boxes that fit' % (path, orientation))


def check_usable(imdbs: Sequence[IMDB], what: str = 'trained on') -> None:
    """Raise a DatasetError with counts unless one of the data sets has an object that is used."""
    for imdb in imdbs:
        if not imdb.has_annotations:
            raise DatasetError('%s: has no annotations, so that nothing of it can be %s; expected %s and so on'
                               % (imdb.name, what, imdb.data.pictures[0].source))
    if not any(imdb.fitted.used.any() for imdb in imdbs):
        raise DatasetError('; '.join('%s: %s' % (imdb.name, usage_text(imdb.fitted, what)) for imdb in imdbs)
                           + '. Correct the annotations; rfcn check names each object')


def _log_faults(faults):
    """Warn of the faults that the reader noted and that do not stop."""
    quiet = (kinds.LABEL, kinds.IMAGE)
    _log_some([fault for fault in faults if fault.kind not in quiet])


def _log_some(faults):
    """Log the first of each kind, and how many more there are."""
    seen = Counter()
    for fault in faults:
        seen[fault.kind] += 1
        if seen[fault.kind] <= EXAMPLES:
            logger.warning('%s', fault.text)
    for kind, count in seen.items():
        if count > EXAMPLES:
            logger.warning('%s: %d more like this; the checker lists them', kind, count - EXAMPLES)


def make_entry(image: str, index: str, height: int, width: int, boxes: ArrayLike = (),
               gt_classes: ArrayLike = ()) -> dict:
    """Make a roidb entry; without boxes for an image without objects, or whose objects are not known."""
    return {'image': image, 'index': index, 'height': int(height), 'width': int(width), 'flipped': False,
            'boxes': np.array(boxes, dtype=np.float32).reshape(-1, 4),
            'gt_classes': np.array(gt_classes, dtype=np.int32)}


def append_flipped_images(roidb: list[dict]) -> list[dict]:
    """Append the mirror image of each entry; the pixels themselves are mirrored when the image is read.

    Args:
        roidb: list of entries.
    Returns:
        list of twice the length: the entries, then their mirror images in the same order.
    Raises:
        DatasetError: a box ends before it begins.
    """
    return roidb + [flip_entry(entry) for entry in roidb]


def flip_entry(entry: dict) -> dict:
    """Mirror an entry's boxes and proposals, left to right. Twice gives the entry again."""
    check_boxes(entry)
    flipped = dict(entry, boxes=flip_boxes(entry['boxes'], entry['width']), flipped=not entry['flipped'])
    if 'proposals' in entry:
        boxes, scores = entry['proposals'][:, :4], entry['proposals'][:, 4:]
        flipped['proposals'] = np.hstack([flip_boxes(boxes, entry['width']), scores])
    return flipped


def check_boxes(entry: dict) -> None:
    """Raise a DatasetError that names image and box if a box ends before it begins, or is no number.

    """
    # Departure: the release asserts it after mirroring, without saying where; its uint16 boxes ran into that whenever a
    # box began at pixel 0 (0 - 1 = 65535).
    boxes = entry['boxes']
    bad = np.flatnonzero(~((boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])))
    if len(bad):
        raise DatasetError('%s: box %d is (x1, y1, x2, y2) = (%s), expected x2 >= x1 and y2 >= y1. Correct it'
                           % (entry['image'], bad[0], ', '.join('%g' % value for value in boxes[bad[0]])))


def filter_roidb(roidb: list[dict], keep_empty: bool = True) -> list[dict]:
    """Check all boxes, and take out the images without objects if asked.

    Args:
        roidb: list of entries.
        keep_empty: whether images without objects stay.
    Returns:
        list of the entries that stay.
    Raises:
        DatasetError: a box ends before it begins, or no entry is left.
    """
    # Departure: the release always drops images without objects, as keep_empty=False does. They teach the network what
    # background is.
    kept = [entry for entry in roidb if keep_empty or len(entry['boxes'])]
    if not kept:
        raise DatasetError('nothing to train on: of %d images none has an object' % len(roidb))
    for entry in kept:
        check_boxes(entry)
    return kept
