"""What every data set offers: class names, a list of images, their objects, and an evaluation of detections."""
import os
from typing import Dict, NamedTuple

from lib.errors import DatasetError
from lib.utils.image import image_size
from lib.utils.roidb import make_entry

BACKGROUND = '__background__'
CLASS_FILE = 'classes.txt'      # class names of own data, one a line
LONGEST_SIDE = 10 ** 6          # of an image, pixels; a longer one does not exist


class Evaluation(NamedTuple):
    """How good detections are."""
    score: float                # the number by which checkpoints are compared; NaN where there is no ground truth
    metrics: Dict[str, float]   # flat names: 'mAP@0.5', 'AP@0.5/car'
    table: str                  # the same to read


class IMDB(object):
    """A set of images with their objects; a data set derives from it and overrides what raises NotImplementedError.

    Detections of a whole set are `all_boxes[class][image]` = (n, 5) float array of box and score, boxes in pixels
    counted from 0; `all_boxes[0]`, the background's, is not used.

    Attributes:
        name: str, used in the names of result files.
        classes: tuple of str, '__background__' first.
        image_set_index: list of str, the images' names within the set.
    """

    def __init__(self, name, classes, image_set_index):
        self.name = name
        self.classes = with_background(classes, name)
        self.image_set_index = list(image_set_index)
        if not self.image_set_index:
            raise DatasetError('%s: the list of images is empty' % name)

    @property
    def num_classes(self):
        """Number of classes, the background among them."""
        return len(self.classes)

    @property
    def num_images(self):
        """Number of images."""
        return len(self.image_set_index)

    def image_path(self, index):
        """Path of the image file of that name. Raises FileNotFoundError."""
        raise NotImplementedError

    def gt_roidb(self):
        """List of roidb entries (see lib/utils/roidb.py), one for each image.

        Raises DatasetError or FileNotFoundError.
        """
        raise NotImplementedError

    def test_roidb(self):
        """The entries to detect on: with their objects, if these are known."""
        return self.gt_roidb()

    def evaluate_detections(self, all_boxes, output_dir=None):
        """Compare detections with the ground truth; with `output_dir`, write them there to be evaluated again or
        elsewhere.

        Returns:
            Evaluation.
        Raises:
            DatasetError: `all_boxes` has not a list for each class and an array for each image.
        """
        raise NotImplementedError

    def image_roidb(self):
        """List of roidb entries without objects: for testing, where there may be no annotations."""
        entries = []
        for index in self.image_set_index:
            path = self.image_path(index)
            width, height = image_size(path)
            entries.append(make_entry(path, index, height, width))
        return entries

    def check_detections(self, all_boxes):
        """Raise a DatasetError unless `all_boxes` has a list for each class and in it an array for each image."""
        lengths = sorted({len(of_class) for of_class in all_boxes[1:]})
        if len(all_boxes) != self.num_classes or lengths not in ([], [self.num_images]):
            raise DatasetError('%s: expected detections of %d classes and %d images, found %d classes and %s images: '
                               'they were made for another data set or image set'
                               % (self.name, self.num_classes, self.num_images, len(all_boxes),
                                  ' or '.join(map(str, lengths)) or 'no'))


def annotated_size(width, height):
    """Width and height of an image as its annotation has them, or None if no image has that size."""
    return (int(width), int(height)) if 1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE else None


def with_background(classes, source):
    """The class names as a tuple with '__background__' first, whether it was given or not.

    Raises:
        DatasetError: there is no class, or one twice, or one without a name; `source` says where they come from.
    """
    names = tuple(str(name).strip() for name in classes)
    names = names if names[:1] == (BACKGROUND,) else (BACKGROUND,) + names
    doubled = sorted({name for name in names if names.count(name) > 1 or not name})
    if doubled or len(names) < 2:
        raise DatasetError('%s: expected one or more different class names, found %s'
                           % (source, 'twice or empty: %s' % doubled if doubled else 'none'))
    return names


def read_lines(path, what):
    """The lines of a text file without the blank ones.

    Raises FileNotFoundError or DatasetError naming `what` and the file.
    """
    try:
        with open(path, encoding='utf-8-sig') as file:
            return [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such file; expected %s' % (os.path.abspath(path), what)) from None
    except (OSError, ValueError) as error:
        raise DatasetError('%s: expected %s, in UTF-8, cannot be read: %s' % (path, what, error)) from error


def read_classes(classes):
    """Class names from a list of them, or from a text file with one a line."""
    return read_lines(classes, 'a class name a line') if isinstance(classes, (str, os.PathLike)) else list(classes)


def inside(folder, name):
    """Join a folder and a name that was read from a file; a DatasetError if the result would not lie in the folder."""
    folder = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(folder, name))
    if os.path.isabs(name) or '\0' in name or not path.startswith(os.path.join(folder, '')):
        raise DatasetError('%s: the name %r leads out of this folder; refused' % (folder, name))
    return path
