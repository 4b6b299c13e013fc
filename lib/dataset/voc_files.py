"""Which images and annotations a data set in the layout of PASCAL VOC has: its lists, or its folders."""
from __future__ import annotations

import os
import re
from typing import Callable

from lib.dataset.files import belongs, files_below, inside, names_of_set, read_lines
from lib.errors import DatasetError
from lib.utils.image_file import IMAGE_EXTENSIONS

# The lists for one class say 'name 1' for an image with such objects, 0 with only difficult ones, -1 without.
FLAGS = ('-1', '0', '1')
EXTENSIONS = ('.xml',) + IMAGE_EXTENSIONS


def quietly(_: str) -> None:
    """Notes nothing."""


class Lists:
    """The layout of the development kit: Annotations, JPEGImages, ImageSets/Main/<set>.txt.

    Attributes:
        folder: of the three. year: '2007' for that of VOC, '' for own data. image_set: its name in the folder.
    """

    def __init__(self, folder: str, year: str, image_set: str):
        self.folder, self.year = os.path.abspath(folder), year
        lists = [inside(os.path.join(self.folder, 'ImageSets', 'Main'), name + '.txt')
                 for name in names_of_set(image_set)]
        self.list_path = next(filter(os.path.isfile, lists), lists[0])
        self.image_set = image_set
        self.annotations = os.path.join(self.folder, 'Annotations')
        self.images = os.path.join(self.folder, 'JPEGImages')

    def index(self, note: Callable[[str], None] | None = None) -> list[str]:
        """Names of the images of the set, in the order of the list; one may stand there twice.

        `note` is that of `files_below`, which a list does not need.
        """
        names = [self._name_on(line) for line in read_lines(self.list_path, 'the name of an image a line')]
        if not names:
            raise DatasetError('%s: expected the name of an image a line, found none' % self.list_path)
        return names

    def _name_on(self, line):
        """The name of an image on a line of the list, without quotes, a flag, and, if there is no such annotation, an
        extension and the folder of pictures or annotations.
        """
        if self._is_annotated(line):        # 'photo 1' may be the name of an image
            return line
        name, *flag = line.rsplit(None, 1)
        name = name if flag and flag[0] in FLAGS else line
        if len(name) > 2 and name[0] == name[-1] and name[0] in '"\'':
            name = name[1:-1]
        if self._is_annotated(name) or name.startswith('/'):
            return name
        path = os.path.normpath(name.replace('\\', '/'))
        stem, extension = os.path.splitext(path)
        within = re.sub('^(JPEGImages|Annotations)/', '', stem if extension.lower() in EXTENSIONS else path)
        return within if self._is_annotated(within) else name

    def _is_annotated(self, name):
        return os.path.isfile(os.path.join(self.annotations, name + '.xml'))

    def all_sets(self) -> list[Lists]:
        """The layouts of all lists of this folder."""
        folder = os.path.dirname(self.list_path)
        return [Lists(self.folder, self.year, name[:-4]) for name in sorted(os.listdir(folder))
                if name.endswith('.txt') and belongs(name)]


class Unlisted(Lists):
    """A folder of XML files and one of pictures without lists: one set of all annotations."""

    def __init__(self, folder: str, annotations: str, images: str):
        super().__init__(folder, '', '.')
        self.list_path = self.annotations = os.path.join(self.folder, annotations)
        self.images = os.path.join(self.folder, images)

    def index(self, note: Callable[[str], None] | None = None) -> list[str]:
        """Names of all annotations, sorted."""
        return [os.path.relpath(path[:-4], self.annotations).replace(os.sep, '/')
                for path in files_below(self.annotations, ('.xml',), note or quietly)]

    def all_sets(self) -> list[Lists]:
        """This one alone."""
        return [self]


class Flat:
    """Pictures and XML files side by side, in a folder for each set."""

    year = ''

    def __init__(self, folder: str, image_set: str, dataset_path: str):
        self.folder, self.image_set, self.dataset_path = os.path.abspath(folder), image_set, dataset_path
        self.annotations = self.images = self.folder

    def index(self, note: Callable[[str], None] | None = None) -> list[str]:
        """Names of all images with an XML file, sorted; a picture without one has no objects."""
        names = files_below(self.folder, EXTENSIONS, note or quietly)
        stems = [os.path.relpath(os.path.splitext(name)[0], self.folder).replace(os.sep, '/') for name in names]
        return list(dict.fromkeys(stems))

    def all_sets(self) -> list[Flat]:
        """The layouts of all folders beside this one that hold XML files, or this one alone."""
        if self.image_set == '.':
            return [self]
        return [Flat(entry.path, entry.name, self.dataset_path)
                for entry in sorted(os.scandir(self.dataset_path), key=lambda entry: entry.name)
                if entry.is_dir() and belongs(entry.name) and has_xml(entry.path)] or [self]


