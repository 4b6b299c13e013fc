"""The annotations of an image set as its files state them, and THE item: an annotated object.

The readers of all formats return an `AnnotatedSet`. They neither clip nor drop anything; what is wrong is in its list
of faults. Training, the checker with its cleaned copies, the converters and the evaluation work on it, and apply the
rule in `box_rule.py` to its boxes.
"""
from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any, NamedTuple, Sequence

import numpy as np

from lib.dataset.faults import LABEL, SAME_FILE, Fault, Faults, note_other_classes
from lib.errors import DatasetError
from lib.utils.console import listed, shown

# THE item.
ITEM = np.dtype([
    ('number', np.int64),       # number of the object, annotation or line in the picture's source
    ('label', np.int32),        # index into AnnotatedSet.labels, whose first ones are the classes
    ('box', np.float64, 4),     # x1, y1, x2, y2 as everywhere: pixels counted from 0, both corners inside
    ('flags', np.uint8),        # DIFFICULT | CROWD | IGNORED
    ('area', np.float64),       # of its outline in pixels, if the format states it (COCO); else NaN
])
DIFFICULT, CROWD, IGNORED = 1, 2, 4     # a crowd is one box around several objects
FLAG_NAMES = {CROWD: 'crowd', DIFFICULT: 'difficult', IGNORED: 'ignored'}

# What the keys, columns and elements of flags are called, as of `plain_key`.
FLAG_KEYS = {DIFFICULT: ('difficult', 'isdifficult'), CROWD: ('crowd', 'iscrowd', 'isgroupof'),
             IGNORED: ('ignore', 'ignored', 'isignored')}

BACKGROUND = '__background__'     # the name of what is no object; the first of a network's classes
LONGEST_SIDE = 10 ** 6  # of an image in pixels; a larger stated size counts as not stated
LARGEST = 1e9           # of a coordinate or an area; no image reaches it
_CHUNK = 2 ** 16        # items that are turned into an array at once
_CLASSES_NAMED = 30     # in a message about an unknown label


class Picture(NamedTuple):
    """An annotated image."""
    index: str                                  # its name within the set
    name: str                                   # path of the image within the folder of images, with '/'
    path: str                                   # of the image file; '' if there is none
    source: str                                 # path of the annotation file
    size: tuple[int, int] | None                # width, height as annotated; None if the source does not state it
    items: np.ndarray                           # (n,) of ITEM


class AnnotatedSet(NamedTuple):
    """A set of images with their objects."""
    name: str
    image_set: str
    format: str                                 # a key of lib.dataset.DATASETS
    labels: tuple[str, ...]                     # names of the items' labels: the classes first
    num_classes: int                            # without the background
    pictures: list[Picture]
    faults: list[Fault]
    place: str                                  # how messages name an item: 'object %d', 'annotations[%d]', 'line %d'
    annotated: bool = True                      # false for test images whose objects are not known
    official: bool = False                      # data of VOC or COCO themselves, evaluated as by their own kits
    ids: Any = None                             # of a COCO json: CocoIds (coco.py)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, without the background."""
        return self.labels[:self.num_classes]

    def label(self, item: np.void) -> str:
        """The name of an item's label."""
        return self.labels[item['label']]

    def where(self, picture: Picture, item: np.void) -> str:
        """File and place of an item, for messages."""
        return '%s: %s (%s)' % (picture.source or picture.path, self.place % item['number'], self.label(item))

    def box_text(self, picture: Picture, item: np.void, size: tuple[int, int] | None = None) -> str:
        """File, item, box and image size, for messages. `size` replaces the annotated size."""
        return '%s, box (%s) in an image of %d x %d pixels' % (
            (self.where(picture, item), ', '.join('%g' % value for value in item['box'])) + (size or picture.size))

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """All items, (N,) of ITEM, and the index in `pictures` of the picture of each, (N,) int."""
        counts = [len(picture.items) for picture in self.pictures]
        items = np.empty(sum(counts), ITEM)     # given to NumPy, which would look for a common type picture by picture
        if counts:
            np.concatenate([picture.items for picture in self.pictures], out=items)
        return items, np.repeat(np.arange(len(counts)), counts)

    def with_table(self, items: np.ndarray) -> AnnotatedSet:
        """The same set, whose pictures' items are parts of `items`, a `table` of it: held in memory once, not twice."""
        ends = np.cumsum([0] + [len(picture.items) for picture in self.pictures])
        return self._replace(pictures=[picture._replace(items=items[start:end])
                                       for picture, start, end in zip(self.pictures, ends, ends[1:])])


