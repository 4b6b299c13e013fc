"""Annotations as they stand in their files, whatever the format: nothing clipped, nothing dropped, faults in a list.

The checker and the converters work on them, and so do the data sets of the formats that have no evaluation of their
own.
"""
import os
from typing import Callable, List, NamedTuple, Optional, Tuple

from lib.dataset.imdb import read_classes, with_background
from lib.errors import DatasetError

# What may be wrong with a data set. Those of an item (a box) or a picture, which a cleaned copy leaves out or mends:
ANNOTATION = 'unreadable annotation'
ITEM = 'unreadable object'
NAME = 'name outside the folder'
DUPLICATE_ID = 'duplicate id'
LISTED_TWICE = 'listed twice'
MISSING = 'missing image'
IMAGE = 'unreadable image'
SIZE = 'size differs'
LABEL = 'unknown label'
INVERTED = 'inverted box'
OUTSIDE = 'box outside the image'
CLIPPED = 'box sticks out'
TINY = 'tiny box'
DOUBLED = 'same box twice'
# Those of the set as a whole:
SAME_IMAGE = 'same image twice'
OVERLAP = 'image in both sets'
ABSENT = 'class without objects'
ALIKE = 'class names alike'


class Item(NamedTuple):
    """An annotated object."""
    number: int                                 # its place in the picture's source: of an object, annotation or line
    label: str                                  # a name of the set's classes, or what stands there if it is none
    box: Tuple[float, float, float, float]      # x1, y1, x2, y2 as everywhere: counted from 0, both corners inside
    difficult: bool = False
    crowd: bool = False                         # a group as one box (COCO)


class Picture(NamedTuple):
    """An annotated image."""
    index: str                                  # its name within the set
    name: str                                   # path of the image within the folder of images, with '/'
    path: str                                   # of the image; '' if it is not there
    source: str                                 # path of the annotation file
    size: Optional[Tuple[int, int]]             # width, height as annotated; None where the source does not tell
    items: List[Item]


class Fault(NamedTuple):
    """Something wrong."""
    kind: str                                   # one of the above
    index: str                                  # of the picture; '' if it concerns none
    number: Optional[int]                       # of the item; None if it concerns none
    text: str                                   # file, place, what was expected and found


class AnnotatedSet(NamedTuple):
    """A set of images with their objects."""
    name: str
    format: str                                 # a key of lib.dataset.DATASETS
    classes: Tuple[str, ...]                    # without the background
    pictures: List[Picture]
    faults: List[Fault]
    place: str                                  # what Item.number counts: 'object %d', 'annotations[%d]', 'line %d'

    def where(self, picture, item):
        """File and place of an item, for messages."""
        return '%s: %s (%s)' % (picture.source or picture.path, self.place % item.number, item.label)


class Faults(list):
    """A list of Fault that a reader fills while it goes on."""

    def note(self, kind, index, number, text):
        """Add one."""
        self.append(Fault(kind, index, number, str(text)))

    def attempt(self, kind, index, number, read: Callable, *args):
        """What `read` returns, or None with a fault noted if it raises one of our errors."""
        try:
            return read(*args)
        except (DatasetError, FileNotFoundError) as error:
            self.note(MISSING if isinstance(error, FileNotFoundError) and kind == IMAGE else kind, index, number, error)
            return None


def label_finder(classes):
    """A function label -> the class that it means: the same name, or else the same but for upper case; or the label."""
    found = {name.lower(): name for name in classes}
    found.update((name, name) for name in classes)
    return lambda label: found.get(label, found.get(label.lower(), label))


def unknown_labels(annotated):
    """Faults for the items whose label is no class of the set."""
    known, faults = set(annotated.classes), Faults()
    for picture in annotated.pictures:
        for item in picture.items:
            if item.label not in known:
                faults.note(LABEL, picture.index, item.number,
                            "%s: unknown class '%s'; known are %s. Correct the label, "
                            'add it to the classes, or leave such objects out with dataset.on_unknown_class: ignore'
                            % (annotated.where(picture, item), item.label, ', '.join(annotated.classes)))
    return faults


def existing(path):
    """The path if there is such a file, else ''."""
    return path if os.path.isfile(path) else ''


def class_names(classes, source):
    """The names of a list, or of a file of them, without the background; raises as `with_background` and
    `read_classes`.
    """
    return with_background(read_classes(classes), source)[1:]


def short_name(name, image_set):
    """'a.jpg' for images/train/a.jpg and train/images/a.jpg: the path within the folder of the set's images."""
    parts = [part for part in name.split('/') if part != '.']
    if 'images' in parts[:-1]:
        parts = parts[len(parts) - 1 - parts[::-1].index('images') + 1:]
    return '/'.join(parts[1:] if len(parts) > 1 and parts[0] == image_set else parts)
