"""Annotations in COCO's json format, as they stand there."""
import re

from lib.dataset import annotated as kinds
from lib.dataset.annotated import AnnotatedSet, Faults, Item, Picture, class_names
from lib.dataset.coco import COCO, find_annotations
from lib.dataset.coco_json import read_coco_json, size_of


def read_coco(image_set, dataset_path, classes=None):
    """Read a set. Objects of categories that are not among `classes` are left out.

    Args:
        image_set, dataset_path, classes: as of `COCO`.
    Returns:
        AnnotatedSet.
    Raises:
        FileNotFoundError, DatasetError: there is no json file, or none with lists of images and annotations.
    """
    path, faults = find_annotations(image_set, dataset_path), Faults()
    data = read_coco_json(path, lambda key, number, error: faults.note(_kind(key, error), '', number, error))
    layout = COCO(image_set, '', dataset_path, classes=['any'], data=dict(data, categories=[]))     # for its paths
    labels = {category['id']: category['name'].strip() for category in data['categories']}
    classes = class_names(labels.values() if classes is None else classes, path)
    absent = [name for name in classes if name not in labels.values()] if labels else []
    for name in absent:
        faults.note(kinds.ANNOTATION, '', None, '%s: no category %s; there are %s'
                    % (path, name, ', '.join(labels.values())))
    items = _items(data, labels, set(classes))
    pictures = [_picture(path, layout, image, items.get(image['id'], []), faults) for image in data['images']]
    return AnnotatedSet(layout.name, 'coco', classes, pictures, faults, 'annotations[%d]')


def _kind(key, error):
    if key == 'annotations':
        return kinds.ITEM
    return kinds.DUPLICATE_ID if 'that no other one has' in str(error) else kinds.ANNOTATION


def _items(data, labels, wanted):
    """Image id -> its objects of the wanted classes."""
    items = {}
    for annotation in data['annotations']:
        label = labels[annotation['category_id']]
        if label in wanted:
            x, y, width, height = annotation['bbox']
            items.setdefault(annotation['image_id'], []).append(
                Item(annotation['id'] - 1, label, (x, y, x + width - 1, y + height - 1),
                     bool(annotation.get('difficult')), bool(annotation['iscrowd'])))
    return items


def _picture(source, layout, image, items, faults):
    index = str(image['id'])
    path = faults.attempt(kinds.IMAGE, index, None, layout.image_path, index) or ''
    name = re.sub(r'^(\./)+', '', image['file_name'].replace('\\', '/'))
    return Picture(index, name, path, source, size_of(image), items)
