"""Data sets in the layout of PASCAL VOC: an XML file for each image, and text files that list the images of a set."""
import logging
import os
import re

import numpy as np

from lib.dataset.imdb import CLASS_FILE, inside, read_classes, read_lines, with_background
from lib.dataset.voc_scored import VocScored
from lib.dataset.voc_xml import read_annotation
from lib.errors import DatasetError
from lib.utils.image import IMAGE_EXTENSIONS, image_size
from lib.utils.roidb import make_entry

logger = logging.getLogger(__name__)

VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
               'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')
# The lists for one class say 'name 1' for an image with such objects, 0 with only difficult ones, -1 without.
FLAGS = ('-1', '0', '1')


class PascalVOC(VocScored):
    """PASCAL VOC itself, or own data in its layout.

    Args:
        image_set: '2007_trainval' for dataset_path/VOC2007/{Annotations,ImageSets/Main,JPEGImages}; 'trainval' if these
            three folders lie in dataset_path itself.
        root_path: not used; every data set takes it, as in the release.
        dataset_path: folder.
        classes: names, or a text file of them, one a line. By default the 20 of VOC for a year's folder, otherwise
            those of classes.txt in the folder, or else all labels found in Annotations, sorted: the same for every
            image set.
        use_difficult: whether objects flagged as difficult are trained on.
        min_box_side: pixels; thinner boxes are not trained on.
        on_unknown_class: 'error', or 'ignore': objects of other classes are left out, to train on some of the classes.
        use_07_metric: whether average precision is that of VOC2007 (11 points) or the area under the curve. By default
            that of VOC2007 for data of before 2010 or of no year.
        score_decimals, box_decimals: digits in the written detections; None writes all. The release wrote 3 and 1.
    """

    def __init__(self, image_set, root_path, dataset_path, *, classes=None, use_difficult=False, min_box_side=2,
                 on_unknown_class='error', use_07_metric=None, score_decimals=None, box_decimals=None):
        self.folder, self.year, self.image_set = _find_folder(image_set, dataset_path)
        if classes is None:
            classes = VOC_CLASSES if self.year else _own_classes(self.folder)
        name = '%s_%s' % (os.path.basename(self.folder), self.image_set)
        super(PascalVOC, self).__init__(name, read_classes(classes), self._distinct_index())
        self.use_difficult = use_difficult
        self.min_box_side = min_box_side
        if on_unknown_class not in ('error', 'ignore'):
            raise DatasetError("%s: on_unknown_class must be 'error' or 'ignore', not %r" % (name, on_unknown_class))
        self.ignore_unknown = on_unknown_class == 'ignore'
        self.use_07_metric = not self.year or int(self.year) < 2010 if use_07_metric is None else use_07_metric
        self.decimals = {'score_decimals': score_decimals, 'box_decimals': box_decimals}
        self._number_of_label = {label.lower(): number for number, label in enumerate(self.classes) if number}
        self._number_of_label.update((label, number) for number, label in enumerate(self.classes) if number)
        self._pictures = {}

    def _distinct_index(self):
        names = self.read_index()
        distinct = list(dict.fromkeys(names))
        if len(distinct) < len(names):
            logger.warning('%s: %d names stand there twice; each image is taken once', self.list_path(),
                           len(names) - len(distinct))
        return distinct

    def read_index(self):
        """The names in the list of images, in its order."""
        path = self.list_path()
        names = [self._name_on(line) for line in read_lines(path, 'the name of an image a line')]
        if not names:
            raise DatasetError('%s: expected the name of an image a line, found none' % path)
        return names

    def _name_on(self, line):
        """The name of an image on a line of the list, without a flag and, if there is no such annotation, extension."""
        if self._is_annotated(line):        # 'photo 1' may be the name of an image
            return line
        name, *flag = line.rsplit(None, 1)
        name = name if flag and flag[0] in FLAGS else line
        stem, extension = os.path.splitext(name)
        return stem if extension.lower() in IMAGE_EXTENSIONS and self._is_annotated(stem) else name

    def _is_annotated(self, name):
        return os.path.isfile(os.path.join(self.folder, 'Annotations', name + '.xml'))

    def list_path(self):
        """Path of the list of images."""
        return inside(os.path.join(self.folder, 'ImageSets', 'Main'), self.image_set + '.txt')

    def annotation_path(self, index):
        """Path of the XML file of that image."""
        return inside(os.path.join(self.folder, 'Annotations'), index + '.xml')

    def image_path(self, index, filename=''):
        """Path of the image file: the name with any known extension, or else the file that its annotation names."""
        stem = inside(os.path.join(self.folder, 'JPEGImages'), index)
        folder, stem = os.path.split(stem)
        candidates = [stem + extension for extension in IMAGE_EXTENSIONS]
        candidates += [stem, os.path.basename(filename.replace('\\', '/'))]
        for candidate in candidates:
            found = self._pictures_of(folder).get(_lower_extension(candidate))
            if found:
                return os.path.join(folder, found)
        raise FileNotFoundError('%s: there is no image of this name with an extension %s'
                                % (os.path.join(folder, stem), ', '.join(IMAGE_EXTENSIONS)))

    def _pictures_of(self, folder):
        """Files of a folder, found by their names with lower-case extensions: theirs may be of any case."""
        if folder not in self._pictures:
            names = os.listdir(folder) if os.path.isdir(folder) else []
            self._pictures[folder] = {_lower_extension(name): name for name in sorted(names, reverse=True)}
        return self._pictures[folder]

    def gt_roidb(self):
        """The objects of each image, read from the XML files on every call."""
        # Departure: the release pickles the list and reads it again whatever has changed since. Parsing 5,000 files
        # takes seconds.
        return [self._read_entry(index) for index in self.image_set_index]

    def test_roidb(self):
        """The entries to detect on; without objects where there are no annotations, as of the test images of VOC2012.
        """
        return self.gt_roidb() if self.has_annotations() else self.image_roidb()

    def has_annotations(self):
        """Whether the first image has an XML file."""
        return os.path.isfile(self.annotation_path(self.image_set_index[0]))

    def _read_entry(self, index):
        path = self.annotation_path(index)
        annotation = read_annotation(path)
        image = self.image_path(index, annotation.filename)
        width, height = annotation.size or _size_of_image(image, path)
        boxes, classes = [], []
        for number, item in enumerate(annotation.objects):
            label = self._find_class(path, item.label)
            if label is None or item.difficult and not self.use_difficult:
                continue
            box = fit_box(item.box, width, height, self.min_box_side, '%s: object %d (%s)' % (path, number, item.label))
            if box is not None:
                boxes.append(box)
                classes.append(label)
        return make_entry(image, index, height, width, boxes, classes)

    def _find_class(self, path, label):
        # Departure: the release looks the lower-case label up and dies with a bare KeyError. The exact label comes
        # first here.
        number = self._number_of_label.get(label, self._number_of_label.get(label.lower()))
        if number is None and not self.ignore_unknown:
            raise DatasetError("%s: unknown class '%s'; known are %s. Correct the label, add it to the classes, or "
                               'leave such objects out with dataset.on_unknown_class: ignore'
                               % (path, label, ', '.join(self.classes[1:])))
        return number

    def ground_truth(self):
        """See `VocScored.ground_truth`."""
        truth = {name: {} for name in self.classes[1:]}
        for index in self.image_set_index:
            path = self.annotation_path(index)
            for item in read_annotation(path).objects:
                label = self._find_class(path, item.label)
                if label is not None:
                    truth[self.classes[label]].setdefault(index, []).append(item)
        return {name: {index: _boxes_and_difficulty(items) for index, items in images.items()}
                for name, images in truth.items()}

    def result_folder(self, output_dir):
        """Folder of the written detections within `output_dir`, as the archive for the test server has it."""
        return os.path.join(output_dir, 'results', os.path.basename(self.folder), 'Main')


