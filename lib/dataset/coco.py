"""Reads and writes data sets in COCO's format: images, and a json file with all annotations of an image set."""
from __future__ import annotations

import json
import os
import re
from typing import NamedTuple, Sequence

import numpy as np

from lib.dataset import faults as kinds
from lib.dataset.annotations import CROWD, DIFFICULT, IGNORED, AnnotatedSet, Picture, annotated_size, by_picture
from lib.dataset.coco_json import DoubledId, read_json, to_bbox
from lib.dataset.faults import Faults, note_other_classes, note_other_files
from lib.dataset.files import files_of_set, find_image, image_folders, relative, set_name
from lib.dataset.names import check_name, class_names
from lib.errors import DatasetError
from lib.utils.console import listed

ROBOFLOW = '_annotations.coco.json'     # name of the json file beside the images, in exports of Roboflow
KEYPOINTS = 'person_keypoints_'         # begins the name of a json file with poses: CVAT's, COCO's own
MOST_DETECTIONS = 100                   # per image, that COCO's average precision takes into account
_LOST_NAMES = re.compile(r'\\')         # names of images that are not read back: a backslash stands for a slash
# Names of COCO's own sets. With all categories, each object of them counts as it is written, as in COCO's kit.
COCO_SET = r'(train|val|trainval|minival|valminusminival|test|test-dev)20(14|15|17)'
# In the order of COCO's category ids, as in its json files.
COCO_CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
    'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant',
    'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard',
    'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange', 'broccoli',
    'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed', 'dining table', 'toilet',
    'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator',
    'book', 'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush')


class CocoIds(NamedTuple):
    """The ids of the json file, with which detections are written."""
    images: list                # id of each picture, int or str
    categories: dict            # class name -> id; None if the file has no categories


def read_coco(image_set: str, dataset_path: str, classes: Sequence[str] | str | None = None) -> AnnotatedSet:
    """Read an image set. Objects of categories that are not among `classes` are left out.

    The json file is instances_<image_set>.json, image_info_<image_set>.json (test images, without annotations) or
    <image_set>.json, in dataset_path/annotations or in dataset_path; or <image_set>/_annotations.coco.json (Roboflow);
    or else person_keypoints_<image_set>.json, whose key points are not read.
    Images lie in images/<image_set>, <image_set>, images, data, or dataset_path itself. Those of minival2014 and
    valminusminival2014 lie in val2014, those of test-dev2017 in test2017.

    Args:
        image_set: 'train2014' and so on.
        dataset_path: folder of the data set.
        classes: names of the categories to use, or the path of a text file with a name per line. None takes all, in the
            order of the file. They must be given if the file has no categories.
    Raises:
        FileNotFoundError: there is no json file.
        DatasetError: the file is not one of COCO's format, or has no image or no class.
    """
    files, faults = find_annotations(image_set, dataset_path), Faults()
    path = files[0]
    note_other_files(faults, files)
    content = read_json(path, lambda key, number, error: faults.note(_kind(key, error), '', number, error))
    if not content.images:
        raise DatasetError(faults.reason('%s: the list of images is empty. Export it with images, or delete the file'
                                         % path))
    identifiers = _category_ids(path, content)
    named = list(identifiers)
    if not named and faults.reason():
        raise DatasetError(faults.reason())
    classes = class_names(named if classes is None else classes, path)
    absent = [name for name in classes if name not in identifiers] if named else []
    if absent:
        raise DatasetError('%s: no category %s; there are %s. Add it to the categories of the file, or leave it out of '
                           'dataset.CLASSES' % (path, listed(absent), listed(named)))
    known = set(classes)
    note_other_classes(faults, path, {name: count for name, count in zip(content.categories.values(), _counts(content))
                                      if name not in known and count})
    folders = _folders(image_set, dataset_path, path)
    pictures = [_picture(path, dataset_path, folders, image, found, faults) for image, found
                in zip(content.images, _items_of_images(content, classes))]
    _note_crowded(path, pictures, faults)
    ids = CocoIds([image['id'] for image in content.images], {name: identifiers.get(name) for name in classes})
    official = bool(re.fullmatch(COCO_SET, image_set)) and len(named) == len(COCO_CLASSES)
    return AnnotatedSet(set_name(dataset_path, image_set), image_set, 'coco', classes, len(classes), pictures, faults,
                        'annotations[%d]', content.annotated, official, ids)


def _counts(content):
    """The number of objects of each category."""
    return np.bincount(content.items['label'], minlength=len(content.categories)).tolist()


