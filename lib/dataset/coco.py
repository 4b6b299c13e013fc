"""Data sets in COCO's format: reads and writes them. A json file of all annotations of an image set, and images."""
import json
import os
import re
from array import array
from typing import Dict, List, NamedTuple

import numpy as np

from lib.dataset import annotations as kinds
from lib.dataset.annotations import (
    CROWD,
    DIFFICULT,
    IGNORED,
    ITEM,
    LARGEST,
    AnnotatedSet,
    Faults,
    Picture,
    annotated_size,
    class_names,
    flag_bits,
    read_flag,
)
from lib.dataset.files import find_image, inside, names_of_set
from lib.dataset.json_lists import LIST, items_of_lists
from lib.errors import DatasetError

ROBOFLOW = '_annotations.coco.json'     # lies beside the pictures of a set
_REFERENCES = 'the image_id of one of the images', 'the id of one of the categories'
MOST_DETECTIONS = 100                   # an image, that COCO's average precision looks at
# COCO's own sets are evaluated as by its kit: each object counts as it is written.
_OFFICIAL = re.compile(r'(train|val|minival|valminusminival|test|test-dev)(2014|2015|2017)')
_OFFICIAL_CATEGORIES = 80


class CocoIds(NamedTuple):
    """What images and categories are called in the file; results are written with it."""
    images: List                # of each picture, int or str
    categories: Dict            # class name -> id, None where the file has no categories


class CocoFile(NamedTuple):
    """The content of a json file that is as it should be."""
    images: List[Dict]          # id, file_name, width, height
    categories: Dict            # id -> name
    items: np.ndarray           # (N,) of ITEM; their label is the number of the category
    owners: np.ndarray          # (N,) int, number of the image
    annotated: bool             # whether the file tells objects at all


# --- the json file ---

def _refuse(key, number, error):
    raise error


def read_json(path, on_fault=_refuse):
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


# --- a set ---

def read_coco(image_set, dataset_path, classes=None):
    """Read a set. Objects of categories that are not among `classes` are left out.

    The json file is instances_<image_set>.json, image_info_<image_set>.json (test images, without annotations) or
    <image_set>.json, in dataset_path/annotations or in dataset_path; or <image_set>/_annotations.coco.json (Roboflow).
    Images lie in images/<image_set>, <image_set>, images, or dataset_path itself. The sets minival2014 and
    valminusminival2014 have theirs in val2014, test-dev2017 in test2017.

    Args:
        image_set: 'train2014' and so on.
        dataset_path: folder.
        classes: names of the categories to take, or a text file of them, one a line; by default all, in the file's
            order. They must be given where the file has no categories.
    Returns:
        AnnotatedSet.
    Raises:
        FileNotFoundError, DatasetError: there is no json file, or none with lists of images and annotations.
    """
    path, faults = find_annotations(image_set, dataset_path), Faults()
    content = read_json(path, lambda key, number, error: faults.note(_kind(key, error), '', number, error))
    if not content.images:
        raise DatasetError(faults[0].text if faults else '%s: the list of images is empty' % path)
    named = list(content.categories.values())
    if not named and faults:
        raise DatasetError(faults[0].text)
    classes = class_names(named if classes is None else classes, path)
    absent = [name for name in classes if name not in named] if named else []
    if absent:
        raise DatasetError('%s: no category %s; there are %s' % (path, ', '.join(absent), ', '.join(named)))
    folders = image_folders(image_set, dataset_path, path)
    pictures = [_picture(path, dataset_path, folders, image, found, faults) for image, found
                in zip(content.images, _items_of_images(content, classes))]
    _note_crowded(path, pictures, faults)
    identifiers = {name: identifier for identifier, name in content.categories.items()}
    ids = CocoIds([image['id'] for image in content.images], {name: identifiers.get(name) for name in classes})
    official = bool(_OFFICIAL.fullmatch(image_set)) and len(named) == _OFFICIAL_CATEGORIES
    name = '%s_%s' % (os.path.basename(os.path.abspath(dataset_path)), image_set)
    return AnnotatedSet(name, image_set, 'coco', classes, len(classes), pictures, faults, 'annotations[%d]',
                        content.annotated, official, ids)


def _kind(key, error):
    if key == 'annotations':
        return kinds.ITEM_FAULT
    return kinds.DUPLICATE_ID if 'that no other one has' in str(error) else kinds.ANNOTATION


