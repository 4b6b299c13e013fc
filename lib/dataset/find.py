"""Finds the annotations in a folder: their format and the image sets.

The likeliest is looked for first: data.yaml (YOLO), ImageSets/Main (VOC), json files (COCO), XML files beside the
pictures or in a folder of their own (VOC), csv files (often made of the XML files), text files of labels (YOLO), XML
files in sub-folders of a set.
"""
from __future__ import annotations

import contextlib
import logging
import os
import re
from typing import NamedTuple

from lib.dataset.coco import KEYPOINTS, ROBOFLOW
from lib.dataset.coco_json import read_json
from lib.dataset.csv_list import PLAIN, has_object, header, raw_rows
from lib.dataset.files import SAME_SETS, belongs, files_below, folders_below, names_of_set, numbered_lines, relative
from lib.dataset.voc_files import has_xml, has_xml_below, listed_sets, quietly, two_folders
from lib.dataset.voc_xml import parse_xml
from lib.dataset.yolo import LABELS, read_line
from lib.dataset.yolo_files import DESCRIPTIONS, Description, find_images, label_paths
from lib.errors import DatasetError
from lib.utils.console import listed
from lib.utils.image_file import IMAGE_EXTENSIONS

logger = logging.getLogger(__name__)

WHOLE = '.'                 # name of the image set that is the folder itself
PREPARED = 'prepared'       # first word in the names of the lists that `rfcn prepare` makes of other annotations
_OF_PREPARE = re.compile(PREPARED + r'_(train|val|test)\.csv(\.tmp-\d+\.csv)?')
_CHUNK = 2 ** 20            # bytes of a json file that are searched at a time


class Found(NamedTuple):
    """A data set in a folder."""
    format: str                     # a key of lib.dataset.DATASETS
    image_sets: tuple[str, ...]     # names as its reader takes them


def find_dataset(folder: str) -> Found:
    """The likeliest data set of a folder.

    Raises:
        FileNotFoundError: there is no such folder.
        DatasetError: there are no annotations of a known format, or data.yaml or a list cannot be read.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError('%s: there is no such folder; expected one with images and annotations'
                                % os.path.abspath(folder))
    found = _search(folder)
    if not found:
        raise DatasetError('%s: found no annotations. Expected XML files (VOC, LabelImg), a json file with images and '
                           'annotations (COCO), a csv file with the columns image, x1, y1, x2, y2, class, or data.yaml '
                           'or text files of labels (YOLO)%s' % (os.path.abspath(folder), _reason(folder)))
    return found


def _search(folder):
    """The likeliest data set of a folder, or None."""
    for name, find in (('yolo', _described), ('PascalVOC', _listed), ('coco', _json_files), ('PascalVOC', _xml_folders),
                       ('csv', _csv_files), ('yolo', _label_folders), ('PascalVOC', _xml_below)):
        sets = find(folder)
        if sets:
            return Found(name, tuple(dict.fromkeys(sets)))
    return None


def _reason(folder):
    """The end of that message: where a data set or a file of annotations is, and why it is not taken; '' if nowhere."""
    found = [place for place in folders_below(folder)[1:] if _holds_dataset(place)]
    highest = min((place.count(os.sep) for place in found), default=0)
    found = [place for place in found if place.count(os.sep) == highest]
    if found:
        return '. There are some in %s: give that folder%s' % (
            found[0], '' if len(found) == 1 else ', or put the sets (%s) where docs/own_data.md says'
            % listed([relative(place, folder) for place in found]))
    stems = {_stem(path) for path in files_below(folder, IMAGE_EXTENSIONS, quietly)}
    for ending, read, place in _PLACES:
        for path in files_below(folder, (ending,), quietly):
            if ending != '.txt' or {_stem(path), _stem(_stem(path))} & stems:
                try:
                    read(path)
                except (DatasetError, FileNotFoundError) as error:
                    return '. ' + str(error)
                return '. %s is there: expected %s' % (path, place if stems else 'pictures %s with it' % ' '.join(
                    IMAGE_EXTENSIONS))
    return ''


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _holds_dataset(folder):
    """Whether a folder holds a data set, one with a faulty data.yaml too."""
    try:
        return bool(_search(folder))
    except DatasetError:
        return True


def _head_of(path):
    """The first line of a CSV file, and the columns that it names or None."""
    _, row = next(raw_rows(path), (0, []))
    return row, header(path, row)


def _check_labels(path):
    """Raise a DatasetError unless the first line of a file is one of YOLO's labels."""
    for number, line in numbered_lines(path, LABELS)[:1]:
        read_line(path, number, line, (1, 1))


