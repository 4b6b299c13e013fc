"""Reads and writes data sets whose boxes are listed in a CSV file, one per line."""
from __future__ import annotations

import csv
import os
from collections import Counter
from typing import Iterable, Iterator, Sequence

from lib.dataset import faults as kinds
from lib.dataset.annotations import (
    CROWD,
    DIFFICULT,
    FLAG_KEYS,
    IGNORED,
    LARGEST,
    AnnotatedSet,
    Items,
    Labels,
    Picture,
    annotated_size,
    flags_of,
    plain_key,
    read_number,
)
from lib.dataset.faults import Faults, note_other_files
from lib.dataset.files import (
    CLASS_FILE,
    check_content,
    decoded,
    existing,
    files_of_set,
    find_image,
    image_folders,
    number_text,
    read_file,
    relative,
    set_name,
    short_name,
    write_lines,
)
from lib.dataset.names import LOST_IN_LISTS, check_name, class_names
from lib.errors import DatasetError

# Column -> the names, as of `plain_key`, that it may have in the first line. Without such a line there are the first
# six, in this order.
COLUMNS = {'image': ('image', 'filename', 'file', 'path', 'imagepath', 'imagename', 'img', 'imageid'),
           'x1': ('x1', 'xmin'), 'y1': ('y1', 'ymin'), 'x2': ('x2', 'xmax'), 'y2': ('y2', 'ymax'),
           'class': ('class', 'label', 'name', 'classname', 'labelname'), 'width': ('width',), 'height': ('height',),
           'difficult': FLAG_KEYS[DIFFICULT], 'crowd': FLAG_KEYS[CROWD], 'ignore': FLAG_KEYS[IGNORED]}
CORNERS = ('x1', 'y1', 'x2', 'y2')
PLAIN = ('image',) + CORNERS + ('class',)
FLAGS = ('difficult', 'crowd', 'ignore')
NOTHING = ('', 'na', 'nan', 'none', 'null')      # cells of an image without objects: R and pandas write these
SURPLUS = 'surplus'     # column for all cells of a line that has more cells than there are columns
DELIMITERS = ',;\t'
EXCEL = 'sep='          # a first line that tells Excel the delimiter, which follows
_WHAT = 'a CSV file of boxes'
_FIRST_LINE = 2 ** 16   # characters of the first line in which the delimiter is looked for


def find_lists(image_set: str, dataset_path: str) -> list[str]:
    """Paths of the CSV files of an image set, of which the first is read.

    They are <set>.csv in the data set's folder or in its folder annotations, and <set>/_annotations.csv (Roboflow).

    Raises:
        FileNotFoundError, DatasetError: as `files_of_set`.
    """
    return files_of_set(image_set, dataset_path, ('%s.csv', 'annotations/%s.csv', '%s/_annotations.csv'),
                        'is no list of boxes')


def read_csv(image_set: str, dataset_path: str, classes: Sequence[str] | str | None = None, *,
             sets: Sequence[str] | None = None, origin: int = 0) -> AnnotatedSet:
    """Read an image set: a line for each object, and a line with only a name for an image without objects.

        image,x1,y1,x2,y2,class
        a.jpg,12,30,111,95.5,car
        b.jpg,,,,,

    Corners are pixels counted from 0, both inside the box. The first line may be missing. If it is there, the columns
    may be in any order, have any of the names in COLUMNS (xmin, x_min, Image ID), and include width and height of the
    image, difficult, crowd and ignore. Columns are separated by commas, semicolons or tabs. Images lie in
    images/<set>/, <set>/, images/, data/ or in the data set's folder itself.

    Args:
        image_set: 'train' for <dataset_path>/train.csv.
        dataset_path: folder of the data set.
        classes: class names, or the path of a text file with a name per line. None takes those of classes.txt in the
            data set's folder, or else the labels of all `sets`, sorted.
        sets: names of the image sets that are used together; None for this one only. Other CSV files are not read.
        origin: 0 or 1, the number of the first pixel of a row.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not a CSV file of boxes, or has no image or no class.
    """
    lists, faults = find_lists(image_set, dataset_path), Faults()
    path = lists[0]
    note_other_files(faults, lists)
    labels, items, sizes = Labels(), Items(), {}
    names = _read_lines(path, (labels, items, sizes), faults, origin)
    if not names:
        raise DatasetError(faults.reason("%s: expected lines 'image,x1,y1,x2,y2,class', found none. Write some, "
                                         'or delete the file' % path))
    if classes is None:
        classes = existing(os.path.join(dataset_path, CLASS_FILE)) \
            or sorted(set(labels.names).union(*(_labels_of(name, dataset_path, path) for name in sets or ())))
    if not classes:
        raise DatasetError(faults.reason(
            "%s: expected lines 'image,x1,y1,x2,y2,class', separated by commas, semicolons or tabs, found lines "
            'without a box and a class, such as %.80r' % (path, names[0])))
    classes = class_names(classes, path)
    table, order = labels.resolve(classes)
    folders = image_folders(image_set, dataset_path)
    paths = [faults.find(kinds.NAME, name, path, find_image, dataset_path, folders, name, path) for name in names]
    pictures = [Picture(name, short_name(_within(name, found, dataset_path), image_set), found, path, sizes.get(name),
                        objects)
                for name, found, objects in zip(names, paths, items.of_pictures(len(names), order))]
    return AnnotatedSet(set_name(dataset_path, image_set), image_set, 'csv', table, len(classes), pictures, faults,
                        'line %d')


