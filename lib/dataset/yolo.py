"""Reads and writes data sets of YOLO's text files: one for each image, with a line `class cx cy w h` for each object.

The centre and the size of a box are fractions of the image's width and height. With x = (cx - w / 2) * width the box
covers the pixels from x on: x1 = x, x2 = x + w * width - 1, as in COCO's format.
"""
from __future__ import annotations

import json
import os
import re
from collections import Counter
from typing import Iterable, Sequence

from lib.dataset import faults as kinds
from lib.dataset.annotations import LARGEST, AnnotatedSet, Items, Labels, Picture, no_items, read_number
from lib.dataset.faults import Faults, note_other_classes
from lib.dataset.files import (
    HIDDEN,
    SAME_SETS,
    belongs,
    folders_below,
    inside,
    meant,
    numbered_lines,
    set_name,
    short_name,
    write_lines,
)
from lib.dataset.names import check_name, check_stems, class_names
from lib.dataset.yolo_files import DESCRIPTIONS, NAME_LISTS, Description, find_images, label_paths
from lib.errors import DatasetError
from lib.utils.console import counted, listed
from lib.utils.image_file import IMAGE_EXTENSIONS, image_size

MOST = 2            # a larger number is not a fraction of an image; perhaps it states pixels
CORNERS = 8         # numbers of a turned box, which is no pose
FEW_LINES = 3       # fewer say nothing of how a set is written
DECIMALS = 9        # of pixels: further ones are rounding error; 175.99999999999997 is 176
_LOST_NAMES = re.compile(HIDDEN)     # names of images that a folder does not give back
LABELS = "lines 'class cx cy w h'"      # what a file of labels holds
EXPECTED = "'class cx cy w h', fractions of the image's width and height"


def read_yolo(image_set: str, dataset_path: str, classes: Sequence[str] | str | None = None) -> AnnotatedSet:
    """Read an image set. An image without a file of labels has no objects.

    Args:
        image_set: 'train' for the images that `find_images` finds; for their labels see `label_paths`.
        dataset_path: folder of the data set.
        classes: class names, or the path of a text file with a name per line. If the data have names (data.yaml or
            classes.txt), these are the classes to use; otherwise they are the names of classes 0, 1, ... None takes all
            classes of the data.
    Raises:
        FileNotFoundError: there are no such images.
        DatasetError: there are no class names, or data.yaml cannot be read or names folders that are not there.
    """
    description = Description(dataset_path)
    wanted = None if classes is None else class_names(classes, dataset_path)
    names = _numbered_names(description, image_set, wanted)
    classes = wanted or class_names(list(names.values()), description.path or dataset_path)
    known = set(classes)
    reader = _Reader(dataset_path, names, description.keypoint_values(),
                     [name for name in names.values() if name not in known])
    for path in description.other_names(image_set):
        reader.faults.note(kinds.BESIDE, '', None, '%s: its class names are not those that count: %s'
                           % (path, listed(names.values())))
    images = find_images(image_set, dataset_path, description, reader.faults.noter(kinds.LINK))
    found = [reader.picture(image_set, name, where) for name, where in images]
    pictures = [picture for picture in found if picture is not None]
    if reader.labelled == 0 and pictures and pictures[0].source:
        reader.faults.note(kinds.ANNOTATION, '', None, '%s: there is no such file, nor labels of any other of the %d '
                           "images; expected a line 'class cx cy w h' for each object%s"
                           % (pictures[0].source, len(pictures), meant(
                               folders_below(dataset_path), os.path.basename(pictures[0].source), ('.txt',))))
    reader.note_unlabelled(pictures)
    reader.note_poses()
    note_other_classes(reader.faults, description.path or dataset_path, reader.left_out)
    table, places = reader.labels.resolve(classes)
    pictures = [picture._replace(items=items)
                for picture, items in zip(pictures, reader.items.of_pictures(len(pictures), places))]
    return AnnotatedSet(set_name(dataset_path, image_set), image_set, 'yolo', table, len(classes), pictures,
                        reader.faults, 'line %d')


