"""Reading large data sets: a COCO json of the size of trainval 2014, and as a CSV list of a million lines.

Made up: random boxes and outlines, and one small picture under many names. Each reading is a process of its own.
Seconds are of the processor; the peak is the process's, MXNet and the libraries included.
"""
import contextlib
import csv
import io
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import yaml

from experiments.bench.measure import in_process
from lib.dataset import load_gt_roidb
from lib.dataset.imdb import filter_roidb
from lib.utils.memory import peak
from rfcn import check_dataset

IMAGES, BOXES, LINES = 118000, 860000, 1000000      # COCO's trainval 2014, and what a CSV list may well have
SHORTER = 20            # times, with --short
CLASSES, SIDES = 80, (640, 480)
LINKS = 30000           # names of one file: file systems bound their number
OUTLINE = 24            # numbers in an outline, which pycocotools keeps and we do not need
SET = 'train'


def run(short):
    """Rows of the table: seconds, their ratio to the plain library's, and the peak, of each reading."""
    parts = SHORTER if short else 1
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder, IMAGES // parts)
        write_coco(folder, IMAGES // parts, BOXES // parts)
        write_csv(folder, IMAGES // parts, LINES // parts)
        for kind, plain in (('coco', 'pycocotools'), ('csv', 'csv module')):
            found = {what: in_process('read_data', what=what, kind=kind, folder=name)
                     for what in ('plain', 'train', 'check')}
            for what, label in (('plain', plain), ('train', 'ready to train'), ('check', 'rfcn check')):
                rows.append({'set': kind, 'reading': label, 's': found[what]['seconds'],
                             'ratio': found[what]['seconds'] / found['plain']['seconds'],
                             'peak MB': found[what]['peak'], 'MB at start': found[what]['start']})
    return rows


def picture_name(number):
    """The name of a picture, as COCO writes it."""
    return '%012d.jpg' % number


def write_pictures(folder, count):
    """One grey picture under `count` names."""
    images = folder / 'images' / SET
    images.mkdir(parents=True)
    grey = cv2.imencode('.jpg', np.full(SIDES[::-1] + (3,), 127, np.uint8))[1].tobytes()
    for number in range(count):
        path = images / picture_name(number)
        if number % LINKS:
            os.link(str(images / picture_name(number - number % LINKS)), str(path))
        else:
            path.write_bytes(grey)


def random_boxes(count, seed):
    """(count, 4) x, y, width, height inside the picture, with two decimals."""
    rng = np.random.RandomState(seed)
    corners = rng.uniform(0, 0.5, (count, 2)) * SIDES
    return np.round(np.hstack([corners, rng.uniform(0.02, 0.5, (count, 2)) * SIDES]), 2)


def write_coco(folder, images, boxes):
    """Write annotations/instances_train.json."""
    owners, labels = (np.random.RandomState(0).randint(0, most, boxes) for most in (images, CLASSES))
    outline = ', '.join('%.2f' % value for value in np.random.RandomState(1).uniform(0, 480, OUTLINE))
    (folder / 'annotations').mkdir()
    with open(str(folder / 'annotations' / ('instances_%s.json' % SET)), 'w') as file:
        file.write('{"images": [')
        file.write(', '.join('{"id": %d, "file_name": "%s", "width": %d, "height": %d, "license": 1}'
                             % ((number, picture_name(number)) + SIDES) for number in range(images)))
        file.write('], "categories": [')
        file.write(', '.join('{"id": %d, "name": "class%d", "supercategory": "any"}' % (number, number)
                             for number in range(CLASSES)))
        file.write('], "annotations": [')
        for number, (owner, label, box) in enumerate(zip(owners, labels, random_boxes(boxes, 2))):
            file.write('%s{"segmentation": [[%s]], "area": %.2f, "iscrowd": 0, "image_id": %d, "bbox": [%g, %g, %g, %g]'
                       ', "category_id": %d, "id": %d}' % ((', ' if number else '', outline, box[2] * box[3] / 2, owner)
                                                           + tuple(box) + (label, number)))
        file.write(']}')


def write_csv(folder, images, lines):
    """Write train.csv."""
    owners, labels = (np.random.RandomState(3).randint(0, most, lines) for most in (images, CLASSES))
    with open(str(folder / (SET + '.csv')), 'w') as file:
        file.write('image,x1,y1,x2,y2,class,width,height\n')
        for owner, label, (x, y, width, height) in zip(np.sort(owners), labels, random_boxes(lines, 4)):
            file.write('%s,%g,%g,%g,%g,class%d,%d,%d\n'
                       % ((picture_name(owner), x, y, x + width - 1, y + height - 1, label) + SIDES))


def read_data(what, kind, folder):
    """A job: read a set in one way. Returns seconds of the processor, the peak, and what was held before, MB."""
    start, started = peak(), time.process_time()
    {'plain': read_plain, 'train': read_to_train, 'check': read_to_check}[what](kind, Path(folder))
    return {'seconds': time.process_time() - started, 'peak': peak(), 'start': start}


def read_plain(kind, folder):
    """Read a set by pycocotools, or as rows of the csv module."""
    if kind == 'coco':
        from pycocotools.coco import COCO
        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(str(folder / 'annotations' / ('instances_%s.json' % SET)))
    with open(str(folder / (SET + '.csv')), newline='') as file:
        return list(csv.reader(file))


def read_to_train(kind, folder):
    """Read a set as training does before its first step."""
    return filter_roidb(load_gt_roidb(kind, SET, str(folder), flip=True)[0])


def read_to_check(kind, folder):
    """Read a set as `rfcn check` does."""
    cfg = folder / 'check.yaml'
    cfg.write_text(yaml.safe_dump({'dataset': {'dataset': kind, 'dataset_path': str(folder), 'image_set': SET,
                                               'test_image_set': SET}}))
    with contextlib.redirect_stdout(io.StringIO()) as text:
        check_dataset.main(['--cfg', str(cfg)])
    if 'training would start' not in text.getvalue():
        raise RuntimeError(text.getvalue())
