"""Finds the images and annotations of a data set in the layout of PASCAL VOC, by its lists or by its folders."""
from __future__ import annotations

import os
import re
from typing import Callable

from lib.dataset.files import (
    belongs,
    files_below,
    folders_below,
    inside,
    is_inside,
    meant,
    names_of_set,
    read_lines,
    relative,
)
from lib.errors import DatasetError
from lib.utils.image_file import IMAGE_EXTENSIONS

# The lists for one class say 'name 1' for an image with such objects, 0 with only difficult ones, -1 without.
FLAGS = ('-1', '0', '1')
EXTENSIONS = ('.xml',) + IMAGE_EXTENSIONS


def xml_name(folder: str, stem: str) -> str:
    """The name within a folder of the XML file of an image: its extension may be in capitals."""
    path = os.path.join(folder, stem)
    return stem + ('.XML' if os.path.isfile(path + '.XML') and not os.path.lexists(path + '.xml') else '.xml')


def quietly(_: str) -> None:
    """A `note` that drops its message."""


class Lists:
    """The layout of the development kit: Annotations, JPEGImages, ImageSets/Main/<set>.txt.

    Attributes:
        folder: that holds these three.
        dataset_path: folder of the data set: the same.
        year: '2007' for VOC's own data of that year; '' for other data.
        image_set: its name within the folder.
        list_path: the text file that lists its images, or the folder whose files are its list.
        annotations, images: folders of the XML files and of the pictures.
    """

    def __init__(self, folder: str, year: str, image_set: str):
        self.folder = self.dataset_path = os.path.abspath(folder)
        self.year = year
        lists = [inside(os.path.join(self.folder, 'ImageSets', 'Main'), name + '.txt')
                 for name in names_of_set(image_set)]
        self.list_path = next(filter(os.path.isfile, lists), lists[0])
        self.image_set = image_set
        self.annotations = os.path.join(self.folder, 'Annotations')
        self.images = os.path.join(self.folder, 'JPEGImages')

    def index(self, note: Callable[[str], None] | None = None) -> list[str]:
        """The names of the images of the set, in the order of the list; a name may be listed twice.

        `note` is not used: it is for layouts without lists, see `files_below`.
        """
        try:
            names = [self._name_on(line) for line in read_lines(self.list_path, 'the name of an image per line')]
        except FileNotFoundError as error:
            folder, name = os.path.split(self.list_path)
            raise FileNotFoundError('%s%s' % (error, meant([folder], name, ('.txt',)))) from None
        if not names:
            raise DatasetError('%s: expected the name of an image per line, found none. Write some, or delete the list'
                               % self.list_path)
        return names

    def _name_on(self, line):
        """The name of the image on a line of the list, without quotes and flag.

        If there is no annotation of that name, a folder before it and an extension behind it are taken away too.
        """
        if self._is_annotated(line):        # 'photo 1' may be the name of an image
            return line
        name, *flag = line.rsplit(None, 1)
        name = name if flag and flag[0] in FLAGS else line
        if len(name) > 2 and name[0] == name[-1] and name[0] in '"\'':
            name = name[1:-1]
        if self._is_annotated(name):
            return name
        path = os.path.normpath(name.replace('\\', '/'))
        if os.path.isabs(path):
            path = relative(inside(self.folder, path), self.folder) if is_inside(self.folder, path) else path
        stem, extension = os.path.splitext(path)
        within = re.sub('^(JPEGImages|Annotations)/', '', stem if extension.lower() in EXTENSIONS else path)
        return within if self._is_annotated(within) else name

    def _is_annotated(self, name):
        return os.path.isfile(os.path.join(self.annotations, xml_name(self.annotations, name)))

    def all_sets(self) -> list[Lists]:
        """The layouts of all image sets of this folder."""
        return [Lists(self.folder, self.year, name) for name in listed_sets(self.folder)]


class Unlisted(Lists):
    """A folder of XML files and one of pictures, without lists: one set with all annotations."""

    def __init__(self, folder: str, annotations: str, images: str):
        super().__init__(folder, '', '.')
        self.list_path = self.annotations = os.path.join(self.folder, annotations)
        self.images = os.path.join(self.folder, images)

    def index(self, note: Callable[[str], None] | None = None) -> list[str]:
        """The names of all annotations, sorted."""
        names = files_below(self.annotations, ('.xml',), note or quietly)
        return [relative(name[:-4], self.annotations) for name in names]

    def all_sets(self) -> list[Lists]:
        """Only this one."""
        return [self]


class Flat:
    """Pictures and XML files side by side, in a folder for each set. Attributes as of `Lists`."""

    year = ''

    def __init__(self, folder: str, image_set: str, dataset_path: str):
        self.image_set, self.dataset_path = image_set, os.path.abspath(dataset_path)
        self.folder = self.list_path = self.annotations = self.images = os.path.abspath(folder)

    def index(self, note: Callable[[str], None] | None = None) -> list[str]:
        """The names of all pictures and XML files, sorted. A picture without an XML file has no objects."""
        names = files_below(self.folder, EXTENSIONS, note or quietly)
        stems = [relative(os.path.splitext(name)[0], self.folder) for name in names]
        return list(dict.fromkeys(stems))

    def all_sets(self) -> list[Flat]:
        """The layouts of all folders beside this one that hold pictures and XML files; at least this one."""
        if self.image_set == '.':
            return [self]
        return [Flat(entry.path, relative(entry.path, self.dataset_path), self.dataset_path)
                for entry in sorted(os.scandir(os.path.dirname(self.folder)), key=lambda entry: entry.name)
                if entry.is_dir() and belongs(entry.name) and has_xml(entry.path)] or [self]


