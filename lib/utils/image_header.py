"""Reads the header of an encoded image: width, height and orientation, without decoding the pixels.

The size is needed to refuse a file of a few kilobytes that would unpack to gigabytes, and where an annotation does not
state the size of its image. OpenCV has no function for it.

The orientation, a number from 1 to 8 that cameras write (EXIF; tag 274 of TIFF), tells viewers how to turn or mirror
the stored pixels. 1: not at all; 3: half a turn; 6 and 8: a quarter turn; the others also mirror. The network sees the
pixels as stored.
"""
from __future__ import annotations

import contextlib
import re
import struct
from typing import Iterator, Sequence

import numpy as np

# A JPEG marker: 0xFF and a code. 0xFF00 is a stuffed data byte and 0xFFD0 to 0xFFD7 restart the same scan.
_JPEG_MARKER = re.compile(rb'\xff[^\x00\x01\xff\xd0-\xd8]')
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# P1 to P6, width and height of at most nine digits, with comments between them.
_PNM_HEADER = re.compile(rb'P[1-6](?:\s|#[^\n]*\n){1,99}([0-9]{1,9})(?:\s|#[^\n]*\n){1,99}([0-9]{1,9})\s')
JPEG_MAGIC, PNG_MAGIC = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
TIFF_MAGIC = (b'II*\x00', b'MM\x00*')
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_PHOTOMETRIC, _LOG_L, _LOG_LUV = 262, 32844, 32845
_TIFF_FORMATS = {1: 'B', 3: 'H', 4: 'I'}
_TAG = 274
# Orientation -> whether rows and columns are exchanged, and then left and right, and top and bottom.
_STEPS = {1: (False, False, False), 2: (False, True, False), 3: (False, True, True), 4: (False, False, True),
          5: (True, False, False), 6: (True, True, False), 7: (True, True, True), 8: (True, False, True)}


def header_size(data: bytes) -> tuple[int, int] | None:
    """The size of a JPEG, PNG, BMP, WebP, TIFF or PNM (pbm, pgm, ppm) image.

    Args:
        data: the file or its beginning. JPEG and TIFF may need the whole file: the size may stand anywhere in it.
    Returns:
        (width, height) in pixels as stored, before any EXIF rotation; None if the format is another or the header is
        damaged.
    """
    for magic, read in _READERS:
        if data.startswith(magic):
            try:
                width, height = read(data)
            except (struct.error, KeyError, IndexError):
                return None
            return (width, height) if width > 0 and height > 0 else None
    return None


def _jpeg_size(data):
    position = 2
    while True:
        marker = _JPEG_MARKER.search(data, position)
        if marker is None:
            return 0, 0
        position = marker.start() + 2
        if data[position - 1] in _JPEG_FRAMES:
            height, width = struct.unpack_from('>HH', data, position + 3)
            return width, height
        position += struct.unpack_from('>H', data, position)[0]


def chunks_fit(data: bytes) -> bool:
    """Whether the chunks of a PNG lie within the file; True for other formats.

    OpenCV reserves as many bytes as a chunk announces, up to two gigabytes, before it knows how many there are.

    Args:
        data: the whole file.
    """
    position = len(PNG_MAGIC)
    while data.startswith(PNG_MAGIC) and position + 8 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, position)
        position += 12 + length     # length, kind, content, checksum
        if position > len(data):
            return False
        if kind == b'IEND':
            break                   # the end of the image; what follows is not read
    return True


def scan_fits(data: bytes, size: tuple[int, int]) -> bool:
    """Whether a JPEG has enough bytes for its size; True for other formats and for arithmetic coding.

    Huffman codes take at least one bit for every 8 x 8 pixels. OpenCV would decode a header without data to grey.

    Args:
        data: the whole file.
        size: its `header_size`.
    """
    if not data.startswith(JPEG_MAGIC) or not any(bytes((0xFF, frame)) in data for frame in _HUFFMAN_FRAMES):
        return True
    return 8 * len(data) >= size[0] * size[1] / 64


def _png_size(data):
    return struct.unpack_from('>II', data, 16)


def _bmp_size(data):
    if struct.unpack_from('<I', data, 14)[0] == 12:             # the header of OS/2 has 16 bit fields
        return struct.unpack_from('<HH', data, 18)
    width, height = struct.unpack_from('<ii', data, 18)
    return width, abs(height)                                   # a negative height: rows from top to bottom


