"""Writes a cleaned copy of the annotations in their own format; parts without a fault stay as they are."""
from __future__ import annotations

import csv
import json
import os
import shutil
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from lib.dataset.annotations import AnnotatedSet
from lib.dataset.check.changes import Changes
from lib.dataset.coco import find_annotations
from lib.dataset.coco_json import read_json, to_bbox
from lib.dataset.csv_list import CORNERS, PLAIN, find_lists, header, raw_rows
from lib.dataset.files import CLASS_FILE, existing, inside, number_text, numbered_lines, read_text, write_lines
from lib.dataset.names import LOST_IN_LISTS, check_name
from lib.dataset.voc_files import Lists, Unlisted, find_layout
from lib.dataset.voc_xml import add_box, parse_xml
from lib.dataset.yolo import LABELS, label_line, names_lines
from lib.dataset.yolo_files import Description
from lib.errors import DatasetError
from lib.utils.image_file import check_size, image_head, imread, imwrite, truncated_files
from lib.utils.image_header import upright
from lib.utils.limits import MAX_PIXELS


def write_fixed(data: AnnotatedSet, changes: Changes, image_set: str, dataset_path: str, out: str, origin: int = 0,
                max_pixels: int | None = MAX_PIXELS) -> None:
    """Write the cleaned annotations of a set into another folder, with links to the images that are kept.

    Args:
        data: the set.
        changes: of the set.
        image_set, dataset_path, origin: of the set, as of `read_annotated`.
        out: folder; other sets of the data set may be in it already.
        max_pixels: of `imread`, for pictures that are encoded again.
    """
    kept = [picture for picture in data.pictures if picture.index not in changes.pictures]
    _WRITERS[data.format](kept, changes, image_set, dataset_path, out, origin)
    of_labels = data.format in ('PascalVOC', 'csv') and not data.official and len(data.labels) == data.num_classes
    if of_labels and not os.path.lexists(os.path.join(out, CLASS_FILE)):
        write_lines(os.path.join(out, CLASS_FILE), data.classes)    # a class whose objects are all left out stays one
    for picture in kept:
        target = _same_place(picture.path, dataset_path, out)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            continue
        if picture.index in changes.upright or picture.index in changes.again:
            _write_picture(picture.path, target, changes.upright.get(picture.index, 1), max_pixels)
        else:
            os.symlink(os.path.abspath(picture.path), target)


def _write_picture(path, target, orientation, max_pixels):
    """Encode a picture again, upright and without an orientation, as far as its pixels can be read."""
    try:
        im = imread(path, max_pixels)
    except DatasetError:
        im = readable_part(path, max_pixels)
    imwrite(target, upright(im, orientation))


def readable_part(path: str, max_pixels: int | None = MAX_PIXELS) -> np.ndarray:
    """The pixels of a truncated picture; missing ones are grey.

    Returns:
        (H, W, 3) uint8 BGR as stored.
    Raises:
        FileNotFoundError: there is no such image.
        DatasetError: nothing of it can be read, or it has more than `max_pixels` pixels.
    """
    check_size(path, image_head(path).size, max_pixels)
    try:
        with truncated_files(True), open(path, 'rb') as file, Image.open(file) as picture:
            return np.asarray(picture.convert('RGB'))[:, :, ::-1].copy()
    except Exception as error:      # a damaged file raises nearly anything
        raise DatasetError('%s: nothing of it can be read: %s' % (path, error)) from error


def _same_place(path, dataset_path, out):
    return os.path.join(out, os.path.relpath(os.path.abspath(path), os.path.abspath(dataset_path)))


def _new(path, dataset_path, out):
    """The path in `out` of the copy of a file; its folder is made."""
    target = _same_place(path, dataset_path, out)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    return target


def _fix_voc(kept, changes, image_set, dataset_path, out, _):
    layout = find_layout(image_set, dataset_path)
    if isinstance(layout, Lists) and not isinstance(layout, Unlisted):
        write_lines(_new(layout.list_path, dataset_path, out), [picture.index for picture in kept])
    for picture in kept:
        if not os.path.isfile(picture.source):
            continue
        target = _new(picture.source, dataset_path, out)
        boxes, size = changes.boxes.get(picture.index, {}), changes.sizes.get(picture.index)
        if boxes or size:
            root = _changed_xml(parse_xml(picture.source), boxes, size)
            ElementTree.ElementTree(root).write(target, encoding='utf-8')
        else:
            shutil.copyfile(picture.source, target)
    _copy_classes(layout.folder, _same_place(layout.folder, dataset_path, out))


def _changed_xml(root, boxes, size):
    for number, node in enumerate(root.findall('object')):
        if number in boxes and boxes[number] is None:
            root.remove(node)
        elif number in boxes:
            add_box(node.find('bndbox'), boxes[number])
    if size:
        node = root.find('size')
        node = ElementTree.SubElement(root, 'size') if node is None else node
        for tag, value in zip(('width', 'height'), size):
            child = node.find(tag)
            child = ElementTree.SubElement(node, tag) if child is None else child
            child.text = str(value)
    return root


