"""Annotations in the layout of PASCAL VOC, as they stand there."""
import os
from collections import Counter

from lib.dataset import annotated as kinds
from lib.dataset.annotated import AnnotatedSet, Faults, Item, Picture, class_names, existing, label_finder
from lib.dataset.pascal_voc import VOC_CLASSES, PascalVOC
from lib.dataset.voc_xml import parse, read_object, read_size, text_of
from lib.errors import DatasetError


def read_voc(image_set, dataset_path, classes=None):
    """Read a set.

    Args:
        image_set, dataset_path, classes: as of `PascalVOC`.
    Returns:
        AnnotatedSet.
    Raises:
        FileNotFoundError, DatasetError: there is no list of images, or it is empty.
    """
    layout = PascalVOC(image_set, '', dataset_path, classes=VOC_CLASSES)    # for its paths; its classes are not used
    faults = Faults()
    for index, count in Counter(layout.read_index()).items():
        if count > 1:
            faults.note(kinds.LISTED_TWICE, index, None, '%s: %s stands there %d times; it is taken once'
                        % (layout.name, index, count))
    pictures = [_read_picture(layout, index, faults) for index in layout.image_set_index]
    if classes is None:
        classes = VOC_CLASSES if layout.year else _labels(layout, pictures)
    classes = class_names(classes, layout.name)
    find = label_finder(classes)
    pictures = [picture._replace(items=[item._replace(label=find(item.label)) for item in picture.items])
                for picture in pictures]
    return AnnotatedSet(layout.name, 'PascalVOC', classes, pictures, faults, 'object %d')


def _read_picture(layout, index, faults):
    source = faults.attempt(kinds.NAME, index, None, layout.annotation_path, index) or ''
    root = faults.attempt(kinds.ANNOTATION, index, None, parse, source) if source else None
    items, filename, size = [], '', None
    if root is not None:
        filename, size = text_of(root, 'filename'), read_size(root)
        for number, node in enumerate(root.findall('object')):
            item = faults.attempt(kinds.ITEM, index, number, read_object, source, number, node)
            if item is not None:
                items.append(Item(number, item.label, tuple(value - 1 for value in item.box), item.difficult))
    path = faults.attempt(kinds.IMAGE, index, None, layout.image_path, index, filename) if source else ''
    name = os.path.relpath(path, os.path.join(layout.folder, 'JPEGImages')).replace(os.sep, '/') if path else index
    return Picture(index, name, existing(path or ''), source, size, items)


def _labels(layout, pictures):
    """All labels of the data set, as `PascalVOC` finds them; of this set where some annotations cannot be read."""
    try:
        return PascalVOC(layout.image_set, '', layout.folder).classes[1:]
    except (DatasetError, FileNotFoundError):
        labels = sorted({item.label for picture in pictures for item in picture.items})
        if not labels:
            raise
        return labels
