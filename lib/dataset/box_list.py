"""Data sets whose format has no evaluation of its own: CSV and YOLO. They are evaluated as PASCAL VOC is."""
import logging
import os

import numpy as np

from lib.dataset import annotated as kinds
from lib.dataset.annotated import unknown_labels
from lib.dataset.box_faults import judge
from lib.dataset.csv_list import read_csv
from lib.dataset.read_yolo import read_yolo
from lib.dataset.voc_scored import VocScored
from lib.errors import DatasetError
from lib.utils.image import image_size
from lib.utils.roidb import make_entry

logger = logging.getLogger(__name__)


class BoxList(VocScored):
    """A data set read by `read`; a subclass names the function.

    Args:
        image_set, dataset_path, classes: as of the function.
        root_path: not used; every data set takes it, as in the release.
        min_box_side, on_unknown_class, use_difficult, use_07_metric: as of `PascalVOC`. A crowd counts as difficult.
    Raises:
        FileNotFoundError: an image is not there. DatasetError: anything else is wrong with the annotations.
    """

    read = None

    def __init__(self, image_set, root_path, dataset_path, *, classes=None, min_box_side=2, on_unknown_class='error',
                 use_difficult=False, use_07_metric=True):
        data = self.read(image_set, dataset_path, classes)
        if on_unknown_class not in ('error', 'ignore'):
            raise DatasetError("%s: on_unknown_class must be 'error' or 'ignore', not %r"
                               % (data.name, on_unknown_class))
        for fault in data.faults + (unknown_labels(data) if on_unknown_class == 'error' else []):
            raise (FileNotFoundError if fault.kind == kinds.MISSING else DatasetError)(fault.text)
        super(BoxList, self).__init__(data.name, data.classes, [picture.index for picture in data.pictures])
        self.data = data
        self.pictures = {picture.index: picture for picture in data.pictures}
        self.image_set = image_set
        self.min_box_side = min_box_side
        self.use_difficult = use_difficult
        self.use_07_metric = use_07_metric

    def image_path(self, index):
        """Path of the image file."""
        return self.pictures[index].path

    def gt_roidb(self):
        """The objects of each image. Difficult ones, crowds, and boxes that are empty or outside are left out."""
        return [self._entry(picture) for picture in self.data.pictures]

    def _entry(self, picture):
        width, height = picture.size or image_size(picture.path)
        boxes, labels = [], []
        for item in self._known(picture):
            if (item.difficult or item.crowd) and not self.use_difficult:
                continue
            fitted, fault = judge(item.box, width, height, self.min_box_side)
            if fault:
                logger.warning('%s, box (%s) in an image of %d x %d pixels: %s: %s', self.data.where(picture, item),
                               ', '.join('%g' % value for value in item.box), width, height, fault,
                               'dropped' if fitted is None else 'clipped')
            if fitted is not None:
                boxes.append(fitted)
                labels.append(self.classes.index(item.label))
        return make_entry(picture.path, picture.index, height, width, boxes, labels)

    def _known(self, picture):
        return [item for item in picture.items if item.label in self.classes[1:]]

    def ground_truth(self):
        """See `VocScored.ground_truth`."""
        truth = {name: {} for name in self.classes[1:]}
        for picture in self.data.pictures:
            for item in self._known(picture):
                truth[item.label].setdefault(picture.index, []).append(item)
        return {name: {index: (np.array([item.box for item in items], dtype=np.float64),
                               np.array([item.difficult or item.crowd for item in items], dtype=bool))
                       for index, items in images.items()} for name, images in truth.items()}

    def result_folder(self, output_dir):
        """Folder of the written detections within `output_dir`."""
        return os.path.join(output_dir, 'results', self.name)


class CSVList(BoxList):
    """A list of boxes; see `read_csv`."""

    read = staticmethod(read_csv)


class YOLO(BoxList):
    """YOLO's text files; see `read_yolo`."""

    read = staticmethod(read_yolo)
