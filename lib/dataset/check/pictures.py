"""Looks at every image of a set once: whether it can be read, its size, its orientation, and which images are equal."""
import hashlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional, Tuple

from lib.dataset import annotations as kinds
from lib.dataset.annotations import Fault, Faults
from lib.dataset.imdb import turned_text
from lib.errors import DatasetError
from lib.utils.image import MAX_PIXELS, image_head, imread

DECODED = 20000     # images: of larger sets the headers alone are read, unless the pixels are asked for
_BATCH = 4096       # images that wait for a thread at a time


class Look(NamedTuple):
    """What an image file turned out to be."""
    size: Optional[Tuple[int, int]]     # width, height of the pixels as stored; None if it cannot be read
    digest: str                         # of the pixels: equal for copies, also in another lossless format; '': unknown
    fault: Optional[Fault]
    orientation: int = 1                # 1 to 8; see lib/utils/image_header.py


def look(picture, max_pixels=MAX_PIXELS, decode=True):
    """Read a picture's image, or its header alone."""
    if not picture.path:
        return Look(None, '', None)     # the reader of the annotations has noted that it is missing
    try:
        size, orientation = image_head(picture.path)
        if not decode:
            return Look(size, '', _size_fault(picture, size), orientation)
        im = imread(picture.path, max_pixels)
    except (DatasetError, FileNotFoundError) as error:
        return Look(None, '', Fault(kinds.IMAGE, picture.index, None, str(error)))
    size = im.shape[1::-1]
    digest = hashlib.blake2b(im.tobytes() + repr(size).encode(), digest_size=16).hexdigest()
    return Look(size, digest, _size_fault(picture, size), orientation)


def _size_fault(picture, size):
    if picture.size in (None, size):
        return None
    hint = '. It lies on its side: boxes must refer to the pixels as stored, before any EXIF rotation' \
        if lies_on_its_side(picture, size) else ''
    return Fault(kinds.SIZE, picture.index, None, '%s: the image is %d x %d pixels, its annotation %s says %d x %d%s'
                 % ((picture.path,) + size + (picture.source,) + picture.size + (hint,)))


def lies_on_its_side(picture, size):
    """Whether the pixels (width, height) are those of the annotated image turned by a right angle."""
    return picture.size not in (None, size) and picture.size == size[::-1]


def frame(picture, found):
    """Width, height of what the boxes of a picture refer to: the pixels of its Look, or the annotated size if the image
    lies on its side or cannot be read; None if neither is known.
    """
    return picture.size if found.size is None or lies_on_its_side(picture, found.size) else found.size


def look_at_all(data, max_pixels=MAX_PIXELS, workers=2, progress=iter, decode=True):
    """Look at every image of an AnnotatedSet.

    Args:
        workers: threads.
        progress: wraps the iterable of images, such as tqdm.
        decode: whether the pixels are read, not the header alone.
    Returns:
        dict index -> Look, in the set's order.
    """
    looks, pictures = OrderedDict(), iter(progress(data.pictures))
    with ThreadPoolExecutor(workers) as executor:
        for start in range(0, len(data.pictures), _BATCH):
            batch = [next(pictures) for _ in data.pictures[start:start + _BATCH]]
            found = executor.map(lambda picture: look(picture, max_pixels, decode), batch)
            looks.update((picture.index, one) for picture, one in zip(batch, found))
        next(pictures, None)        # ends the bar
    return looks


def turned_pictures(data, looks):
    """Faults for the images with an orientation other than 1."""
    faults = Faults()
    for picture in data.pictures:
        orientation = looks[picture.index].orientation
        if orientation != 1:
            faults.note(kinds.TURNED, picture.index, None, turned_text(picture.path, orientation))
    return faults


def same_images(data, looks):
    """Faults for the images of a set that equal an earlier one."""
    faults, first = Faults(), {}
    for picture in data.pictures:
        digest = looks[picture.index].digest
        if digest and first.setdefault(digest, picture) is not picture:
            faults.note(kinds.SAME_IMAGE, picture.index, None, '%s shows the same as %s'
                        % (picture.path, first[digest].path))
    return faults


def shared_images(data, looks, other, other_looks):
    """Faults for the images of a set that are in another set too."""
    theirs = {other_looks[picture.index].digest: picture for picture in other.pictures}
    faults = Faults()
    for picture in data.pictures:
        twin = theirs.get(looks[picture.index].digest or None)
        if twin:
            faults.note(kinds.OVERLAP, picture.index, None,
                        '%s is in %s, and %s in %s shows the same: what is learnt by heart '
                        'counts as found' % (picture.path, data.name, twin.path, other.name))
    return faults
