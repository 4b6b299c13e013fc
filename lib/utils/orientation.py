"""The orientation of an image: what a viewer does with the stored pixels before it shows them.

A number from 1 to 8 that cameras write (EXIF; the tag 274 of TIFF). 1: nothing; 3: half a turn; 6 and 8: a quarter
turn; the others are mirrored. The network sees the pixels as stored.
"""
import struct

import numpy as np

from lib.utils.image_header import PNG_MAGIC, tiff_entries

_TAG = 274
_TIFF = (b'II*\x00', b'MM\x00*')
# Orientation -> whether rows and columns are exchanged, and then left and right, and top and bottom.
_STEPS = {1: (False, False, False), 2: (False, True, False), 3: (False, True, True), 4: (False, False, True),
          5: (True, False, False), 6: (True, True, False), 7: (True, True, True), 8: (True, False, True)}


def lies_sideways(number):
    """Whether width and height are exchanged when the image is shown."""
    return _STEPS[number][0]


def upright(im, number):
    """The pixels (H, W, ...) of an image as they are shown."""
    exchanged, mirrored, upside_down = _STEPS[number]
    im = im.swapaxes(0, 1) if exchanged else im
    return np.ascontiguousarray(im[::-1 if upside_down else 1, ::-1 if mirrored else 1])


def upright_box(box, number, size):
    """A box of the stored pixels in the image as it is shown.

    Args:
        box: x1, y1, x2, y2, both corners inside. number: the orientation. size: width, height as stored.
    """
    (x1, y1, x2, y2), (width, height) = box, size
    exchanged, mirrored, upside_down = _STEPS[number]
    if exchanged:
        x1, y1, x2, y2, width, height = y1, x1, y2, x2, height, width
    if mirrored:
        x1, x2 = width - 1 - x2, width - 1 - x1
    if upside_down:
        y1, y2 = height - 1 - y2, height - 1 - y1
    return x1, y1, x2, y2


def orientation(data):
    """The orientation of an image, 1 to 8; 1 where the header does not tell.

    Args:
        data: bytes, the file or at least its head.
    """
    start = _exif_start(data)
    values = [value for value, _, _ in _orientations(data, start)] if start is not None else []
    return values[0] if values else 1


def _orientations(data, start):
    """(value, format, place) of each tag of a valid orientation."""
    found = []
    try:
        for tag, kind, place in tiff_entries(data, start):
            value, = struct.unpack_from(kind, data, place) if tag == _TAG and len(kind) == 2 else (0,)
            if 1 <= value <= 8:
                found.append((value, kind, place))
    except struct.error:
        pass
    return found


def _exif_start(data):
    """Where the TIFF structure begins that holds the orientation; None where there is none."""
    if data.startswith(_TIFF):
        return 0
    try:
        if data.startswith(b'\xff\xd8'):
            return _after(data, _jpeg_exif(data))
        if data.startswith(PNG_MAGIC):
            return _after(data, _chunk(data, len(PNG_MAGIC), b'eXIf', '>I4s', 12))
        if data.startswith(b'RIFF') and data[8:12] == b'WEBP':
            return _after(data, _chunk(data, 12, b'EXIF', '<4sI', 8))
    except (struct.error, IndexError):
        pass
    return None


def _after(data, start):
    """The place after the six bytes that some writers put before the structure; None if none begins there."""
    if start is not None and data[start:start + 6] == b'Exif\x00\x00':
        start += 6
    return start if start is not None and data[start:start + 4] in _TIFF else None


def _jpeg_exif(data):
    position = 2
    while data[position] == 0xFF and data[position + 1] not in (0xDA, 0xD9):
        if data[position + 1] == 0xE1 and data[position + 4:position + 8] == b'Exif':
            return position + 4
        position += 2 + struct.unpack_from('>H', data, position + 2)[0]
    return None


def _chunk(data, position, wanted, head, overhead):
    """Where the content of a chunk begins, of PNG or WebP."""
    while position + 8 <= len(data):
        length, kind = sorted(struct.unpack_from(head, data, position), key=lambda value: isinstance(value, bytes))
        if kind == wanted:
            return position + 8
        position += overhead + length + (length % 2 if head[0] == '<' else 0)
    return None


def as_stored(data):
    """The bytes of a TIFF with its orientation set to 1; those of another format as they are.

    OpenCV can be told to ignore the orientation of other formats, and turns the pixels of a TIFF all the same.
    """
    if not data.startswith(_TIFF):
        return data
    changed = bytearray(data)
    for _, kind, place in _orientations(data, 0):
        struct.pack_into(kind, changed, place, 1)
    return bytes(changed)