def _numbered_names(description, image_set, wanted):
    """Class number -> name, of the data, or else of `wanted`.

    Raises:
        DatasetError: neither has names, or the data lack a class that is wanted.
    """
    names = description.names(image_set) or dict(enumerate(wanted or ()))
    if not names:
        raise DatasetError('%s: expected class names in data.yaml or classes.txt, found none. Write them there, or set '
                           'dataset.CLASSES%s' % (os.path.abspath(description.folder), description.elsewhere()))
    known = set(names.values())
    absent = [name for name in wanted or () if name not in known]
    if absent:
        raise DatasetError('%s: no class %s; there are %s. Add it to the names there, or leave it out of '
                           'dataset.CLASSES' % (description.folder, listed(absent), listed(names.values())))
    return names


class _Reader:
    """Reads the images of a set one after the other.

    Args:
        dataset_path: folder of the data set.
        names: class number -> name.
        keypoint_values: how many numbers of each line are key points.
        unwanted: names of classes whose objects are left out.
    """

    def __init__(self, dataset_path, names, keypoint_values, unwanted):
        self.dataset_path, self.names, self.keypoint_values = dataset_path, names, keypoint_values
        self.left_out = dict.fromkeys(unwanted, 0)      # class -> how many objects of it are left out
        self.faults, self.labels, self.items = Faults(), Labels(), Items()
        self.count = self.labelled = 0
        self.lengths = Counter()    # how many numbers behind the class -> in how many lines
        self._owners = {}           # file of labels -> name of its image
        self._seen = set()

    def picture(self, image_set, name, where):
        """The Picture of an image, whose items are added to `items`.

        None if it is listed a second time or its labels belong to another image. `where` is of `find_images`.
        """
        if name in self._seen:
            if where:
                self.faults.note(kinds.LISTED_TWICE, name, None, '%s: lists %s again; it is taken once' % (where, name))
            return None
        self._seen.add(name)
        path = self.faults.attempt(kinds.NAME, name, None, self._path_of, name, where)
        if path is None:
            self.count += 1
            return Picture(name, name, '', '', None, no_items())
        source, exists = self._labels_of(name)
        owner = self._owners.setdefault(source, name) if exists else name
        if owner != name:
            self.faults.note(kinds.DUPLICATE_ID, name, None, '%s: belongs to %s and to %s. Rename one of them and '
                             'give it labels of its own' % (source, short_name(owner, image_set),
                                                            short_name(name, image_set)))
            return None
        self.labelled += exists
        size = self.faults.attempt(kinds.IMAGE, name, None, self._size_of, path, name, where)
        if size and exists:
            self._read_lines(name, source, size)
        self.count += 1
        return Picture(name, short_name(name, image_set), path if size or os.path.isfile(path) else '', source, size,
                       no_items())

    def _path_of(self, name, where):
        try:
            return inside(self.dataset_path, name)
        except DatasetError as error:
            raise DatasetError('%s: %s%s' % (where, error, self._meant(name)) if where else str(error)) from None

    def _size_of(self, path, name, where):
        try:
            return image_size(path)
        except FileNotFoundError as error:
            raise FileNotFoundError('%s, and %s names it%s' % (error, where, self._meant(name)
                                                               or '. Add it, or take it out of that file')
                                    if where else str(error)) from None

    def _meant(self, name):
        return meant(folders_below(self.dataset_path), name)

    def note_unlabelled(self, pictures):
        """Add faults for images without labels, where others have some, and for labels without an image."""
        if self.labelled:
            self._note_bare_folders(pictures)
            self._note_xml(pictures)
        self._note_stray_labels()

    def note_poses(self):
        """Add a fault if the lines may be poses that were read as polygons, which differ in their number of corners."""
        length, lines = max(self.lengths.items(), default=(0, 0))
        if len(self.lengths) == 1 and lines >= FEW_LINES and length not in (4, CORNERS) and not self.keypoint_values:
            self.faults.note(kinds.HINT, '', None, '%s: each of its %d objects has %d numbers, read as a polygon. If '
                             'they are a box and key points, data.yaml must state kpt_shape'
                             % (self.dataset_path, lines, length))

    def _note_bare_folders(self, pictures):
        """Add faults for the folders none of whose images has labels."""
        folders = {}
        for picture in filter(lambda picture: picture.path, pictures):
            folders.setdefault(os.path.dirname(picture.index), []).append(picture)
        for folder, inside_it in folders.items():
            if not any(picture.source in self._owners for picture in inside_it):
                self.faults.note(kinds.UNLABELLED, '', None, '%s: none of its %s has labels, such as %s'
                                 % (os.path.join(self.dataset_path, folder), counted(len(inside_it), 'image'),
                                    inside_it[0].source))

    def _note_xml(self, pictures):
        """Add a fault if images have an XML file in place of labels: LabelImg writes both formats."""
        others = [_xml_of(picture) for picture in pictures if picture.path and picture.source not in self._owners]
        others = list(filter(None, others))
        if others:
            self.faults.note(kinds.UNLABELLED, '', None, '%s: %s without labels, but with an XML file, which does not '
                             'count, such as %s' % (self.dataset_path, counted(len(others), 'image'), others[0]))

    def _note_stray_labels(self):
        """Add faults for the files of labels that belong to no image."""
        for folder, places in self._folders_of_labels().items():
            beside = [name for name in stray_labels(folder, places)
                      if os.path.join(folder, name) not in self._owners]
            if beside:
                self.faults.note(kinds.BESIDE, '', None, '%s: %s no image, such as %s'
                                 % (folder, counted(len(beside), 'file') + (' belongs to' if len(beside) == 1 else
                                                                            ' belong to'), beside[0]))

    def _folders_of_labels(self):
        """Folder of labels -> folders of the images that they belong to."""
        folders = {}
        for source, name in self._owners.items():
            place = os.path.dirname(os.path.join(self.dataset_path, name))
            folders.setdefault(os.path.dirname(source), set()).add(place)
        return folders

    def _labels_of(self, name):
        """The path of the labels of an image, and whether that file exists."""
        paths = [os.path.join(os.path.abspath(self.dataset_path), path) for path in label_paths(name)]
        found = [path for path in paths if os.path.lexists(path)]
        if len(found) > 1:
            self.faults.note(kinds.CANDIDATES, name, None, '%s: its labels could be %s or %s; the first are taken'
                             % (name, found[0], found[1]))
        return (found or paths)[0], bool(found)

    def _read_lines(self, name, source, size):
        for number, line in self.faults.attempt(kinds.ANNOTATION, name, None, numbered_lines, source, LABELS) or ():
            item = self.faults.attempt(kinds.ITEM_FAULT, name, number, read_line, source, number, line, size,
                                       self.keypoint_values)
            if item is not None:
                _, *numbers = line.split()
                closed = numbers[:2] == numbers[-2:]        # a polygon whose first corner is the last one too
                self.lengths[CORNERS if closed else len(numbers)] += 1
                label = self.names.get(item[0], 'number %d' % item[0])     # not '3': a class may have that name
                if label in self.left_out:
                    self.left_out[label] += 1
                else:
                    self.items.add(self.count, number, self.labels.number(label), item[1])


