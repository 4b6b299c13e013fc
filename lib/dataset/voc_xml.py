"""The XML file of one image in the format of PASCAL VOC: checked and read, and written."""
from __future__ import annotations

import math
import os
import re
from typing import NamedTuple, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from lib.dataset import faults as kinds
from lib.dataset.annotations import LARGEST, AnnotatedSet, Items, Labels, Picture, annotated_size, flags_of, read_number
from lib.dataset.faults import Faults
from lib.dataset.files import decoded, folders_below, meant, number_text, read_file, refuse_stand_in
from lib.errors import DatasetError
from lib.utils.limits import MAX_XML_BYTES, MAX_XML_TAG

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
_LINE_END = re.compile(r'\s*[\r\n]\s*')      # within a name: an editor has broken the line
_LONG_TAG = re.compile(rb'<[^<>]{%d}' % MAX_XML_TAG)
_ENCODING = re.compile(rb'<\?xml[^>]*encoding=["\']([A-Za-z0-9._-]+)')


class VocObject(NamedTuple):
    """An object as its XML file states it."""
    label: str
    box: tuple[float, float, float, float]   # x1, y1, x2, y2 as written: pixels counted from 1
    flags: int                               # the field of an item


def parse_xml(path: str) -> ElementTree.Element:
    """Parse an XML file; its root element, <annotation>. All tags lose their namespaces and become lower case.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: the file is not XML, declares entities, is too large, or has the structure of another tool.
    """
    if not os.path.lexists(path):
        folder, name = os.path.split(path)
        raise FileNotFoundError('%s: there is no such annotation file%s'
                                % (path, meant(folders_below(folder), name, ('.xml',))
                                   or '. Add it (without <object> where the image has none), or take the image off '
                                      'its list'))
    data = read_file(path, 'XML', MAX_XML_BYTES)
    refuse_stand_in(data, path, 'XML')
    if _LONG_TAG.search(data):
        raise DatasetError('%s: expected XML, found a tag of more than %d bytes; refused' % (path, MAX_XML_TAG))
    try:
        root = defusedxml.ElementTree.fromstring(data)
    except DefusedXmlException as error:
        raise DatasetError('%s: the file declares entities or external parts; refused (%s)' % (path, error)) from error
    except (ParseError, ValueError, LookupError) as error:
        raise DatasetError('%s: expected XML: %s%s' % (path, error, _advice(data, path))) from error
    for node in root.iter():
        if isinstance(node.tag, str):
            node.tag = node.tag.rpartition('}')[2].lower()
    if root.tag != 'annotation':
        raise DatasetError('%s: expected the XML of PASCAL VOC, whose root is <annotation>, found <%.50s>%s'
                           % (path, root.tag, _origin(root)))
    known = [node for child in root.findall('object') for node in child.iter('bndbox')]
    nested = sum(1 for _ in root.iter('object')) - len(root.findall('object'))
    for tag, number in (('object', nested), ('bndbox', sum(1 for _ in root.iter('bndbox')) - len(known))):
        if number:
            raise DatasetError('%s: expected each box in an <object> directly within <annotation>, found %d <%s> '
                               'elsewhere: this is the XML of another tool. Export it as PASCAL VOC'
                               % (path, number, tag))
    return root


def _advice(data, path):
    """The end of a message about a file that is not XML: what to do about its encoding."""
    named = _ENCODING.match(data[:200])
    if named and named.group(1).lower() not in (b'utf-8', b'utf8'):
        return '. Its encoding is %s: save it as UTF-8' % named.group(1).decode('ascii')
    try:
        decoded(data, path, 'XML')
    except DatasetError as error:
        return '. ' + str(error).partition('cannot be read: ')[2]
    return '. Fetch or export the file again'


def _origin(root):
    """The end of a message about another root element: which tool may have written it, and what to do."""
    if root.tag == 'annotations':
        return ' (of CVAT?). Export the data as PASCAL VOC'
    return ': the file of another tool. Export the data as PASCAL VOC'


