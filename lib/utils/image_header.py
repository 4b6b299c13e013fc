"""Width and height of an encoded image from its first bytes, without decoding it.

Needed before decoding, to refuse a file of a few kilobytes that would unpack to gigabytes, and where an annotation does
not say how large its image is. OpenCV has no function for it.
"""
import re
import struct

# A JPEG marker: 0xFF and a code. 0xFF00 is a stuffed data byte and 0xFFD0 to 0xFFD7 restart the same scan.
_JPEG_MARKER = re.compile(rb'\xff[^\x00\x01\xff\xd0-\xd8]')
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# P1 to P6, width and height of at most nine digits, with comments between them.
_PNM_HEADER = re.compile(rb'P[1-6](?:\s|#[^\n]*\n){1,99}([0-9]{1,9})(?:\s|#[^\n]*\n){1,99}([0-9]{1,9})\s')
PNG_MAGIC = b'\x89PNG\r\n\x1a\n'
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_FORMATS = {1: 'B', 3: 'H', 4: 'I'}


def header_size(data):
    """Read the size of a JPEG, PNG, BMP, WebP, TIFF or PNM (pbm, pgm, ppm) image.

    Args:
        data: bytes, the file or at least its head (for JPEG and TIFF the whole file, whose size may stand anywhere).
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


def chunks_fit(data):
    """Whether the chunks of a PNG lie within the file; True for other formats.

    OpenCV makes room for as many bytes as a chunk announces, up to two gigabytes, before it looks how many there are.

    Args:
        data: bytes, the whole file.
    """
    position = len(PNG_MAGIC)
    while data.startswith(PNG_MAGIC) and position + 8 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, position)
        position += 12 + length     # length, kind, content, checksum
        if position > len(data):
            return False
        if kind == b'IEND':
            break                   # what follows is nobody's business
    return True


def scan_fits(data, size):
    """Whether a JPEG has bytes enough for its size; True for other formats and for arithmetic coding.

    Of every 8 x 8 pixels the Huffman codes take at least one bit. OpenCV decodes a header with nothing behind to grey.

    Args:
        data: bytes, the whole file. size: its `header_size`.
    """
    if not data.startswith(b'\xff\xd8') or not any(bytes((0xFF, frame)) in data for frame in _HUFFMAN_FRAMES):
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


def tiff_entries(data, start):
    """(tag, format and place of its value in the data) of the first directory of a TIFF that begins at `start`."""
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
            # where one stands there twice, readers differ in their choice
            sizes[tag] = max(struct.unpack_from(kind, data, place)[0], sizes.get(tag, 0))
    return sizes[_TIFF_WIDTH], sizes[_TIFF_HEIGHT]


def _pnm_size(data):
    match = _PNM_HEADER.match(data)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


_READERS = ((b'\xff\xd8', _jpeg_size), (PNG_MAGIC, _png_size), (b'BM', _bmp_size), (b'RIFF', _webp_size),
            (b'II*\x00', _tiff_size), (b'MM\x00*', _tiff_size), (b'P', _pnm_size))
