"""The json file of COCO's format, checked item by item: `read_json`. It is read in chunks by `items_of_lists`.

The standard library's `json.load` holds the text and all that is in it, some 20 times what is needed of COCO.
"""
from __future__ import annotations

import contextlib
import json
import os
import re
from array import array
from typing import Callable, Iterator, NamedTuple, Sequence

import numpy as np

from lib.dataset.annotations import ITEM, LARGEST, flag_bits, read_flag
from lib.dataset.files import check_regular, decoded, read_file
from lib.errors import DatasetError
from lib.utils.console import progress

CHUNK = 2 ** 20         # characters that are read at once
LARGE = 64              # chunks of a file from which on a bar is shown
LONGEST_END = 3         # characters by which a number may go on after what is one already: 1 and e+5
LIST = object()         # stands for a list whose items follow
_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r'[ \t\r\n]*')
_REFERENCES = 'the image_id of one of the images', 'the id of one of the categories'


class CocoFile(NamedTuple):
    """The content of a json file that is as it should be."""
    images: list[dict]          # id, file_name, width, height
    categories: dict            # id -> name
    items: np.ndarray           # (N,) of ITEM; their label is the number of the category
    owners: np.ndarray          # (N,) int, number of the image
    annotated: bool             # whether the file tells objects at all


def _refuse(key, number, error):
    raise error


def read_json(path: str, on_fault: Callable = _refuse) -> CocoFile:
    """Read a file of instances, or of images alone.

    Args:
        path: json file with the lists `images` (id, file_name; width and height may be absent), `categories` (id, name)
            and `annotations` (image_id, category_id, bbox = x, y, width, height; the flags iscrowd, ignore and
            difficult are 0 where absent). A file of test images has no annotations, and may have no categories.
        on_fault: called with the list's name, the item's number in it and a DatasetError for each item that is not as
            it should be; if it returns, the item is left out. By default it raises the error.
    Returns:
        CocoFile.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not json, or an item lacks what it should have, or refers to what is not there.
    """
    images, categories, columns = _Named('images', 'file_name'), _Named('categories', 'name'), _Columns()
    targets, lists = {'images': images, 'categories': categories, 'annotations': columns}, set()
    for key, number, item in items_of_lists(path):
        target = targets.get(key)
        if target is None:
            continue
        if number < 0:
            if item is not LIST:
                raise DatasetError("%s: '%s' must be a list of objects" % (path, key))
            target.clear()          # a key that stands there twice: the last one counts, as everywhere in json
            lists.add(key)
            continue
        if not isinstance(item, dict):
            raise DatasetError("%s: '%s' must be a list of objects" % (path, key))
        try:
            target.add('%s: %s[%d]' % (path, key, number), number, item)
        except DatasetError as error:
            on_fault(key, number, error)
    if 'images' not in lists:
        raise DatasetError("%s: expected an object with the lists 'images', 'annotations' and 'categories'" % path)
    images.leave_out_ambiguous()
    categories.leave_out_ambiguous()
    items, owners = columns.resolved(path, images.places, categories.places, on_fault)
    annotated = 'annotations' in lists and not os.path.basename(path).startswith('image_info_')
    names = {item['id']: item['name'].strip() for item in categories.kept}
    return CocoFile(images.kept, names, items, owners, annotated)


def _require(fulfilled, where, expected, item):
    if not fulfilled:
        raise DatasetError('%s: expected %s, found %.200s' % (where, expected, json.dumps(item)))