def _xml_of(picture):
    """The path of an image's XML file, beside it or in the folder of its labels; '' if there is none."""
    places = (os.path.splitext(path)[0] + '.xml' for path in (picture.path, picture.source))
    return next(filter(os.path.isfile, places), '')


def stray_labels(folder: str, places: Iterable[str]) -> list[str]:
    """The names of the files in a folder of labels that belong to no image: a.jpg.txt, a.TXT, b.txt without b.jpg.

    Args:
        folder: of labels.
        places: folders of the images.
    """
    stems = {os.path.splitext(name)[0] for place in filter(os.path.isdir, places) for name in os.listdir(place)
             if name.lower().endswith(IMAGE_EXTENSIONS)}
    other = NAME_LISTS + tuple(name + '.txt' for names in SAME_SETS for name in names)
    return sorted(name for name in os.listdir(folder) if name.lower().endswith('.txt') and belongs(name)
                  and name not in other and not (name.endswith('.txt') and name[:-4] in stems))


def read_line(path: str, number: int, line: str, size: tuple[int, int],
              keypoint_values: int = 0) -> tuple[int, tuple[float, ...]]:
    """Read a line `class cx cy w h`, or the bounding box of a polygon `class x y x y x y ...`.

    Args:
        path, number: of the file and of the line in it, for errors.
        line: its text.
        size: width and height of the image.
        keypoint_values: how many numbers may follow the box; they are key points.
    Returns:
        class number, and box in pixels, counted from 0.
    Raises:
        DatasetError: the line is neither.
    """
    try:
        label, *values = map(read_number, line.split())
        fulfilled = all(abs(value) < MOST for value in values)       # false for NaN too
    except ValueError:
        fulfilled, label, values = False, 0, []
    if keypoint_values and len(values) == 4 + keypoint_values:
        # key points may lie anywhere, and have a third number
        fulfilled, values = all(abs(value) < MOST for value in values[:4]), values[:4]
    if not fulfilled or not (len(values) == 4 or not keypoint_values and len(values) >= 6 and len(values) % 2 == 0):
        raise DatasetError('%s: line %d: expected %s%s, found %.200r. %s'
                           % (path, number, EXPECTED, ' and %d numbers of key points' % keypoint_values
                              if keypoint_values else '', line, _remedy(values, keypoint_values)))
    if not (abs(label) < LARGEST and float(label).is_integer()):
        raise DatasetError('%s: line %d: expected a whole number as class (%s), found %.200r. Correct it'
                           % (path, number, EXPECTED, line))
    return int(label), _to_box(values, *size)


