"""From image files to the network's input."""
import re
import tempfile
import zlib

import cv2
import numpy as np

from experiments.compare.report import EXACT, PLAIN, Tolerance
from lib.utils.image import get_image, resize, tensor_vstack, transform, transform_inverse
from lib.utils.image_file import imread, imwrite

PIXEL_MEANS = np.array([103.06, 115.90, 123.15])  # B, G, R; of the format
NO_LIMIT = 1 << 20
FLOAT32 = 'float32, as the network reads it; the release computes it in float64'
UINT8 = 'images stay uint8; the release pads them into a float64 array'
ROUNDED = 'the inverse rounds; the release cuts off the fraction'
OTHER_OPENCV = 'decoded by another OpenCV than the vector was: only the mean colour can be compared'


def check_image(vector, report):
    """Stacking, and of the photographs that are here decoding, resizing, transforming.

    Raises:
        NoPicture: one is not here.
    """
    _check_stack(vector, report)
    same_opencv = vector.record['cv2_version'] == cv2.__version__
    small = vector.picture('small_bgr', 'small')
    if (vector.directory / 'small.png').is_file():
        report.title = 'small.png'
        report.check('decoded', imread(str(vector.directory / 'small.png')), small)
    for match, case in vector.record.numbered('small_(.+)'):
        report.title = match.group(0)
        _check_small(match.group(1), case, small, vector, same_opencv, report)
    for i in vector.indices('gi_boxes_in_%d'):
        report.title = 'get_image %d' % i
        _check_get_image(i, small, vector, same_opencv, report)
    for match, case in vector.record.numbered(r'(.+)_s\d+'):
        report.title = match.group(0)
        _check_photograph(match.group(0), case, vector, same_opencv, report)


def levels(same_opencv, of_original=0):
    """Tolerance in grey levels: bilinear interpolation of uint8 is fixed point and differs between builds of OpenCV."""
    allowed = of_original + (0 if same_opencv else 1)
    return Tolerance('%d level' % allowed, absolute=allowed + 1e-5) if allowed else PLAIN


def in_float64(image):
    """`transform` as the release computes it."""
    return np.stack([image[:, :, 2 - i] - PIXEL_MEANS[2 - i] for i in range(3)])[None]


def _check_small(name, case, small, vector, same_opencv, report):
    tolerance = levels(same_opencv, case['max_diff_without_ipp'])
    resized, scale = resize(small, case['target'], case['max'], case['stride'])

    def check_pixels(what, ours, released=None, reason=None):
        """Compare with the array of the npz, or with its CRC-32 in the json, which only the same OpenCV can reach."""
        key = '%s_%s' % (what, name)
        if key in vector:
            report.check(what, ours, vector[key], tolerance, released, reason)
        elif what + '_crc32' in case:
            _check_crc('crc32 of ' + what, ours, case[what + '_crc32'], same_opencv, report, released, reason)

    check_pixels('resized', resized)
    report.check('scale', scale, case['scale'], PLAIN)
    report.check('shape', resized.shape, case['resized_shape'])
    report.check('dtype', resized.dtype.name, case['resized_dtype'], EXACT,
                 lambda: 'float64' if case['stride'] else 'uint8', UINT8)
    tensor = transform(resized, PIXEL_MEANS)
    report.check('dtype of the tensor', tensor.dtype.name, case['tensor_dtype'], EXACT,
                 lambda: in_float64(resized).dtype.name, FLOAT32)
    if 'tensor_' + name in vector:
        report.check('tensor', tensor, vector['tensor_' + name], tolerance)
    if 'tensor' in case:
        _check_measures(tensor, case['tensor'], tolerance, report)
    planes = in_float64(resized)[0].transpose(1, 2, 0)
    check_pixels('transform_inverse', transform_inverse(tensor, PIXEL_MEANS),
                 lambda: (planes + PIXEL_MEANS[::-1]).astype(np.uint8), ROUNDED)


def _check_crc(title, array, crc, same_opencv, report, released=None, reason=None):
    """The CRC-32 of an array. No other OpenCV than the vector's can reach it: there it counts as a departure.

    Args:
        released: makes the release's array, where it is another.
    """
    def departure():
        return zlib.crc32(released().tobytes()) if same_opencv else crc

    report.check(title, zlib.crc32(array.tobytes()), crc, EXACT, departure if released or not same_opencv else None,
                 reason or OTHER_OPENCV)