class Labels:
    """Numbers the labels of a set while it is read, in the order of their first occurrence.

    `resolve` turns these numbers into those of the set, once its classes are known.
    """

    def __init__(self):
        self.names = []
        self._numbers = {}

    def number(self, name: str) -> int:
        """The number of a label, a new one for a new label."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def resolve(self, classes: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
        """The labels of the set, its classes first, and the number in them of each label, (n,) int32.

        A label means the class of the same name, or else one that differs only in upper and lower case.
        """
        # Departure: the release looks for names in lower case alone.
        known = {name.lower(): number for number, name in enumerate(classes)}
        known.update((name, number) for number, name in enumerate(classes))
        labels, places = list(classes), []
        for name in self.names:
            place = known.get(name, known.get(name.lower()))
            if place is None:
                place = len(labels)
                labels.append(name)
            places.append(place)
        return tuple(labels), np.array(places, dtype=np.int32)


class Items:
    """Collects the items of a set while it is read, in arrays: a set may have millions."""

    def __init__(self):
        self._rows, self._owners = [], []   # arrays of finished chunks
        self._chunk = []                    # (number of the picture, row) of those that follow

    def add(self, picture: int, number: int, label: int, box: Sequence[float], flags: int = 0) -> None:
        """Add an item of the picture of number `picture`, whose area is not stated."""
        self._chunk.append((picture, (number, label, box, flags, np.nan)))
        if len(self._chunk) == _CHUNK:
            self._close()

    def _close(self):
        owners, rows = zip(*self._chunk) if self._chunk else ((), ())
        self._owners.append(np.array(owners, dtype=np.int64))
        self._rows.append(np.array(list(rows), dtype=ITEM))
        self._chunk = []

    def of_pictures(self, count: int, places: np.ndarray | None = None) -> list[np.ndarray]:
        """The items of each of `count` pictures: (n,) of ITEM, in the order in which they were added.

        Args:
            count: number of pictures.
            places: the second result of `Labels.resolve`; None leaves the labels as they are.
        """
        self._close()
        owners, rows = np.concatenate(self._owners), np.concatenate(self._rows)
        if places is not None and len(rows):
            rows['label'] = places[rows['label']]
        return by_picture(rows, owners, count)


def by_picture(rows: np.ndarray, owners: np.ndarray, count: int) -> list[np.ndarray]:
    """The rows of each of `count` pictures, in their order; `owners` (N,) is the number of each row's picture."""
    order = np.argsort(owners, kind='stable')
    rows, ends = rows[order], np.searchsorted(owners[order], np.arange(count + 1))
    return [rows[start:end] for start, end in zip(ends, ends[1:])]


def no_items() -> np.ndarray:
    """An array of no items."""
    return np.zeros(0, ITEM)


_FLAGS = {None: False, 0: False, 1: True,   # and so the same as floats and bools
          **dict.fromkeys(('', '0', '0.0', 'false', 'no', 'null', 'none'), False),
          **dict.fromkeys(('1', '1.0', 'true', 'yes'), True)}


def read_flag(value: object, where: str, name: str) -> bool:
    """A flag as a bool. Read are 0, 1, true, false, yes, no, null and nothing, as values or as text, in any
    case.

    Raises:
        DatasetError: the value is anything else; the message begins with `where` and the flag's `name`.
    """
    known = value.strip().lower() if isinstance(value, str) else value
    if isinstance(value, (list, dict)) or known not in _FLAGS:
        raise DatasetError('%s: %s must be 0 or 1 (or true, false, null), not %.100r. Correct it'
                           % (where, name, value))
    return _FLAGS[known]