def _remedy(values, keypoint_values):
    """What to do about a line that is no box, by the numbers behind its class; [] if these are no numbers."""
    if len(values) >= 4 and sorted(values)[len(values) // 2] >= MOST:     # half of them; of key points a third
        return 'Divide pixels by the width and the height of the image'
    if len(values) == 5:
        return 'Take a score behind the box away; of a turned box give the corners in place of the angle'
    return 'Where these are key points, data.yaml must state kpt_shape' if len(values) > 5 and not keypoint_values \
        else 'Correct it'


def _to_box(values, width, height):
    if len(values) == 4:
        x, y, w, h = values
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        left, top, right, bottom = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    corners = left * width, top * height, right * width - 1, bottom * height - 1
    return tuple(round(value, DECIMALS) for value in corners)


def write_yolo(sets: dict[str, AnnotatedSet], out: str) -> tuple[list[str], dict[str, str]]:
    """Write labels/<set>/*.txt and data.yaml. Arguments, results and errors as of `write_voc`."""
    flagged = 0
    for image_set, data in sets.items():
        check_stems(data.pictures, 'labels/' + image_set)
        flagged += int((data.table()[0]['flags'] > 0).sum())
        for picture in data.pictures:
            check_name(picture, _LOST_NAMES, "YOLO's folders")
            path = os.path.join(out, 'labels', image_set, os.path.splitext(picture.name)[0] + '.txt')
            write_lines(path, [_line_of(data, picture, item) for item in picture.items])
    places = ['%s: %s' % (json.dumps(image_set), json.dumps('images/' + image_set)) for image_set in sets]
    names = names_lines(dict(enumerate(next(iter(sets.values())).classes)))
    write_lines(os.path.join(out, DESCRIPTIONS[0]), places + names)
    lost = '%s difficult, ignored or %s: like any other now, YOLO cannot say it' % (
        counted(flagged, 'object') + (' was' if flagged == 1 else ' were'), 'a crowd' if flagged == 1 else 'crowds')
    return [lost] * bool(flagged), {image_set: os.path.join(out, 'images', image_set) for image_set in sets}


def _line_of(data, picture, item):
    """The line of an item. Raises a DatasetError if it would not be read back."""
    line = label_line(item['label'], item['box'].tolist(), *picture.size)
    if not all(abs(float(value)) < MOST for value in line.split()[1:]):
        raise DatasetError("%s: expected a box of less than %d times the image's sides, since larger fractions are not "
                           'read back from YOLO. Correct it, or leave such boxes out: rfcn check --fix OUT does'
                           % (data.box_text(picture, item), MOST))
    return line


def names_lines(names: dict[int, str]) -> list[str]:
    """The lines of data.yaml with the name of each class number. Names are written as JSON, which YAML reads too."""
    return ['names:'] + ['  %d: %s' % (number, json.dumps(name, ensure_ascii=False)) for number, name in names.items()]


def label_line(number: int, box: Sequence[float], width: int, height: int) -> str:
    """The line of a box: class number, centre and size as fractions of the image's width and height."""
    x1, y1, x2, y2 = box
    values = (x1 + x2 + 1) / 2 / width, (y1 + y2 + 1) / 2 / height, (x2 - x1 + 1) / width, (y2 - y1 + 1) / height
    return ' '.join([str(number)] + [repr(float(value)) for value in values])
