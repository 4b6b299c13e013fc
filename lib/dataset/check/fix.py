"""Writes a cleaned copy of annotations in their own format. What is not changed stays as it is."""
import csv
import json
import os
import shutil
from xml.etree import ElementTree

from lib.dataset.check.fix_coco import cleaned_json
from lib.dataset.check.fix_csv import cleaned_rows
from lib.dataset.coco import find_annotations
from lib.dataset.convert_common import write_lines
from lib.dataset.csv_list import find_list
from lib.dataset.imdb import CLASS_FILE, inside
from lib.dataset.pascal_voc import VOC_CLASSES, PascalVOC
from lib.dataset.read_yolo import numbered_lines
from lib.dataset.voc_xml import parse
from lib.dataset.write_voc import add_box
from lib.dataset.write_yolo import label_line, names_lines
from lib.dataset.yolo_files import read_description, read_names
from lib.errors import DatasetError


def write_fixed(data, changes, image_set, dataset_path, out):
    """Write the annotations of a set to another folder, with links to the images that are kept.

    Args:
        data: AnnotatedSet. changes: Changes. image_set, dataset_path: what it was read from. out: folder.
    Raises:
        DatasetError: the set is there already.
    """
    kept = [picture for picture in data.pictures if picture.index not in changes.pictures]
    _WRITERS[data.format](kept, changes, image_set, dataset_path, out)
    for picture in kept:
        target = os.path.join(out, os.path.relpath(picture.path, dataset_path))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.symlink(os.path.abspath(picture.path), target)


def _new(path):
    """The path, its folder made. DatasetError if there is such a file."""
    if os.path.exists(path):
        raise DatasetError('%s: is there already; expected a folder without the set. Give another one' % path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def _same_place(path, dataset_path, out):
    return os.path.join(out, os.path.relpath(path, dataset_path))


def _fix_voc(kept, changes, image_set, dataset_path, out):
    layout = PascalVOC(image_set, '', dataset_path, classes=VOC_CLASSES)    # for its paths; its classes are not used
    folder = _same_place(layout.folder, dataset_path, out)
    write_lines(_new(_same_place(layout.list_path(), dataset_path, out)), [picture.index for picture in kept])
    for picture in kept:
        target = _same_place(picture.source, dataset_path, out)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        boxes, size = changes.boxes.get(picture.index, {}), changes.sizes.get(picture.index)
        if boxes or size:
            ElementTree.ElementTree(_changed_xml(parse(picture.source), boxes, size)).write(target, encoding='utf-8')
        else:
            shutil.copyfile(picture.source, target)
    _copy_classes(layout.folder, folder)


def _changed_xml(root, boxes, size):
    for number, node in enumerate(root.findall('object')):
        if number in boxes and boxes[number] is None:
            root.remove(node)
        elif number in boxes:
            add_box(node.find('bndbox'), boxes[number])
    for tag, value in zip(('width', 'height'), size or ()):
        root.find('size').find(tag).text = str(value)
    return root


def _fix_coco(kept, changes, image_set, dataset_path, out):
    path = find_annotations(image_set, dataset_path)
    with open(_new(_same_place(path, dataset_path, out)), 'w', encoding='utf-8') as file:
        json.dump(cleaned_json(path, kept, changes), file)


def _fix_csv(kept, changes, image_set, dataset_path, out):
    path = find_list(image_set, dataset_path)
    with open(_new(_same_place(path, dataset_path, out)), 'w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows(cleaned_rows(path, kept, changes))
    _copy_classes(dataset_path, out)


def _fix_yolo(kept, changes, image_set, dataset_path, out):
    write_lines(_new(os.path.join(out, image_set + '.txt')), [picture.index for picture in kept])
    for picture in kept:
        if os.path.isfile(picture.source):
            lines = _changed_lines(numbered_lines(picture.source), changes.boxes.get(picture.index, {}), picture.size)
            write_lines(_same_place(picture.source, dataset_path, out), lines)
    names = read_names(dataset_path, read_description(dataset_path))
    if names:
        write_lines(os.path.join(out, 'data.yaml'), names_lines(names))


def _changed_lines(lines, boxes, size):
    for number, line in lines:
        if boxes.get(number):
            yield label_line(int(line.split()[0]), boxes[number], *size)
        elif number not in boxes:
            yield line


def _copy_classes(folder, out):
    source = inside(folder, CLASS_FILE)
    if os.path.isfile(source):
        shutil.copyfile(source, os.path.join(out, CLASS_FILE))


_WRITERS = {'PascalVOC': _fix_voc, 'coco': _fix_coco, 'csv': _fix_csv, 'yolo': _fix_yolo}
