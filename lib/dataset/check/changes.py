"""Decides what a cleaned copy of a set's annotations changes; fix.py writes the copy."""
from __future__ import annotations

from typing import Collection, NamedTuple

import numpy as np

from lib.dataset import faults as kinds
from lib.dataset.box_rule import FIRST_DROPPED, fit_boxes, uninverted
from lib.dataset.check.pictures import frame
from lib.dataset.check.report import Report
from lib.utils.image_header import lies_sideways, upright_box

_PICTURE_LEFT_OUT = (kinds.ANNOTATION, kinds.NOT_ANNOTATED, kinds.NAME, kinds.MISSING, kinds.IMAGE)
_ITEM_LEFT_OUT = (kinds.ITEM_FAULT, kinds.OUTSIDE, kinds.FAR, kinds.TINY, kinds.DOUBLED)
_BOX_CORRECTED = (kinds.CLIPPED, kinds.INVERTED)
_OF_THE_FRAME = _BOX_CORRECTED + (kinds.OUTSIDE, kinds.FAR, kinds.TINY, kinds.SIZE)     # other ones of another frame
_DONE_BY_THE_READER = {kinds.LISTED_TWICE: 'listed once',
                       kinds.DUPLICATE_ID: 'the first one kept if both have the same name'}
SHOWN, STORED = 'shown', 'stored'       # what the boxes of a picture with an orientation refer to

Box = tuple     # of four numbers: x1, y1, x2, y2


class Changes(NamedTuple):
    """The changes to a set. Pictures and items have the index and the number that they have in its faults."""
    pictures: set[str]                              # left out
    boxes: dict[str, dict[int, Box | None]]         # index -> item -> its new box; None: the item is left out
    sizes: dict[str, tuple[int, int]]               # index -> corrected width and height
    upright: dict[str, int]                         # index -> orientation that is undone in the pixels
    again: set[str]                                 # truncated pictures that are encoded again
    notes: list[str]                                # a line for each fault: what is done about it

    def of_items(self) -> dict[int, Box | None]:
        """Item -> its new box, or None if it is left out; for formats that number items across pictures."""
        return {number: box for boxes in self.boxes.values() for number, box in boxes.items()}


def plan_changes(report: Report, upright: str | None = None, reencode: Collection[str] = ()) -> Changes:
    """Decide what to do about each fault of a report.

    Left out are pictures whose image or annotation cannot be read, and boxes that are outside, tiny or there twice. A
    box that sticks out is clipped, the corners of an inverted box are put in order, and a wrong size is corrected
    where the boxes do not fit it. Everything else stays as it is: unknown labels, equal images, and other wrong sizes,
    for the picture may have been resized and the boxes not. About these only the owner of the data can decide.

    Args:
        report: of the check of the set; boxes are fitted by its rule.
        upright: None leaves pictures with an EXIF or TIFF orientation as they are. SHOWN or STORED turns them upright
            and says what their boxes refer to: the picture as viewers show it, which most tools write, or the pixels
            as stored. Where the annotated size tells which of the two, that decides.
        reencode: indices of truncated pictures that are written again, as far as they can be read.
    """
    changes = Changes(set(), {}, {}, {}, set(reencode), [])
    pictures = {picture.index: picture for picture in report.data.pictures}
    turned = {fault.index for fault in report.faults if fault.kind == kinds.TURNED} if upright else set()
    for index in turned:
        _turn(changes, report, pictures[index], report.images[index], upright)
    for fault in report.faults:
        if fault.index in turned and fault.kind in _OF_THE_FRAME:
            continue        # it concerns the picture as stored; `_turn` has fitted the boxes into the upright one
        done = _change(changes, report, fault, pictures.get(fault.index), report.images.get(fault.index))
        changes.notes.append('%s: %s [%s]' % (done, fault.text, fault.kind))
    for picture in report.data.pictures:
        if picture.index in changes.boxes:
            _leave_out_doubled(changes, report.data, picture)
    return changes


def _leave_out_doubled(changes, data, picture):
    """Leave out the items of a picture whose box has become that of an earlier one of the class and the flags."""
    boxes, seen = changes.boxes[picture.index], set()
    for item in picture.items:
        box = boxes.get(int(item['number']), tuple(item['box'].tolist()))
        key = int(item['label']), int(item['flags']), box
        if box is not None and key in seen:
            boxes[int(item['number'])] = None
            changes.notes.append('object left out: %s: its box is that of an earlier object now [%s]'
                                 % (data.where(picture, item), kinds.DOUBLED))
        seen.add(key)


def _change(changes, report, fault, picture, image):
    """Add to `changes` what is done about a fault, and return it as text.

    Picture and ImageCheck are None if the fault concerns no picture of the set.
    """
    if fault.kind in _DONE_BY_THE_READER:
        return _DONE_BY_THE_READER[fault.kind]
    if fault.kind == kinds.IMAGE and fault.index in changes.again:
        return 'image written again with what can be read of it'
    if fault.kind in _PICTURE_LEFT_OUT and fault.index:
        changes.pictures.add(fault.index)
        return 'image left out'
    if fault.kind == kinds.TURNED and fault.index in changes.upright:
        return 'image turned upright'
    if fault.kind == kinds.SIZE and frame(picture, image) == image.size:
        changes.sizes[fault.index] = image.size
        return 'size is now %d x %d' % image.size
    if fault.kind in _ITEM_LEFT_OUT + _BOX_CORRECTED:
        boxes = changes.boxes.setdefault(fault.index, {})
        if fault.kind in _ITEM_LEFT_OUT or boxes.get(fault.number, True) is None:
            boxes[fault.number] = None
        else:
            item = picture.items[picture.items['number'] == fault.number][0]
            boxes[fault.number] = _fitted(report, item, uninverted(item['box']), frame(picture, image))
        box = boxes[fault.number]
        return 'box is now (%s)' % ', '.join('%g' % value for value in box) if box else 'object left out'
    return 'not changed'


def _fitted(report, item, box, size):
    """The box of an item in an image of that size; None if the rule drops it."""
    boxes, verdicts = fit_boxes([box], size, report.min_side, report.rule, item['area'][None])
    return None if verdicts[0] >= FIRST_DROPPED else tuple(boxes[0].tolist())


def _turn(changes, report, picture, image, upright):
    """Add to `changes` that a picture is turned upright, and its boxes as they are then."""
    shown = image.size[::-1] if lies_sideways(image.orientation) else image.size
    if report.data.format != 'yolo' and picture.size in (shown, image.size) and shown != image.size:
        upright = SHOWN if picture.size == shown else STORED        # the annotated size tells
    changes.upright[picture.index] = image.orientation
    changes.sizes[picture.index] = shown
    boxes = changes.boxes.setdefault(picture.index, {})
    for item in picture.items:
        box = uninverted(item['box'].tolist())
        if upright == STORED:
            box = upright_box(box, image.orientation, image.size)
        elif report.data.format == 'yolo':     # fractions of the sides that a viewer shows
            (x1, y1, x2, y2), (across, down) = box, np.array(shown) / image.size
            box = x1 * across, y1 * down, (x2 + 1) * across - 1, (y2 + 1) * down - 1
        boxes[int(item['number'])] = _fitted(report, item, box, shown)
