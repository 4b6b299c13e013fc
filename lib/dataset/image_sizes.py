"""The sizes of a set's images, annotated or from their headers, and what the headers show to be wrong with images."""
from __future__ import annotations

from typing import Iterable

from lib.dataset import faults as kinds
from lib.dataset.annotations import AnnotatedSet, Picture
from lib.dataset.faults import Faults
from lib.errors import DatasetError
from lib.utils.image_file import Head, image_head

HEADS_AT_START = 20000      # images: in larger sets only the checker looks for orientations


def with_sizes(data: AnnotatedSet) -> tuple[AnnotatedSet, Faults]:
    """Read the headers of the images: for the sizes that are not annotated, and for what is wrong with images.

    Returns:
        data: the set with the size of every image.
        found: faults for the images with an orientation other than 1, with another size than annotated, or that cannot
            be read; none for sets of more than HEADS_AT_START images with annotated sizes.
    Raises:
        FileNotFoundError, DatasetError: an image whose size is not annotated cannot be read.
    """
    pictures, found = [], Faults()
    for picture in data.pictures:
        head = None
        if picture.size is None:
            head = _needed_head(data, picture)
        elif len(data.pictures) <= HEADS_AT_START:
            head = found.attempt(kinds.IMAGE, picture.index, None, image_head, picture.path)
        if head is not None:
            note_orientation(found, picture, head.orientation)
        if head is not None and picture.size not in (None, head.size):
            found.note(kinds.SIZE, picture.index, None, size_text(picture, head.size))
        pictures.append(picture if picture.size else picture._replace(size=head.size))
    return data._replace(pictures=pictures), found


def _needed_head(data, picture):
    try:
        return image_head(picture.path)
    except (DatasetError, FileNotFoundError) as error:
        raise type(error)('%s: has no <size> of the image, and the image cannot be read: %s'
                          % (picture.source, error) if data.format == 'PascalVOC' else str(error)) from error


def unreadable(pictures: Iterable[Picture]) -> dict[str, str]:
    """Index -> error, of the pictures whose size is not annotated and whose header cannot be read."""
    errors = {}
    for picture in pictures:
        try:
            picture.size or image_head(picture.path)
        except (DatasetError, FileNotFoundError) as error:
            errors[picture.index] = str(error)
    return errors


def matching_head(picture: Picture) -> Head:
    """The head of an image. Raises a DatasetError if its annotation states another size: boxes may be fractions of it.
    """
    head = image_head(picture.path)
    if picture.size not in (None, head.size):
        raise DatasetError(size_text(picture, head.size))
    return head


def size_text(picture: Picture, size: tuple[int, int]) -> str:
    """The message about an image whose width and height are `size`, and not those that are annotated."""
    remedy = 'Correct it, or resize its boxes, if the image was resized after they were drawn'
    if picture.size == size[::-1]:
        remedy = 'It lies on its side: boxes must refer to the pixels as stored, before any EXIF rotation. Correct ' \
            'it, or turn the picture: rfcn check --fix OUT --upright does it where it has an EXIF orientation'
    return '%s: the image is %d x %d pixels, its annotation %s says %d x %d. %s' % (
        picture.path, *size, picture.source, *picture.size, remedy)


def note_orientation(faults: Faults, picture: Picture, orientation: int) -> None:
    """Add a fault if an image has an orientation other than 1."""
    if orientation != 1:
        faults.note(kinds.TURNED, picture.index, None,
                    '%s: has the EXIF or TIFF orientation %d: viewers turn it, the network sees the pixels as stored. '
                    'Boxes must refer to the pixels as stored; rfcn check --fix OUT --upright writes upright pictures '
                    'with boxes that fit' % (picture.path, orientation))
