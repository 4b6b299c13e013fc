"""Image files: read as the network needs them, written whole, found in folders; size and orientation of the header."""
from __future__ import annotations

import contextlib
import os
from typing import Iterator, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageFile

from lib.errors import DatasetError, reason_of
from lib.utils.console import shown
from lib.utils.image_header import (
    PNG_MAGIC,
    TIFF_MAGIC,
    as_stored,
    chunks_fit,
    header_size,
    is_logluv,
    orientation,
    orientation_at_end,
    scan_fits,
)
from lib.utils.limits import MAX_PIXELS, open_input, stand_in
from lib.utils.whole_file import whole_file

# Extensions of images in data sets; `imread` also reads the others.
IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.tif', '.tiff', '.webp')
OTHER_EXTENSIONS = ('.pbm', '.pgm', '.ppm')
HEAD_BYTES = 2 ** 16    # the header of most images lies within
_REMEDY = 'Fetch it again, or convert it to jpg or png'
# Kind of an array's numbers -> how to make it one of uint8 where white is not 255.
_TO_8_BITS = {'f': '(image * 255).round().astype(np.uint8) where white is 1',
              **dict.fromkeys('iu', '(image // 256).astype(np.uint8) where white is 65535')}
_ORIENTATION_ANYWHERE = TIFF_MAGIC + (b'RIFF',)     # TIFF, WebP: it may stand at the end of the file


def imread(path: str | os.PathLike, max_pixels: int | None = MAX_PIXELS) -> np.ndarray:
    """Read an image as the release did: BGR, pixels in the order stored, whatever its EXIF orientation says.

    Grey images get three equal channels, an alpha channel is dropped, 16 bit values become 8 bit ones. The colours of
    a TIFF are multiplied by a channel that it calls alpha, by OpenCV: what is transparent there is black.

    Args:
        path: jpg, png, bmp, tiff, webp, pbm, pgm or ppm file; its extension does not matter. Other formats are refused,
            because their size is not known before they are decoded.
        max_pixels: images of more pixels are refused before they are decoded; None refuses none.
    Returns:
        (H, W, 3) uint8.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: the file is empty, not an image, damaged, truncated, too large or of floating point numbers.
    """
    data = read_bytes(path)
    size = header_size(data)
    check_size(path, size, max_pixels)
    if is_logluv(data):     # other floating point numbers are not decoded at all
        raise DatasetError('%s: a TIFF of floating point numbers, which have no agreed white. Convert it to 8 bits a '
                           'channel' % shown(path))
    im = _decode(path, data) if size and chunks_fit(data) and scan_fits(data, size) else None
    if im is None:
        raise _no_image(path, data, len(data))
    check_size(path, im.shape[1::-1], max_pixels)
    return im


