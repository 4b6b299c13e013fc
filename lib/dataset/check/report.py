"""Checks an image set: its content and all of its faults, as data and as text."""
from __future__ import annotations

import re
import unicodedata
from typing import Callable, Iterable, NamedTuple

import numpy as np

from lib.dataset import faults as kinds
from lib.dataset.annotations import AnnotatedSet, unknown_labels
from lib.dataset.box_rule import CLIP, MIN_SIDE, RELEASE, VERDICTS, FittedItems, fit_items, hints, usage_text
from lib.dataset.check.anchors import Fit, Objects
from lib.dataset.check.pictures import DECODED, ImageCheck, check_images, frame, same_images, turned_pictures
from lib.dataset.faults import EXAMPLES, Fault, Faults, stopping
from lib.utils.console import counted, shown
from lib.utils.limits import MAX_PIXELS

# Kind of fault -> what it means. The first ones stop training; for the others the text says what training does.
MEANING = {
    kinds.ANNOTATION: 'the annotation cannot be read', kinds.NOT_ANNOTATED: 'there is no such file',
    kinds.ITEM_FAULT: 'the annotation of an object cannot be read',
    kinds.NAME: 'a name leads out of the folder', kinds.DUPLICATE_ID: 'an id stands for two things',
    kinds.SAME_FILE: 'the objects of one are background to the other',
    kinds.MISSING: 'there is no such image', kinds.IMAGE: 'the image is damaged, truncated or too large',
    kinds.SIZE: 'the annotation was made for an image of another size', kinds.LABEL: 'the label is not a class',
    kinds.UNUSABLE: 'no object is left', kinds.OTHERS: 'left out', kinds.TURNED: 'the pixels as stored are trained on',
    kinds.CANDIDATES: 'the first is taken', kinds.LISTED_TWICE: 'taken once', kinds.INVERTED: 'dropped',
    kinds.OUTSIDE: 'dropped', kinds.FAR: 'by more than half of its side: dropped',
    kinds.TINY: 'too thin: dropped', kinds.CLIPPED: 'clipped', kinds.DOUBLED: 'trained on twice',
    kinds.SAME_IMAGE: 'trained on twice', kinds.OVERLAP: 'the result of the test is too good',
    kinds.CROWDED: "the limit of COCO's evaluation", kinds.BESIDE: 'they do not count',
    kinds.LINK: 'what it leads to is not used', kinds.UNLABELLED: 'taken as images without objects',
    kinds.HINT: 'all boxes may be wrong', kinds.ABSENT: 'not learned from it, not tested with it',
    kinds.ALIKE: 'taken as different classes',
}
MANY = 0.1      # share of thin objects from which on larger images are advised


class Report(NamedTuple):
    """The result of a check."""
    data: AnnotatedSet
    images: dict[str, ImageCheck]
    faults: list[Fault]
    fitted: FittedItems     # the items with their boxes fitted into the images as they are
    sizes: np.ndarray       # (pictures, 2) width and height; NaN if unknown
    decoded: bool           # whether pixels were read, not only headers
    min_side: float         # and rule: by which the boxes were fitted, of `fit_boxes`
    rule: str

    def by_kind(self) -> dict[str, list[Fault]]:
        """`by_kind` of its faults."""
        return by_kind(self.faults)

    def meaning(self, kind: str) -> str:
        """What a kind of fault means under the rule by which the boxes were fitted."""
        if kind == kinds.TINY:
            return 'thinner than %g pixels: dropped' % self.min_side
        if kind == kinds.OUTSIDE and self.rule == RELEASE:
            return 'or of a stated area of 0: dropped'
        return MEANING[kind]

    def stopping(self, on_bad_image: str = 'error', on_unknown_class: str = 'error') -> list[Fault]:
        """The faults that stop training or do not let it begin. Arguments as of `IMDB`."""
        return stopping(self.faults, on_bad_image, on_unknown_class)

    def usable(self) -> np.ndarray:
        """(n,) int, indices into `fitted`: the objects that are trained on, of images that can be read."""
        readable = np.array([image.size is not None for image in self.images.values()], dtype=bool)
        return np.flatnonzero(self.fitted.used & readable[self.fitted.owners]) if len(readable) else np.zeros(0, int)


def by_kind(faults: Iterable[Fault]) -> dict[str, list[Fault]]:
    """Kind -> its faults, in the order of MEANING; kinds without faults are left out."""
    found = {kind: [] for kind in MEANING}
    for fault in faults:
        found[fault.kind].append(fault)
    return {kind: of_kind for kind, of_kind in found.items() if of_kind}