# Endings of files of annotations, how they are read, and where or how they are expected.
_PLACES = (('.xml', parse_xml, 'it beside its picture, or in a folder Annotations beside JPEGImages or images'),
           ('.json', read_json, "the keys 'images', 'annotations' and 'categories' (COCO), in the folder itself or in "
                                'its folder annotations'),
           ('.csv', _head_of, "lines 'image,x1,y1,x2,y2,class' or a first line that names the columns, in the folder "
                              'itself or in its folder annotations'),
           ('.txt', _check_labels, 'the labels of a.jpg in a.txt beside it, or in a folder labels beside images'))


def role_of(image_set: str) -> str | None:
    """'train', 'val' or 'test' for an image set that is named so, with or without a year, or train_set; else None."""
    names = names_of_set(re.sub(r'^\d{4}_|[-_ ]?(\d{4}|set|images|data)$', '', image_set.lower()))
    return next((same[0] for same in SAME_SETS if same[0] in names), None)


def _folders(folder):
    """The names of the folders in a folder, sorted, without those that never belong to it."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and belongs(entry.name)) \
        if os.path.isdir(folder) else []


def _files(folder, ending):
    return sorted(entry.name for entry in os.scandir(folder)
                  if entry.is_file() and belongs(entry.name) and entry.name.lower().endswith(ending)) \
        if os.path.isdir(folder) else []


def _described(folder) -> list[str]:
    """The image sets that data.yaml states, or else those of the folders around it."""
    if not any(os.path.isfile(os.path.join(folder, name)) for name in DESCRIPTIONS):
        return []
    description, stated = Description(folder), {}
    for names in SAME_SETS:
        try:
            stated[names[0]] = description.entries(names[0])
        except DatasetError as error:
            if names[0] == 'train':
                raise
            logger.warning('%s. The set is left out', error)    # Roboflow states sets that it does not write
    return _labelled(folder, stated) or _label_folders(folder) or [WHOLE]


def _listed(folder) -> list[str]:
    """The lists of ImageSets/Main, without those of a single class: cat_train is one if there is a list train."""
    names = listed_sets(folder)
    known = set(map(os.path.split, names))      # day/train, with day/cat_train beside it

    def is_of_class(place, name):
        return any((place, name[end + 1:]) in known for end, letter in enumerate(name) if letter == '_')
    return _named(folder, [name for name in names if not is_of_class(*os.path.split(name))])


def _json_files(folder) -> list[str]:
    found = []
    for place in ('annotations', ''):
        for name in _files(os.path.join(folder, place), '.json'):
            if _is_coco(os.path.join(folder, place, name)):
                found.append(re.sub('^(instances_|%s)' % KEYPOINTS, '', name[:-5]))
    return _named(folder, found + [name for name in _folders(folder)
                                   if os.path.isfile(os.path.join(folder, name, ROBOFLOW))])


def _named(folder, found):
    """The sets that count. Where one of them has a name of a training set, those with names of sets: predictions beside
    train is none. Else all that were found: trainval beside test is one.
    """
    named = [name for name in found if role_of(name)]
    if 'train' not in map(role_of, named):
        return found
    others = [name for name in found if name not in named]
    if others:
        logger.warning('%s: %s: not among the sets, which are %s', folder, listed(others), listed(named))
    return named


def _is_coco(path):
    """Whether a json file has the keys of COCO's annotations; other json files, such as detections, do not."""
    wanted, tail = {b'"images"', b'"annotations"', b'"categories"'}, b''
    with open(path, 'rb') as file:
        while wanted:
            chunk = file.read(_CHUNK)
            if not chunk:
                return False
            wanted = {key for key in wanted if key not in tail + chunk}
            tail = chunk[-32:]
    return True


@contextlib.contextmanager
def _other_files_aside():
    """Pass over a file of something else, such as another table. One that the system does not give may be a set's."""
    try:
        yield
    except DatasetError as error:
        if isinstance(error.__cause__, OSError):
            raise