def _category_ids(path, content):
    """Name -> id of each category.

    A second category of a name does not count where only one of the two has objects: Roboflow writes one for the group
    of the classes, which may be called like a class. Raises a DatasetError if both have some.
    """
    ids, used = {}, set()
    for (identifier, name), count in zip(content.categories.items(), _counts(content)):
        if count and name in used:
            raise DatasetError("%s: the categories of the ids %s and %s are both called '%s', and both have objects. "
                               'Rename one, or give all of them one category_id' % (path, ids[name], identifier, name))
        if count or name not in ids:
            ids[name] = identifier
        if count:
            used.add(name)
    return ids


def _kind(key, error):
    if key == 'annotations':
        return kinds.ITEM_FAULT
    return kinds.DUPLICATE_ID if isinstance(error, DoubledId) else kinds.ANNOTATION


def _items_of_images(content, classes):
    """The items of each image, without those of other categories."""
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers.get(name, -1) for name in content.categories.values()] + [-1])[content.items['label']]
    items, owners = content.items, content.owners
    items['label'] = labels
    if len(labels) and labels.min() < 0:
        items, owners = items[labels >= 0], owners[labels >= 0]
    return by_picture(items, owners, len(content.images))


def _picture(source, dataset_path, folders, image, items, faults):
    index = str(image['id'])
    path = faults.find(kinds.NAME, index, source, find_image, dataset_path, folders, image['file_name'], source)
    name = image['file_name'].replace('\\', '/')
    name = relative(path, dataset_path) if path and os.path.isabs(name) else os.path.normpath(name).replace(os.sep, '/')
    return Picture(index, name, path, source, annotated_size(image.get('width'), image.get('height')), items)


def _note_crowded(path, pictures, faults):
    counts = np.array([len(picture.items) for picture in pictures])
    crowded = int((counts > MOST_DETECTIONS).sum())
    if crowded:
        faults.note(kinds.CROWDED, '', None, "%s: %d of %d images have more than %d objects (the most: %d). COCO's "
                    'average precision looks at the %d best detections of an image, so that not all of them can be '
                    'found' % (path, crowded, len(pictures), MOST_DETECTIONS, counts.max(), MOST_DETECTIONS))


def find_annotations(image_set: str, dataset_path: str) -> list[str]:
    """Paths of the json files of an image set, of which the first is read. Raises as `files_of_set`."""
    names = [folder + name + '.json' for folder in ('annotations/', '')
             for name in ('instances_%s', 'image_info_%s', '%s')]
    names += ['%s/' + ROBOFLOW, 'annotations/' + KEYPOINTS + '%s.json', KEYPOINTS + '%s.json']
    first, *others = files_of_set(image_set, dataset_path, names, 'are no annotations',
                                  '. rfcn fetch coco loads COCO' if re.search(r'\d{4}$', image_set) else '')
    return [first] + [path for path in others if not os.path.basename(path).startswith(KEYPOINTS)]


def _folders(image_set, dataset_path, path):
    """`image_folders`, after the one that Roboflow's json file, `path`, lies in."""
    pictures = re.sub('^(minival|valminusminival)', 'val', re.sub('^test-dev', 'test', image_set))
    beside = [os.path.dirname(path)] if os.path.basename(path) == ROBOFLOW else []
    return list(dict.fromkeys(beside + image_folders(image_set, dataset_path, [pictures])))


def write_coco(sets: dict[str, AnnotatedSet], out: str) -> tuple[list[str], dict[str, str]]:
    """Write annotations/instances_<set>.json for each set. Arguments and results as of `write_voc`.

    Difficult and ignored objects get the keys `difficult` and `ignore`, which COCO itself does not have.
    """
    for image_set, data in sets.items():
        path = os.path.join(out, 'annotations', 'instances_%s.json' % image_set)
        os.makedirs(os.path.dirname(path), exist_ok=True)       # the set day/train has a folder
        with open(path, 'w', encoding='utf-8') as file:
            json.dump(coco_data(data), file)
    return [], {image_set: os.path.join(out, 'images', image_set) for image_set in sets}


def coco_data(data: AnnotatedSet) -> dict:
    """The content of the json file of a set whose pictures have sizes.

    Raises:
        DatasetError: the name of an image would not be read back.
    """
    images, annotations = [], []
    for number, picture in enumerate(data.pictures, 1):
        check_name(picture, _LOST_NAMES, "COCO's json")
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
