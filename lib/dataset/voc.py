"""Data sets in the layout of PASCAL VOC: reads and writes them.

An XML file for each image, and text files that list the images of a set (ImageSets/Main); or a folder for each set that
holds pictures and XML files side by side, as Roboflow and LabelImg write them.
"""
import os
import re
from collections import Counter
from xml.etree import ElementTree

from lib.dataset import annotations as kinds
from lib.dataset.annotations import (
    CROWD,
    IGNORED,
    AnnotatedSet,
    Faults,
    Items,
    Labels,
    Picture,
    class_names,
    flag_bits,
)
from lib.dataset.files import (
    CLASS_FILE,
    belongs,
    check_stems,
    existing,
    files_below,
    inside,
    names_of_set,
    read_lines,
    write_lines,
)
from lib.dataset.voc_xml import annotation, parse, read_object, read_size, text_of
from lib.errors import DatasetError
from lib.utils.image import IMAGE_EXTENSIONS

VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
               'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')
# The lists for one class say 'name 1' for an image with such objects, 0 with only difficult ones, -1 without.
FLAGS = ('-1', '0', '1')
EXTENSIONS = ('.xml',) + IMAGE_EXTENSIONS


def _quietly(_):
    """Notes nothing."""


class Lists:
    """The layout of the development kit: Annotations, JPEGImages, ImageSets/Main/<set>.txt.

    Attributes:
        folder: of the three. year: '2007' for that of VOC, '' for own data. image_set: its name in the folder.
    """

    def __init__(self, folder, year, image_set):
        self.folder, self.year = os.path.abspath(folder), year
        lists = [inside(os.path.join(self.folder, 'ImageSets', 'Main'), name + '.txt')
                 for name in names_of_set(image_set)]
        self.list_path = next(filter(os.path.isfile, lists), lists[0])
        self.image_set = image_set
        self.annotations = os.path.join(self.folder, 'Annotations')
        self.images = os.path.join(self.folder, 'JPEGImages')

    def index(self, note=None):
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

    def all_sets(self):
        """The layouts of all lists of this folder."""
        folder = os.path.dirname(self.list_path)
        return [Lists(self.folder, self.year, name[:-4]) for name in sorted(os.listdir(folder))
                if name.endswith('.txt') and belongs(name)]


class Unlisted(Lists):
    """A folder of XML files and one of pictures without lists: one set of all annotations."""

    def __init__(self, folder, annotations, images):
        super().__init__(folder, '', '.')
        self.list_path = self.annotations = os.path.join(self.folder, annotations)
        self.images = os.path.join(self.folder, images)

    def index(self, note=None):
        """Names of all annotations, sorted."""
        return [os.path.relpath(path[:-4], self.annotations).replace(os.sep, '/')
                for path in files_below(self.annotations, ('.xml',), note or _quietly)]

    def all_sets(self):
        """This one alone."""
        return [self]


class Flat:
    """Pictures and XML files side by side, in a folder for each set."""

    year = ''

    def __init__(self, folder, image_set, dataset_path):
        self.folder, self.image_set, self.dataset_path = os.path.abspath(folder), image_set, dataset_path
        self.annotations = self.images = self.folder

    def index(self, note=None):
        """Names of all images with an XML file, sorted; a picture without one has no objects."""
        names = files_below(self.folder, EXTENSIONS, note or _quietly)
        stems = [os.path.relpath(os.path.splitext(name)[0], self.folder).replace(os.sep, '/') for name in names]
        return list(dict.fromkeys(stems))

    def all_sets(self):
        """The layouts of all folders beside this one that hold XML files, or this one alone."""
        if self.image_set == '.':
            return [self]
        return [Flat(entry.path, entry.name, self.dataset_path)
                for entry in sorted(os.scandir(self.dataset_path), key=lambda entry: entry.name)
                if entry.is_dir() and belongs(entry.name) and has_xml(entry.path)] or [self]


def has_xml(folder):
    """Whether a folder holds an XML file and a picture."""
    names = [name.lower() for name in os.listdir(folder) if belongs(name)]
    return any(name.endswith('.xml') for name in names) and any(name.endswith(IMAGE_EXTENSIONS) for name in names)


