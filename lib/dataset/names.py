"""Names of classes and of images: lists of class names, and which names a format gives back."""
from __future__ import annotations

import os
import re
from collections import Counter
from typing import Iterable, Pattern, Sequence

from lib.dataset.annotations import BACKGROUND, Picture
from lib.dataset.files import read_lines
from lib.errors import DatasetError
from lib.utils.console import shown
from lib.utils.image_file import IMAGE_EXTENSIONS

# Characters of a name that a text file cannot hold: control characters, and bytes that are not UTF-8.
NO_TEXT = '[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]'
# Names of images that a list does not give back: its lines and cells lose blanks at their ends, a backslash is a slash.
LOST_IN_LISTS = re.compile(NO_TEXT + r'|^\s|\s$|\\')


def with_background(classes: Iterable[str], source: str) -> tuple[str, ...]:
    """The class names as a tuple with '__background__' first, whether that was given or not.

    Raises:
        DatasetError: there is no class, or one is given twice, has no name or a line end in it, or the background is
            not the first; the message begins with `source`.
    """
    names = tuple(str(name).strip() for name in classes)
    names = names if names[:1] == (BACKGROUND,) else (BACKGROUND,) + names
    if BACKGROUND in names[1:]:
        raise DatasetError('%s: expected the names of classes, found %s among them: it may only be the first, and '
                           'stands for what is no object. Remove it' % (source, BACKGROUND))
    doubled = sorted(name for name, count in Counter(names).items() if count > 1 or not name)
    if doubled or len(names) < 2:
        found = 'twice or empty: %s. Rename or remove them' % doubled if doubled else \
            'none. Annotate objects, or name the classes with dataset.CLASSES'
        raise DatasetError('%s: expected one or more different class names, found %s' % (source, found))
    broken = [name for name in names if '\n' in name or '\r' in name]
    if broken:      # a file of class names would give two
        raise DatasetError('%s: expected class names of one line, found %r. Correct it' % (source, broken[0]))
    return names


def class_names(classes: Sequence[str] | str, source: str) -> tuple[str, ...]:
    """The class names of a list, or of a text file with a name per line, without the background.

    Raises:
        DatasetError: as `with_background`; the message begins with the path of the file. FileNotFoundError: there is no
            such file.
    """
    if not isinstance(classes, (list, tuple)):
        classes, source = read_lines(classes, 'a class name per line'), classes
    return with_background(classes, source)[1:]


def check_name(picture: Picture, lost: Pattern[str], form: str) -> None:
    """Raise a DatasetError if the name of an image would not be read back from a format.

    Args:
        picture: to be written.
        lost: finds such names.
        form: name of the format, for the message.
    """
    if lost.search(picture.name):
        raise DatasetError('%s: expected the name of an image in UTF-8, without control characters, backslashes, '
                           'blanks at its ends or a dot at its beginning: others are not read back from %s. Rename the '
                           'image'
                           % (shown(picture.path), form))


def check_stems(pictures: Iterable[Picture], folder: str) -> None:
    """Raise a DatasetError if two images differ only in their extension, or one has an unknown extension.

    Args:
        pictures: to be written.
        folder: where each gets a file of its name without extension; for the message.
    """
    seen = {}
    for picture in pictures:
        stem, extension = os.path.splitext(picture.name)
        if extension.lower() not in IMAGE_EXTENSIONS:
            raise DatasetError('%s: expected an image with one of the extensions %s. Convert it'
                               % (picture.name, ' '.join(IMAGE_EXTENSIONS)))
        if seen.setdefault(stem, picture.path) != picture.path:
            raise DatasetError('%s and %s would have the same file in %s. Rename one, or convert the sets into '
                               'folders of their own' % (seen[stem], picture.path, folder))
