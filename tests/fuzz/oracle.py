"""A second, plain reading of annotation files, to compare the project's with: `python tests/fuzz/oracle.py [COUNT]`.

For each file, unusual or damaged, the two readings must give the same boxes, labels and flags; or the project refuses
the file, or says in a fault what is wrong. Where the second reading finds no one meaning, the project must not find one
without a word.
"""
import argparse
import collections
import csv
import io
import json
import logging
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import cv2
import numpy as np

from lib.dataset import faults as kinds
from lib.dataset import read_annotated
from lib.dataset.annotations import unknown_labels
from lib.errors import DatasetError
from tests.fuzz.mutate import mutate
from tests.fuzz.unusual import IMAGES, LABELS, MAKERS, SIZE, make_unusual

# kind -> the file it is written to, the format's name.
PLACES = {'xml': ('voc/Annotations/a.xml', 'PascalVOC'), 'json': ('coco/train.json', 'coco'),
          'csv': ('csv/train.csv', 'csv'), 'labels': ('yolo/labels/train/a.txt', 'yolo')}
_NUMBER = re.compile(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?')
TOLERANCE = 1e-6        # pixels: YOLO's fractions are multiplied in another order
_QUIET = (kinds.BESIDE, kinds.HINT)     # say nothing of an object
_YES, _NO = ('1', '1.0', 'true', 'yes'), ('', '0', '0.0', 'false', 'no', 'null', 'none')
_MARKS = ('difficult', 'isdifficult', 'crowd', 'iscrowd', 'isgroupof', 'ignore', 'ignored', 'isignored')
Finding = collections.namedtuple('Finding', 'kind number problem data')


class NoMeaning(Exception):
    """The second reading finds none, or more than one."""


# --- the second reading: (image, label, (x1, y1, x2, y2), flagged) of each object ---

def _number(text):
    if not _NUMBER.fullmatch(text.strip()):
        raise NoMeaning('%r is no number' % text)
    return float(text)


def _flag(text):
    if text.strip().lower() not in _YES + _NO:
        raise NoMeaning('%r is no flag' % text)
    return text.strip().lower() in _YES


def _plain(name):
    return name.lower().replace(' ', '').replace('_', '').replace('-', '')


def _only(found, what):
    if len(found) != 1:
        raise NoMeaning('%d times %s' % (len(found), what))
    return found[0]


def second_xml(data):
    """By ElementTree."""
    objects = []
    for node in ElementTree.fromstring(data).findall('{*}object'):
        frame = _only(node.findall('{*}bndbox'), 'bndbox')
        box = tuple(_number(_only(frame.findall('{*}' + tag), tag).text or '') - 1
                    for tag in ('xmin', 'ymin', 'xmax', 'ymax'))
        flags = node.findall('{*}difficult')
        label = (_only(node.findall('{*}name'), 'name').text or '').strip()
        objects.append(('a.png', label, box, bool(flags) and _flag(_only(flags, 'difficult').text or '')))
    return objects


def second_json(data):
    """By json alone."""
    content = json.loads(data.decode('utf-8-sig'))
    images = {item['id']: item['file_name'].replace('\\', '/') for item in content['images']}
    names = {item['id']: item['name'].strip() for item in content.get('categories', [])}
    objects = []
    for item in content['annotations']:
        x, y, width, height = item['bbox']
        flags = [_flag(str(value)) for key, value in item.items() if _plain(key) in _MARKS]
        objects.append((os.path.normpath(images[item['image_id']]), names[item['category_id']],
                        (x, y, x + width - 1, y + height - 1), any(flags)))
    return objects


def _column(heading, group):
    """The place of a column: of corners there is one; of the others the first name of the group counts."""
    if group[0] not in ('image', 'class'):
        return _only([i for i, name in enumerate(heading) if name in group], group[0])
    name = next(name for name in group if name in heading)
    return _only([i for i, other in enumerate(heading) if other == name], name)


def second_csv(data):
    """By the csv module."""
    text = data.decode('utf-8-sig')
    first = re.split('[\r\n]', text.lstrip())[0]
    delimiter = max(',;\t', key=first.count)
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, skipinitialspace=True)
    rows = [[cell.strip() for cell in row] for row in reader]
    rows = [row for row in rows if any(row) and row[0] != 'sep=']
    groups = [('image', 'filename', 'file', 'path', 'imagepath', 'imagename', 'img', 'imageid'),
              ('x1', 'xmin'), ('y1', 'ymin'), ('x2', 'xmax'), ('y2', 'ymax'),
              ('class', 'label', 'name', 'classname', 'labelname')]
    heading = [_plain(cell) for cell in rows[0]]
    if not set(heading) & set(groups[0]):
        heading, rows = [group[0] for group in groups], [[]] + rows
    places = [_column(heading, group) for group in groups]
    marks = [i for i, name in enumerate(heading) if name in _MARKS]
    objects = []
    for row in rows[1:]:
        row = row + [''] * (len(heading) - len(row))
        image, *corners, label = [row[place] for place in places]
        if any(corners) or label:
            objects.append((image.replace('\\', '/'), label, tuple(map(_number, corners)),
                            any(_flag(row[mark]) for mark in marks)))
    return objects