def _identifier(value):
    """An id as it is compared: a whole number or a text; None for anything else."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) in (int, str) else None


class _Named:
    """Images or categories, which have a name and an id of their own."""

    def __init__(self, key, name):
        self.key, self.name = key, name
        self.clear()

    def clear(self):
        """Forget all."""
        self.kept, self.places, self._seen, self._ambiguous = [], {}, set(), set()

    def add(self, where, _, item):
        """Take an item; DatasetError if it is not as it should be."""
        identifier = _identifier(item.get('id'))
        _require(identifier is not None, where, 'a whole number as id', item)
        _require(not self.kept or type(identifier) is type(self.kept[0]['id']), where,
                 'an id of the kind of the others', item)
        name = item.get(self.name)
        if str(identifier) in self._seen and name != self.kept[self.places[identifier]][self.name]:
            self._ambiguous.add(identifier)
        _require(str(identifier) not in self._seen, where, 'an id that no other one has', item)
        _require(isinstance(name, str) and name.strip(), where, 'a ' + self.name, item)
        self._seen.add(str(identifier))
        self.places[identifier] = len(self.kept)
        wanted = ('id', self.name, 'width', 'height')
        self.kept.append({key: item[key] for key in wanted if key in item})
        self.kept[-1]['id'] = identifier

    def leave_out_ambiguous(self):
        """Forget those whose id stands for two files or names: nothing tells which one an annotation means."""
        self.kept = [item for item in self.kept if item['id'] not in self._ambiguous]
        self.places = {item['id']: place for place, item in enumerate(self.kept)}


class _Columns:
    """Annotations, in columns: a file may have millions."""

    def __init__(self):
        self.clear()

    def clear(self):
        """Forget all."""
        self.numbers, self.flags, self.boxes, self.areas = array('q'), array('B'), array('d'), array('d')
        self.references = [{}, {}]                      # id -> place in this dictionary, of images and of categories
        self.refers = [array('q'), array('q')]

    def add(self, where, number, item):
        """Take an annotation; DatasetError if it is not as it should be."""
        box, area = item.get('bbox'), item.get('area')
        _require(isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)), where, 'a bbox of four numbers',
                 item)
        _require(area is None or _is_number(area), where, 'a number as area', item)
        crowd, ignored, difficult = (key in item and read_flag(item[key], where, key)
                                     for key in ('iscrowd', 'ignore', 'difficult'))
        identifiers = _identifier(item.get('image_id')), _identifier(item.get('category_id'))
        for identifier, expected in zip(identifiers, _REFERENCES):
            _require(identifier is not None, where, expected, item)
        for known, column, identifier in zip(self.references, self.refers, identifiers):
            column.append(known.setdefault(identifier, len(known)))
        x, y, width, height = box
        self.boxes.extend((x, y, x + width - 1, y + height - 1))
        self.areas.append(np.nan if area is None else area)
        self.flags.append(flag_bits(difficult, crowd, ignored))
        self.numbers.append(number)

    def resolved(self, path, images, categories, on_fault):
        """Arrays of ITEM and of the numbers of their images, without annotations of unknown images or categories.

        Args:
            images, categories: id -> number.
        """
        items = np.zeros(len(self.numbers), ITEM)
        items['number'], items['flags'], items['area'] = self.numbers, self.flags, self.areas
        items['box'] = np.array(self.boxes).reshape(-1, 4)
        owners, labels = (np.array([places.get(identifier, -1) for identifier in known] + [-1])[np.array(column, int)]
                          for places, known, column in zip((images, categories), self.references, self.refers))
        identifiers = [list(known) for known in self.references]
        for row in np.flatnonzero((owners < 0) | (labels < 0)):
            number = int(items['number'][row])
            side = 0 if owners[row] < 0 else 1
            value = identifiers[side][self.refers[side][row]]
            on_fault('annotations', number, DatasetError('%s: annotations[%d]: expected %s, found %.100r'
                                                         % (path, number, _REFERENCES[side], value)))
        items['label'] = labels
        good = (owners >= 0) & (labels >= 0)
        return items[good], owners[good]


def _is_number(value):
    return type(value) in (int, float) and abs(value) < LARGEST     # false for NaN and infinity


def to_bbox(box: Sequence[float]) -> list[float]:
    """COCO's x, y, width, height of a box."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]


def items_of_lists(path: str) -> Iterator[tuple[str, int, object]]:
    """Yield (key, number, item) for each item of the lists in the object that a file holds.

    Before its items a list is yielded with the number -1 and LIST, any other value with the number -1 and the value.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is no json object.
    """
    try:
        check_regular(path)
        total = os.path.getsize(path) // CHUNK
        with open(path, encoding='utf-8-sig') as file, contextlib.ExitStack() as stack:
            bar = stack.enter_context(progress(desc=os.path.basename(path), unit='MB', total=total)) \
                if total >= LARGE else None
            yield from _Scanner(file, bar).items()
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such annotation file' % os.path.abspath(path)) from None
    except UnicodeDecodeError:
        decoded(read_file(path, 'json'), path, 'json')      # raises an error that tells place and remedy
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError('%s: expected json: %s' % (path, error)) from error


class _Scanner:
    """A window on a text file that moves on as values are taken from it."""

    def __init__(self, file, bar=None):
        self.file, self.bar = file, bar
        self.text, self.position, self.passed, self.ended = '', 0, 0, False

    def items(self):
        """See `items_of_lists`."""
        self.expect('{')
        if self.peek() == '}':
            self.expect('}')
        else:
            yield from self.members()
        if self.peek():
            raise self.error('nothing after the object')

    def members(self):
        """What the keys of the object hold."""
        separator = ','
        while separator == ',':
            key = self.value()
            if not isinstance(key, str):
                raise self.error('a key in quotes')
            self.expect(':')
            if self.peek() == '[':
                yield from self.elements(key)
            else:
                yield key, -1, self.value()
            separator = self.expect(',}')

    def elements(self, key):
        """The items of a list."""
        self.expect('[')
        yield key, -1, LIST
        if self.peek() == ']':
            self.expect(']')
            return
        number, separator = 0, ','
        while separator == ',':
            yield key, number, self.value()
            number += 1
            separator = self.expect(',]')

    def value(self):
        """The next value, of any kind."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.position)
                if end + LONGEST_END <= len(self.text) or self.ended:       # else a number might go on: 1.5, 1e+5
                    self.position = end
                    return value
            except json.JSONDecodeError as error:
                if self.ended:
                    raise ValueError('%s at character %d' % (error.msg, self.passed + error.pos)) from None
            self.more()

    def peek(self):
        """The next character that is no blank, '' at the end."""
        while True:
            self.position = _BLANKS.match(self.text, self.position).end()
            if self.position < len(self.text) or self.ended:
                return self.text[self.position:self.position + 1]
            self.more()

    def expect(self, characters):
        """Take the next character, which must be one of these."""
        found = self.peek()
        if not found or found not in characters:
            raise self.error(' or '.join(characters))
        self.position += 1
        return found

    def more(self):
        """Read as much again as is still to be looked at, at least a chunk."""
        rest = self.text[self.position:]
        self.passed += self.position
        added = self.file.read(max(CHUNK, len(rest)))
        self.text, self.position, self.ended = rest + added, 0, not added
        if self.bar is not None:
            self.bar.update(len(added) // CHUNK)

    def error(self, expected):
        """A ValueError about what stands here."""
        return ValueError('%s at character %d, found %.20r' % (expected, self.passed + self.position,
                                                               self.text[self.position:]))