def _read_lines(path, target, faults, origin):
    """The names of the images, in the order of the file.

    Their objects and sizes are added to `target`: Labels, Items, and a dict of image name -> annotated size.
    """
    labels, items, sizes = target
    numbers = {}
    for line, row in read_rows(path):
        name = faults.attempt(kinds.ITEM_FAULT, row.get('image', ''), line, _image_name, path, line, row)
        if name is None:
            continue
        picture = numbers.setdefault(name, len(numbers))
        size = annotated_size(row.get('width'), row.get('height'))
        if size and sizes.setdefault(name, size) != size:
            faults.note(kinds.ITEM_FAULT, name, line, '%s: line %d: states %d x %d pixels for %s, an earlier line %d x '
                        '%d. Correct one of them' % (path, line, *size, name, *sizes[name]))
            continue
        if has_object(row):
            try:
                box, flags = _object(path, line, row)
            except DatasetError as error:
                faults.note(kinds.ITEM_FAULT, name, line, error)
                continue
            items.add(picture, line, labels.number(row['class']), tuple(value - origin for value in box), flags)
    return list(numbers)


def read_rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a CSV file as pairs: line number counted from 1, and a dict of column -> text.

    A line with too many cells has the key SURPLUS as well. Errors as of `raw_rows` and `header`.
    """
    columns, most = None, len(PLAIN)
    for number, row in raw_rows(path):
        if columns is None:
            names = header(path, row)
            columns = names or [(column, place) for place, column in enumerate(PLAIN)]
            if names:
                most = len(row)
                continue
        width = len(row)
        cells = {column: row[place] for column, place in columns if place < width}
        yield number, dict(cells, **{SURPLUS: ', '.join(row)}) if any(row[most:]) else cells


def raw_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV file as pairs: line number counted from 1, and list of cells. Blank ones are left out.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is not a CSV file in UTF-8.
    """
    last = 0
    try:
        check_content(path, _WHAT)
        with open(path, encoding='utf-8-sig', newline='') as file:
            start = file.readline(_FIRST_LINE)
            while start.isspace():
                start = file.readline(_FIRST_LINE)
            file.seek(0)
            reader = csv.reader(file, delimiter=max(DELIMITERS, key=start.count), skipinitialspace=True, strict=True)
            for row in reader:
                row = [cell.strip() for cell in row]
                if any(row) and row[0] != EXCEL:
                    yield reader.line_num, row
                last = reader.line_num
    except DatasetError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such file; expected %s' % (os.path.abspath(path), _WHAT)) from None
    except UnicodeDecodeError:
        decoded(read_file(path, _WHAT), path, _WHAT)        # raises an error that tells place and remedy
        raise
    except csv.Error as error:
        raise DatasetError('%s: line %d: expected %s, whose quotes come in pairs, cannot be read: %s. Correct it'
                           % (path, last + 1, _WHAT, error)) from error
    except (OSError, ValueError) as error:
        raise DatasetError('%s: expected %s, in UTF-8, cannot be read: %s' % (path, _WHAT, error)) from error