def second_labels(data):
    """By split."""
    objects = []
    for line in re.split('\r\n|\n|\r', data.decode('utf-8-sig')):
        if not line.strip():
            continue
        kind, *values = map(_number, line.split())
        if len(values) == 4:
            x, y, width, height = values
            corners = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        elif len(values) < 6 or len(values) % 2:
            raise NoMeaning(line)
        else:
            corners = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
        label = LABELS[int(kind)] if kind in range(len(LABELS)) else None
        box = tuple(value * side - end for value, side, end in zip(corners, SIZE * 2, (0, 0, 1, 1)))
        objects.append(('a.png', label, box, False))
    return objects


SECOND = {'xml': second_xml, 'json': second_json, 'csv': second_csv, 'labels': second_labels}


# --- the comparison ---

class Folder:
    """Data sets of one annotation file each, with all the pictures."""

    def __init__(self, folder):
        self.folder = Path(folder)
        picture = np.zeros(SIZE[::-1] + (3,), np.uint8)
        encoded = cv2.imencode('.png', picture)[1].tobytes()
        for images in ('voc/JPEGImages', 'coco/images', 'csv/images', 'yolo/images/train'):
            for name in IMAGES if images in ('coco/images', 'csv/images') else ('a.png',):
                path = self.folder / images / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded)
        for name, text in (('voc/ImageSets/Main/train.txt', 'a\n'), ('voc/classes.txt', '\n'.join(LABELS)),
                           ('yolo/data.yaml', 'names: ' + json.dumps(list(LABELS)))):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding='utf-8')
        for name, _ in PLACES.values():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)

    def first(self, kind, data):
        """The project's reading, as the second one's; or None where it refuses or says something."""
        name, layout = PLACES[kind]
        (self.folder / name).write_bytes(data)
        try:
            found = read_annotated(layout, 'train', str(self.folder / name.split('/')[0]), list(LABELS))
        except (DatasetError, FileNotFoundError):
            return None
        said = [fault for fault in list(found.faults) + unknown_labels(found) if fault.kind not in _QUIET]
        if said or not found.annotated:
            return None
        return [(picture.name, found.label(item), tuple(item['box'].tolist()), bool(item['flags']))
                for picture in found.pictures for item in picture.items]

    def compare(self, kind, data):
        """What came of a file, in a word, and a problem or ''."""
        first = self.first(kind, data)
        if first is None:
            return 'refused', ''
        try:
            second = SECOND[kind](data)
        except (NoMeaning, ValueError, KeyError, TypeError, AttributeError, ElementTree.ParseError, csv.Error,
                LookupError) as error:
            return 'differs', 'read without a word as %r; the second reading: %s: %s' % (
                first, type(error).__name__, error)
        if not equal(first, second):
            return 'differs', 'read as %r; the second reading: %r' % (first, second)
        return 'same', ''


def equal(first, second):
    """Whether two readings are the same, in any order of the images; of boxes up to rounding."""
    known = {label.lower(): label for label in LABELS}
    pairs = [sorted(((image, known.get(str(label).lower(), label), flag, tuple(map(float, box)))
                     for image, label, box, flag in reading), key=lambda item: item[0]) for reading in (first, second)]
    return [item[:3] for item in pairs[0]] == [item[:3] for item in pairs[1]] and all(
        np.allclose(ours[3], theirs[3], rtol=0, atol=TOLERANCE) for ours, theirs in zip(*pairs))


def make(kind, seed, number, damage):
    """File `number`: unusual, and damaged as well if so asked."""
    rng = np.random.RandomState([seed, sorted(MAKERS).index(kind), number, damage])
    data = make_unusual(kind, rng)
    return mutate(data, make_unusual(kind, rng), rng) if damage else data


def compare_many(count, seed):
    """Compare so many files. Returns a Counter of (kind, outcome) and a list of Finding."""
    logging.disable(logging.WARNING)
    counts, findings = collections.Counter(), []
    try:
        with tempfile.TemporaryDirectory() as folder:
            target = Folder(folder)
            for number in range(count):
                kind = sorted(MAKERS)[number % len(MAKERS)]
                data = make(kind, seed, number, number // len(MAKERS) % 2)
                outcome, problem = target.compare(kind, data)
                counts[kind, outcome] += 1
                if problem:
                    findings.append(Finding(kind, number, problem, data))
    finally:
        logging.disable(logging.NOTSET)
    return counts, findings


def main(argv=None):
    """Entry point. Returns the exit status: 1 if there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('count', type=int, nargs='?', default=20000, help='files (default %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    started = time.time()
    counts, findings = compare_many(args.count, args.seed)
    for (kind, outcome), found in sorted(counts.items()):
        print('%-8s %-8s %6d' % (kind, outcome, found))
    for finding in findings[:20]:
        print('\n%s, file %d: %s\n%r' % (finding.kind, finding.number, finding.problem[:600], finding.data[:1500]))
    print(json.dumps({'files': args.count, 'findings': len(findings), 'seconds': round(time.time() - started)}))
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