def _decode(path, data):
    """The image, or None."""
    try:
        # Departure: the release calls cv2.imread, which fills the missing part of a truncated jpg with grey. imdecode
        # refuses it.
        return cv2.imdecode(np.frombuffer(as_stored(data), np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise DatasetError('%s: OpenCV cannot decode it: %s. %s' % (shown(path), error.err.strip(), _REMEDY)) from error


def _no_image(path, data, length):
    """The error about a file of so many bytes, of which `data` has the first ones at least."""
    found = stand_in(data) or '%d bytes that OpenCV cannot decode: it is damaged, truncated or of an unknown format. ' \
        '%s' % (length, _REMEDY)
    return DatasetError('%s: expected an image, found %s' % (shown(path), found))


def as_bgr(image: np.ndarray | Image.Image, rgb: bool = False, max_pixels: int | None = MAX_PIXELS) -> np.ndarray:
    """An image in memory in the form in which `imread` returns the image of a file.

    Args:
        image: array of uint8: (H, W, 3) BGR, (H, W, 4) with alpha, which is dropped, (H, W) or (H, W, 1) grey; or a
            PIL image of 8 bits a channel, of any mode.
        rgb: whether the channels of an array are in the order RGB(A).
        max_pixels: PIL images of more pixels are refused before they are decoded; None refuses none.
    Returns:
        (H, W, 3) uint8 BGR, contiguous; the array itself if it is that already.
    Raises:
        ValueError: the image is neither of these; the message says how to convert it.
        DatasetError: a PIL image cannot be decoded or is too large.
    """
    if isinstance(image, Image.Image):
        return _from_pil(image, max_pixels)
    if not isinstance(image, np.ndarray):
        raise _no_array('a ' + type(image).__name__, _remedy_of(image))
    found = 'an array of shape %s and dtype %s' % (image.shape, image.dtype)
    if image.dtype != np.uint8:
        remedy = _TO_8_BITS.get(image.dtype.kind)
        raise _no_array(found, '; convert it: image.astype(np.uint8) where white is 255, %s' % remedy if remedy else '')
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        channels_first = image.ndim == 3 and image.shape[0] in (1, 3, 4)
        raise _no_array(found, '; the channels come last: image.transpose(1, 2, 0)' if channels_first else '')
    if image.size == 0:
        raise _no_array(found, ', which has no pixels')
    if image.shape[2] == 1:
        image = image.repeat(3, axis=2)
    return np.ascontiguousarray(image[:, :, 2::-1] if rgb else image[:, :, :3])


def _remedy_of(image):
    """The end of a message: how what is neither an array nor a PIL image becomes one."""
    if hasattr(image, 'numpy') or hasattr(image, 'asnumpy'):
        return '; call its numpy() or asnumpy() first'
    if isinstance(image, (bytes, bytearray, memoryview)):
        return '; of what a file holds, PIL.Image.open(io.BytesIO(content)) makes an image'
    return '; of an open file, PIL.Image.open(file) makes an image' if hasattr(image, 'read') else ''


def _no_array(found, remedy):
    return ValueError('an image is a path, a PIL image or a (height, width, 3) uint8 array in BGR order (rgb=True: '
                      'RGB; grey and alpha will do), not %s%s' % (found, remedy))


@contextlib.contextmanager
def truncated_files(allowed: bool) -> Iterator[None]:
    """Within a `with` block, have Pillow accept truncated files, or not.

    It is a switch of the whole process, which the import of GluonCV turns on.
    """
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = allowed
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _from_pil(image, max_pixels):
    """The pixels of a PIL image as stored: its orientation is ignored, as `imread` does."""
    name = shown(getattr(image, 'filename', '') or 'PIL image')
    check_size(name, image.size, max_pixels)
    if 0 in image.size:
        raise _no_array('a PIL image of %d x %d pixels' % image.size, '')
    if image.mode in ('I', 'F') or image.mode.startswith('I;'):
        raise _no_array('a PIL image of mode %s' % image.mode, ", which has no agreed white; give "
                        "(np.asarray(image) / white * 255).round().astype(np.uint8) (convert('L') cuts off above 255)")
    try:
        with truncated_files(False):
            return np.ascontiguousarray(np.asarray(image.convert('RGB'))[:, :, ::-1])
    except (OSError, SyntaxError, ValueError) as error:     # Pillow decodes when it is asked for pixels
        raise DatasetError('%s: Pillow cannot decode it: %s' % (name, error)) from error


def imwrite(path: str | os.PathLike, im: np.ndarray, quality: int = 95) -> None:
    """Write an image in the format of its extension. The file gets its name only when it is complete.

    OpenCV only encodes: cv2.imwrite ends the process if a name is not UTF-8.

    Args:
        path: ending in .png, .jpg or another extension that OpenCV writes.
        im: (H, W, 3) uint8 BGR.
        quality: of a jpg, 0 to 100.
    Raises:
        OSError: the folder cannot be written to, the disk is full, or the format cannot hold such an image.
    """
    path = os.fspath(path)
    extension = os.path.splitext(path)[1].lower().replace('.jfif', '.jpg')
    encoded, reason = False, 'OpenCV cannot encode %d x %d pixels' % im.shape[1::-1]
    try:
        encoded, data = cv2.imencode(extension, im, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        reason = error.err
    if not encoded:
        raise OSError('%s could not be written as %s: %s' % (shown(path), extension or 'an image', reason))
    with whole_file(path) as temporary, open(temporary, 'wb') as file:
        file.write(data.tobytes())


class Head(NamedTuple):
    """What the header of an image states."""
    size: tuple[int, int]   # width, height in pixels as stored
    orientation: int        # 1 to 8; see image_header.py


def image_head(path: str | os.PathLike) -> Head:
    """Size and orientation of an image from its header.

    Raises:
        FileNotFoundError, DatasetError: as `imread`.
    """
    data = read_bytes(path, HEAD_BYTES)
    size = header_size(data)
    if size is None or data.startswith(_ORIENTATION_ANYWHERE):
        data = read_bytes(path)
        size = header_size(data)
    if size is None:
        raise _no_image(path, data, os.path.getsize(path))
    number = orientation(data)
    if number == 1 and data.startswith(PNG_MAGIC) and len(data) == HEAD_BYTES:      # there may be more
        number = orientation_at_end(read_bytes(path, HEAD_BYTES, from_end=True))
    return Head(size, number)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Width and height of an image in pixels as stored, from its header. Raises as `imread`."""
    return image_head(path).size


def images_in(folder: str | os.PathLike) -> list[str]:
    """Paths of the images in a folder, sorted: of all files with an extension that `imread` reads, in any case.

    Hidden files (.a.jpg) and sub-folders are left out.

    Raises:
        DatasetError: there are none.
    """
    extensions = IMAGE_EXTENSIONS + OTHER_EXTENSIONS
    names = sorted(name for name in os.listdir(folder)
                   if name.lower().endswith(extensions) and not name.startswith('.'))
    paths = [path for path in (os.path.join(folder, name) for name in names) if not os.path.isdir(path)]
    if not paths:
        raise DatasetError('%s: expected images (%s) in this folder, found none; its sub-folders do not count'
                           % (shown(os.path.abspath(folder)), ', '.join(extensions)))
    return paths


def read_bytes(path: str | os.PathLike, most: int = -1, from_end: bool = False) -> bytes:
    """The first `most` bytes of an image file, or all; or its last ones, where it has so many.

    Raises a FileNotFoundError or DatasetError that names it.
    """
    try:
        with open_input(path) as file:
            if from_end:
                file.seek(-most, os.SEEK_END)
            data = file.read(most)
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such image' % shown(os.path.abspath(path))) from None
    except (OSError, ValueError) as error:
        raise DatasetError('%s: cannot be read: %s' % (shown(path), shown(reason_of(error)))) from error
    if not data:
        raise DatasetError('%s: expected an image, found an empty file. Fetch it again' % shown(path))
    return data


def check_size(path: str | os.PathLike, size: tuple[int, int] | None, max_pixels: int | None) -> None:
    """Raise a DatasetError if an image (width, height) has more than `max_pixels` pixels; None is no limit."""
    if size and max_pixels and size[0] * size[1] > max_pixels:
        raise DatasetError('%s: an image of %d x %d pixels, more than the limit of %d pixels. Make it smaller, or '
                           'raise the limit, dataset.MAX_PIXELS' % (shown(path), size[0], size[1], max_pixels))
