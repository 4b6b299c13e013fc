"""Data sets as a list of boxes, one a line, in a CSV file."""
import csv
import os

from lib.dataset import annotated as kinds
from lib.dataset.annotated import AnnotatedSet, Faults, Item, Picture, class_names, existing, label_finder, short_name
from lib.dataset.imdb import CLASS_FILE, annotated_size, inside
from lib.errors import DatasetError

# Column -> the names it may have in the first line. Without such a line the first six columns are in this order.
COLUMNS = {'image': ('image', 'filename', 'file', 'path', 'image_path', 'image_id'), 'x1': ('x1', 'xmin'),
           'y1': ('y1', 'ymin'),
           'x2': ('x2', 'xmax'), 'y2': ('y2', 'ymax'), 'class': ('class', 'label', 'name', 'class_name'),
           'width': ('width',), 'height': ('height',), 'difficult': ('difficult',), 'crowd': ('crowd', 'iscrowd')}
CORNERS = ('x1', 'y1', 'x2', 'y2')
PLAIN = ('image',) + CORNERS + ('class',)
LARGEST = 1e9           # a larger number is no pixel
DELIMITERS = ',;\t'
_FALSE, _TRUE = ('', '0', 'false', 'no'), ('1', 'true', 'yes')


def find_list(image_set, dataset_path):
    """Path of the CSV file of a set: <set>.csv in the data set's folder or in its folder annotations."""
    tried = [os.path.join(dataset_path, folder, image_set + '.csv') for folder in ('', 'annotations')]
    for path in tried:
        if os.path.isfile(path):
            return path
    raise FileNotFoundError("there is no list of boxes of the image set '%s': tried %s"
                            % (image_set, ', '.join(map(os.path.abspath, tried))))


def read_csv(image_set, dataset_path, classes=None):
    """Read a set: a line for each object, and a line with a name alone for an image without objects.

        image,x1,y1,x2,y2,class
        a.jpg,12,30,111,95.5,car
        b.jpg,,,,,

    Corners are pixels counted from 0, both inside the box. The first line may be missing; if it is there, columns may
    be in any order, have the names in COLUMNS, and include width and height of the image, difficult and crowd. They are
    separated by commas, semicolons or tabs. Images lie in images/<set>/, in images/ or in the data set's folder itself.

    Args:
        image_set: 'train' for <dataset_path>/train.csv.
        dataset_path: folder.
        classes: names, or a file of them; by default those of classes.txt in the data set's folder, or else all labels
            of all CSV files beside this one, sorted, so that the sets of a data set agree.
    Returns:
        AnnotatedSet.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it is no CSV file, or lists nothing.
    """
    path = find_list(image_set, dataset_path)
    faults = Faults()
    rows = read_rows(path)
    folders = [os.path.join(dataset_path, name) for name in (os.path.join('images', image_set), 'images', '')]
    pictures, sizes = _group(path, rows, faults)
    if not pictures:
        raise DatasetError("%s: expected lines 'image,x1,y1,x2,y2,class', found none" % path)
    if classes is None:
        classes = existing(os.path.join(dataset_path, CLASS_FILE)) or _labels(path)
    classes = class_names(classes, path)
    find = label_finder(classes)
    pictures = [Picture(name, short_name(name, image_set), _find_image(folders, name, faults), path, sizes.get(name),
                        [item._replace(label=find(item.label)) for item in items]) for name, items in pictures.items()]
    name = '%s_%s' % (os.path.basename(os.path.abspath(dataset_path)), image_set)
    return AnnotatedSet(name, 'csv', classes, pictures, faults, 'line %d')


def read_rows(path):
    """The lines of a CSV file: list of (line number counted from 1, dict column -> text)."""
    lines = raw_rows(path)
    names = header(path, lines[0][1]) if lines else None
    return [(number, dict(zip(names or PLAIN, row))) for number, row in (lines[1:] if names else lines)]


def raw_rows(path):
    """The same as list of (line number, list of texts), the first line with the others, blank ones left out."""
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            start = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(DELIMITERS, key=start.count), strict=True)
            return [(reader.line_num, [cell.strip() for cell in row]) for row in reader
                    if any(cell.strip() for cell in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError('%s: expected a CSV file of boxes, in UTF-8, cannot be read: %s' % (path, error)) from error


def header(path, row):
    """The columns that a file's first line names, None if it is no such line. DatasetError if it lacks one."""
    meaning = {name: column for column, names in COLUMNS.items() for name in names}
    names = [meaning.get(cell.lower()) for cell in row]
    if 'image' not in names:
        return None
    missing = [column for column in PLAIN if column not in names]
    if missing:
        raise DatasetError('%s: line 1: names the columns %.200s and lacks %s. A box is two corners, counted from 0'
                           % (path, ', '.join(row), ', '.join(missing)))
    return names


def _group(path, rows, faults):
    """Image name -> its items, in the order of the file, and image name -> annotated size."""
    pictures, sizes = {}, {}
    for number, row in rows:
        name = faults.attempt(kinds.ITEM, row.get('image', ''), number, _image_name, path, number, row)
        if name is None:
            continue
        items = pictures.setdefault(name, [])
        size = _size(row)
        if size:
            sizes[name] = size
        if any(row.get(column) for column in CORNERS + ('class',)):
            item = faults.attempt(kinds.ITEM, name, number, _item, path, number, row)
            if item is not None:
                items.append(item)
    return pictures, sizes


def _image_name(path, number, row):
    name = row.get('image', '').replace('\\', '/')
    if not name:
        raise DatasetError('%s: line %d: has no name of an image' % (path, number))
    return name


def _item(path, number, row):
    try:
        box = tuple(float(row[column]) for column in CORNERS)
        fulfilled = all(abs(value) < LARGEST for value in box) and row['class']        # false for NaN too
    except (KeyError, ValueError):
        fulfilled = False
    if not fulfilled:
        raise DatasetError('%s: line %d: expected four numbers x1, y1, x2, y2 and a class, found %.200s'
                           % (path, number, ', '.join(row.get(column, '') for column in CORNERS + ('class',))))
    difficult, crowd = (_flag(path, number, column, row.get(column, '')) for column in ('difficult', 'crowd'))
    return Item(number, row['class'], box, difficult, crowd)


def _flag(path, number, column, text):
    if text.lower() not in _FALSE + _TRUE:
        raise DatasetError('%s: line %d: %s must be 0 or 1, not %.100s' % (path, number, column, text))
    return text.lower() in _TRUE


def _size(row):
    try:
        return annotated_size(int(row['width']), int(row['height']))
    except (KeyError, ValueError):
        return None


def _find_image(folders, name, faults):
    for folder in folders:
        path = faults.attempt(kinds.NAME, name, None, inside, folder, name)
        if path is None:
            return ''
        if existing(path):
            return path
    faults.note(kinds.MISSING, name, None, '%s: there is no such image in %s'
                % (name, ', '.join(map(os.path.abspath, folders))))
    return ''


def _labels(path):
    """The labels of all CSV files in the folder that are lists of boxes, sorted."""
    folder, labels = os.path.dirname(path) or '.', set()
    for name in sorted(os.listdir(folder)):
        if name.lower().endswith('.csv'):
            try:
                labels.update(row.get('class', '') for _, row in read_rows(os.path.join(folder, name)) if row.get('x1'))
            except DatasetError:
                if os.path.join(folder, name) == path:
                    raise
    return sorted(labels - {''})
