"""Reads the annotation of one image in the XML format of PASCAL VOC."""
import math
from typing import List, NamedTuple, Optional, Tuple
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from lib.dataset.imdb import annotated_size
from lib.errors import DatasetError

LARGEST = 1e9               # a larger number is no pixel
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


class VocObject(NamedTuple):
    """An annotated object."""
    label: str
    box: Tuple[float, float, float, float]   # x1, y1, x2, y2 as written: pixels counted from 1
    difficult: bool


class Annotation(NamedTuple):
    """An annotated image."""
    filename: str
    size: Optional[Tuple[int, int]]          # width, height; None where the file does not tell
    objects: List[VocObject]


def read_annotation(path):
    """Read an annotation file. Entities are not expanded and nothing outside the file is opened.

    Args:
        path: file; its root has children `filename`, `size` and any number of `object`s.
    Returns:
        Annotation.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is no XML, or declares entities, or an object has no name or no box of four numbers.
    """
    root = parse(path)
    objects = [read_object(path, number, node) for number, node in enumerate(root.findall('object'))]
    return Annotation(text_of(root, 'filename'), read_size(root), objects)


def parse(path):
    """The root of an XML file; raises as `read_annotation`."""
    try:
        return defusedxml.ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such annotation file' % path) from None
    except DefusedXmlException as error:
        raise DatasetError('%s: the file declares entities or external parts; refused (%s)' % (path, error)) from error
    except (ParseError, OSError, ValueError, LookupError) as error:
        raise DatasetError('%s: expected XML: %s' % (path, error)) from error


def text_of(node, tag):
    """The text of a child, '' where there is none."""
    return (node.findtext(tag) or '').strip()


def _number(node, tag):
    """The number in a child, NaN where there is none."""
    try:
        return float(text_of(node, tag))
    except ValueError:
        return math.nan


def read_size(root):
    """(width, height) of an annotation; None where it does not tell."""
    node = root.find('size')
    if node is None:
        return None
    width, height = _number(node, 'width'), _number(node, 'height')
    return annotated_size(width, height)


def read_object(path, number, node):
    """VocObject of an <object>, the one of that number in the file. Raises a DatasetError if it has no name or no box.
    """
    label, frame = text_of(node, 'name'), node.find('bndbox')
    if not label:
        raise DatasetError('%s: object %d has no <name>' % (path, number))
    box = tuple(math.nan if frame is None else _number(frame, tag) for tag in _CORNERS)
    if not all(abs(value) < LARGEST for value in box):          # false for NaN too
        raise DatasetError('%s: object %d (%s) has no <bndbox> of four numbers %s'
                           % (path, number, label, ', '.join(_CORNERS)))
    return VocObject(label, box, text_of(node, 'difficult').lower() in ('1', 'true'))