def listed_sets(folder: str) -> list[str]:
    """The names of the image sets that have a list in a folder's ImageSets/Main, sorted: 'train', 'day/train'."""
    lists = os.path.join(folder, 'ImageSets', 'Main')
    return [relative(path, lists)[:-len('.txt')] for path in files_below(lists, ('.txt',), quietly)]


def has_xml(folder: str) -> bool:
    """Whether a folder holds both XML files and pictures."""
    names = [name.lower() for name in os.listdir(folder) if belongs(name)]
    return any(name.endswith('.xml') for name in names) and any(name.endswith(IMAGE_EXTENSIONS) for name in names)


def has_xml_below(folder: str) -> bool:
    """Whether a folder, or one below it, holds both XML files and pictures."""
    return any(map(has_xml, {os.path.dirname(path) for path in files_below(folder, ('.xml',), quietly)}))


def two_folders(dataset_path: str) -> tuple[str, str] | None:
    """The names of the folder of XML files and of the folder of pictures in a data set; None if one is missing.

    FiftyOne calls them labels and data.
    """
    annotations, images = [next((name for name in names if os.path.isdir(os.path.join(dataset_path, name))), None)
                           for names in (('Annotations', 'annotations', 'labels'),
                                         ('JPEGImages', 'images', 'Images', 'data'))]
    return (annotations, images) if annotations and images else None


def find_layout(image_set: str, dataset_path: str) -> Lists | Flat:
    """The layout of an image set. Raises a FileNotFoundError if the data set has none of those above."""
    layouts = [(dataset_path, '', image_set)]
    match = re.match(r'(\d{4})_(.+)', image_set)
    if match:
        layouts.insert(0, (os.path.join(dataset_path, 'VOC' + match.group(1)),) + match.groups())
    for folder, year, name in layouts:
        if name != '.' and os.path.isdir(os.path.join(folder, 'ImageSets', 'Main')):
            return Lists(folder, year, name)
    apart = two_folders(dataset_path) if image_set == '.' else None
    if apart and (files_below(os.path.join(dataset_path, apart[0]), ('.xml',), quietly) or not has_xml(dataset_path)):
        return Unlisted(dataset_path, *apart)
    for name in names_of_set(image_set):
        folder = os.path.join(dataset_path, name)
        if os.path.isdir(folder) and has_xml_below(folder):
            return Flat(folder if name == '.' else inside(dataset_path, name), image_set, dataset_path)
    raise FileNotFoundError("%s: there is no folder ImageSets/Main for the image set '%s'. Expected Annotations, "
                            "ImageSets/Main and JPEGImages there, or in a folder VOC2007 and the set 2007_trainval, or "
                            "pictures and XML files in a folder '%s'%s"
                            % (' and '.join(os.path.abspath(layout[0]) for layout in layouts), image_set, image_set,
                               '. rfcn fetch voc loads PASCAL VOC' if match else ''))


class Images:
    """Finds the image files of annotations."""

    def __init__(self, layout: Lists | Flat):
        self.folder = layout.images
        self._names = {}

    def find(self, index: str, filename: str = '') -> tuple[str, str]:
        """Find the image of an annotation: the file that it names, or else one of the annotation's own name.

        Args:
            index: name of the annotation, without extension.
            filename: what it states as the name of its image; '' for nothing.
        Returns:
            path of the image, and of another file that could be meant, or ''.
        Raises:
            DatasetError: the name leads out of the folder. FileNotFoundError: there is no such image.
        """
        folder, stem = os.path.split(inside(self.folder, index))
        named = os.path.basename(filename.replace('\\', '/'))
        candidates = [named] if named and belongs(named) else []
        candidates += [stem + extension for extension in IMAGE_EXTENSIONS] + [stem]
        if named:
            candidates += [named + extension for extension in IMAGE_EXTENSIONS]
        files, by_lower = self._of_folder(folder)
        found = [form for name in candidates for form in (name, by_lower.get(_lower_extension(name))) if form in files]
        found = dict.fromkeys(found)
        paths = [path for path in (os.path.join(folder, name) for name in found) if os.path.isfile(path)]
        if not paths:
            places = [folder, *folders_below(self.folder)]
            raise FileNotFoundError('%s: there is no image of this name with an extension %s%s'
                                    % (os.path.join(folder, stem), ', '.join(IMAGE_EXTENSIONS),
                                       '; %s leads nowhere or is not a file. Put the image there, or take its '
                                       'annotation away' % next(iter(found)) if found else
                                       meant(places, named or index) or meant(places, stem)
                                       or '. Add it, or take its annotation away'))
        return paths[0], paths[1] if len(paths) > 1 else ''

    def _of_folder(self, folder):
        """The names of a folder's files, and the same by their names with extensions in lower case: those of files may
        be in any case.
        """
        if folder not in self._names:
            names = [name for name in os.listdir(folder) if belongs(name)
                     and not name.lower().endswith(('.xml', '.txt'))] if os.path.isdir(folder) else []
            self._names[folder] = set(names), {_lower_extension(name): name for name in sorted(names, reverse=True)}
        return self._names[folder]


def _lower_extension(name):
    stem, extension = os.path.splitext(name)
    return stem + extension.lower()
