"""Reads annotations in COCO's json format and checks what the rest of the program relies on."""
import json
import os

from lib.errors import DatasetError

LARGEST = 1e9     # larger numbers are no pixels


def read_coco_json(path):
    """Read a file of instances, or of images alone.

    Args:
        path: json file with the lists `images` (id, file_name; width and height may be absent), `categories` (id, name)
            and `annotations` (image_id, category_id, bbox = x, y, width, height; area = width * height and iscrowd = 0
            where absent). A file of test images has no annotations, and may have no categories.
    Returns:
        dict as in the file, with the defaults filled in, and annotations numbered from 1: pycocotools takes a match
        with number 0 for none.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not json, or an item lacks what it should have, or refers to what is not there.
    """
    data = _load(path)
    images, categories, annotations = (_items(path, data, key) for key in ('images', 'categories', 'annotations'))
    image_ids = _identifiers(path, 'images', images)
    category_ids = _identifiers(path, 'categories', categories)
    for where, image in _numbered(path, 'images', images):
        _require(isinstance(image.get('file_name'), str), where, 'a file_name', image)
    for where, category in _numbered(path, 'categories', categories):
        _require(isinstance(category.get('name'), str), where, 'a name', category)
    for number, (where, annotation) in enumerate(_numbered(path, 'annotations', annotations), 1):
        _require(_known(annotation, 'image_id', image_ids), where, 'the image_id of one of the images', annotation)
        _require(_known(annotation, 'category_id', category_ids), where, 'the id of one of the categories', annotation)
        _require(_is_box(annotation.get('bbox')), where, 'a bbox of four numbers', annotation)
        area = annotation.get('area', annotation['bbox'][2] * annotation['bbox'][3])
        _require(_is_number(area), where, 'a number as area', annotation)
        annotation.update(id=number, area=area, iscrowd=int(bool(annotation.get('iscrowd'))))
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


def _numbered(path, key, items):
    return (('%s: %s[%d]' % (path, key, number), item) for number, item in enumerate(items))


def _identifiers(path, key, items):
    """The ids of a list, each of which may come once."""
    seen = set()
    for where, item in _numbered(path, key, items):
        identifier = item.get('id')
        _require(isinstance(identifier, (int, str)), where, 'a whole number as id', item)
        _require(identifier not in seen, where, 'an id that no other one has', item)
        seen.add(identifier)
    return seen


def _known(annotation, key, identifiers):
    return isinstance(annotation.get(key), (int, str)) and annotation[key] in identifiers


def _is_number(value):
    return isinstance(value, (int, float)) and abs(value) < LARGEST     # false for NaN and infinity


def _is_box(box):
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))


def _require(fulfilled, where, expected, item):
    if not fulfilled:
        raise DatasetError('%s: expected %s, found %.200s' % (where, expected, json.dumps(item)))