def _check_photograph(name, case, vector, same_opencv, report):
    path = vector.pictures.path(case['file'].rsplit('/', 1)[-1], case['sha256'])
    tolerance = levels(same_opencv)
    decoded = imread(str(path))
    report.check('decoded', decoded.shape, case['decoded_shape'])
    report.check('mean colour', decoded.mean(axis=(0, 1)), case['decoded_mean'], tolerance)
    _check_crc('crc32', decoded, case['decoded_crc32'], same_opencv, report)
    resized, scale = resize(decoded, case['target'], case['max'], case['stride'])
    report.check('scale', scale, case['scale'], PLAIN)
    tensor = transform(resized, PIXEL_MEANS)
    report.check('tensor', tensor.shape, case['tensor_shape'])
    _check_measures(tensor, case, tolerance, report)
    _check_parts(tensor[0], 'full_%s_' % name, vector, tolerance, report)


def _check_measures(tensor, record, tolerance, report):
    """Mean, deviation, smallest and largest number of each channel."""
    for key, measure in (('mean', np.mean), ('std', np.std), ('min', np.min), ('max_', np.max)):
        report.check(key, measure(tensor.astype(np.float64), axis=(0, 2, 3)), record[key], tolerance)


def _check_parts(planes, prefix, vector, tolerance, report):
    """Those parts of (3, H, W) that the vector holds under `prefix`."""
    for match in vector.matching(re.escape(prefix) + '((row|col|sub)[0-9]+|lastrow)'):
        theirs = vector[match.group(0)]
        report.check(match.group(1), part_of(planes, match.group(1), theirs.shape), theirs, tolerance)


def part_of(planes, name, shape):
    """The part of (3, H, W) that row100, col200, lastrow or sub16 says; lastrow takes every n-th pixel."""
    number = int(re.sub('[a-z]', '', name) or 0)
    if name == 'lastrow':
        return planes[:, -1, ::-(-planes.shape[2] // shape[1])]
    return {'row': lambda: planes[:, number], 'col': lambda: planes[:, :, number],
            'sub': lambda: planes[:, ::number, ::number]}[name[:3]]()


def _check_get_image(i, small, vector, same_opencv, report):
    """Every second image is mirrored; `boxes_in` are mirrored already."""
    theirs, boxes = vector['gi_im_info_%d' % i], vector['gi_boxes_in_%d' % i]
    height, width = small.shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        path = folder + '/small.png'    # without loss
        imwrite(path, small)
        entry = {'image': path, 'height': height, 'width': width, 'flipped': i % 2 == 1, 'boxes': boxes,
                 'gt_classes': np.ones(len(boxes))}
        tensor, im_info, gt_boxes = get_image(entry, *size_limits(height, width, theirs[2]), 0, PIXEL_MEANS)
    report.check('im_info', im_info, theirs, PLAIN)
    report.check('boxes', gt_boxes[:, :4], vector['gi_boxes_out_%d' % i])
    pixels = transform_inverse(tensor, PIXEL_MEANS)[:, :, ::-1]
    _check_crc('crc32 of the tensor', tensor, vector['gi_tensor_%d_crc' % i], same_opencv, report,
               lambda: in_float64(pixels), FLOAT32)
    _check_parts(tensor[0], 'gi_tensor_%d_' % i, vector, levels(same_opencv), report)


def size_limits(height, width, scale):
    """A target of the shorter side and a limit of the longer one that give this scale: the vector holds neither."""
    short, long = min(height, width) * scale, max(height, width) * scale
    return (int(round(short)), NO_LIMIT) if abs(short - round(short)) < 1e-6 else (NO_LIMIT, int(round(long)))


def _check_stack(vector, report):
    report.title = 'stack'
    arrays = [vector['vstack_in_%d' % i] for i in vector.indices('vstack_in_%d')]
    for name, pad in (('vstack_out', 0), ('vstack_out_padm1', -1)):
        if name in vector:
            report.check('padded with %d' % pad, tensor_vstack(arrays, pad=pad), vector[name])
