"""Annotations in YOLO's text files, as they stand there: a file for each image, a line `class cx cy w h` for each
object.

The centre and the size of a box are fractions of the image's width and height. With x = (cx - w / 2) * width the box
covers the pixels from x on: x1 = x, x2 = x + w * width - 1, as in COCO's format.
"""
import os

from lib.dataset import annotated as kinds
from lib.dataset.annotated import AnnotatedSet, Faults, Item, Picture, class_names, short_name
from lib.dataset.imdb import inside
from lib.dataset.yolo_files import find_images, label_path, read_description, read_names
from lib.errors import DatasetError
from lib.utils.image import image_size

LARGEST = 2         # a larger number is no fraction of an image, but pixels perhaps
DECIMALS = 9        # of pixels: what lies behind is rounding error, which makes 176 of 175.99999999999997


def read_yolo(image_set, dataset_path, classes=None):
    """Read a set.

    Args:
        image_set: 'train' for the images that `yolo_files.find_images` finds; their labels lie in a folder labels where
            they lie in a folder images. An image without a file of labels has no objects.
        dataset_path: folder.
        classes: names, or a file of them. Where the data have names (data.yaml or classes.txt) these are the ones to
            take, otherwise the names of classes 0, 1, ...; by default all of the data.
    Returns:
        AnnotatedSet.
    Raises:
        FileNotFoundError, DatasetError: there are no images, or no class names.
    """
    description = read_description(dataset_path)
    classes = None if classes is None else class_names(classes, dataset_path)
    names = _numbered_names(dataset_path, description, classes)
    faults = Faults()
    pictures = [_read_picture(image_set, dataset_path, name, names, classes, faults)
                for name in find_images(image_set, dataset_path, description)]
    pictures = _with_labels_of_their_own(pictures, faults)
    set_name = '%s_%s' % (os.path.basename(os.path.abspath(dataset_path)), image_set)
    classes = classes or class_names(names.values(), dataset_path)
    return AnnotatedSet(set_name, 'yolo', classes, pictures, faults, 'line %d')


def _numbered_names(dataset_path, description, classes):
    """Class number -> name, of the data or else of `classes`. DatasetError if neither has any, or a class is not there.
    """
    names = read_names(dataset_path, description) or dict(enumerate(classes or ()))
    if not names:
        raise DatasetError('%s: expected class names in data.yaml or classes.txt, found none. Write them there, or set '
                           'dataset.CLASSES' % os.path.abspath(dataset_path))
    absent = [name for name in classes or () if name not in names.values()]
    if absent:
        raise DatasetError('%s: no class %s; there are %s'
                           % (dataset_path, ', '.join(absent), ', '.join(names.values())))
    return names


def _with_labels_of_their_own(pictures, faults):
    """The pictures without those whose file of labels is an earlier one's, as a.png's is a.jpg's. Notes them, and a set
    that has no labels at all.
    """
    first = {}
    labelled = [picture for picture in pictures if os.path.isfile(picture.source)]
    for picture in labelled:
        owner = first.setdefault(picture.source, picture)
        if owner is not picture:
            faults.note(kinds.DUPLICATE_ID, picture.index, None, '%s: belongs to %s and to %s. Rename one of them and '
                        'give it labels of its own' % (picture.source, owner.name, picture.name))
    if not labelled:
        faults.note(kinds.ANNOTATION, '', None, "%s: there is no such file, nor labels of any other of the %d images; "
                    "expected a line 'class cx cy w h' for each object" % (pictures[0].source, len(pictures)))
    return [picture for picture in pictures if first.get(picture.source, picture) is picture]


def _read_picture(image_set, dataset_path, name, names, classes, faults):
    path = faults.attempt(kinds.NAME, name, None, inside, dataset_path, name)
    if path is None:
        return Picture(name, name, '', '', None, [])
    source = label_path(path)
    size = faults.attempt(kinds.IMAGE, name, None, image_size, path)
    known = size and os.path.isfile(source)
    lines = faults.attempt(kinds.ANNOTATION, name, None, numbered_lines, source) if known else []
    items = [faults.attempt(kinds.ITEM, name, number, read_line, source, number, line, size, names)
             for number, line in lines or []]
    unwanted = set(names.values()) - set(classes or names.values())
    items = [item for item in items if item is not None and item.label not in unwanted]
    return Picture(name, short_name(name, image_set), path if size or os.path.isfile(path) else '', source, size, items)


def numbered_lines(path):
    """The lines of a label file that are not blank, with their numbers counted from 1."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            return [(number, line.strip()) for number, line in enumerate(file, 1) if line.strip()]
    except (OSError, ValueError) as error:
        raise DatasetError("%s: expected lines 'class cx cy w h', cannot be read: %s" % (path, error)) from error


def read_line(path, number, line, size, names):
    """Item of a line `class cx cy w h`, or of a polygon `class x y x y x y ...`, of which the bounding box is taken.

    A class without a name keeps its number as label. Raises a DatasetError if the line is neither.
    """
    fields = line.split()
    try:
        label, values = int(fields[0]), [float(field) for field in fields[1:]]
        fulfilled = all(abs(value) < LARGEST for value in values)       # false for NaN too
    except ValueError:
        fulfilled, values = False, []
    if not fulfilled or not (len(values) == 4 or len(values) >= 6 and len(values) % 2 == 0):
        raise DatasetError("%s: line %d: expected 'class cx cy w h', fractions of the image's width and height, found "
                           '%.200r' % (path, number, line))
    return Item(number, names.get(label, str(label)), _to_box(values, *size))


def _to_box(values, width, height):
    if len(values) == 4:
        x, y, w, h = values
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        left, top, right, bottom = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    corners = left * width, top * height, right * width - 1, bottom * height - 1
    return tuple(round(value, DECIMALS) for value in corners)
