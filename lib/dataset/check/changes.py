"""What a cleaned copy of a set's annotations changes."""
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from lib.dataset import annotated as kinds
from lib.dataset.box_faults import judge, uninverted

_LOSES_THE_PICTURE = (kinds.ANNOTATION, kinds.NAME, kinds.MISSING, kinds.IMAGE)
_LOSES_THE_ITEM = (kinds.ITEM, kinds.OUTSIDE, kinds.TINY, kinds.DOUBLED)
_MENDS_THE_BOX = (kinds.CLIPPED, kinds.INVERTED)
_LEFT = (kinds.LABEL, kinds.SAME_IMAGE, kinds.OVERLAP, kinds.ABSENT)


class Changes(NamedTuple):
    """Of a set; pictures and items are named as in its faults."""
    pictures: Set[str]                                              # that are left out
    boxes: Dict[Tuple[str, int], Optional[Tuple[float, ...]]]       # index, item -> its new box, None: left out
    sizes: Dict[str, Tuple[int, int]]                               # index -> its size
    notes: List[str]                                                # what is done about each fault, a line each

    def of_picture(self, index):
        """Item -> its new box, None: left out."""
        return {number: box for (name, number), box in self.boxes.items() if name == index}


def plan(report, min_side=2):
    """Decide what to do about the faults of a Report.

    A picture whose image or annotation cannot be read is left out, and so are boxes that are outside, tiny or there
    twice. A box that sticks out is clipped, an inverted one gets its corners in order, a size is corrected unless the
    image lies on its side. Unknown labels, images that are there twice and the like are left as they are: only you can
    know.
    """
    changes = Changes(set(), {}, {}, [])
    items = {(picture.index, item.number): item for picture in report.data.pictures for item in picture.items}
    annotated_sizes = {picture.index: picture.size for picture in report.data.pictures}
    for fault in report.faults:
        key, size = (fault.index, fault.number), report.looks[fault.index].size if fault.index in report.looks else None
        if fault.kind in _LOSES_THE_PICTURE and fault.index:
            changes.pictures.add(fault.index)
            _note(changes, 'image left out', fault)
        elif fault.kind in _LOSES_THE_ITEM:
            changes.boxes[key] = None
            _note(changes, 'object left out', fault)
        elif fault.kind in _MENDS_THE_BOX and key in items and changes.boxes.get(key, key) is not None:
            changes.boxes[key] = _mended(items[key].box, size, min_side)
            _note(changes, 'object left out' if changes.boxes[key] is None
                  else 'box is now (%s)' % ', '.join('%g' % value for value in changes.boxes[key]), fault)
        elif fault.kind == kinds.SIZE and annotated_sizes[fault.index] != size[::-1]:
            changes.sizes[fault.index] = size
            _note(changes, 'size is now %d x %d' % size, fault)
        elif fault.kind == kinds.LISTED_TWICE:
            _note(changes, 'listed once', fault)
        elif fault.kind == kinds.DUPLICATE_ID:
            _note(changes, 'the first one kept', fault)
        else:
            _note(changes, 'not changed', fault)
    return changes


def _mended(box, size, min_side):
    fitted = judge(uninverted(box), *size, min_side=min_side)[0] if size else None
    return tuple(fitted) if fitted else None


def _note(changes, what, fault):
    changes.notes.append('%s: %s [%s]' % (what, fault.text, fault.kind))
