"""Which images, labels and class names a data set of YOLO text files has."""
import os

from lib.dataset.imdb import CLASS_FILE, inside, read_lines
from lib.errors import DatasetError
from lib.utils import safe_yaml
from lib.utils.image import IMAGE_EXTENSIONS

DESCRIPTIONS = ('data.yaml', 'dataset.yaml', 'data.yml')
NAME_LISTS = (CLASS_FILE, 'obj.names')
MAX_BYTES = 65536       # of a description: some 2,000 names


def read_description(dataset_path):
    """The content of data.yaml: a dict, empty where there is no such file."""
    if not os.path.isdir(dataset_path):
        raise FileNotFoundError('%s: there is no such folder; expected a data set of YOLO text files'
                                % os.path.abspath(dataset_path))
    path = next((os.path.join(dataset_path, name) for name in DESCRIPTIONS
                 if os.path.isfile(os.path.join(dataset_path, name))), None)
    if path is None:
        return {}
    try:
        with open(path, 'rb') as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError('larger than %d bytes. Write the names into classes.txt, one a line' % MAX_BYTES)
        content = safe_yaml.parse(data.decode('utf-8-sig'))
    except (OSError, ValueError) as error:
        raise DatasetError('%s: %s' % (path, error)) from error
    if not isinstance(content, dict):
        raise DatasetError("%s: expected keys 'names', 'train' and so on, found %.80r" % (path, content))
    return content


def read_names(dataset_path, description):
    """Class number -> name: of the description's `names`, a list or a mapping, or of classes.txt; {} where neither is.
    """
    names = description.get('names')
    if names is None:
        lists = [os.path.join(dataset_path, name) for name in NAME_LISTS]
        names = next((read_lines(path, 'a class name a line') for path in lists if os.path.isfile(path)), [])
    if isinstance(names, list):
        names = dict(enumerate(names))
    pairs = list(names.items()) if isinstance(names, dict) else [(None, names)]
    bad = [pair for pair in pairs if type(pair[0]) is not int or pair[0] < 0
           or not isinstance(pair[1], (str, int, float))]
    if bad:
        raise DatasetError('%s: names: expected a list of names or a mapping from class number to name, found %.80r'
                           % (os.path.join(dataset_path, DESCRIPTIONS[0]), bad[0]))
    if type(description.get('nc')) is int and description['nc'] != len(names):
        raise DatasetError('%s: nc says %d classes, names has %d. Correct one of them'
                           % (os.path.join(dataset_path, DESCRIPTIONS[0]), description['nc'], len(names)))
    return {number: str(name).strip() for number, name in sorted(pairs)}


def find_images(image_set, dataset_path, description):
    """The images of a set.

    They are those of the description's entry `image_set` (folders or lists of paths), if it lies in the data set's
    folder, or else of the list <image_set>.txt, or the folder images/<image_set>, <image_set>/images or <image_set>.

    Returns:
        list of paths relative to the data set's folder, with '/'.
    Raises:
        FileNotFoundError: there is none of these. DatasetError: a name leads out of the folder, or there is no image.
    """
    entries = description.get(image_set) or []
    entries = [entry for entry in (entries if isinstance(entries, list) else [entries]) if isinstance(entry, str)]
    # `../train/images` is what one tool writes for the folder train/images: it finds its place by the candidates below.
    stated = [entry for entry in entries if _is_inside(dataset_path, entry)
              and os.path.exists(os.path.join(dataset_path, entry))]
    tried = [image_set + '.txt', 'images/' + image_set, image_set + '/images', image_set]
    found = stated or [name for name in tried if os.path.exists(inside(dataset_path, name))][:1]
    if not found:
        raise FileNotFoundError("%s: there are no images of the set '%s': tried %s"
                                % (os.path.abspath(dataset_path), image_set, ', '.join(entries + tried)))
    names = [name for entry in found for name in _listed(dataset_path, entry)]
    if not names:
        raise DatasetError('%s: there is no image %s in %s'
                           % (os.path.abspath(dataset_path), ' '.join(IMAGE_EXTENSIONS), ', '.join(found)))
    return list(dict.fromkeys(names))


def _is_inside(folder, name):
    try:
        return bool(inside(folder, name))
    except DatasetError:
        return False


def _listed(dataset_path, entry):
    path = inside(dataset_path, entry)
    if os.path.isdir(path):
        found = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
        return sorted(_relative(dataset_path, name) for name in found if name.lower().endswith(IMAGE_EXTENSIONS))
    return [line.replace('\\', '/') for line in read_lines(path, 'the path of an image a line')]


def _relative(dataset_path, path):
    return os.path.relpath(path, dataset_path).replace(os.sep, '/')


def label_path(image_path):
    """Where the labels of an image are: beside it, or in the folder labels where it lies in a folder images."""
    folders = os.path.dirname(image_path).split(os.sep)
    for number in range(len(folders) - 1, -1, -1):
        if folders[number] == 'images':
            folders[number] = 'labels'
            break
    return os.path.join(os.sep.join(folders), os.path.splitext(os.path.basename(image_path))[0] + '.txt')
