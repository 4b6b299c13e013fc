"""Reads and writes data sets in the layout of PASCAL VOC. voc_files.py finds their files, voc_xml.py reads an XML file.

There is an XML file for each image, and a text file that lists the images of each set (ImageSets/Main). Or each set has
a folder with pictures and XML files side by side, as Roboflow and LabelImg write them.
"""
from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from pathlib import PureWindowsPath
from typing import Sequence
from xml.etree import ElementTree

from lib.dataset import faults as kinds
from lib.dataset.annotations import CROWD, IGNORED, AnnotatedSet, Items, Labels, Picture, no_items
from lib.dataset.faults import Faults
from lib.dataset.files import (
    CLASS_FILE,
    HIDDEN,
    existing,
    files_below,
    folders_below,
    inside,
    is_inside,
    meant,
    relative,
    set_name,
    write_lines,
)
from lib.dataset.names import NO_TEXT, check_name, check_stems, class_names
from lib.dataset.voc_files import EXTENSIONS, Flat, Images, Unlisted, find_layout, has_xml, quietly, xml_name
from lib.dataset.voc_xml import add_objects, annotation_xml, label_of, parse_xml, read_size, text_of
from lib.errors import DatasetError
from lib.utils.console import counted
from lib.utils.image_file import IMAGE_EXTENSIONS

# Names of images that are not read back: the stems stand in lists, on lines without blanks at their ends.
_LOST_NAMES = re.compile(NO_TEXT + '|' + HIDDEN + r'|^\s|\s$|\s\.[^.]*$')
VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
               'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')


def read_voc(image_set: str, dataset_path: str, classes: Sequence[str] | str | None = None, *,
             sets: Sequence[str] | None = None) -> AnnotatedSet:
    """Read an image set.

    Args:
        image_set: '2007_trainval' for dataset_path/VOC2007/{Annotations,ImageSets/Main,JPEGImages}; 'trainval' if these
            three folders lie in dataset_path itself, or if dataset_path/trainval holds pictures and XML files. '.' is
            dataset_path itself, with pictures and XML files side by side, or with a folder for each (Annotations
            and JPEGImages or images; labels and data of FiftyOne), whatever is listed.
        dataset_path: folder of the data set.
        classes: class names, or the path of a text file with a name per line. None takes the 20 classes of VOC for a
            year's folder; else those of classes.txt in the folder; else the labels of `sets`, sorted, so that every one
            of them has the same classes.
        sets: names of the image sets that are used together; None: all lists in ImageSets/Main, or all folders.
    Raises:
        FileNotFoundError: there is no such list, folder, image or annotation.
        DatasetError: there is no class.
    """
    layout, faults = find_layout(image_set, dataset_path), Faults()
    if not os.path.isdir(layout.annotations):
        raise FileNotFoundError('%s: there is no such folder; expected an XML file for each image' % layout.annotations)
    index, images = _index_of(layout, faults), Images(layout)
    annotated = any(os.path.isfile(os.path.join(layout.annotations, xml_name(layout.annotations, stem)))
                    for stem in index)
    labels, items, pictures = Labels(), Items(), []
    for stem in index:
        pictures.append(_read_picture(layout, images, stem, annotated, (labels, items, len(pictures)), faults))
    if not pictures:
        raise FileNotFoundError('%s: expected an image or an annotation, found none' % layout.folder)
    if classes is None:
        classes = _default_classes(layout, labels, sets)
        if not classes and not annotated:
            raise FileNotFoundError(_nothing_annotated(layout, index[0]))
        if not classes and faults.reason():
            raise DatasetError(faults.reason())
    classes = class_names(classes, layout.annotations)
    names, places = labels.resolve(classes)
    pictures = [picture._replace(items=found)
                for picture, found in zip(pictures, items.of_pictures(len(pictures), places))]
    _note_beside(layout, faults)
    if annotated:
        _note_bare(layout, pictures, faults)
    return AnnotatedSet(set_name(layout.dataset_path, layout.image_set), layout.image_set, 'PascalVOC', names,
                        len(classes), pictures, faults, 'object %d', annotated, bool(layout.year))