def check(data: AnnotatedSet, *, max_pixels: int | None = MAX_PIXELS, min_side: float = MIN_SIDE, rule: str = CLIP,
          workers: int = 2, progress: Callable = iter, decode: bool | None = None,
          on_unknown_class: str = 'error') -> Report:
    """Check an image set.

    Args:
        data: the set.
        max_pixels, workers, progress: of `check_images`.
        min_side, rule: of `fit_boxes`, as training takes them.
        decode: whether pixels are read and compared, not only headers; None: for sets of up to DECODED images.
        on_unknown_class: 'ignore' if objects of other classes are left out on purpose, else 'error'.
    """
    decode = len(data.pictures) <= DECODED if decode is None else decode
    images = check_images(data, max_pixels, workers, progress, decode)
    frames = [frame(picture, images[picture.index]) or (np.nan, np.nan) for picture in data.pictures]
    sizes = np.array(frames, dtype=np.float64).reshape(-1, 2)
    table = data.table()
    fitted = fit_items(data, sizes, table, min_side=min_side, rule=rule)
    faults = list(data.faults) + [found.fault for found in images.values() if found.fault]
    faults += unknown_labels(data) if on_unknown_class == 'error' else []
    faults += _box_faults(data, fitted, sizes, on_unknown_class) + _doubled(data, fitted)
    faults += turned_pictures(data, images) + same_images(data, images) + hints(data, sizes, table)
    faults += _absent_classes(data, fitted) + _alike_classes(data) + _unusable(data, fitted)
    # Each once: YOLO's reader, which needs the sizes, has noted unreadable images already.
    return Report(data, images, list(dict.fromkeys(faults)), fitted, sizes, decode, min_side, rule)


def _box_faults(data, fitted, sizes, on_unknown_class):
    """Faults for the boxes that training drops or clips."""
    faults = Faults()
    rows = fitted.verdicts > 0
    for row in np.flatnonzero(rows & fitted.known if on_unknown_class == 'ignore' else rows):
        picture, item = data.pictures[fitted.owners[row]], fitted.items[row]
        size = sizes[fitted.owners[row]]
        if np.isnan(size).any():
            text = '%s: box (%s), whatever the size of the image' % (
                data.where(picture, item), ', '.join('%g' % value for value in item['box']))
        else:
            text = data.box_text(picture, item, (int(size[0]), int(size[1])))
        faults.note(VERDICTS[fitted.verdicts[row]], picture.index, int(item['number']), text)
    return faults


def _doubled(data, fitted):
    """Faults for the objects with the class, the flags and the box of an earlier object of the same image."""
    faults, items = Faults(), fitted.items      # a crowd with the box of an object is not a second one
    boxes = np.where(fitted.kept[:, None], fitted.boxes, items['box'])
    columns = np.column_stack([fitted.owners, items['label'], items['flags'], boxes])
    order = np.lexsort(columns.T[::-1])         # stable: the earlier of two equal ones comes first
    same = (columns[order][1:] == columns[order][:-1]).all(axis=1)
    for row in np.sort(order[1:][same]):
        picture, item = data.pictures[fitted.owners[row]], items[row]
        faults.note(kinds.DOUBLED, picture.index, int(item['number']),
                    '%s: an earlier object of the class has the same box (%s)'
                    % (data.where(picture, item), ', '.join('%g' % value for value in item['box'])))
    return faults


def class_counts(data: AnnotatedSet) -> dict[str, tuple[int, int]]:
    """Class -> (number of objects, number of images with such objects); unknown labels follow after the classes."""
    items, owners = data.table()
    objects = np.bincount(items['label'], minlength=len(data.labels))
    pairs = np.unique(np.column_stack([owners, items['label']]), axis=0)
    images = np.bincount(pairs[:, 1].astype(int), minlength=len(data.labels))
    numbers = list(range(data.num_classes)) + sorted(
        (number for number in range(data.num_classes, len(data.labels)) if objects[number]),
        key=lambda number: data.labels[number])
    return {data.labels[number]: (int(objects[number]), int(images[number])) for number in numbers}


def _absent_classes(data, fitted):
    """Faults for the classes that have no object, or none that is used."""
    faults, used = Faults(), np.bincount(fitted.items['label'][fitted.used], minlength=data.num_classes)
    for label, (objects, _), count in zip(data.classes, class_counts(data).values(), used):
        if not count:
            faults.note(kinds.ABSENT, '', None, "%s: the class '%s' has %s" % (data.name, shown(
                label), 'no object that is used, of %d' % objects if objects else 'no object'))
    return faults