def _fix_coco(kept, changes, image_set, dataset_path, out, _):
    path = find_annotations(image_set, dataset_path)[0]
    with open(_new(path, dataset_path, out), 'w', encoding='utf-8') as file:
        json.dump(_cleaned_json(path, kept, changes), file)


def _cleaned_json(path, kept, changes):
    """The content of a json file without its faulty entries; all other keys stay."""
    faulty = set()
    read_json(path, lambda key, number, error: faulty.add((key, number)))
    data = json.loads(read_text(path, 'json'))
    for key in ('images', 'categories'):
        data[key] = [item for number, item in enumerate(data.get(key, ())) if (key, number) not in faulty]
    stay = {picture.index: picture for picture in kept}
    data['images'] = [image for image in data['images'] if _index(image['id']) in stay]
    for image in data['images']:
        if os.path.isabs(image['file_name']):
            image['file_name'] = stay[_index(image['id'])].name
        if _index(image['id']) in changes.sizes:
            image['width'], image['height'] = changes.sizes[_index(image['id'])]
    if 'annotations' not in data:       # test images: an empty list would say that they have no objects
        return data
    boxes = changes.of_items()
    data['annotations'] = [_changed_annotation(annotation, boxes.get(number))
                           for number, annotation in enumerate(data['annotations'])
                           if ('annotations', number) not in faulty and _index(annotation['image_id']) in stay
                           and boxes.get(number, True) is not None]
    return data


def _index(identifier):
    return str(int(identifier) if isinstance(identifier, float) else identifier)


def _changed_annotation(annotation, box):
    if box is None:
        return annotation
    x, y, width, height = annotation['bbox']
    changed = dict(annotation, bbox=to_bbox(box))
    if annotation.get('area') == width * height:        # else it is the area of a segmentation
        changed['area'] = changed['bbox'][2] * changed['bbox'][3]
    return changed


def _fix_csv(kept, changes, image_set, dataset_path, out, origin):
    path = find_lists(image_set, dataset_path)[0]
    with open(_new(path, dataset_path, out), 'w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows(_cleaned_rows(path, kept, changes, origin))
    _copy_classes(dataset_path, out)


def _cleaned_rows(path, kept, changes, origin):
    """Yield the rows of a CSV file without faulty ones; the first line and other columns stay as they are.

    An image that loses its last object gets a row with only its name.
    """
    columns, left = None, {picture.index: True for picture in kept}
    names_within = {picture.index: picture.name for picture in kept if os.path.isabs(picture.index)}
    boxes, width = changes.of_items(), len(PLAIN)
    for number, row in raw_rows(path):
        if columns is None:
            names = header(path, row)
            columns = dict(names or [(column, place) for place, column in enumerate(PLAIN)])
            width = len(row)
            if names:
                yield row
                continue
        index = row[columns['image']].replace('\\', '/') if columns['image'] < len(row) else ''
        if index in left and boxes.get(number, True) is not None:
            left[index] = False
            row[columns['image']] = names_within.get(index, row[columns['image']])
            yield _changed_row(row, columns, boxes.get(number), changes.sizes.get(index), origin)
    for index, without in left.items():
        if without:
            row = [''] * width
            row[columns['image']] = names_within.get(index, index)
            yield row


def _changed_row(row, columns, box, size, origin):
    values = dict(zip(CORNERS, (number_text(value + origin) for value in box or ())))
    values.update(zip(('width', 'height'), map(str, size or ())))
    row = list(row)
    for column, value in values.items():
        if columns.get(column, len(row)) < len(row):
            row[columns[column]] = value
    return row


def _fix_yolo(kept, changes, image_set, dataset_path, out, _):
    name = 'all' if image_set == '.' else image_set
    for picture in kept:
        check_name(picture, LOST_IN_LISTS, 'lists of images')
    write_lines(os.path.join(out, name + '.txt'), [picture.index for picture in kept])
    for picture in kept:
        if os.path.isfile(picture.source):
            size = changes.sizes.get(picture.index, picture.size)
            lines = _changed_lines(numbered_lines(picture.source, LABELS), changes.boxes.get(picture.index, {}), size)
            write_lines(_new(picture.source, dataset_path, out), lines)
    description = Description(dataset_path)
    names, shape = description.names(image_set), description.content.get('kpt_shape')
    if names:
        stated = ['kpt_shape: [%s]' % ', '.join(shape)] if isinstance(shape, list) else []
        write_lines(os.path.join(out, 'data.yaml'), stated + names_lines(names))


def _changed_lines(lines, boxes, size):
    for number, line in lines:
        if boxes.get(number):
            yield label_line(int(float(line.split()[0])), boxes[number], *size)
        elif number not in boxes:
            yield line


def _copy_classes(folder, out):
    source = inside(folder, CLASS_FILE)
    if existing(source):
        os.makedirs(out, exist_ok=True)
        shutil.copyfile(source, os.path.join(out, CLASS_FILE))


_WRITERS = {'PascalVOC': _fix_voc, 'coco': _fix_coco, 'csv': _fix_csv, 'yolo': _fix_yolo}