def read_number(text: str) -> float:
    """The number that a text states, as other programs read it too.

    Raises:
        ValueError: the text is not a number. `float` alone would also read 1_0 as 10, and digits of other scripts.
    """
    if '_' in text or not text.isascii():
        raise ValueError('expected a number, found %.100r' % text)
    return float(text)


def flags_of(annotation: dict[str, object], where: str) -> int:
    """The field `flags` of an item: from the keys of a json object, the columns of a line or the elements of an XML.

    Raises:
        DatasetError: as `read_flag`.
    """
    bits = 0
    for key, flag in _flag_keys(tuple(annotation)):
        if read_flag(annotation[key], where, key):
            bits |= flag
    return bits


@functools.lru_cache(maxsize=16)                    # the annotations of a file have the same keys
def _flag_keys(keys):
    return [(key, flag) for key in keys for flag, names in FLAG_KEYS.items() if plain_key(key) in names]


def plain_key(key: str) -> str:
    """The name of a key or a column in lower case, without blanks, underscores and hyphens."""
    return re.sub('[ _-]', '', key.lower())


def annotated_size(width: object, height: object) -> tuple[int, int] | None:
    """The annotated width and height of an image, numbers or texts, as integers; None if no image has that size."""
    try:
        return _size(str(width), str(height))
    except ValueError:
        return None


@functools.lru_cache(maxsize=4096)                  # a set has few different sizes, each of which is held once
def _size(*texts):
    sides = [read_number(text) for text in texts]
    return (int(sides[0]), int(sides[1])) if all(1 <= side <= LONGEST_SIDE for side in sides) else None


def check_same_classes(sets: dict[str, AnnotatedSet], remedy: str) -> None:
    """Raise a DatasetError, which ends with a remedy, if sets (name -> set) differ in their classes or their order."""
    if len({data.classes for data in sets.values()}) > 1:
        classes = '; '.join('%s: %s' % (name, listed(data.classes)) for name, data in sets.items())
        raise DatasetError('the sets differ in their classes: %s. %s' % (classes, remedy))


def same_files(data: AnnotatedSet) -> Faults:
    """Faults for the pictures whose image file is also that of an earlier picture."""
    faults, first = Faults(), {}
    for picture in data.pictures:
        other = first.setdefault(picture.path, picture) if picture.path else picture
        if other is not picture:
            faults.note(SAME_FILE, picture.index, None, '%s: is the image of %s (%s) and of %s (%s), so that objects '
                        'of one are background to the other. Correct the name of the image, or make one annotation of '
                        'both'
                        % (picture.path, other.index, other.source, picture.index, picture.source))
    return faults


def unknown_labels(data: AnnotatedSet) -> Faults:
    """Faults for the items whose label is not a class of the set."""
    faults, known = Faults(), listed(data.classes[:_CLASSES_NAMED])
    if data.num_classes > _CLASSES_NAMED:       # there may be a message for each of a million objects
        known += ' ... (%d in all)' % data.num_classes
    for picture in data.pictures if len(data.labels) > data.num_classes else ():
        for item in picture.items[picture.items['label'] >= data.num_classes]:
            faults.note(LABEL, picture.index, int(item['number']),
                        "%s: unknown class '%s'; known are %s. Correct the label, "
                        '%sor leave such objects out with dataset.on_unknown_class: ignore '
                        '(rfcn convert: --on_unknown_class ignore)'
                        % (data.where(picture, item), shown(data.label(item)), known,
                           '' if data.label(item) == BACKGROUND else 'add it to the classes, '))
    return faults


def without_unknown(data: AnnotatedSet) -> AnnotatedSet:
    """The set without the items that `unknown_labels` names; a fault says how many they were of which class."""
    left_out = Counter(data.label(item) for picture in data.pictures
                       for item in picture.items[picture.items['label'] >= data.num_classes])
    faults = Faults(data.faults)
    note_other_classes(faults, data.name, left_out)
    return data._replace(faults=faults, pictures=[
        picture._replace(items=picture.items[picture.items['label'] < data.num_classes]) for picture in data.pictures])
