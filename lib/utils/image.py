"""From an image file to the network's input: read, resize, subtract the means, stack."""
import contextlib
import os
from typing import NamedTuple, Tuple

import cv2
import numpy as np
from PIL import Image, ImageFile

from lib.bbox.bbox_transform import clip_boxes
from lib.errors import DatasetError
from lib.utils.image_header import as_stored, chunks_fit, header_size, orientation, scan_fits
from lib.utils.limits import MAX_PIXELS, open_input
from lib.utils.shown import shown
from lib.utils.whole_file import whole_file

# Of the images in data sets; `imread` also reads the others.
IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
OTHER_EXTENSIONS = ('.pbm', '.pgm', '.ppm')
HEAD_BYTES = 2 ** 16    # the header of most images lies within
_ORIENTATION_ANYWHERE = (b'II*\0', b'MM\0*', b'RIFF')    # TIFF, WebP: it may stand at the end


def imread(path, max_pixels=MAX_PIXELS):
    """Read an image as the release did: BGR, pixels in the order stored, whatever its EXIF orientation says.

    Grey images get three equal channels, an alpha channel is dropped, 16 bit values become 8 bit ones.

    Args:
        path: jpg, png, bmp, tiff, webp, pbm, pgm or ppm file; its extension does not matter. Others that OpenCV knows
            are refused, since nothing tells how large they become.
        max_pixels: int; images of more pixels are refused before they are decoded, None refuses none.
    Returns:
        (H, W, 3) uint8.
    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: the file is empty, no image, damaged, truncated or too large.
    """
    data = read_bytes(path)
    size = header_size(data)
    _check_size(path, size, max_pixels)
    im = _decode(path, data) if size and chunks_fit(data) and scan_fits(data, size) else None
    if im is None:
        raise _no_image(path, len(data))
    _check_size(path, im.shape[1::-1], max_pixels)
    return im