def two_folders(dataset_path):
    """Names of the folders of XML files and of pictures that lie side by side; None where they are not there."""
    annotations, images = [next((name for name in names if os.path.isdir(os.path.join(dataset_path, name))), None)
                           for names in (('Annotations', 'annotations'), ('JPEGImages', 'images', 'Images'))]
    return (annotations, images) if annotations and images else None


def find_layout(image_set, dataset_path):
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

    def __init__(self, layout):
        self.folder = layout.images
        self._names = {}

    def find(self, index, filename=''):
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


def read_voc(image_set, dataset_path, classes=None, *, sets=None):
    """Read a set.

    Args:
        image_set: '2007_trainval' for dataset_path/VOC2007/{Annotations,ImageSets/Main,JPEGImages}; 'trainval' if these
            three folders lie in dataset_path itself, or if dataset_path/trainval holds pictures and XML files. '.' is
            dataset_path itself, with pictures and XML files, or with two folders, Annotations and
            JPEGImages or images, and no lists.
        dataset_path: folder.
        classes: names, or a text file of them, one a line. By default the 20 of VOC for a year's folder, otherwise
            those of classes.txt in the folder, or else the labels of all lists in ImageSets/Main, sorted: the same for
            every image set.
        sets: names of the sets that are used together, for the classes of a data set without ImageSets/Main.
    Returns:
        AnnotatedSet.
    Raises:
        FileNotFoundError, DatasetError: there is no list of images, or it is empty, or there are no classes.
    """
    layout, faults, images = find_layout(image_set, dataset_path), Faults(), None
    name = '%s_%s' % (os.path.basename(layout.folder), layout.image_set) if isinstance(layout, Lists) else \
        '%s_%s' % (os.path.basename(os.path.abspath(dataset_path)), image_set)
    if isinstance(layout, Lists) and not os.path.isdir(layout.annotations):
        raise FileNotFoundError('%s: there is no such folder; expected an XML file for each image' % layout.annotations)
    index, images = Counter(layout.index(faults.noter(kinds.LINK))), Images(layout)
    for stem, count in index.items():
        if count > 1:
            faults.note(kinds.LISTED_TWICE, stem, None, '%s: %s stands there %d times; it is taken once'
                        % (getattr(layout, 'list_path', name), stem, count))
    annotated = any(os.path.isfile(os.path.join(layout.annotations, stem + '.xml')) for stem in index)
    labels, items, pictures = Labels(), Items(), []
    for stem in index:
        pictures.append(_read_picture(layout, images, stem, annotated, (labels, items, len(pictures)), faults))
    if not pictures:
        raise DatasetError('%s: there is no picture' % layout.folder)
    if classes is None:
        classes = _default_classes(layout, labels, sets)
        if not classes and not annotated:
            raise FileNotFoundError('%s: there is no such annotation file, nor one of any other name in %s'
                                    % (os.path.join(layout.annotations, next(iter(index)) + '.xml'),
                                       getattr(layout, 'list_path', layout.folder)))
        if not classes and faults:
            raise DatasetError(faults[0].text)
    classes = class_names(classes, layout.annotations)
    names, places = labels.resolve(classes)
    pictures = [picture._replace(items=found)
                for picture, found in zip(pictures, items.of_pictures(len(pictures), places))]
    _note_beside(layout, faults)
    return AnnotatedSet(name, layout.image_set, 'PascalVOC', names, len(classes), pictures, faults, 'object %d',
                        annotated, bool(layout.year))


def _read_picture(layout, images, index, annotated, target, faults):
    """Picture of an image; its items are added to the target (Labels, Items, number of the picture)."""
    source = faults.attempt(kinds.NAME, index, None, inside, layout.annotations, index + '.xml')
    if source is None:
        return Picture(index, index, '', '', None, kinds.no_items())
    unlabelled = not annotated or isinstance(layout, Flat) and not os.path.exists(source)
    root = None if unlabelled else faults.attempt(kinds.ANNOTATION, index, None, parse, source)
    filename, size = '', None
    if root is not None:
        filename, size = text_of(root, 'filename'), read_size(root)
        _add_objects(root, index, source, target, faults)
    found, other = faults.attempt(kinds.IMAGE, index, None, images.find, index, filename) or ('', '')
    kinds.note_candidates(faults, index, source, found, other)
    name = os.path.relpath(found, layout.images).replace(os.sep, '/') if found else index
    return Picture(index, name, found, source, size, kinds.no_items())