def _items_of_images(content, classes):
    """Arrays of ITEM of each image, without those of other categories."""
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers.get(name, -1) for name in content.categories.values()] + [-1])[content.items['label']]
    items, owners = content.items[labels >= 0], content.owners[labels >= 0]
    items['label'] = labels[labels >= 0]
    order = np.argsort(owners, kind='stable')
    items, ends = items[order], np.searchsorted(owners[order], np.arange(len(content.images) + 1))
    return [items[start:end] for start, end in zip(ends, ends[1:])]


def _picture(source, dataset_path, folders, image, items, faults):
    index = str(image['id'])
    path, other = faults.attempt(kinds.NAME, index, None, find_image, dataset_path, folders, image['file_name'],
                                 source) or ('', '')
    kinds.note_candidates(faults, index, source, path, other)
    name = image['file_name'].replace('\\', '/')
    name = os.path.relpath(path, dataset_path).replace(os.sep, '/') if path and os.path.isabs(name) \
        else os.path.normpath(name).replace(os.sep, '/')
    sides = image.get('width'), image.get('height')
    size = annotated_size(*sides) if all(type(side) is int for side in sides) else None
    return Picture(index, name, path, source, size, items)


def _note_crowded(path, pictures, faults):
    counts = np.array([len(picture.items) for picture in pictures])
    crowded = int((counts > MOST_DETECTIONS).sum())
    if crowded:
        faults.note(kinds.CROWDED, '', None, "%s: %d of %d images have more than %d objects (the most: %d). COCO's "
                    'average precision looks at the %d best detections of an image, so that not all of them can be '
                    'found' % (path, crowded, len(pictures), MOST_DETECTIONS, counts.max(), MOST_DETECTIONS))


def find_annotations(image_set, dataset_path):
    """Path of the json file of a set; FileNotFoundError if there is none."""
    tried = []
    for name in names_of_set(image_set):
        tried += [os.path.join(dataset_path, folder, prefix + name + '.json')
                  for folder in ('annotations', '') for prefix in ('instances_', 'image_info_', '')]
        tried.append(os.path.join(dataset_path, name, ROBOFLOW))
    for path in tried:
        if os.path.exists(path):
            return inside(dataset_path, os.path.relpath(path, dataset_path))
    raise FileNotFoundError("there are no annotations of the image set '%s': tried %s"
                            % (image_set, ', '.join(map(os.path.abspath, tried))))


def image_folders(image_set, dataset_path, path):
    """Folders that the images of a set may lie in, those that are there; `path` is the json file's."""
    pictures = re.sub('^(minival|valminusminival)', 'val', re.sub('^test-dev', 'test', image_set))
    sets = list(dict.fromkeys(names_of_set(image_set) + [pictures]))
    names = [os.path.join('images', name) for name in sets] + sets + ['images', '']
    beside = [os.path.dirname(path)] if os.path.basename(path) == ROBOFLOW else []
    folders = list(dict.fromkeys(os.path.abspath(folder) for folder in beside + [os.path.join(dataset_path, name)
                                                                                 for name in names]))
    return [folder for folder in folders if os.path.isdir(folder)]


# --- writing ---

def write_coco(sets, out):
    """Write sets: annotations/instances_<set>.json. Difficult and ignored objects have the keys difficult and ignore.

    Arguments and results as of `write_voc`.
    """
    os.makedirs(os.path.join(out, 'annotations'), exist_ok=True)
    for image_set, data in sets.items():
        with open(os.path.join(out, 'annotations', 'instances_%s.json' % image_set), 'w', encoding='utf-8') as file:
            json.dump(coco_data(data), file)
    return [], {image_set: os.path.join(out, 'images', image_set) for image_set in sets}


def coco_data(data):
    """The content of the json file of an AnnotatedSet."""
    images, annotations = [], []
    for number, picture in enumerate(data.pictures, 1):
        images.append({'id': number, 'file_name': picture.name, 'width': picture.size[0], 'height': picture.size[1]})
        for item in picture.items:
            annotations.append(_annotation(len(annotations) + 1, number, item))
    categories = [{'id': identifier, 'name': name} for identifier, name in enumerate(data.classes, 1)]
    return {'images': images, 'categories': categories, 'annotations': annotations}


def _annotation(number, image, item):
    bbox, flags = to_bbox(item['box'].tolist()), int(item['flags'])
    area = bbox[2] * bbox[3] if np.isnan(item['area']) else float(item['area'])
    annotation = {'id': number, 'image_id': image, 'category_id': int(item['label']) + 1, 'bbox': bbox, 'area': area,
                  'iscrowd': int(flags & CROWD > 0)}
    annotation.update({key: 1 for key, flag in (('difficult', DIFFICULT), ('ignore', IGNORED)) if flags & flag})
    return annotation


def to_bbox(box):
    """COCO's x, y, width, height of a box."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