def header(path: str, row: list[str]) -> list[tuple[str, int]] | None:
    """The columns that a file's first line names, as pairs (column, its index).

    None if it names neither the column of images nor two of corners: then it is a line of boxes. If two columns have
    the same meaning, the name that comes first in COLUMNS counts.

    Raises:
        DatasetError: a column is missing or named twice, or two columns are the same corner.
    """
    cells = [plain_key(cell) for cell in row]
    doubled = [cell for cell, count in Counter(cells).items()
               if count > 1 and any(cell in names for names in COLUMNS.values())]
    places = {column: cells.index(next(name for name in names if name in cells))
              for column, names in COLUMNS.items() if any(name in cells for name in names)}
    if 'image' not in places and sum(column in places for column in CORNERS) < 2:
        return None
    if doubled:
        raise DatasetError("%s: line 1: names the column '%s' twice. Rename one of them" % (path, doubled[0]))
    for column in CORNERS:
        found = [cell for cell in cells if cell in COLUMNS[column]]
        if len(found) > 1:
            raise DatasetError('%s: line 1: both %s could be %s. Rename one of them'
                               % (path, ' and '.join(found), column))
    missing = [column for column in PLAIN if column not in places]
    if missing:
        raise DatasetError('%s: line 1: names the columns %.200s and lacks %s. A box is two corners, counted from 0'
                           % (path, ', '.join(row), ', '.join(missing)))
    return list(places.items())


def _image_name(path, number, row):
    name = row.get('image', '').replace('\\', '/')
    if not name:
        raise DatasetError('%s: line %d: has no name of an image. Write it, or delete the line' % (path, number))
    if SURPLUS in row:
        raise DatasetError('%s: line %d: has more cells than there are columns (decimal commas? a comma in a name '
                           "without quotes? Without a first line 'image,x1,y1,x2,y2,class' there are six): %.200s"
                           % (path, number, row[SURPLUS]))
    return name


def has_object(row: dict[str, str]) -> bool:
    """Whether a line states an object, and not only the name of an image."""
    return any(row.get(column, '').lower() not in NOTHING for column in CORNERS + ('class',))


def _object(path, number, row):
    """The box as written, and the flags, of a line."""
    try:
        box = [read_number(row[column]) for column in CORNERS]
        fulfilled = all(abs(value) < LARGEST for value in box) and row['class']        # false for NaN too
    except (KeyError, ValueError):
        fulfilled = False
    if not fulfilled:
        raise DatasetError('%s: line %d: expected four numbers x1, y1, x2, y2 and a class, found %.200s. Correct it'
                           % (path, number, ', '.join(row.get(column, '') for column in CORNERS + ('class',))))
    return box, flags_of(row, '%s: line %d' % (path, number))


def _within(name, path, dataset_path):
    """The name of an image; one that is absolute in the list becomes relative to the data set's folder."""
    return relative(path, dataset_path) if path and os.path.isabs(name) else name


def _labels_of(image_set, dataset_path, own):
    """The labels of another image set; what of it cannot be read is left out without a message."""
    try:
        path = find_lists(image_set, dataset_path)[0]
        return set() if path == own else {row.get('class', '') for _, row in read_rows(path) if has_object(row)} - {''}
    except (DatasetError, FileNotFoundError):
        return set()


def write_csv(sets: dict[str, AnnotatedSet], out: str) -> tuple[list[str], dict[str, str]]:
    """Write <set>.csv for each set, and classes.txt. Arguments and results as of `write_voc`."""
    for image_set, data in sets.items():
        write_list(os.path.join(out, image_set + '.csv'), ((data, picture) for picture in data.pictures))
        write_lines(os.path.join(out, CLASS_FILE), data.classes)
    return [], {image_set: os.path.join(out, 'images', image_set) for image_set in sets}


def write_list(path: str, pictures: Iterable[tuple[AnnotatedSet, Picture]]) -> None:
    """Write one list of boxes with all columns that `read_csv` reads.

    Args:
        path: of the file.
        pictures: pairs of a set and a picture of it, which has a size.
    Raises:
        DatasetError: the name of an image would not be read back.
    """
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(PLAIN + ('width', 'height') + FLAGS)
        writer.writerows(row for data, picture in pictures for row in _rows(data, picture))


def _rows(data, picture):
    check_name(picture, LOST_IN_LISTS, 'CSV lists')
    for item in picture.items:
        flags = [int(item['flags'] & flag > 0) for flag in (DIFFICULT, CROWD, IGNORED)]
        yield ([picture.name] + list(map(number_text, item['box'].tolist())) + [data.label(item)] + list(picture.size)
               + flags)
    if not len(picture.items):
        yield [picture.name] + [''] * 5 + list(picture.size) + [''] * 3
