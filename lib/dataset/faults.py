"""What may be wrong with a data set: the kinds of faults, the list that a reader fills, which of them stop."""
from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Iterable, NamedTuple, Sequence

from lib.errors import DatasetError
from lib.utils.console import counted, listed

# Faults of an item (a box) or a picture, which a cleaned copy leaves out or corrects:
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
# Faults of the set as a whole:
HINT = 'hint'
BESIDE = 'files that no image set names'
LINK = 'link that is not followed'
UNLABELLED = 'images without labels'
UNUSABLE = 'nothing to train on'
OTHERS = 'objects of other classes'
CROWDED = 'more than 100 objects'
SAME_IMAGE = 'same image twice'
OVERLAP = 'image in both sets'
ABSENT = 'class without objects'
ALIKE = 'class names alike'
EXAMPLES = 5                # faults of each kind that are named in the log; the others are counted
_NAMED = 5      # classes that a message names


class Fault(NamedTuple):
    """Something that is wrong with a data set."""
    kind: str                                   # one of the above
    index: str                                  # of the picture; '' if it concerns no picture
    number: int | None                          # of the item; None if it concerns no item
    text: str                                   # message: file, place, what was expected and what was found


class Faults(list):
    """A list of Fault that a reader fills while it reads on."""

    def note(self, kind: str, index: str, number: int | None, text: object) -> None:
        """Add a fault."""
        self.append(Fault(kind, index, number, str(text)))

    def reason(self, otherwise: str = '') -> str:
        """The text of the first fault that stops training; `otherwise` if there is none."""
        return next((fault.text for fault in stopping(self)), otherwise)

    def noter(self, kind: str) -> Callable[[str], None]:
        """A function of a text that adds it as a fault of this kind, which concerns no picture."""
        return lambda text: self.note(kind, '', None, text)

    def attempt(self, kind: str, index: str, number: int | None, read: Callable, *args: Any) -> Any:
        """The result of `read(*args)`; if it raises a DatasetError or FileNotFoundError, None, and a fault is added."""
        try:
            return read(*args)
        except (DatasetError, FileNotFoundError) as error:
            missing = {IMAGE: MISSING, NAME: MISSING, ANNOTATION: NOT_ANNOTATED} \
                if isinstance(error, FileNotFoundError) else {}
            self.note(missing.get(kind, kind), index, number, error)
            return None

    def find(self, kind: str, index: str, source: str, find: Callable, *args: Any) -> str:
        """The path of the image of a picture, '' if there is none: the first of the two that `find(*args)` returns."""
        found, other = self.attempt(kind, index, None, find, *args) or ('', '')
        if other:
            self.note(CANDIDATES, index, None, '%s: the image of %s could be %s or %s; the first is taken'
                      % (source, index, found, other))
        return found


def note_other_classes(faults: Faults, source: str, counts: dict[str, int]) -> None:
    """Add a fault if objects are left out because their class is not wanted. `counts`: class -> how many objects."""
    left = [pair for pair in Counter(counts).most_common() if pair[1]]
    if left:
        named = listed('%s (%d)' % pair for pair in left[:_NAMED]) + ' ...' * (len(left) > _NAMED)
        faults.note(OTHERS, '', None, '%s: %s of classes that are not used: %s: left out'
                    % (source, counted(sum(counts.values()), 'object'), named))


def note_other_files(faults: Faults, files: Sequence[str]) -> None:
    """Add a fault if an image set has several files with annotations; the first one is read."""
    if len(files) > 1:
        faults.note(BESIDE, '', None, '%s: the image set has %s too, which does not count. Take one of them away'
                    % (files[0], ', '.join(files[1:])))


# Faults that stop training or do not let it begin; the second ones only if bad images are not skipped.
_STOP = (ANNOTATION, NOT_ANNOTATED, ITEM_FAULT, NAME, DUPLICATE_ID, SAME_FILE, MISSING)
STOP_UNLESS_SKIPPED = (IMAGE, SIZE)


def stopping(faults: Iterable[Fault], on_bad_image: str = 'error', on_unknown_class: str = 'error') -> list[Fault]:
    """The faults that stop training. Arguments as of `IMDB`."""
    kinds = _STOP + (STOP_UNLESS_SKIPPED if on_bad_image == 'error' else ()) \
        + ((LABEL,) if on_unknown_class == 'error' else ())
    return [fault for fault in faults if fault.kind in kinds]


def some_texts(faults: Iterable[Fault]) -> list[str]:
    """The texts of the first faults of each kind, and how many more there are."""
    seen, texts = Counter(), []
    for fault in faults:
        seen[fault.kind] += 1
        if seen[fault.kind] <= EXAMPLES:
            texts.append(fault.text)
    return texts + ['%s: %d more like this; the checker lists them' % (kind, count - EXAMPLES)
                    for kind, count in seen.items() if count > EXAMPLES]
