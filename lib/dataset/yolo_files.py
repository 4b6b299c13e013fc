"""Finds the images, labels and class names of a data set of YOLO text files, by data.yaml and by its folders."""
from __future__ import annotations

import contextlib
import logging
import os
import re
from typing import Callable

from lib.dataset.files import (
    CLASS_FILE,
    existing,
    files_below,
    inside,
    is_inside,
    names_of_set,
    numbered_lines,
    read_lines,
    read_text,
    relative,
)
from lib.errors import DatasetError
from lib.utils.image_file import IMAGE_EXTENSIONS
from lib.utils.limits import MAX_YAML_BYTES
from lib.utils.safe_load import parse_yaml

logger = logging.getLogger(__name__)

DESCRIPTIONS = ('data.yaml', 'dataset.yaml', 'data.yml')
NAME_LISTS = (CLASS_FILE, 'obj.names', 'labels.txt', '_darknet.labels')      # the last two: MakeSense, Roboflow
_WHOLE = re.compile('[0-9]{1,9}')


class Description:
    """The content of data.yaml. All values are read as text, so that `yes` stays yes and `1.0` stays 1.0.

    Args:
        dataset_path: folder of the data set. Without a data.yaml in it the description is empty.
    Raises:
        FileNotFoundError: there is no such folder. DatasetError: the file cannot be read.
    """

    def __init__(self, dataset_path: str):
        if not os.path.isdir(dataset_path):
            raise FileNotFoundError('%s: there is no such folder; expected a data set of YOLO text files'
                                    % os.path.abspath(dataset_path))
        self.folder = dataset_path
        self.path = next((path for path in (os.path.join(dataset_path, name) for name in DESCRIPTIONS)
                          if os.path.lexists(path)), None)
        self.content = _read(self.path) if self.path else {}

    def _error(self, text, *values):
        return DatasetError('%s: %s' % (self.path or os.path.join(self.folder, DESCRIPTIONS[0]), text % values))

    def names(self, image_set: str) -> dict[int, str]:
        """Class number -> name, from the key `names` (a list or a mapping), or from classes.txt; {} without both.

        Raises:
            DatasetError: `names` is neither, or contradicts `nc`.
        """
        names = self.content.get('names')
        if names in (None, ''):
            names = next(map(_names_of, self._lists(image_set)), [])
        if isinstance(names, list):
            names = {str(number): name for number, name in enumerate(names)}
        expected = 'names: expected a list of names or a mapping from class number to name, found %.80s. Correct it'
        if not isinstance(names, dict):
            raise self._error(expected, repr(names))
        pairs = list(names.items())
        for number, name in pairs:
            if not _WHOLE.fullmatch(str(number)) or not isinstance(name, str):
                raise self._error(expected, '%s: %r' % (number, name))
        numbered = {int(number): name.strip() for number, name in pairs}
        if len(numbered) < len(pairs):
            raise self._error('names: a class number is given twice in %.200s', ', '.join(names))
        count = self.content.get('nc')
        if count not in _NOTHING and re.sub(r'\.0*$', '', str(count)) != str(len(numbered)):
            raise self._error('nc says %s classes, names has %d. Correct one of them', count, len(numbered))
        return dict(sorted(numbered.items()))

    def _lists(self, image_set):
        """The paths of the lists of class names, the likeliest first."""
        places = [place for name in names_of_set(image_set) for place in (name, name + '/labels', 'labels/' + name)]
        paths = [os.path.join(place, name) for place in [''] + places + ['labels'] for name in NAME_LISTS]
        return list(filter(existing, (os.path.join(self.folder, path) for path in paths)))

    def other_names(self, image_set: str) -> list[str]:
        """The paths of the lists of class names that say something else than `names`, which counts."""
        names, others = self.names(image_set), []
        for path in self._lists(image_set):
            with contextlib.suppress(DatasetError):
                others += [path] * (dict(enumerate(read_lines(path, 'a class name per line'))) != names)
        return others

    def elsewhere(self) -> str:
        """The end of a message that there are no names: another file that may have them; '' if there is none."""
        paths = files_below(self.folder, ('.yaml', '.yml', '.names', '.labels'), lambda _: None)
        paths = [path for path in paths if path != self.path]
        if not paths:
            return ''
        called = '' if os.path.basename(paths[0]) in DESCRIPTIONS + NAME_LISTS else ', and call it %s' % (
            DESCRIPTIONS[0] if paths[0].lower().endswith('ml') else CLASS_FILE)
        return '. Perhaps %s has them: give its folder as the data set%s' % (paths[0], called)

    def keypoint_values(self) -> int:
        """How many numbers of a line are key points, from `kpt_shape` [points, numbers per point]; 0 without it."""
        shape = self.content.get('kpt_shape')
        if shape in (None, '', 'null', '~'):
            return 0
        if not isinstance(shape, list) or len(shape) != 2 or not all(
                isinstance(side, str) and _WHOLE.fullmatch(side) for side in shape) or int(shape[1]) not in (2, 3):
            raise self._error('kpt_shape: expected [number of key points, 2 or 3], found %.80r. Correct it', shape)
        return int(shape[0]) * int(shape[1])

    def entries(self, image_set: str) -> list[str]:
        """The folders and lists that are stated for an image set, as paths within the folder; [] if none is stated.

        Raises:
            DatasetError: an entry is not a path, or nothing is there.
        """
        key = next((name for name in names_of_set(image_set) if self.content.get(name) not in _NOTHING), None)
        stated = self.content.get(key, [])
        stated = stated if isinstance(stated, list) else [stated]
        for entry in stated:
            if not isinstance(entry, str) or not entry.strip():
                raise self._error("%s: expected the path of a folder or a list of images, found %.80r", key, entry)
        return [self._resolved(key, entry.strip()) for entry in stated]

    def _resolved(self, key, entry):
        """The path of an entry within the folder.

        The entry is relative to the key `path`, if that is a folder within this one, or else to the folder itself.
        Roboflow writes `../train/images` for the folder train/images or, for one that its program downloads, begins
        with the name of the folder itself.
        """
        entry = entry.replace('\\', '/')
        base = str(self.content.get('path') or '').replace('\\', '/')
        base = base if is_inside(self.folder, base) and os.path.isdir(os.path.join(self.folder, base)) else ''
        below = re.sub(r'^(\.\./)+', '', os.path.normpath(entry))
        own = os.path.join(os.path.basename(os.path.abspath(self.folder)), '')
        for name in (entry, below, below[len(own):] if below.startswith(own) else below):
            candidate = os.path.join(base, name)
            if is_inside(self.folder, candidate) or os.path.normpath(candidate) == '.':
                path = self.folder if os.path.normpath(candidate) == '.' else inside(self.folder, candidate)
                if os.path.exists(path):
                    return os.path.relpath(path, self.folder)
        parts = [part for part in entry.split('/') if part]
        ends = ('/'.join(parts[start:]) for start in range(1, len(parts)))      # of a path of another computer
        place = os.path.abspath(os.path.join(self.folder, base))
        there = (end for end in ends if is_inside(place, end) and os.path.exists(os.path.join(place, end)))
        raise self._error("%s: there is no folder or list of images '%s' in %s. %s", key, entry, place,
                          next(('%s is there: correct the entry' % end for end in there), 'Correct the entry'))