def _decode(path, data):
    """The image, or None."""
    try:
        # Departure: the release calls cv2.imread, which hands out the readable part of a truncated jpg over grey.
        # imdecode refuses.
        return cv2.imdecode(np.frombuffer(as_stored(data), np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise DatasetError('%s: OpenCV cannot decode it: %s' % (shown(path), error.err)) from error


def _no_image(path, length):
    return DatasetError('%s: expected an image, found %d bytes that OpenCV cannot decode: it is damaged, truncated or '
                        'of an unknown format. Fetch it again, convert it to jpg or png, or take it out of the data set'
                        % (shown(path), length))


def as_bgr(image, rgb=False, max_pixels=MAX_PIXELS):
    """An image in memory as `imread` gives one of a file.

    Args:
        image: array of uint8: (H, W, 3) BGR, (H, W, 4) with alpha, which is dropped, (H, W) or (H, W, 1) grey; or a
            PIL image of 8 bits a channel, of any mode.
        rgb: an array's channels are in the order RGB(A).
        max_pixels: PIL images of more pixels are refused before they are decoded, None refuses none.
    Returns:
        (H, W, 3) uint8 BGR, contiguous; the array itself where it is that already.
    Raises:
        ValueError: what was expected, what was found and, where one mistake is likely, how to mend it.
        DatasetError: a PIL image cannot be decoded or is too large.
    """
    if isinstance(image, Image.Image):
        return _from_pil(image, max_pixels)
    if not isinstance(image, np.ndarray):
        raise _no_array('a ' + type(image).__name__, "; call its numpy() or asnumpy() first"
                        if hasattr(image, 'numpy') or hasattr(image, 'asnumpy') else '')
    found = 'an array of shape %s and dtype %s' % (image.shape, image.dtype)
    if image.dtype != np.uint8:
        raise _no_array(found, '; convert it: image.astype(np.uint8) where white is 255, (image * 255).round()'
                        '.astype(np.uint8) where white is 1' if image.dtype.kind in 'fiu' else '')
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


def _no_array(found, remedy):
    return ValueError('an image is a path, a PIL image or a (height, width, 3) uint8 array in BGR order (rgb=True: '
                      'RGB; grey and alpha will do), not %s%s' % (found, remedy))


@contextlib.contextmanager
def truncated_files(allowed):
    """Whether Pillow takes truncated files: a switch for the whole process, which importing GluonCV turns on."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = allowed
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _from_pil(image, max_pixels):
    """Pixels as stored, like those of a file."""
    name = shown(getattr(image, 'filename', '') or 'PIL image')
    _check_size(name, image.size, max_pixels)
    if 0 in image.size:
        raise _no_array('a PIL image of %d x %d pixels' % image.size, '')
    if image.mode in ('I', 'F') or image.mode.startswith('I;'):
        raise _no_array('a PIL image of mode %s' % image.mode, ", which has no agreed white; make it 'L' first")
    try:
        with truncated_files(False):
            return np.ascontiguousarray(np.asarray(image.convert('RGB'))[:, :, ::-1])
    except (OSError, SyntaxError, ValueError) as error:     # Pillow decodes when it is asked for pixels
        raise DatasetError('%s: Pillow cannot decode it: %s' % (name, error)) from error


def imwrite(path, im, quality=95):
    """Write an image; the file has its name only once it is complete.

    The format is that of the extension. OpenCV only encodes, since its own files cannot have every name: cv2.imwrite of
    a name that is no UTF-8 ends the process.

    Args:
        path: ending in .png, .jpg or another extension that OpenCV writes.
        im: (H, W, 3) uint8 BGR.
        quality: of a jpg, 0 to 100.
    Raises:
        OSError: the folder cannot be written to, the disk is full, or the format does not take such an image.
    """
    path = os.fspath(path)
    extension = os.path.splitext(path)[1]
    try:
        encoded, data = cv2.imencode(extension, im, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        encoded, data = False, error.err
    if not encoded:
        raise OSError('%s could not be written as %s: %s' % (shown(path), extension or 'an image', data))
    with whole_file(path) as temporary, open(temporary, 'wb') as file:
        file.write(data.tobytes())


class Head(NamedTuple):
    """What the header of an image tells."""
    size: Tuple[int, int]   # width, height in pixels as stored
    orientation: int        # 1 to 8; see orientation.py


def image_head(path):
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
        raise _no_image(path, os.path.getsize(path))
    return Head(size, orientation(data))


def image_size(path):
    """Width and height of an image in pixels as stored, from its header. Raises as `imread`."""
    return image_head(path).size


def images_in(folder):
    """Paths of the images in a folder, sorted: of all files with an extension that `imread` reads, in any case.

    Hidden files (.a.jpg) are none of them, and sub-folders are not looked into.

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


def read_bytes(path, most=-1):
    """The bytes of an image file, at most so many, or an error that names it."""
    try:
        with open_input(path) as file:
            data = file.read(most)
    except FileNotFoundError:
        raise FileNotFoundError('%s: there is no such image' % shown(os.path.abspath(path))) from None
    except (OSError, ValueError) as error:
        raise DatasetError('%s: cannot be read: %s' % (shown(path), shown(error))) from error
    if not data:
        raise DatasetError('%s: expected an image, found an empty file. Fetch it again' % shown(path))
    return data


def _check_size(path, size, max_pixels):
    if size and max_pixels and size[0] * size[1] > max_pixels:
        raise DatasetError('%s: an image of %d x %d pixels, more than the limit of %d pixels. Make it smaller, or '
                           'raise the limit' % (shown(path), size[0], size[1], max_pixels))


def resize(im, target_size, max_size, stride=0, interpolation=cv2.INTER_LINEAR):
    """Scale an image until its shorter side is `target_size`, or its longer side `max_size` if that is reached first.

    Args:
        im: (h, w, 3) uint8.
        target_size, max_size: int, pixels.
        stride: if positive, zeros are added below and to the right until both sides are its multiples.
    Returns:
        (H, W, 3) uint8 and the scale, a float: new pixels for each old one. (Release: lib/utils/image.py, resize.)
    """
    scale = resize_scale(im.shape[:2], target_size, max_size)
    if round(scale * min(im.shape[:2])) < 1:    # a very long and thin image would vanish: keep one pixel of it
        size = tuple(max(1, int(round(scale * side))) for side in im.shape[1::-1])
        im = cv2.resize(im, size, interpolation=interpolation)
    else:
        im = cv2.resize(im, None, None, fx=scale, fy=scale, interpolation=interpolation)
    return pad_to_stride(im, stride), scale


def resize_scale(shape, target_size, max_size):
    """The scale by which `resize` multiplies the sides (height, width) of an image."""
    short, long = sorted(shape)
    scale = float(target_size) / short
    return float(max_size) / long if np.round(scale * long) > max_size else scale


def resized_shape(shape, target_size, max_size, stride=0):
    """The sides (height, width) that `resize` and `pad_to_stride` make of an image's sides (height, width)."""
    scale = resize_scale(shape, target_size, max_size)
    sides = [max(1, int(np.round(scale * side))) for side in shape]
    return tuple(side + (-side % stride if stride else 0) for side in sides)


def pad_to_stride(im, stride):
    """Add zeros below and to the right until height and width are multiples of `stride`; 0 adds none."""
    if not stride:
        return im
    bottom, right = -im.shape[0] % stride, -im.shape[1] % stride
    return cv2.copyMakeBorder(im, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)


def transform(im, pixel_means):
    """Make the network's input of an image: RGB planes minus the mean colour.

    Args:
        im: (H, W, 3) uint8 BGR.
        pixel_means: (3,) mean of B, G, R.
    Returns:
        (1, 3, H, W) float32.
    """
    tensor = np.empty((1, 3) + im.shape[:2], dtype=np.float32)
    for plane in range(3):
        np.subtract(im[:, :, 2 - plane], np.float32(pixel_means[2 - plane]), out=tensor[0, plane])
    return tensor


def transform_inverse(tensor, pixel_means):
    """Make the image that `transform` was given.

    Args:
        tensor: (1, 3, H, W) float, RGB planes without their means.
        pixel_means: (3,) mean of B, G, R.
    Returns:
        (H, W, 3) uint8 RGB, ready for a plot. Values outside 0 to 255 are clipped.
    """
    # Departure: the release cuts off the fraction, so that 99.99999 becomes 99, and lets 256 wrap to 0.
    rgb = tensor[0].transpose(1, 2, 0) + np.asarray(pixel_means, dtype=np.float64)[::-1]
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)


def tensor_vstack(arrays, pad=0):
    """Stack arrays along their first axis, each padded at the end of its other axes to the largest of all.

    Args:
        arrays: list of arrays (n_i, ...) with the same number of axes.
        pad: value of the added elements.
    Returns:
        (sum of n_i, ...) array of the first array's dtype; of a single array, itself.
    """
    if len(arrays) == 1:
        return arrays[0]
    tail = tuple(np.max([a.shape[1:] for a in arrays], axis=0).astype(int))
    stacked = np.full((sum(len(a) for a in arrays),) + tail, pad, dtype=arrays[0].dtype)
    row = 0
    for array in arrays:
        stacked[(slice(row, row + len(array)),) + tuple(slice(n) for n in array.shape[1:])] = array
        row += len(array)
    return stacked


def get_image(entry, target_size, max_size, stride, pixel_means, max_pixels=MAX_PIXELS):
    """Read the image of a roidb entry with its objects, mirrored if the entry says so, at the network's scale.

    Args:
        entry: dict with image, boxes, gt_classes, flipped, and optionally the annotated height and width.
        target_size, max_size, stride: as in `resize`.
        pixel_means: (3,) mean of B, G, R.
    Returns:
        tensor: (1, 3, H, W) float32.
        im_info: (3,) float32 height and width of the image in the tensor, and its scale.
        gt_boxes: (G, 5) float32 boxes, rounded to whole pixels and clipped into the image, and their classes.
    Raises:
        FileNotFoundError, DatasetError: as `imread`; also if the image has not the annotated size.
    """
    im = imread(entry['image'], max_pixels)
    _check_annotated_size(entry, im)
    if entry['flipped']:
        im = im[:, ::-1]
    im, scale = resize(im, target_size, max_size)
    # Departure: with a stride the release writes the padded size here, so that boxes and anchors may lie
    # in the padding.
    im_info = np.array([im.shape[0], im.shape[1], scale], dtype=np.float32)
    boxes = np.round(np.asarray(entry['boxes'], dtype=np.float64).reshape(-1, 4) * scale)
    gt_boxes = np.empty((len(boxes), 5), dtype=np.float32)
    gt_boxes[:, :4] = clip_boxes(boxes, im.shape[:2])
    gt_boxes[:, 4] = entry['gt_classes']
    return transform(pad_to_stride(im, stride), pixel_means), im_info, gt_boxes


def _check_annotated_size(entry, im):
    height, width = entry.get('height', im.shape[0]), entry.get('width', im.shape[1])
    if im.shape[:2] != (height, width):
        raise DatasetError('%s: the image is %d x %d pixels, its annotation says %d x %d. Correct the annotation '
                           '(boxes refer to the pixels as stored, before any EXIF rotation)'
                           % (shown(entry['image']), im.shape[1], im.shape[0], width, height))
