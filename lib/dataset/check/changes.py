"""What a cleaned copy of a set's annotations changes."""
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np

from lib.dataset import annotations as kinds
from lib.dataset.box_rule import FIRST_DROPPED, MIN_SIDE, fit_boxes, uninverted
from lib.dataset.check.pictures import frame, lies_on_its_side
from lib.utils.image_header import lies_sideways, upright_box

_LOSES_THE_PICTURE = (kinds.ANNOTATION, kinds.NOT_ANNOTATED, kinds.NAME, kinds.MISSING, kinds.IMAGE)
_LOSES_THE_ITEM = (kinds.ITEM_FAULT, kinds.OUTSIDE, kinds.FAR, kinds.TINY, kinds.DOUBLED)
_MENDS_THE_BOX = (kinds.CLIPPED, kinds.INVERTED)
_DONE_BY_THE_READER = {kinds.LISTED_TWICE: 'listed once',
                       kinds.DUPLICATE_ID: 'the first one kept if both name the same'}
SHOWN, STORED = 'shown', 'stored'       # what the boxes of a picture with an orientation refer to


class Changes(NamedTuple):
    """Of a set; pictures and items are named as in its faults."""
    pictures: Set[str]                                              # that are left out
    boxes: Dict[str, Dict[int, Optional[Tuple[float, ...]]]]        # index -> item -> its new box, None: left out
    sizes: Dict[str, Tuple[int, int]]                               # index -> its size
    upright: Dict[str, int]                                         # index -> orientation by which it is turned
    again: Set[str]                                                 # pictures that are encoded again
    notes: List[str]                                                # what is done about each fault, a line each

    def of_items(self):
        """Item -> its new box, None: left out; where items are numbered across the pictures."""
        return {number: box for boxes in self.boxes.values() for number, box in boxes.items()}


def plan(report, min_side=MIN_SIDE, upright=None, reencode=()):
    """Decide what to do about the faults of a Report.

    A picture whose image or annotation cannot be read is left out, and so are boxes that are outside, tiny or there
    twice. A box that sticks out is clipped, an inverted one gets its corners in order, a size is corrected unless the
    image lies on its side. Unknown labels, images that are there twice and the like are left as they are: only you can
    know.

    Args:
        upright: SHOWN or STORED: pictures with an orientation are turned upright, and their boxes refer to the picture
            as viewers show it, as most tools write them, or to the pixels as stored. Where an annotated size tells
            which, that counts. None leaves these pictures as they are.
        reencode: names (Picture.index) of truncated pictures that are written anew with what can be read of them.
    """
    changes = Changes(set(), {}, {}, {}, set(reencode), [])
    pictures = {picture.index: picture for picture in report.data.pictures}
    turned = {fault.index for fault in report.faults if fault.kind == kinds.TURNED} if upright else set()
    for index in turned:
        _turn(changes, report.data, pictures[index], report.looks[index], upright, min_side)
    for fault in report.faults:
        if fault.index in turned and fault.kind in _MENDS_THE_BOX + _LOSES_THE_ITEM + (kinds.SIZE,):
            continue            # judged by the pixels as stored: the picture is another one now
        done = _apply(changes, fault, pictures.get(fault.index), report.looks.get(fault.index), min_side)
        changes.notes.append('%s: %s [%s]' % (done, fault.text, fault.kind))
    return changes


def _apply(changes, fault, picture, look, min_side):
    """Note one fault's remedy in `changes`; returns what it is. The picture and its Look are None if it is of none."""
    if fault.kind in _DONE_BY_THE_READER:
        return _DONE_BY_THE_READER[fault.kind]
    if fault.kind == kinds.IMAGE and fault.index in changes.again:
        return 'image written again with what can be read of it'
    if fault.kind in _LOSES_THE_PICTURE and fault.index:
        changes.pictures.add(fault.index)
        return 'image left out'
    if fault.kind == kinds.TURNED and fault.index in changes.upright:
        return 'image turned upright'
    if fault.kind == kinds.SIZE and not lies_on_its_side(picture, look.size):
        changes.sizes[fault.index] = look.size
        return 'size is now %d x %d' % look.size
    if fault.kind in _LOSES_THE_ITEM + _MENDS_THE_BOX:
        boxes = changes.boxes.setdefault(fault.index, {})
        left_out = fault.kind in _LOSES_THE_ITEM or boxes.get(fault.number, True) is None
        box = boxes[fault.number] = None if left_out else _mended(picture, fault.number, frame(picture, look), min_side)
        return 'box is now (%s)' % ', '.join('%g' % value for value in box) if box else 'object left out'
    return 'not changed'


def _mended(picture, number, size, min_side):
    box = picture.items['box'][picture.items['number'] == number][0]
    return _fitted(uninverted(box), size, min_side)


def _fitted(box, size, min_side):
    """The box in an image of that size; None if it is dropped."""
    boxes, verdicts = fit_boxes([box], size, min_side)
    return None if verdicts[0] >= FIRST_DROPPED else tuple(boxes[0].tolist())


def _turn(changes, data, picture, look, upright, min_side):
    """Note that a picture is turned upright, and its boxes in it."""
    shown = look.size[::-1] if lies_sideways(look.orientation) else look.size
    if data.format != 'yolo' and picture.size in (shown, look.size) and shown != look.size:
        upright = SHOWN if picture.size == shown else STORED        # the annotated size tells
    changes.upright[picture.index] = look.orientation
    changes.sizes[picture.index] = shown
    boxes = changes.boxes.setdefault(picture.index, {})
    for item in picture.items:
        box = uninverted(item['box'].tolist())
        if upright == STORED:
            box = upright_box(box, look.orientation, look.size)
        elif data.format == 'yolo':     # fractions of the sides that a viewer shows
            (x1, y1, x2, y2), (across, down) = box, np.array(shown) / look.size
            box = x1 * across, y1 * down, (x2 + 1) * across - 1, (y2 + 1) * down - 1
        boxes[int(item['number'])] = _fitted(box, shown, min_side)