_NOTHING = (None, '', 'null', '~', 'Null', 'NULL', [])


def _read(path):
    if os.path.isfile(path) and os.path.getsize(path) > MAX_YAML_BYTES:
        raise DatasetError('%s: larger than %d bytes. Write the names into classes.txt, one per line'
                           % (path, MAX_YAML_BYTES))
    text = read_text(path, "keys 'names', 'train' and so on", MAX_YAML_BYTES)
    try:
        content = parse_yaml(text, as_text=True)
    except ValueError as error:
        raise DatasetError('%s: %s' % (path, error)) from error
    if not isinstance(content, dict):
        raise DatasetError("%s: expected keys 'names', 'train' and so on, found %.80r" % (path, content))
    return content


def _names_of(path):
    """The class names of a list. Its lines are the class numbers, so that none may be blank before the last name."""
    lines = numbered_lines(path, 'a class name per line')
    blank = next((number for number, (line, _) in enumerate(lines, 1) if line != number), None)
    if blank:
        raise DatasetError('%s: line %d is blank: are the names behind it counted with it or without? Remove it'
                           % (path, blank))
    return [name for _, name in lines]


def find_images(image_set: str, dataset_path: str, description: Description,
                note: Callable[[str], None] = logger.warning) -> list[tuple[str, str]]:
    """The images of a set: those that data.yaml states, or else those of a list or of a folder.

    Args:
        image_set: its entry in data.yaml (folders or lists of paths) is used, or else the list <image_set>.txt, or the
            folder images/<image_set>, <image_set>/images or <image_set>; '.' is the data set's folder itself.
        dataset_path: folder of the data set.
        description: of the same folder.
        note: of `files_below`.
    Returns:
        pairs: path relative to the data set's folder, with '/'; and the file and line that names it, '' for an image
        that was found in a folder.
    Raises:
        FileNotFoundError: there is none of these.
        DatasetError: an entry of data.yaml is not there, or there is no image.
    """
    found = description.entries(image_set) or (['.'] if image_set == '.' else [])
    tried = [place for name in names_of_set(image_set)
             for place in (name + '.txt', 'images/' + name, name + '/images', name)]
    if not found:
        found = [name for name in tried if os.path.exists(inside(dataset_path, name))][:1]
    if not found:
        raise FileNotFoundError("%s: there are no images of the set '%s': tried %s"
                                % (os.path.abspath(dataset_path), image_set, ', '.join(tried)))
    images = [image for entry in found for image in _listed(dataset_path, entry, note)]
    if not images:
        raise DatasetError('%s: there is no image %s in %s. Add some, or leave that set out'
                           % (os.path.abspath(dataset_path), ' '.join(IMAGE_EXTENSIONS), ', '.join(found)))
    return images


