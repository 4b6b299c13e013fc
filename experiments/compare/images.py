"""From image files to the network's input."""
import hashlib
import re
import zlib

import cv2
import numpy as np

from experiments.compare.report import EXACT, PLAIN, Tolerance
from lib.utils.image import get_image, imread, resize, tensor_vstack, transform, transform_inverse

PIXEL_MEANS = np.array([103.06, 115.90, 123.15])  # B, G, R; of the format
NO_LIMIT = 1 << 20
FLOAT32 = 'float32, as the network reads it; the release computes it in float64'
UINT8 = 'images stay uint8; the release pads them into a float64 array'
ROUNDED = 'the inverse rounds; the release cuts off the fraction'
OTHER_OPENCV = 'decoded by another OpenCV than the vector was: the mean colour is compared'


def check_image(vector, report):
    """Decoding, resizing, transforming, stacking."""
    same_opencv = vector.record['cv2_version'] == cv2.__version__
    report.check('small.png', imread(str(vector.directory / 'small.png')), vector['small_bgr'])
    for match, case in vector.record.numbered('small_(.+)'):
        _check_small(match.group(1), case, vector, same_opencv, report)
    for match, case in vector.record.numbered(r'(.+)_s\d+'):
        _check_photograph(match.group(0), case, vector, same_opencv, report)
    for i in vector.indices('gi_boxes_in_%d'):
        _check_get_image(i, vector, same_opencv, report)
    stack = [vector['vstack_in_%d' % i] for i in vector.indices('vstack_in_%d')]
    if stack:
        report.check('stack, padded with 0', tensor_vstack(stack), vector['vstack_out'])
        report.check('stack, padded with -1', tensor_vstack(stack, pad=-1), vector['vstack_out_padm1'])


def _levels(same_opencv, of_original=0):
    """Tolerance in grey levels: bilinear interpolation of uint8 is fixed point and differs between builds of OpenCV."""
    allowed = of_original + (0 if same_opencv else 1)
    return Tolerance('%d level' % allowed, absolute=allowed + 1e-5) if allowed else PLAIN


def _in_float64(image):
    """`transform` as the release computes it."""
    return np.stack([image[:, :, 2 - i] - PIXEL_MEANS[2 - i] for i in range(3)])[None]


def _check_small(name, case, vector, same_opencv, report):
    tolerance = _levels(same_opencv, case['max_diff_without_ipp'])
    title = 'small image, %s' % name
    resized, scale = resize(vector['small_bgr'], case['target'], case['max'], case['stride'])
    report.check(title + ': resized', resized, vector['resized_' + name], tolerance)
    report.check(title + ': scale', scale, case['scale'], PLAIN)
    report.check(title + ': shape', resized.shape, case['resized_shape'])
    report.check(title + ': dtype', resized.dtype.name, case['resized_dtype'], EXACT, lambda: 'float64' if case['stride'] else 'uint8',
                 UINT8)
    tensor = transform(resized, PIXEL_MEANS)
    report.check(title + ': dtype of tensor', tensor.dtype.name, case['tensor_dtype'], EXACT,
                 lambda: _in_float64(resized).dtype.name, FLOAT32)
    if 'tensor_' + name in vector:
        report.check(title + ': tensor', tensor, vector['tensor_' + name], tolerance)
    if 'transform_inverse_' + name in vector:
        report.check(title + ': inverse', transform_inverse(tensor, PIXEL_MEANS), vector['transform_inverse_' + name], tolerance,
                     lambda: (_in_float64(resized)[0].transpose(1, 2, 0) + PIXEL_MEANS[::-1]).astype(np.uint8), ROUNDED)


def _check_photograph(name, case, vector, same_opencv, report):
    path = vector.directory / 'images' / case['file'].rsplit('/', 1)[-1]
    tolerance = _levels(same_opencv)
    report.check(name + ': sha256', hashlib.sha256(path.read_bytes()).hexdigest(), case['sha256'])
    decoded = imread(str(path))
    report.check(name + ': decoded', decoded.shape, case['decoded_shape'])
    report.check(name + ': mean colour', decoded.mean(axis=(0, 1)), case['decoded_mean'], tolerance)
    report.check(name + ': crc32', zlib.crc32(decoded.tobytes()), case['decoded_crc32'], EXACT,
                 None if same_opencv else lambda: case['decoded_crc32'], OTHER_OPENCV)
    resized, scale = resize(decoded, case['target'], case['max'], case['stride'])
    report.check(name + ': scale', scale, case['scale'], PLAIN)
    tensor = transform(resized, PIXEL_MEANS)
    report.check(name + ': tensor', tensor.shape, case['tensor_shape'])
    for key, measure in (('mean', np.mean), ('std', np.std), ('min', np.min), ('max_', np.max)):
        report.check('%s: %s' % (name, key.strip('_')), measure(tensor.astype(np.float64), axis=(0, 2, 3)), case[key], tolerance)
    for match in vector.matching('full_%s_(.+)' % re.escape(name)):
        theirs = vector[match.group(0)]
        report.check('%s: %s' % (name, match.group(1)), part_of(tensor[0], match.group(1), theirs.shape), theirs, tolerance)


def part_of(planes, name, shape):
    """The part of (3, H, W) that a name such as row100, col200, lastrow or sub16 says; lastrow takes every n-th pixel."""
    kind, number = name.rstrip('0123456789'), int(name[len(name.rstrip('0123456789')):] or 0)
    step = -(-planes.shape[2] // shape[1])
    parts = {'row': lambda: planes[:, number], 'col': lambda: planes[:, :, number], 'sub': lambda: planes[:, ::number, ::number],
             'lastrow': lambda: planes[:, -1, ::step]}
    if kind not in parts:
        raise KeyError('no part of an image is called %s' % name)
    return parts[kind]()


def _check_get_image(i, vector, same_opencv, report):
    """Every second image is mirrored; `boxes_in` are mirrored already."""
    theirs, boxes = vector['gi_im_info_%d' % i], vector['gi_boxes_in_%d' % i]
    height, width = vector['small_bgr'].shape[:2]
    entry = {'image': str(vector.directory / 'small.png'), 'height': height, 'width': width, 'flipped': i % 2 == 1, 'boxes': boxes,
             'gt_classes': np.ones(len(boxes))}
    # SCALES is not stored: the scale follows from the side that it fits.
    sides = np.array([min(height, width), max(height, width)]) * theirs[2]
    fits_short = abs(sides[0] - round(sides[0])) < 1e-6
    target, longest = (int(round(sides[0])), NO_LIMIT) if fits_short else (NO_LIMIT, int(round(sides[1])))
    tensor, im_info, gt_boxes = get_image(entry, target, longest, 0, PIXEL_MEANS)
    title = 'entry %d' % i
    report.check(title + ': im_info', im_info, theirs, PLAIN)
    report.check(title + ': boxes', gt_boxes[:, :4], vector['gi_boxes_out_%d' % i])
    pixels = transform_inverse(tensor, PIXEL_MEANS)[:, :, ::-1]
    report.check(title + ': crc32 of tensor', zlib.crc32(tensor.tobytes()), vector['gi_tensor_%d_crc' % i], EXACT,
                 lambda: zlib.crc32(_in_float64(pixels).tobytes()) if same_opencv else vector['gi_tensor_%d_crc' % i], FLOAT32)
    for match in vector.matching(r'gi_tensor_%d_(sub\d+)' % i):
        part = vector[match.group(0)]
        report.check('%s: %s' % (title, match.group(1)), part_of(tensor[0], match.group(1), part.shape), part, _levels(same_opencv))