def _add_objects(root, index, source, target, faults):
    labels, items, picture = target
    for number, node in enumerate(root.findall('object')):
        found = faults.attempt(kinds.ITEM_FAULT, index, number, read_object, source, number, node)
        if found is not None:
            items.add(picture, number, labels.number(found.label), tuple(value - 1 for value in found.box),
                      flag_bits(difficult=found.difficult))


def _default_classes(layout, labels, sets):
    """Names, or a file of them, for a data set whose classes are not given; [] where it tells none."""
    if layout.year:
        return VOC_CLASSES
    for folder in (layout.folder, getattr(layout, 'dataset_path', layout.folder)):
        if existing(os.path.join(folder, CLASS_FILE)):
            return os.path.join(folder, CLASS_FILE)
    found = set(labels.names)
    for other in layout.all_sets():
        if sets and isinstance(other, Flat) and not set(names_of_set(other.image_set)) & set(sets):
            continue
        found |= _labels_of(other, layout)
    return sorted(found)


def _labels_of(other, layout):
    """The labels of another set of the data set; what cannot be read is its own affair."""
    try:
        index = set(other.index()) if other.image_set != layout.image_set else ()
    except (DatasetError, FileNotFoundError):
        return set()
    labels = set()
    for stem in index:
        path = os.path.join(other.annotations, stem + '.xml')
        try:
            labels.update(text_of(node, 'name') for node in parse(path).findall('object'))
        except (DatasetError, FileNotFoundError):
            pass
    return labels - {''}


def _note_beside(layout, faults):
    """Warn of XML files in no list: they do not count."""
    if isinstance(layout, Flat):
        return
    listed = set()
    for other in layout.all_sets():
        try:
            listed.update(other.index())
        except (DatasetError, FileNotFoundError):
            pass
    beside = [path for path in files_below(layout.annotations, ('.xml',), _quietly)
              if os.path.relpath(path, layout.annotations)[:-4].replace(os.sep, '/') not in listed]
    if beside:
        faults.note(kinds.BESIDE, '', None, '%s: %s in no list of images and %s not count%s'
                    % (layout.annotations, _names(beside), 'does' if len(beside) == 1 else 'do',
                       ', such as ' + os.path.basename(beside[0]) if len(beside) > 1 else ''))


def _names(paths):
    return '%s is' % os.path.basename(paths[0]) if len(paths) == 1 else '%d XML files are' % len(paths)


def write_voc(sets, out):
    """Write sets: Annotations/*.xml, ImageSets/Main/<set>.txt, classes.txt. Crowds and ignored objects are difficult.

    Args:
        sets: dict of image set -> AnnotatedSet whose pictures have sizes.
        out: folder.
    Returns:
        list of str, what the format cannot say and is lost; image set -> folder of its images.
    Raises:
        DatasetError: two pictures would have the same annotation file.
    """
    check_stems([picture for data in sets.values() for picture in data.pictures], 'Annotations')
    lost = Counter()
    for image_set, data in sets.items():
        for picture in data.pictures:
            path = os.path.join(out, 'Annotations', _stem(picture) + '.xml')
            os.makedirs(os.path.dirname(path), exist_ok=True)
            ElementTree.ElementTree(annotation(data, picture)).write(path, encoding='utf-8')
        flags = data.table()[0]['flags']
        lost['crowds'] += int((flags & CROWD > 0).sum())
        lost['ignored objects'] += int((flags & IGNORED > 0).sum())
        write_lines(os.path.join(out, 'ImageSets', 'Main', image_set + '.txt'), map(_stem, data.pictures))
        write_lines(os.path.join(out, CLASS_FILE), data.classes)
    return (['%d %s are difficult objects now: VOC has no %s' % (count, name, name)
             for name, count in lost.items() if count],
            {image_set: os.path.join(out, 'JPEGImages') for image_set in sets})


def _stem(picture):
    return os.path.splitext(picture.name)[0]