def _boxes_and_difficulty(items):
    return (np.array([item.box for item in items], dtype=np.float64) - 1,
            np.array([item.difficult for item in items], dtype=bool))


def fit_box(box, width, height, min_side, where):
    """Turn a box as written, counted from 1, into one of ours: counted from 0 and inside its image.

    What sticks out is cut off. A box that ends before it begins, lies outside, or is thinner than `min_side` pixels is
    dropped. Either is logged with `where`, which names file and object. Training goes on.

    Returns:
        list x1, y1, x2, y2, or None.
    """
    x1, y1, x2, y2 = (value - 1 for value in box)
    fitted = [max(x1, 0), max(y1, 0), min(x2, width - 1), min(y2, height - 1)]
    text = '%s, box (%g, %g, %g, %g) in an image of %d x %d pixels' % ((where,) + tuple(box) + (width, height))
    # Departure: the release keeps such boxes. One that is inverted stops it at the flip; one of a pixel has deltas of a
    # size that harms the training of all others; one that starts at 0 becomes 65535 in its uint16.
    if fitted[2] - fitted[0] + 1 < min_side or fitted[3] - fitted[1] + 1 < min_side:
        logger.warning('%s is inverted, outside, or thinner than %g pixels: dropped', text, min_side)
        return None
    if fitted != [x1, y1, x2, y2]:
        logger.warning('%s sticks out of it: clipped', text)
    return fitted


def find_labels(folder):
    """All labels in the annotations of a folder, sorted."""
    if not os.path.isdir(folder):
        raise FileNotFoundError('%s: there is no such folder; expected an XML file for each image'
                                % os.path.abspath(folder))
    labels = {item.label for name in sorted(os.listdir(folder)) if name.lower().endswith('.xml')
              for item in read_annotation(os.path.join(folder, name)).objects}
    return with_background(sorted(labels), folder)


def _own_classes(folder):
    names = os.path.join(folder, CLASS_FILE)
    return names if os.path.isfile(names) else find_labels(os.path.join(folder, 'Annotations'))


def _find_folder(image_set, dataset_path):
    """Folder with Annotations, ImageSets, JPEGImages; the year ('' for own data); name of the list of images."""
    layouts = [(dataset_path, '', image_set)]
    match = re.match(r'(\d{4})_(.+)', image_set)
    if match:
        layouts.insert(0, (os.path.join(dataset_path, 'VOC' + match.group(1)),) + match.groups())
    for folder, year, name in layouts:
        if os.path.isdir(os.path.join(folder, 'ImageSets', 'Main')):
            return os.path.abspath(folder), year, name
    raise FileNotFoundError("%s: there is no folder ImageSets/Main for the image set '%s'. Expected Annotations, "
                            "ImageSets/Main and JPEGImages there, or in a folder VOC2007 and the set 2007_trainval"
                            % (' and '.join(os.path.abspath(layout[0]) for layout in layouts), image_set))


def _lower_extension(name):
    stem, extension = os.path.splitext(name)
    return stem + extension.lower()


def _size_of_image(image, path):
    try:
        return image_size(image)
    except (DatasetError, FileNotFoundError) as error:
        raise DatasetError('%s: has no <size> of the image, and the image does not tell: %s' % (path, error)) from error
