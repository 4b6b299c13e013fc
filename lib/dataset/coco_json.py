"""The json file of COCO's format, checked item by item: `read_json`."""
from __future__ import annotations

import json
import os
from array import array
from typing import Callable, NamedTuple, Sequence

import numpy as np

from lib.dataset.annotations import ITEM, LARGEST, flags_of
from lib.dataset.json_lists import LIST, items_of_lists
from lib.errors import DatasetError
from lib.utils.console import listed

_REFERENCES = 'the image_id of one of the images', 'the id of one of the categories'
_OTHER_JSON = "%s: expected an object with the lists 'images', 'annotations' and 'categories', found %s: this is the " \
    'json of another tool, or no annotations. Export the data as COCO, or as PASCAL VOC'
_NO_LIST = "%s: '%s' must be a list of objects, found %.80s. If another tool wrote it, export the data as COCO"
_KEYS_NAMED = 6         # of such a file, in the message


class CocoFile(NamedTuple):
    """The content of a json file without its faulty parts."""
    images: list[dict]          # with id and file_name, and width and height if they are stated
    categories: dict            # id -> name
    items: np.ndarray           # (N,) of ITEM; their label is the number of the category in `categories`
    owners: np.ndarray          # (N,) int, number of the image of each in `images`
    annotated: bool             # whether the file has annotations, even if it is an empty list


class DoubledId(DatasetError):
    """An image or a category has the id of an earlier one."""


def _refuse(key, number, error):
    raise error


def read_json(path: str, on_fault: Callable = _refuse) -> CocoFile:
    """Read a file of images and annotations, or of images without annotations.

    Args:
        path: json file with the lists `images` (id, file_name; width and height are optional), `categories` (id, name)
            and `annotations` (image_id, category_id, bbox = x, y, width, height; the flags iscrowd, ignore and
            difficult are optional). A file of test images has no annotations, and may have no categories.
        on_fault: called with the name of the list, the number of the entry in it and a DatasetError for each faulty
            entry. If it returns, the entry is left out. By default it raises the error.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not such a json file. By default also: an entry lacks a value, or refers to an image or a
            category that is not there.
    """
    images, categories, columns = _Named('images', 'file_name'), _Named('categories', 'name'), _Columns()
    targets, lists, keys = {'images': images, 'categories': categories, 'annotations': columns}, set(), []
    for key, number, item in items_of_lists(path):
        if key is None:
            raise DatasetError(_OTHER_JSON % (path, 'a list'))
        target = targets.get(key)
        if number < 0 and len(keys) <= _KEYS_NAMED:
            keys.append(key)
        if target is None:
            continue
        if number < 0:
            if item is not LIST:
                raise DatasetError(_NO_LIST % (path, key, json.dumps(item)))
            target.clear()          # of a key that is given twice the last one counts, as always in json
            lists.add(key)
            continue
        if not isinstance(item, dict):
            raise DatasetError(_NO_LIST % (path, key, json.dumps(item)))
        try:
            target.add('%s: %s[%d]' % (path, key, number), number, item)
        except DatasetError as error:
            on_fault(key, number, error)
    if 'images' not in lists:
        raise DatasetError(_OTHER_JSON % (path, 'the keys %s%s' % (listed(keys[:_KEYS_NAMED]), ', ...' * (
            len(keys) > _KEYS_NAMED)) if keys else 'an empty one'))
    images.leave_out_ambiguous()
    categories.leave_out_ambiguous()
    items, owners = columns.resolved(path, images.places, categories.places, on_fault)
    annotated = 'annotations' in lists and not os.path.basename(path).startswith('image_info_')
    names = {item['id']: item['name'].strip() for item in categories.kept}
    return CocoFile(images.kept, names, items, owners, annotated)


def _require(fulfilled, where, expected, item):
    if not fulfilled:
        raise DatasetError('%s: expected %s, found %.200s. Correct it' % (where, expected, json.dumps(item)))