def _csv_files(folder) -> list[str]:
    found = []
    for place in ('', 'annotations'):
        for name in _files(os.path.join(folder, place), '.csv'):
            if _OF_PREPARE.fullmatch(name):
                continue
            with _other_files_aside():
                row, columns = _head_of(os.path.join(folder, place, name))
                if columns or _is_box(row):
                    found.append(name[:-4])
    found += [name for name in _folders(folder) if os.path.isfile(os.path.join(folder, name, '_annotations.csv'))]
    return _named(folder, found)


def _is_box(row):
    """Whether the first line of a list without a header is the name of an image, alone or with a box and a class."""
    if len(row) != len(PLAIN) or not row[0].lower().endswith(IMAGE_EXTENSIONS):
        return False
    with contextlib.suppress(ValueError):
        return not has_object(dict(zip(PLAIN, row))) or bool([float(cell) for cell in row[1:5]] and row[5])
    return False


def _xml_folders(folder) -> list[str]:
    apart = two_folders(folder)
    if has_xml(folder):
        _note_joined(folder, folder, 'pictures lie in the folder itself')
        return [WHOLE]
    if apart and files_below(os.path.join(folder, apart[0]), ('.xml',)):
        _note_joined(folder, os.path.join(folder, apart[1]), 'there are no lists in ImageSets/Main')
        return [WHOLE]
    return _xml_below(folder) if any(has_xml(os.path.join(folder, name)) for name in _folders(folder)) else []


def _xml_below(folder) -> list[str]:
    """The folders of XML files and pictures; those that are called like sets may have them in sub-folders alone."""
    return _named(folder, [name for name in _folders(folder)
                           if (has_xml_below if role_of(name) else has_xml)(os.path.join(folder, name))])


def _note_joined(folder, images, reason):
    """Warn of folders with names of sets, in the folder of images, and of lists, when all pictures are one set."""
    named = [name for name in _folders(images) if role_of(name)]
    if named:
        logger.warning('%s: %s, so that all are one set, those of %s too', folder, reason, listed(named))
    lists = [place + name for place in ('', 'ImageSets/')
             for name in _files(os.path.join(folder, place), '.txt') if role_of(name[:-len('.txt')])]
    if lists:
        logger.warning('%s: %s, so that all are one set; lists elsewhere do not count: %s',
                       folder, reason, listed(lists))


def _label_folders(folder) -> list[str]:
    """The image sets of pictures with labels: by lists (train.txt), by folders (images/train, train/images, train); or
    the folder itself.
    """
    if not _has_labels(folder):
        return []
    names = _folders(os.path.join(folder, 'images'))
    of_images = {name: ['images/' + name] for name in (_named(folder, names) if any(map(role_of, names)) else ())}
    named = of_images or {name: [name] for name in _folders(folder) if role_of(name)}
    named.update((name, [name + '.txt']) for name in _image_lists(folder))
    return _labelled(folder, named) or [WHOLE]


def _image_lists(folder):
    """The names of the text files in a folder that are called like sets and list pictures, as those of Darknet."""
    found = []
    for name in [name[:-4] for name in _files(folder, '.txt') if name.endswith('.txt') and role_of(name[:-4])]:
        with _other_files_aside():
            images = find_images(name, folder, Description(folder), quietly)
            found += [name] * any(os.path.isfile(os.path.join(folder, path)) for path, _ in images)
    return found


def _labelled(folder, places):
    """The image sets of which an image has labels; all of them if none has. `places`: set -> its folders and lists."""
    places = {name: entries for name, entries in places.items() if entries}
    found = [name for name, entries in places.items()
             if any(os.path.isfile(os.path.join(folder, entry)) or _has_labels(folder, entry) for entry in entries)]
    for name in [name for name in places if found and name not in found]:
        logger.warning('%s: none of the images of %s has labels: this set is left out', folder, name)
    return found or list(places)


def _has_labels(folder, place=''):
    """Whether a picture in a place of the data set's folder has a file of labels."""
    for path in files_below(os.path.join(folder, place), IMAGE_EXTENSIONS):
        name = relative(path, folder)
        if any(os.path.isfile(os.path.join(folder, labels)) for labels in label_paths(name)):
            return True
    return False
