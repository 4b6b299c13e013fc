"""Reads annotations in COCO's json format and checks what the rest of the program relies on."""
import json
import os

from lib.dataset.imdb import annotated_size
from lib.errors import DatasetError

LARGEST = 1e9     # larger numbers are no pixels


def size_of(image):
    """Width and height of an entry of `images`; None where it does not tell them, or none that an image can have."""
    sides = image.get('width'), image.get('height')
    return annotated_size(*sides) if all(type(side) is int for side in sides) else None


def _refuse(key, number, error):
    raise error


def read_coco_json(path, on_fault=_refuse):
    """Read a file of instances, or of images alone.

    Args:
        path: json file with the lists `images` (id, file_name; width and height may be absent), `categories` (id, name)
            and `annotations` (image_id, category_id, bbox = x, y, width, height; area = width * height and iscrowd = 0
            where absent). A file of test images has no annotations, and may have no categories.
        on_fault: called with the list's name, the item's number in it and a DatasetError for each item that is not as
            it should be; if it returns, the item is left out. By default it raises the error.
    Returns:
        dict as in the file, with the defaults filled in, and annotations numbered from 1 by their place in the file:
        pycocotools takes a match with number 0 for none.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not json, or an item lacks what it should have, or refers to what is not there.
    """
    data = _load(path)
    images, categories, annotations = (_items(path, data, key) for key in ('images', 'categories', 'annotations'))
    data['images'] = _named(path, 'images', images, 'file_name', on_fault)
    data['categories'] = _named(path, 'categories', categories, 'name', on_fault)
    known = {'image_id': _identifiers(data['images']), 'category_id': _identifiers(data['categories'])}
    data['annotations'] = []
    for number, annotation in enumerate(annotations):
        try:
            _check_annotation('%s: annotations[%d]' % (path, number), annotation, known)
        except DatasetError as error:
            on_fault('annotations', number, error)
            continue
        annotation['id'] = number + 1
        data['annotations'].append(annotation)
    return data


def _load(path):
    try:
        with open(path, encoding='utf-8-sig') as file:
            data = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such annotation file' % os.path.abspath(path)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError('%s: expected json: %s' % (path, error)) from error
    if not isinstance(data, dict) or 'images' not in data:
        raise DatasetError("%s: expected an object with the lists 'images', 'annotations' and 'categories'" % path)
    return data


def _items(path, data, key):
    items = data.setdefault(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DatasetError("%s: '%s' must be a list of objects" % (path, key))
    return items


def _named(path, key, items, name, on_fault):
    """Images or categories that have a name and an id of their own."""
    kept, seen = [], set()
    for number, item in enumerate(items):
        where, identifier = '%s: %s[%d]' % (path, key, number), item.get('id')
        try:
            _require(type(identifier) in (int, str), where, 'a whole number as id', item)
            _require(not kept or type(identifier) is type(kept[0]['id']), where, 'an id of the kind of the others',
                     item)
            _require(str(identifier) not in seen, where, 'an id that no other one has', item)
            _require(isinstance(item.get(name), str), where, 'a ' + name, item)
        except DatasetError as error:
            on_fault(key, number, error)
            continue
        seen.add(str(identifier))
        kept.append(item)
    return kept


def _identifiers(items):
    return {item['id'] for item in items}


def _check_annotation(where, annotation, known):
    """Raise a DatasetError unless it is one of a known image and category; fill area and iscrowd in."""
    _require(_refers(annotation, 'image_id', known), where, 'the image_id of one of the images', annotation)
    _require(_refers(annotation, 'category_id', known), where, 'the id of one of the categories', annotation)
    _require(_is_box(annotation.get('bbox')), where, 'a bbox of four numbers', annotation)
    area = annotation.get('area', annotation['bbox'][2] * annotation['bbox'][3])
    _require(_is_number(area), where, 'a number as area', annotation)
    annotation.update(area=area, iscrowd=int(bool(annotation.get('iscrowd'))))


def _refers(annotation, key, known):
    return type(annotation.get(key)) in (int, str) and annotation[key] in known[key]


def _is_number(value):
    return isinstance(value, (int, float)) and abs(value) < LARGEST     # false for NaN and infinity


def _is_box(box):
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))


def _require(fulfilled, where, expected, item):
    if not fulfilled:
        raise DatasetError('%s: expected %s, found %.200s' % (where, expected, json.dumps(item)))
