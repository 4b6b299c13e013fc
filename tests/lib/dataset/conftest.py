"""Small data sets on disk, and the real ones where they are present."""
import os

import cv2
import numpy as np
import pytest

from lib.dataset import load_gt_roidb
from lib.dataset.annotations import ITEM
from tests.conftest import ROOT

OBJECT = ('<object><name>%s</name><difficult>%d</difficult><bndbox><xmin>%g</xmin><ymin>%g</ymin><xmax>%g</xmax>'
          '<ymax>%g</ymax></bndbox></object>')


def items_of(*objects):
    """(n,) of ITEM: objects are tuples number, label, box and, if given, flags."""
    return np.array([tuple(item) + (0,) * (4 - len(item)) + (np.nan,) for item in objects], dtype=ITEM)


def annotation_text(objects, size=(40, 30), filename='', extra=''):
    """An annotation in VOC's format; objects are tuples label, x1, y1, x2, y2 and, if given, difficult."""
    items = ''.join(OBJECT % (item[0], item[5] if len(item) > 5 else 0, *item[1:5]) for item in objects)
    size = '<size><width>%d</width><height>%d</height><depth>3</depth></size>' % size if size else ''
    return '<annotation><filename>%s</filename>%s%s%s</annotation>' % (filename, size, items, extra)


class VocFolder:
    """Writes a data set in the layout of VOC, image by image."""

    def __init__(self, folder):
        self.folder = folder
        for name in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
            (folder / name).mkdir(parents=True)
        self.names = []

    def add(self, name, objects=(), extension='.jpg', **options):
        """An image of 40 x 30 pixels with its annotation; `train.txt` lists all that were added."""
        (self.folder / 'Annotations' / (name + '.xml')).write_text(annotation_text(objects, **options))
        data = cv2.imencode(extension.lower(), np.full((30, 40, 3), 90, dtype=np.uint8))[1]
        (self.folder / 'JPEGImages' / (name + extension)).write_bytes(data.tobytes())
        self.names.append(name)
        self.list_images('train', self.names)
        return self

    def list_images(self, image_set, lines):
        """Write ImageSets/Main/<image_set>.txt."""
        (self.folder / 'ImageSets' / 'Main' / (image_set + '.txt')).write_text(''.join(line + '\n' for line in lines))


def write_picture(path, size=(40, 30)):
    """A grey image; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def write_files(folder, files):
    """Write texts or bytes to the names in a folder; None is a picture."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            write_picture(folder / name)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def trained_on(kind, folder, image_set='train', **options):
    """What training gets: path of the image within the folder -> list of (class, box)."""
    roidb, imdbs = load_gt_roidb(kind, image_set, str(folder), **options)
    return {os.path.relpath(entry['image'], str(folder)): [
        (imdbs[0].classes[number], [round(value, 3) for value in box])
        for number, box in zip(entry['gt_classes'], entry['boxes'].tolist())] for entry in roidb}


@pytest.fixture
def voc(tmp_path):
    """An empty data set in the layout of VOC, in tmp_path/pets."""
    return VocFolder(tmp_path / 'pets')


@pytest.fixture
def voc2007(tmp_path):
    """An empty data set in the layout of the VOC development kit, in tmp_path/VOC2007."""
    return VocFolder(tmp_path / 'VOC2007')


@pytest.fixture
def real_data():
    """The folder with real data sets; the test is skipped where it is absent."""
    folder = ROOT.parent / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip('the real data sets are not here')
    return folder