def _webp_size(data):
    kind = data[12:16]
    if kind == b'VP8 ':
        width, height = struct.unpack_from('<HH', data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b'VP8L':
        bits = struct.unpack_from('<I', data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b'VP8X':
        width, height = data[24:27], data[27:30]
        return int.from_bytes(width, 'little') + 1, int.from_bytes(height, 'little') + 1
    return 0, 0


def tiff_entries(data: bytes, start: int) -> Iterator[tuple[int, str, int]]:
    """Yield the tag, the format and the place of the value of each entry in the first directory of a TIFF.

    Args:
        data: the file.
        start: where the TIFF begins in it.
    """
    order = '<' if data[start:start + 2] == b'II' else '>'
    directory = start + struct.unpack_from(order + 'I', data, start + 4)[0]
    count = struct.unpack_from(order + 'H', data, directory)[0]
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + 'HH', data, entry)
        yield tag, order + _TIFF_FORMATS.get(kind, ''), entry + 8


def _tiff_size(data):
    sizes = {}
    for tag, kind, place in tiff_entries(data, 0):
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            # if a tag is given twice, readers differ: take the larger size
            sizes[tag] = max(struct.unpack_from(kind, data, place)[0], sizes.get(tag, 0))
    return sizes[_TIFF_WIDTH], sizes[_TIFF_HEIGHT]


def is_logluv(data: bytes) -> bool:
    """Whether a TIFF holds floating point numbers as logarithms, which OpenCV maps to 8 bits by their brightness."""
    if not data.startswith(TIFF_MAGIC):
        return False
    try:
        return any(struct.unpack_from(kind, data, place)[:1] in ((_LOG_L,), (_LOG_LUV,))
                   for tag, kind, place in tiff_entries(data, 0) if tag == _TIFF_PHOTOMETRIC)
    except struct.error:
        return False


def _pnm_size(data):
    match = _PNM_HEADER.match(data)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


_READERS = ((JPEG_MAGIC, _jpeg_size), (PNG_MAGIC, _png_size), (b'BM', _bmp_size), (b'RIFF', _webp_size),
            (TIFF_MAGIC, _tiff_size), (b'P', _pnm_size))


def lies_sideways(number: int) -> bool:
    """Whether width and height are exchanged when an image of this orientation is shown."""
    return _STEPS[number][0]


def upright(im: np.ndarray, number: int) -> np.ndarray:
    """The pixels (H, W, ...) of an image of this orientation as viewers show them."""
    exchanged, mirrored, upside_down = _STEPS[number]
    im = im.swapaxes(0, 1) if exchanged else im
    return np.ascontiguousarray(im[::-1 if upside_down else 1, ::-1 if mirrored else 1])


def upright_box(box: Sequence[float], number: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box of the stored pixels in the image as viewers show it.

    Args:
        box: x1, y1, x2, y2, both corners inside.
        number: the orientation.
        size: width and height as stored.
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


def orientation(data: bytes) -> int:
    """The orientation of an image, 1 to 8; 1 if the header does not state it.

    Args:
        data: the file or its beginning.
    """
    return _orientation_at(data, _exif_start(data))


def orientation_at_end(data: bytes) -> int:
    """The orientation of a PNG, 1 to 8, by its last bytes: it may stand behind the pixels. 1 if it is not there."""
    place = data.rfind(b'eXIf')
    return _orientation_at(data, _after(data, place + 4) if place >= 0 else None)


def _orientation_at(data, start):
    """The first valid orientation in the TIFF structure at `start`; 1 if there is none."""
    return next((value for value, _, _ in _orientations(data, start)), 1) if start is not None else 1


def _orientations(data, start):
    """(value, format, place) of each orientation tag with a valid value."""
    found = []
    with contextlib.suppress(struct.error):
        for tag, kind, place in tiff_entries(data, start):
            value, = struct.unpack_from(kind, data, place) if tag == _TAG and len(kind) == 2 else (0,)
            if 1 <= value <= 8:
                found.append((value, kind, place))
    return found


def _exif_start(data):
    """Where the TIFF structure begins that may hold the orientation; None if there is none."""
    if data.startswith(TIFF_MAGIC):
        return 0
    with contextlib.suppress(struct.error, IndexError):
        if data.startswith(JPEG_MAGIC):
            return _after(data, _jpeg_exif(data))
        if data.startswith(PNG_MAGIC):
            return _after(data, _chunk(data, len(PNG_MAGIC), b'eXIf', '>I4s', 12))
        if data.startswith(b'RIFF') and data[8:12] == b'WEBP':
            return _after(data, _chunk(data, 12, b'EXIF', '<4sI', 8))
    return None


def _after(data, start):
    """`start`, or the place after the six bytes that some writers put there; None if no TIFF structure follows."""
    if start is not None and data[start:start + 6] == b'Exif\x00\x00':
        start += 6
    return start if start is not None and data[start:start + 4] in TIFF_MAGIC else None


def _jpeg_exif(data):
    position = 2
    while data[position] == 0xFF and data[position + 1] not in (0xDA, 0xD9):
        if data[position + 1] == 0xFF:          # a marker may have any number of these before it
            position += 1
            continue
        if data[position + 1] == 0xE1 and data[position + 4:position + 8] == b'Exif':
            return position + 4
        position += 2 + struct.unpack_from('>H', data, position + 2)[0]
    return None


def _chunk(data, position, wanted, head, overhead):
    """Where the content of a chunk of the kind `wanted` begins, of PNG or WebP; None if there is none.

    Args:
        head: format of a chunk's first eight bytes, its length and its kind in either order.
        overhead: bytes of a chunk beside its content.
    """
    while position + 8 <= len(data):
        fields = struct.unpack_from(head, data, position)
        length, kind = fields if isinstance(fields[0], int) else fields[::-1]
        if kind == wanted:
            return position + 8
        position += overhead + length + (length % 2 if head[0] == '<' else 0)
    return None


def as_stored(data: bytes) -> bytes:
    """The bytes of a TIFF with its orientation set to 1; those of another format unchanged.

    OpenCV can ignore the orientation of other formats, but turns the pixels of a TIFF in any case.
    """
    # Departure: the release reads a TIFF as OpenCV turns it.
    if not data.startswith(TIFF_MAGIC):
        return data
    changed = bytearray(data)
    for _, kind, place in _orientations(data, 0):
        struct.pack_into(kind, changed, place, 1)
    return bytes(changed)
