"""Writes annotations in the layout of PASCAL VOC."""
import os
from xml.etree import ElementTree

from lib.dataset.convert_common import check_stems, number_text, write_lines
from lib.dataset.imdb import CLASS_FILE

_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def write_voc(sets, out):
    """Write sets: Annotations/*.xml, ImageSets/Main/<set>.txt, classes.txt. Crowds become difficult objects.

    Args:
        sets: dict of image set -> AnnotatedSet whose pictures have sizes.
        out: folder.
    Returns:
        list of str, what the format cannot say and is lost; image set -> folder of its images.
    Raises:
        DatasetError: two pictures would have the same annotation file.
    """
    check_stems([picture for data in sets.values() for picture in data.pictures], 'Annotations')
    crowds = 0
    for image_set, data in sets.items():
        for picture in data.pictures:
            crowds += sum(item.crowd for item in picture.items)
            path = os.path.join(out, 'Annotations', _stem(picture) + '.xml')
            os.makedirs(os.path.dirname(path), exist_ok=True)
            ElementTree.ElementTree(annotation(picture)).write(path, encoding='utf-8')
        write_lines(os.path.join(out, 'ImageSets', 'Main', image_set + '.txt'), map(_stem, data.pictures))
        write_lines(os.path.join(out, CLASS_FILE), data.classes)
    lost = ['%d crowds are difficult objects now: VOC has no crowds' % crowds] if crowds else []
    return lost, {image_set: os.path.join(out, 'JPEGImages') for image_set in sets}


def annotation(picture):
    """The XML element of a picture."""
    root = ElementTree.Element('annotation')
    _add(root, 'filename', os.path.basename(picture.name))
    size = ElementTree.SubElement(root, 'size')
    for tag, value in zip(('width', 'height', 'depth'), picture.size + (3,)):
        _add(size, tag, str(value))
    for item in picture.items:
        node = ElementTree.SubElement(root, 'object')
        _add(node, 'name', item.label)
        _add(node, 'difficult', str(int(item.difficult or item.crowd)))
        add_box(ElementTree.SubElement(node, 'bndbox'), item.box)
    return root


def add_box(node, box):
    """Write a box, counted from 0, into a <bndbox>, whose numbers count from 1."""
    for tag, value in zip(_CORNERS, box):
        child = node.find(tag)
        child = ElementTree.SubElement(node, tag) if child is None else child
        child.text = number_text(value + 1)


def _add(node, tag, text):
    ElementTree.SubElement(node, tag).text = text


def _stem(picture):
    return os.path.splitext(picture.name)[0]
