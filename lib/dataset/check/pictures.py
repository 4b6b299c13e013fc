"""Checks every image file of a set: can it be read, what are its size and orientation, which images are equal."""
from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, NamedTuple

import numpy as np

from lib.dataset import faults as kinds
from lib.dataset.annotations import AnnotatedSet, Picture
from lib.dataset.faults import Fault, Faults
from lib.dataset.image_sizes import note_orientation, size_text
from lib.errors import DatasetError
from lib.utils.image_file import image_head, imread
from lib.utils.limits import MAX_PIXELS

DECODED = 20000     # images: of larger sets only the headers are read, unless the pixels are asked for
SLACK = 1.02        # times the annotated size; a box that ends beyond it was not drawn on an image of that size
_BATCH = 4096       # images that are handed to the threads at a time


class ImageCheck(NamedTuple):
    """What was found in an image file."""
    size: tuple[int, int] | None        # width, height of the pixels as stored; None if the file cannot be read
    digest: str                         # hash of the pixels: the same for copies, also in another lossless format;
    #                                     '' if the pixels were not read
    fault: Fault | None                 # what is wrong with the file or its annotated size
    orientation: int = 1                # 1 to 8; see lib/utils/image_header.py
    file: tuple[int, ...] = ()          # number of the file and of its device: the same for links; () if unknown

    def marks(self) -> list:
        """What tells that two images are one: that their pixels are equal, or that they are one file."""
        return [each for each in (self.digest, self.file) if each]


def check_image(picture: Picture, max_pixels: int | None = MAX_PIXELS, decode: bool = True) -> ImageCheck:
    """Check the image file of a picture. With `decode` its pixels are read, otherwise only its header."""
    if not picture.path:
        return ImageCheck(None, '', None)     # the reader of the annotations has noted that it is missing
    try:
        size, orientation = image_head(picture.path)
        state = os.stat(picture.path)
        file = (state.st_ino, state.st_dev) if state.st_ino else ()     # 0: the file system numbers none
        if not decode:
            return ImageCheck(size, '', _size_fault(picture, size), orientation, file)
        im = imread(picture.path, max_pixels)
    except (DatasetError, FileNotFoundError) as error:
        return ImageCheck(None, '', Fault(kinds.IMAGE, picture.index, None, str(error)))
    size = im.shape[1::-1]
    digest = hashlib.blake2b(im.tobytes() + repr(size).encode(), digest_size=16).hexdigest()
    return ImageCheck(size, digest, _size_fault(picture, size), orientation, file)


def _size_fault(picture, size):
    return None if picture.size in (None, size) else \
        Fault(kinds.SIZE, picture.index, None, size_text(picture, size))


def frame(picture: Picture, found: ImageCheck) -> tuple[int, int] | None:
    """The width and height that the boxes of a picture refer to.

    These are the size of the image, or the annotated size if the image cannot be read, lies on its side, or may have
    been resized since; None if neither is known.
    """
    return found.size if found.size and (picture.size is None or _drawn_on(picture, found.size)) else picture.size


def _drawn_on(picture, size):
    """Whether the boxes of a picture refer to `size`: that is annotated, or they do not fit the annotated one."""
    if picture.size == size or not len(picture.items):
        return True
    ends = picture.items['box'][:, 2:].max(axis=0) + 1
    return picture.size != size[::-1] and bool(     # else it lies on its side
        (ends > np.multiply(picture.size, SLACK)).any() and (ends <= size).all())


def check_images(data: AnnotatedSet, max_pixels: int | None = MAX_PIXELS, workers: int = 2,
                 progress: Callable = iter, decode: bool = True) -> dict[str, ImageCheck]:
    """`check_image` for every image of a set.

    Args:
        data: the set.
        max_pixels: larger images are faults; None allows any size.
        workers: number of threads.
        progress: wraps the list of pictures to show a bar, as tqdm does.
        decode: whether the pixels are read, not only the headers.
    Returns:
        index of the picture -> ImageCheck, in the order of the set.
    """
    found, pictures = {}, iter(progress(data.pictures))
    with ThreadPoolExecutor(workers) as executor:
        for start in range(0, len(data.pictures), _BATCH):
            batch = [next(pictures) for _ in data.pictures[start:start + _BATCH]]
            checks = executor.map(lambda picture: check_image(picture, max_pixels, decode), batch)
            found.update((picture.index, one) for picture, one in zip(batch, checks))
        next(pictures, None)        # ends the bar
    return found


def turned_pictures(data: AnnotatedSet, images: dict[str, ImageCheck]) -> Faults:
    """Faults for the images with an orientation other than 1. `images` is the result of `check_images`."""
    faults = Faults()
    for picture in data.pictures:
        note_orientation(faults, picture, images[picture.index].orientation)
    return faults


def same_images(data: AnnotatedSet, images: dict[str, ImageCheck]) -> Faults:
    """Faults for the images that have the pixels, or are a link to the file, of an earlier image of the set."""
    faults, first = Faults(), {}
    for picture in data.pictures:
        earlier = [first.setdefault(each, picture) for each in images[picture.index].marks()]
        other = next((each for each in earlier if each is not picture), None)
        if other:
            faults.note(kinds.SAME_IMAGE, picture.index, None, '%s shows the same as %s%s'
                        % (picture.path, other.path, '' if _objects(picture) == _objects(other) else
                           ', with other objects: those of one are background to the other'))
    return faults


def _objects(picture):
    """Label, box and flags of each object, sorted."""
    return sorted(zip(*(picture.items[field].tolist() for field in ('label', 'box', 'flags'))))


def shared_images(data: AnnotatedSet, images: dict[str, ImageCheck], other: AnnotatedSet,
                  other_images: dict[str, ImageCheck], tested: bool = True) -> Faults:
    """Faults for the images of a set that are in another set too, which is `tested` on or else trained on as well."""
    theirs = {each: picture for picture in other.pictures for each in other_images[picture.index].marks()}
    faults = Faults()
    for picture in data.pictures:
        twin = next((theirs[each] for each in images[picture.index].marks() if each in theirs), None)
        if twin:
            faults.note(kinds.OVERLAP if tested else kinds.SAME_IMAGE, picture.index, None,
                        '%s is in %s, and %s in %s shows the same%s'
                        % (picture.path, data.name, twin.path, other.name,
                           ': what was learnt by heart counts as found' if tested else ''))
    return faults
