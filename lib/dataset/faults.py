"""What may be wrong with a data set: the kinds of faults, and the list of faults that a reader fills."""
from __future__ import annotations

from typing import Any, Callable, Iterable, NamedTuple

from lib.errors import DatasetError

# What may be wrong with a data set. Those of an item (a box) or a picture, which a cleaned copy leaves out or mends:
ANNOTATION = 'unreadable annotation'
NOT_ANNOTATED = 'missing annotation'
ITEM_FAULT = 'unreadable object'
NAME = 'name outside the folder'
DUPLICATE_ID = 'duplicate id'
LISTED_TWICE = 'listed twice'
MISSING = 'missing image'
IMAGE = 'unreadable image'
SIZE = 'size differs'
LABEL = 'unknown label'
INVERTED = 'inverted box'
OUTSIDE = 'box outside the image'
FAR = 'box far outside the image'
CLIPPED = 'box sticks out'
TINY = 'tiny box'
DOUBLED = 'same box twice'
TURNED = 'picture with an orientation'
CANDIDATES = 'two files for one picture'
SAME_FILE = 'one file for two pictures'
# Those of the set as a whole:
HINT = 'hint'
BESIDE = 'files that no image set names'
LINK = 'link that is not followed'
UNLABELLED = 'images without labels'
UNUSABLE = 'nothing to train on'
CROWDED = 'more than 100 objects'
SAME_IMAGE = 'same image twice'
OVERLAP = 'image in both sets'
ABSENT = 'class without objects'
ALIKE = 'class names alike'


class Fault(NamedTuple):
    """Something wrong."""
    kind: str                                   # one of the above
    index: str                                  # of the picture; '' if it concerns none
    number: int | None                       # of the item; None if it concerns none
    text: str                                   # file, place, what was expected and found


class Faults(list):
    """A list of Fault that a reader fills while it goes on."""

    def note(self, kind: str, index: str, number: int | None, text: object) -> None:
        """Add one."""
        self.append(Fault(kind, index, number, str(text)))

    def noter(self, kind: str) -> Callable[[str], None]:
        """A function that notes a text as a fault of the kind that concerns no picture."""
        return lambda text: self.note(kind, '', None, text)

    def attempt(self, kind: str, index: str, number: int | None, read: Callable, *args: Any) -> Any:
        """What `read` returns, or None with a fault noted if it raises one of our errors."""
        try:
            return read(*args)
        except (DatasetError, FileNotFoundError) as error:
            missing = {IMAGE: MISSING, NAME: MISSING, ANNOTATION: NOT_ANNOTATED} \
                if isinstance(error, FileNotFoundError) else {}
            self.note(missing.get(kind, kind), index, number, error)
            return None


def note_candidates(faults: Faults, index: str, source: str, found: str, other: str) -> None:
    """Note, if there is another file that could be meant, that the first was taken."""
    if other:
        faults.note(CANDIDATES, index, None, '%s: the image of %s could be %s or %s; the first is taken'
                    % (source, index, found, other))


# What stops training, or does not let it begin; the second only where a bad image is not skipped.
_STOP = (ANNOTATION, NOT_ANNOTATED, ITEM_FAULT, NAME, DUPLICATE_ID, SAME_FILE, MISSING)
_STOP_UNLESS_SKIPPED = (IMAGE, SIZE)


def stopping(faults: Iterable[Fault], on_bad_image: str = 'error', on_unknown_class: str = 'error') -> list[Fault]:
    """Those of the faults that stop training."""
    kinds = _STOP + (_STOP_UNLESS_SKIPPED if on_bad_image == 'error' else ()) \
        + ((LABEL,) if on_unknown_class == 'error' else ())
    return [fault for fault in faults if fault.kind in kinds]