def _index_of(layout, faults):
    """The names of a set's images, each once; names that are listed several times are noted."""
    counts = Counter(layout.index(faults.noter(kinds.LINK)))
    for stem, count in counts.items():
        if count > 1:
            faults.note(kinds.LISTED_TWICE, stem, None, '%s: lists %s %d times; it is taken once'
                        % (layout.list_path, stem, count))
    return list(counts)


def _nothing_annotated(layout, first):
    """The message about a set none of whose images has an annotation; `first` is the first one on its list."""
    stem, extension = os.path.splitext(first.replace('\\', '/'))
    name = (stem if extension.lower() in EXTENSIONS else stem + extension) + '.xml'
    return '%s: there is no such annotation file, nor one of any other name in %s%s' % (
        os.path.join(layout.annotations, first + '.xml'), layout.list_path,
        meant(folders_below(layout.annotations), name, ('.xml',)) or '. Correct the names, or add the annotations')


def _read_picture(layout, images, index, annotated, target, faults):
    """The Picture of an image. Its items are added to `target`: Labels, Items, and the number of the picture."""
    source = faults.attempt(kinds.NAME, index, None, _source_of, layout, index)
    if source is None:
        return Picture(index, index, '', '', None, no_items())
    unlabelled = not annotated or isinstance(layout, Flat) and not os.path.exists(source)
    root = None if unlabelled else faults.attempt(kinds.ANNOTATION, index, None, parse_xml, source)
    filename, size = '', None
    if root is not None:
        filename, size = text_of(root, 'filename'), read_size(root)
        add_objects(root, index, source, target, faults)
    found = faults.find(kinds.IMAGE, index, source, images.find, index, filename)
    name = relative(found, layout.images) if found else index
    return Picture(index, name, found, source, size, no_items())


def _source_of(layout, index):
    """The path of the XML file of an image. Raises a DatasetError if its name is a path out of the folder."""
    name = index.replace('\\', '/')
    if not is_inside(layout.annotations, name) or PureWindowsPath(name).is_absolute():
        raise DatasetError('%s: names an image that lies elsewhere: the name %r leads out of this folder; refused%s'
                           % (layout.list_path, index, meant(folders_below(layout.images), name)
                              or '. Copy it into the folder, and name it as it is called there'))
    return inside(layout.annotations, xml_name(layout.annotations, index))


def _default_classes(layout, labels, sets):
    """The classes of a data set for which none are given: names, or the path of a file; [] if there are none."""
    if layout.year:
        return VOC_CLASSES
    for folder in (layout.folder, layout.dataset_path):
        if existing(os.path.join(folder, CLASS_FILE)):
            return os.path.join(folder, CLASS_FILE)
    return sorted(set(labels.names).union(*(_labels_of(other, layout) for other in _layouts_in_use(layout, sets))))


def _layouts_in_use(layout, sets):
    """The layouts of the image sets `sets` that are there; those of all sets if none are named."""
    found = [] if sets else layout.all_sets()
    for name in sets or ():
        with contextlib.suppress(DatasetError, FileNotFoundError):
            found.append(find_layout(name, layout.dataset_path))
    return found


def _labels_of(other, layout):
    """The labels of another image set; what of it cannot be read is left out without a message."""
    try:
        index = set(other.index()) if other.image_set != layout.image_set else ()
    except (DatasetError, FileNotFoundError):
        return set()
    labels = set()
    for stem in index:
        path = os.path.join(other.annotations, xml_name(other.annotations, stem))
        with contextlib.suppress(DatasetError, FileNotFoundError):
            labels.update(map(label_of, parse_xml(path).findall('object')))
    return labels - {''}