def has_xml(folder: str) -> bool:
    """Whether a folder holds an XML file and a picture."""
    names = [name.lower() for name in os.listdir(folder) if belongs(name)]
    return any(name.endswith('.xml') for name in names) and any(name.endswith(IMAGE_EXTENSIONS) for name in names)


def two_folders(dataset_path: str) -> tuple[str, str] | None:
    """Names of the folders of XML files and of pictures that lie side by side; None where they are not there."""
    annotations, images = [next((name for name in names if os.path.isdir(os.path.join(dataset_path, name))), None)
                           for names in (('Annotations', 'annotations'), ('JPEGImages', 'images', 'Images'))]
    return (annotations, images) if annotations and images else None


def find_layout(image_set: str, dataset_path: str) -> Lists | Flat:
    """`Lists`, `Unlisted` or `Flat` of an image set; FileNotFoundError if the data set has none of them."""
    layouts = [(dataset_path, '', image_set)]
    match = re.match(r'(\d{4})_(.+)', image_set)
    if match:
        layouts.insert(0, (os.path.join(dataset_path, 'VOC' + match.group(1)),) + match.groups())
    for folder, year, name in layouts:
        if os.path.isdir(os.path.join(folder, 'ImageSets', 'Main')):
            return Lists(folder, year, name)
    apart = two_folders(dataset_path) if image_set == '.' else None
    if apart:
        return Unlisted(dataset_path, *apart)
    for name in names_of_set(image_set):
        folder = os.path.join(dataset_path, name)
        if os.path.isdir(folder) and has_xml(folder):
            return Flat(folder if name == '.' else inside(dataset_path, name), image_set, dataset_path)
    raise FileNotFoundError("%s: there is no folder ImageSets/Main for the image set '%s'. Expected Annotations, "
                            "ImageSets/Main and JPEGImages there, or in a folder VOC2007 and the set 2007_trainval, or "
                            "pictures and XML files in a folder '%s'"
                            % (' and '.join(os.path.abspath(layout[0]) for layout in layouts), image_set, image_set))


class Images:
    """Finds the image of an annotation."""

    def __init__(self, layout: Lists | Flat):
        self.folder = layout.images
        self._names = {}

    def find(self, index: str, filename: str = '') -> tuple[str, str]:
        """Path of the image file, and of another file that could be meant, or ''.

        It is the file that the annotation names, or else the one of the annotation's own name with any known extension.

        Raises:
            DatasetError: the name leads out of the folder. FileNotFoundError: there is no such image.
        """
        folder, stem = os.path.split(inside(self.folder, index))
        named = os.path.basename(filename.replace('\\', '/'))
        candidates = [named] if named and belongs(named) else []
        candidates += [stem + extension for extension in IMAGE_EXTENSIONS] + [stem]
        if named:
            candidates += [named + extension for extension in IMAGE_EXTENSIONS]
        names = self._of_folder(folder)
        found = dict.fromkeys(filter(None, (names.get(_lower_extension(name)) for name in candidates)))
        paths = [path for path in (os.path.join(folder, name) for name in found) if os.path.isfile(path)]
        if not paths:
            raise FileNotFoundError('%s: there is no image of this name with an extension %s%s'
                                    % (os.path.join(folder, stem), ', '.join(IMAGE_EXTENSIONS),
                                       '; %s leads nowhere or is no regular file' % next(iter(found)) if found else ''))
        return paths[0], paths[1] if len(paths) > 1 else ''

    def _of_folder(self, folder):
        """Files of a folder, found by their names with lower-case extensions: theirs may be of any case."""
        if folder not in self._names:
            names = [name for name in os.listdir(folder) if belongs(name)
                     and not name.lower().endswith(('.xml', '.txt'))] if os.path.isdir(folder) else []
            self._names[folder] = {_lower_extension(name): name for name in sorted(names, reverse=True)}
        return self._names[folder]


def _lower_extension(name):
    stem, extension = os.path.splitext(name)
    return stem + extension.lower()