def _listed(dataset_path, entry, note):
    path = os.path.join(dataset_path, entry)
    if os.path.isdir(path):
        return [(relative(name, dataset_path), '') for name in files_below(path, IMAGE_EXTENSIONS, note)]
    if entry.lower().endswith(IMAGE_EXTENSIONS):
        return [(entry.replace(os.sep, '/'), '')]
    return [(_within(dataset_path, os.path.dirname(path), line), '%s: line %d' % (path, number))
            for number, line in numbered_lines(path, 'the path of an image per line')]


def _within(dataset_path, folder, line):
    """A path in a list of images, made relative to the data set's folder if it lies there.

    It may be relative to the folder of the list too: if it begins with ./, this comes first, as in Ultralytics' reader.
    CVAT writes data/ for the data set's folder.
    """
    name = line.replace('\\', '/')
    if len(name) > 2 and name[0] == name[-1] and name[0] in '"\'':
        name = name[1:-1]
    places = (folder, dataset_path) if name.startswith('./') else (dataset_path, folder)
    for place, tail in [(place, name) for place in places] + [(dataset_path, re.sub('^data/', '', name))]:
        path = os.path.abspath(os.path.join(place, tail))
        if os.path.isfile(path) and is_inside(dataset_path, path):
            return relative(inside(dataset_path, path), os.path.abspath(dataset_path))
    if is_inside(dataset_path, name):
        return relative(inside(dataset_path, name), os.path.abspath(dataset_path))
    return name


def label_paths(name: str) -> list[str]:
    """Where the labels of an image may be, the likeliest first.

    A folder `images` in the path is replaced by `labels`, the last one first. Otherwise the file lies beside the image,
    in a folder labels there, or at the same path below the data set's folder labels.

    Args:
        name: path of the image within the data set's folder, with '/'. Folders around the data set do not matter.
    Returns:
        paths within the data set's folder.
    """
    folders = name.split('/')[:-1]
    stem = os.path.splitext(name.rpartition('/')[2])[0] + '.txt'
    found = []
    for number in range(len(folders) - 1, -1, -1):
        if folders[number].lower() == 'images':
            label = 'labels' if folders[number].islower() else 'Labels'
            found.append('/'.join(folders[:number] + [label] + folders[number + 1:] + [stem]))
    others = [folders, folders + ['labels'], ['labels'] + folders]
    return list(dict.fromkeys(found + ['/'.join(path + [stem]) for path in others]))