def _identifier(value):
    """An id as an int or a text; None for anything else. 1.0 is 1."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) in (int, str) else None


class _Named:
    """The list of images or of categories. Each entry needs an id of its own and a name."""

    def __init__(self, key, name):
        self.key, self.name = key, name
        self.clear()

    def clear(self):
        """Start anew."""
        self.kept, self.places, self._ambiguous = [], {}, set()

    def add(self, where, _, item):
        """Take an entry of the list. Raises a DatasetError if it is faulty."""
        identifier = _identifier(item.get('id'))
        _require(identifier is not None, where, 'a whole number as id', item)
        _require(not self.kept or type(identifier) is type(self.kept[0]['id']), where,
                 'an id of the kind of the others', item)
        name = item.get(self.name)
        if identifier in self.places:
            if name != self.kept[self.places[identifier]][self.name]:
                self._ambiguous.add(identifier)
            raise DoubledId('%s: expected an id that no other one has, found %.200s. Correct it'
                            % (where, json.dumps(item)))
        _require(isinstance(name, str) and name.strip(), where, 'a ' + self.name, item)
        self.places[identifier] = len(self.kept)
        wanted = ('id', self.name, 'width', 'height')
        self.kept.append({key: item[key] for key in wanted if key in item})
        self.kept[-1]['id'] = identifier

    def leave_out_ambiguous(self):
        """Leave out entries whose id is given to two files or names: an annotation could mean either."""
        if self._ambiguous:
            self.kept = [item for item in self.kept if item['id'] not in self._ambiguous]
            self.places = {item['id']: place for place, item in enumerate(self.kept)}


class _Columns:
    """The list of annotations, in columns: a file may have millions."""

    def __init__(self):
        self.clear()

    def clear(self):
        """Start anew."""
        self.numbers, self.flags, self.boxes, self.areas = array('q'), array('B'), array('d'), array('d')
        self.references = [{}, {}]                      # id -> its number here, of images and of categories
        self.refers = [array('q'), array('q')]

    def add(self, where, number, item):
        """Take an annotation. Raises a DatasetError if it is faulty."""
        box, area = item.get('bbox'), item.get('area')
        _require(isinstance(box, list) and len(box) == 4 and _are_numbers(box), where, 'a bbox of four numbers',
                 item)
        _require(area is None or _are_numbers([area]), where, 'a number as area', item)
        flags = flags_of(item, where) | _flags_of_attributes(item.get('attributes'), where)
        identifiers = _identifier(item.get('image_id')), _identifier(item.get('category_id'))
        for identifier, expected in zip(identifiers, _REFERENCES):
            _require(identifier is not None, where, expected, item)
        for known, column, identifier in zip(self.references, self.refers, identifiers):
            column.append(known.setdefault(identifier, len(known)))
        x, y, width, height = box
        self.boxes.extend((x, y, x + width - 1, y + height - 1))
        self.areas.append(np.nan if area is None else area)
        self.flags.append(flags)
        self.numbers.append(number)

    def resolved(self, path, images, categories, on_fault):
        """The annotations as an array of ITEM, and the number of the image of each.

        Those of unknown images or categories are given to `on_fault` and left out.

        Args:
            images, categories: id -> number.
        """
        items = np.zeros(len(self.numbers), ITEM)
        items['number'], items['flags'], items['area'] = self.numbers, self.flags, self.areas
        items['box'] = np.array(self.boxes).reshape(-1, 4)
        owners, labels = (np.array([places.get(identifier, -1) for identifier in known] + [-1])[np.array(column, int)]
                          for places, known, column in zip((images, categories), self.references, self.refers))
        items['label'] = labels
        good = (owners >= 0) & (labels >= 0)
        if good.all():
            return items, owners
        self._tell_unknown(path, np.flatnonzero(~good), owners, (images, categories), on_fault)
        return items[good], owners[good]

    def _tell_unknown(self, path, rows, owners, places, on_fault):
        """Give `on_fault` an error for each of the annotations in `rows`, whose image, or else category, is unknown."""
        identifiers = [list(known) for known in self.references]
        spelled = [{str(identifier): identifier for identifier in known} for known in places]
        for row in rows:
            which = 0 if owners[row] < 0 else 1         # the image, or the category
            number, value = self.numbers[row], identifiers[which][self.refers[which][row]]
            remedy = 'There is %.100r: write ids in one way, as numbers or as texts' % spelled[which][str(value)] \
                if str(value) in spelled[which] else 'Correct it'
            on_fault('annotations', number, DatasetError('%s: annotations[%d]: expected %s, found %.100r. %s' % (
                path, number, _REFERENCES[which], value, remedy)))


def _flags_of_attributes(attributes, where):
    """Flags among the attributes of an annotation, as CVAT writes them: true. Other values may mean anything."""
    return flags_of({key: value for key, value in attributes.items() if str(value).lower() == 'true'}, where) \
        if isinstance(attributes, dict) else 0


def _are_numbers(values):
    for value in values:
        if type(value) not in (int, float) or not abs(value) < LARGEST:     # NaN is not less, infinity neither
            return False
    return True


def to_bbox(box: Sequence[float]) -> list[float]:
    """A box as COCO states it: x, y, width, height."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
