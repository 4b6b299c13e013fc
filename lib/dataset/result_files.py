"""What was found in pictures, as files that other programs read: lines of JSON, COCO, VOC and YOLO.

Each writer is a context manager; `add(path, size, found)` takes one picture: its path, (width, height), and a list of
(class_name, score, box) with boxes x1, y1, x2, y2 in pixels, both corners inside. Files have their names once all
pictures were added. Pictures without objects are in all of them.
"""
from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Iterable

from lib.dataset.files import read_text
from lib.dataset.voc_eval import detections_path, write_detections
from lib.errors import DatasetError
from lib.utils.console import shown
from lib.utils.folders import make_folder
from lib.utils.whole_file import alone_in, check_place, save_text, whole_text

CLASSES_FILE = 'classes.txt'    # of YOLO
LINE_PARTS = 6      # of a line there: class, four numbers of the box, score; labels made by hand have no score


class JsonWriter:
    """A line of JSON for each object; for a picture without any, one line whose class_name, score and box are null.

    A line has the keys that say where (image, or video and frame), then class_name, score, box. A name that is no UTF-8
    is written so that Python's json gives it back.

    Args:
        path: of the file; '-' is the standard output.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        self._file = self._stack.enter_context(whole_text(self.path))
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def add(self, path: str | os.PathLike, size: tuple[int, int], found: Iterable[tuple]) -> None:
        """See the head of this file."""
        self.write({'image': os.fspath(path)}, found)

    def write(self, where: dict, found: Iterable[tuple]) -> None:
        """Lines for a picture or a frame. where: dict of the first keys."""
        lines = [dict(where, class_name=name, score=round(float(score), 6), box=[round(float(x), 2) for x in box])
                 for name, score, box in found] or [dict(where, class_name=None, score=None, box=None)]
        self._file.write(''.join(_as_json(line) + '\n' for line in lines))


def _as_json(value):
    """JSON whose letters of any alphabet can be read, and whose other characters, which a terminal may obey, are
    escapes.
    """
    return ''.join(c if c.isprintable() else json.dumps(c)[1:-1] for c in json.dumps(value, ensure_ascii=False))


class _AtTheEnd:
    """Collects pictures and writes them at the end, unless something failed.

    Args:
        path: of the file or folder. classes: names without the background.
    """

    def __init__(self, path, classes):
        self.path = Path(path)
        self.classes = list(classes)
        self.pictures = []

    def __enter__(self):
        make_folder(self.path)    # what cannot be written is found out before the work
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            with alone_in(self.path):
                self.save()

    def add(self, path, size, found):
        """See the head of this file."""
        self.pictures.append((os.fspath(path), size, list(found)))


class CocoWriter(_AtTheEnd):
    """A json file of COCO's format with a score for each annotation: images, categories, annotations.

    Images and categories are numbered from 1 in their order; file_name is the path as it was given. Boxes are cut off
    at the picture's sides.
    """

    def __enter__(self):
        check_place(self.path)
        return self

    def save(self) -> None:
        """Write the file."""
        numbers = {name: number for number, name in enumerate(self.classes, 1)}
        images = [{'id': i, 'file_name': path, 'width': width, 'height': height}
                  for i, (path, (width, height), _) in enumerate(self.pictures, 1)]
        annotations = [dict(image_id=i, category_id=numbers[name], score=round(float(score), 6), iscrowd=0,
                            **_coco_box(box, size))
                       for i, (_, size, found) in enumerate(self.pictures, 1) for name, score, box in found]
        data = {'images': images, 'categories': [{'id': i, 'name': name} for name, i in numbers.items()],
                'annotations': [dict(annotation, id=i) for i, annotation in enumerate(annotations, 1)]}
        save_text(str(self.path), json.dumps(data))     # ASCII: escapes bring every name back


def _coco_box(box, size):
    left, top, right, bottom = _edges(box, size)
    width, height = right - left, bottom - top
    return dict(bbox=[round(x, 2) for x in (left, top, width, height)], area=round(width * height, 2))


def _edges(box, size):
    """left, top, right, bottom of a box in a picture of this size.

    The last pixel of an enlarged picture, where detections are cut off, ends less than a pixel after the picture.
    """
    x1, y1, x2, y2 = [float(x) for x in box]
    return x1, y1, min(x2 + 1, size[0]), min(y2 + 1, size[1])


class VocWriter(_AtTheEnd):
    """A folder of VOC's result files: comp4_det_demo_<class>.txt with lines `picture score x1 y1 x2 y2`.

    Pixels count from 1. A picture is named by its file without extension, a second one of this name by name_2;
    images.txt lists all, also those without objects.
    """

    SET = 'demo'

    def save(self) -> None:
        """Write the files."""
        taken = set()
        names = [free_name(shown(Path(path).stem), taken) for path, _, _ in self.pictures]
        _save_lines(self.path / 'images.txt', names)
        for class_name in self.classes:
            rows = [(name, [[*map(float, box), float(score)] for of_class, score, box in found
                            if of_class == class_name]) for name, (_, _, found) in zip(names, self.pictures)]
            path = detections_path(str(self.path), self.SET, class_name)
            write_detections({path: rows}, score_decimals=6, box_decimals=2)


class YoloWriter(_AtTheEnd):
    """A folder of YOLO's text files: for each picture, lines `class x y width height score`; empty without objects.

    Classes count from 0, and classes.txt names them; the centre and the sides are parts of the picture's sides, at
    which boxes are cut off.

    Raises:
        DatasetError: at the beginning, if the name of a class would not be one line of classes.txt, or if the folder
            holds text files that no such writer with these classes made: labels made by hand are not replaced.
    """

    def __enter__(self):
        broken = [name for name in self.classes if name.splitlines() != [name]]
        if broken:
            raise DatasetError('%s: classes.txt of YOLO has a class in a line, which %s is not. Rename it in '
                               'dataset.CLASSES' % (self.path, ascii(broken[0])))
        others = [path for path in sorted(self.path.glob('*.txt')) if not self._is_ours(path)]
        if others:
            raise DatasetError('%s: is not one of the files that are written here, with a score in each line and the '
                               'same classes; labels made by hand would be lost. Give a folder without it' % others[0])
        return super().__enter__()

    def _is_ours(self, path):
        lines = read_text(str(path), 'text file').splitlines()
        if path.name == CLASSES_FILE:
            return lines == self.classes
        return all(len(line.split()) == LINE_PARTS for line in lines)

    def save(self) -> None:
        """Write the files."""
        _save_lines(self.path / CLASSES_FILE, self.classes)
        taken = {'classes'}
        for path, size, found in self.pictures:
            name = free_name(Path(path).stem, taken)
            _save_lines(self.path / (name + '.txt'), [self._line(size, *each) for each in found])

    def _line(self, size, class_name, score, box):
        width, height = size
        left, top, right, bottom = _edges(box, size)
        numbers = ((left + right) / 2 / width, (top + bottom) / 2 / height,
                   (right - left) / width, (bottom - top) / height)
        return '%d %s %.6f' % (self.classes.index(class_name), ' '.join('%.6f' % x for x in numbers), score)


def free_name(name: str, taken: set[str]) -> str:
    """`name`, or name_2, name_3 ... where it is in the set `taken`, to which what is returned is added."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = '%s_%d' % (name, number)
    taken.add(free)
    return free


def _save_lines(path, lines):
    save_text(str(path), ''.join(line + '\n' for line in lines))