def _alike_classes(data):
    """Faults for classes whose names differ only in upper case, blanks, Unicode form or as 1 and 1.0: mostly a mistake.
    """
    faults, first = Faults(), {}
    for label in data.classes:
        other = first.setdefault(_class_spelling(label), label)
        if other != label:
            faults.note(kinds.ALIKE, '', None, "%s: the classes '%s' and '%s' are two: correct the labels if they mean "
                        'the same' % (data.name, shown(other), shown(label)))
    return faults


def _class_spelling(label):
    text = ''.join(unicodedata.normalize('NFKC', label).casefold().split())
    return re.sub(r'^(\d+)\.0+$', r'\1', text)


def _unusable(data, fitted):
    """A fault if no object of the set is trained on."""
    faults = Faults()
    if data.annotated and not fitted.used.any():
        faults.note(kinds.UNUSABLE, '', None, '%s: %s' % (data.name, usage_text(fitted)))
    return faults


def set_text(report: Report) -> str:
    """The report of one image set as text."""
    data = report.data
    empty = sum(not len(picture.items) for picture in data.pictures)
    lines = ['%s (%s): %s, %d of them without objects, %s'
             % (data.name, data.format, counted(len(data.pictures), 'image'), empty,
                counted(len(report.fitted.items), 'object'))]
    counts = class_counts(data)
    width = max(len(shown(label)) for label in counts)
    lines += ['    %-*s %7d object%s in %s' % (width, shown(label), objects, '' if objects == 1 else 's',
                                               counted(images, 'image'))
              for label, (objects, images) in counts.items()]
    if data.annotated:
        lines.append('    ' + usage_text(report.fitted))
    if not report.decoded:
        lines.append('    the headers of the images were read, not their pixels: --pixels reads them')
    for kind, faults in report.by_kind().items():
        lines.append('  %s: %d (%s)' % (kind, len(faults), report.meaning(kind)))
        lines += ['    ' + fault.text for fault in faults[:EXAMPLES]]
        lines += ['    ... and %d more' % (len(faults) - EXAMPLES)] if len(faults) > EXAMPLES else []
    return '\n'.join(lines + ([] if report.faults else ['  nothing is wrong']))


def anchor_text(objects: Objects, fit: Fit, suggestion: Fit | None, without: int = 0, images: int = 0) -> str:
    """The sizes of the objects at the network's scale, and how anchors fit them, as text.

    Args:
        objects: of the training images.
        fit: of the configured anchors.
        suggestion: of better anchors, if there are any.
        without: number of images inside which no anchor lies.
        images: number of all images.
    """
    sides = objects.sides
    if not len(sides):
        return 'no objects to compare the anchors with'
    size, shape = np.sqrt(sides.prod(axis=1)), sides[:, 1] / sides[:, 0]
    thin, cell = sides.min(axis=1), fit.stride
    lines = ["objects at the network's scale, from the smallest to the largest (0, 10, 50, 90, 100 %):",
             '  side of a square of their area, pixels: ' + _quantiles(size), '  height / width: ' + _quantiles(shape),
             '  thinner than %d pixels, a cell of the feature map: %.1f %%' % (cell, 100 * (thin < cell).mean())]
    if (thin < cell).mean() > MANY:
        lines.append('    hard to find with any anchors: SCALES %s times as large would leave %d %% of the objects '
                     'so thin' % (_short(cell / np.quantile(thin, MANY)), 100 * MANY))
    lines.append(fit_text('anchors of the configuration', fit))
    if without:
        lines.append('    no anchor lies inside %d of %s: they train nothing' % (without, counted(images, 'image')))
    lines.append(fit_text('these would fit better', suggestion) if suggestion
                 else '  no others of that number fit clearly better')
    return '\n'.join(lines)


def _quantiles(values):
    return ', '.join(_short(value) for value in np.quantile(values, (0, 0.1, 0.5, 0.9, 1)))


def _short(value):
    """Three digits or, of a large number, all before the point: %g would write 1.2e+03."""
    return '%.3g' % value if value < 100 else '%.0f' % value


def fit_text(title: str, fit: Fit) -> str:
    """The fit of some anchors as text."""
    return ('%s: network.ANCHOR_SCALES=%s network.ANCHOR_RATIOS=%s\n'
            '  IoU of an object and the best anchor inside the image: mean of the classes %.3f; '
            '0.7 reached by %.1f %%, 0.5 by %.1f %%; below 0.3: %.1f %%'
            % (title, _list(fit.scales), _list(fit.ratios), fit.mean, 100 * fit.share(0.7), 100 * fit.share(0.5),
               100 - 100 * fit.share(0.3)))


def _list(values):
    return '[%s]' % ','.join('%g' % value for value in values)