def _note_beside(layout, faults):
    """Add a fault if XML files are in no list of images, or lie beside the folders that are read: they do not count."""
    if isinstance(layout, Flat):
        return
    if isinstance(layout, Unlisted) and has_xml(layout.folder):
        faults.note(kinds.BESIDE, '', None, '%s: pictures and XML files lie in this folder itself too: not used. Move '
                    'them to the others, which are in %s and %s' % (layout.folder, layout.annotations, layout.images))
    listed = set()
    for other in layout.all_sets():
        with contextlib.suppress(DatasetError, FileNotFoundError):
            listed.update(other.index())
    beside = [path for path in files_below(layout.annotations, ('.xml',), quietly)
              if relative(path, layout.annotations)[:-4] not in listed]
    if beside:
        first = os.path.basename(beside[0])
        text = '%s is in no list of images and does not count' % first if len(beside) == 1 else \
            '%d XML files are in no list of images and do not count, such as %s' % (len(beside), first)
        faults.note(kinds.BESIDE, '', None, '%s: %s' % (layout.annotations, text))


def _note_bare(layout, pictures, faults):
    """Add a fault if pictures have no XML file, where no list says which pictures there are."""
    if isinstance(layout, Flat):
        bare = [picture.path for picture in pictures if picture.path and not os.path.exists(picture.source)]
        kind, text = kinds.UNLABELLED, 'without an XML file: taken as images without objects'
    else:
        taken = {picture.path for picture in pictures}
        bare = [path for path in files_below(layout.images, IMAGE_EXTENSIONS, quietly) if path not in taken] \
            if isinstance(layout, Unlisted) else []
        kind, text = kinds.BESIDE, 'without an XML file: not used'
    labelled = [path for path in bare if os.path.isfile(os.path.splitext(path)[0] + '.txt')]
    if labelled:        # LabelImg writes both formats
        text += '; %d of them with a text file, which does not count (labels of YOLO?)' % len(labelled)
    if bare:
        faults.note(kind, '', None, '%s: %s %s, such as %s' % (layout.images, counted(len(bare), 'picture'), text,
                                                               relative((labelled or bare)[0], layout.images)))


def write_voc(sets: dict[str, AnnotatedSet], out: str) -> tuple[list[str], dict[str, str]]:
    """Write Annotations/*.xml, ImageSets/Main/<set>.txt and classes.txt. Crowds and ignored objects become difficult.

    Args:
        sets: image set -> its annotations; the pictures have sizes.
        out: folder.
    Returns:
        lost: sentences about what the format cannot state.
        folders: image set -> folder for its images.
    Raises:
        DatasetError: two pictures would have the same annotation file, or a name would not be read back.
    """
    pictures = [picture for data in sets.values() for picture in data.pictures]
    for picture in pictures:
        check_name(picture, _LOST_NAMES, "VOC's lists and XML")
    check_stems(pictures, 'Annotations')
    lost = Counter()
    for image_set, data in sets.items():
        for picture in data.pictures:
            path = os.path.join(out, 'Annotations', _stem(picture) + '.xml')
            os.makedirs(os.path.dirname(path), exist_ok=True)
            ElementTree.ElementTree(annotation_xml(data, picture)).write(path, encoding='utf-8')
        flags = data.table()[0]['flags']
        lost['crowd'] += int((flags & CROWD > 0).sum())
        lost['ignored object'] += int((flags & IGNORED > 0).sum())
        write_lines(os.path.join(out, 'ImageSets', 'Main', image_set + '.txt'), map(_stem, data.pictures))
        write_lines(os.path.join(out, CLASS_FILE), data.classes)
    return (['%s became difficult: VOC has no %ss' % (counted(count, name), name)
             for name, count in lost.items() if count],
            {image_set: os.path.join(out, 'JPEGImages') for image_set in sets})


def _stem(picture):
    return os.path.splitext(picture.name)[0]
