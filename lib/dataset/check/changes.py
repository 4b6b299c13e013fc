"""What a cleaned copy of a set's annotations changes."""
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from lib.dataset import annotated as kinds
from lib.dataset.box_faults import judge, uninverted
from lib.dataset.check.images import frame, lies_on_its_side

_LOSES_THE_PICTURE = (kinds.ANNOTATION, kinds.NAME, kinds.MISSING, kinds.IMAGE)
_LOSES_THE_ITEM = (kinds.ITEM, kinds.OUTSIDE, kinds.TINY, kinds.DOUBLED)
_MENDS_THE_BOX = (kinds.CLIPPED, kinds.INVERTED)
_DONE_BY_THE_READER = {kinds.LISTED_TWICE: 'listed once', kinds.DUPLICATE_ID: 'the first one kept'}


class Changes(NamedTuple):
    """Of a set; pictures and items are named as in its faults."""
    pictures: Set[str]                                              # that are left out
    boxes: Dict[str, Dict[int, Optional[Tuple[float, ...]]]]        # index -> item -> its new box, None: left out
    sizes: Dict[str, Tuple[int, int]]                               # index -> its size
    notes: List[str]                                                # what is done about each fault, a line each

    def of_items(self):
        """Item -> its new box, None: left out; where items are numbered across the pictures."""
        return {number: box for boxes in self.boxes.values() for number, box in boxes.items()}


def plan(report, min_side=2):
    """Decide what to do about the faults of a Report.

    A picture whose image or annotation cannot be read is left out, and so are boxes that are outside, tiny or there
    twice. A box that sticks out is clipped, an inverted one gets its corners in order, a size is corrected unless the
    image lies on its side. Unknown labels, images that are there twice and the like are left as they are: only you can
    know.
    """
    changes = Changes(set(), {}, {}, [])
    pictures = {picture.index: picture for picture in report.data.pictures}
    for fault in report.faults:
        done = _apply(changes, fault, pictures.get(fault.index), report.looks.get(fault.index), min_side)
        changes.notes.append('%s: %s [%s]' % (done, fault.text, fault.kind))
    return changes


def _apply(changes, fault, picture, look, min_side):
    """Note one fault's remedy in `changes`; returns what it is. The picture and its Look are None if it is of none."""
    if fault.kind in _DONE_BY_THE_READER:
        return _DONE_BY_THE_READER[fault.kind]
    if fault.kind in _LOSES_THE_PICTURE and fault.index:
        changes.pictures.add(fault.index)
        return 'image left out'
    if fault.kind == kinds.SIZE and not lies_on_its_side(picture, look.size):
        changes.sizes[fault.index] = look.size
        return 'size is now %d x %d' % look.size
    if fault.kind in _LOSES_THE_ITEM + _MENDS_THE_BOX:
        boxes = changes.boxes.setdefault(fault.index, {})
        left_out = fault.kind in _LOSES_THE_ITEM or boxes.get(fault.number, True) is None
        box = boxes[fault.number] = None if left_out else _mended(picture, fault.number, look, min_side)
        return 'box is now (%s)' % ', '.join('%g' % value for value in box) if box else 'object left out'
    return 'not changed'


def _mended(picture, number, look, min_side):
    item, = (item for item in picture.items if item.number == number)
    fitted = judge(uninverted(item.box), *frame(picture, look), min_side=min_side)[0]
    return tuple(fitted) if fitted else None