def text_of(node: ElementTree.Element, tag: str) -> str:
    """The text of a child element; '' if there is none."""
    return (node.findtext(tag) or '').strip()


def label_of(node: ElementTree.Element) -> str:
    """The label of an <object>, on one line; '' if it has none."""
    return _LINE_END.sub(' ', text_of(node, 'name'))


def _number(node, tag):
    """The number in a child element; NaN if there is none."""
    try:
        return read_number(text_of(node, tag))
    except ValueError:
        return math.nan


def read_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """The width and height that an annotation states; None if it does not."""
    node = root.find('size')
    return None if node is None else annotated_size(text_of(node, 'width'), text_of(node, 'height'))


def read_object(path: str, number: int, node: ElementTree.Element) -> VocObject:
    """Read an <object>.

    Args:
        path, number: of the file, and of the object in it, for errors.
        node: the element.
    Raises:
        DatasetError: it does not have one name and one box of four numbers, or its flag cannot be read.
    """
    label, frames = label_of(node), node.findall('bndbox')
    for parent, tag in [(node, 'name'), (node, 'difficult')] + [(frame, tag) for frame in frames for tag in CORNERS]:
        if len(parent.findall(tag)) > 1:
            raise DatasetError('%s: object %d has several <%s>, expected one. Remove the others' % (path, number, tag))
    if not label:
        raise DatasetError('%s: object %d has no <name>, expected its class. Add it' % (path, number))
    box = tuple(_number(frame, tag) for frame in frames for tag in CORNERS)
    if len(box) != 4 or not all(abs(value) < LARGEST for value in box):          # false for NaN too
        texts = ', '.join('%s=%.20r' % (tag, text_of(frame, tag)) for frame in frames[:2] for tag in CORNERS)
        raise DatasetError('%s: object %d (%s) has no <bndbox> of four numbers %s, found %s. Correct it'
                           % (path, number, label, ', '.join(CORNERS), texts or 'no <bndbox>'))
    return VocObject(label, box, flags_of({child.tag: child.text for child in node if isinstance(child.tag, str)},
                                          '%s: object %d (%s)' % (path, number, label)))


def add_objects(root: ElementTree.Element, index: str, source: str, target: tuple[Labels, Items, int],
                faults: Faults) -> None:
    """Add the objects of an annotation to the items of a set; their boxes, in pixels counted from 0.

    Args:
        root: of the annotation.
        index: of its picture, for faults.
        source: path of the XML file, for errors.
        target: labels and items of the set, and the number of the picture in it.
        faults: get one for each object that cannot be read.
    """
    labels, items, picture = target
    for number, node in enumerate(root.findall('object')):
        found = faults.attempt(kinds.ITEM_FAULT, index, number, read_object, source, number, node)
        if found is not None:
            items.add(picture, number, labels.number(found.label), tuple(value - 1 for value in found.box), found.flags)


def annotation_xml(data: AnnotatedSet, picture: Picture) -> ElementTree.Element:
    """The <annotation> element of a picture with a size."""
    root = ElementTree.Element('annotation')
    _add(root, 'filename', picture.name.rpartition('/')[2])
    size = ElementTree.SubElement(root, 'size')
    for tag, value in zip(('width', 'height', 'depth'), picture.size + (3,)):
        _add(size, tag, str(value))
    for item in picture.items:
        node = ElementTree.SubElement(root, 'object')
        _add(node, 'name', data.label(item))
        _add(node, 'difficult', str(int(item['flags'] > 0)))
        add_box(ElementTree.SubElement(node, 'bndbox'), item['box'])
    return root


def add_box(node: ElementTree.Element, box: Sequence[float]) -> None:
    """Write a box, counted from 0, into a <bndbox> element, whose pixels count from 1; its other parts stay."""
    for tag, value in zip(CORNERS, box):
        child = node.find(tag)
        child = ElementTree.SubElement(node, tag) if child is None else child
        child.text = number_text(value + 1)


def _add(node, tag, text):
    ElementTree.SubElement(node, tag).text = text
