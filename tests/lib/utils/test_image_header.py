"""The size of an image from its header."""
import struct

import cv2
import numpy as np
import pytest

from lib.utils.image_header import chunks_fit, header_size

PICTURE = np.random.RandomState(0).randint(0, 255, (30, 47, 3)).astype(np.uint8)


def encode(extension, im=PICTURE, *options):
    return cv2.imencode(extension, im, options)[1].tobytes()


@pytest.mark.parametrize('data', [
    encode('.jpg'), encode('.jpg', PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    encode('.png'), encode('.png', PICTURE[:, :, 0]), encode('.bmp'),
    encode('.tif'), encode('.tif', PICTURE.astype(np.uint16)), encode('.webp'),
    encode('.webp', PICTURE, cv2.IMWRITE_WEBP_QUALITY, 101), encode('.webp', np.dstack([PICTURE, PICTURE[:, :, 0]]))])
def test_width_and_height_are_those_of_the_image(data):
    assert header_size(data) == (47, 30)


def test_the_thumbnail_inside_a_jpg_is_passed_over():
    jpg, thumbnail = encode('.jpg'), encode('.jpg', PICTURE[:8, :8])
    segment = b'\xff\xe1' + struct.pack('>H', 2 + len(thumbnail)) + thumbnail
    assert header_size(jpg[:2] + segment + jpg[2:]) == (47, 30)


def test_a_bitmap_may_be_stored_from_top_to_bottom_or_have_an_old_header():
    assert header_size(b'BM' + bytes(12) + struct.pack('<Iii', 40, 47, -30)) == (47, 30)
    assert header_size(b'BM' + bytes(12) + struct.pack('<IHH', 12, 47, 30)) == (47, 30)


def test_a_webp_container_tells_its_canvas():
    head = b'RIFF' + bytes(4) + b'WEBPVP8X' + bytes(8) + (46).to_bytes(3, 'little') + (29).to_bytes(3, 'little')
    assert header_size(head) == (47, 30)


def test_a_ppm_may_have_comments_before_and_between_its_numbers():
    assert header_size(b'P6 47 30 255\n') == header_size(b'P3\n# made by\n47\t# wide\n 30\n255\n') == (47, 30)
    assert header_size(b'P6 47') is None and header_size(b'P7\nWIDTH 47') is None and header_size(b'PK\3\4') is None


def test_of_a_side_that_a_tiff_gives_twice_the_larger_one_counts():
    entries = b''.join(struct.pack('<HHIHH', tag, 3, 1, value, 0) for tag, value in ((256, 47), (257, 30), (256, 5000)))
    assert header_size(b'II*\0' + struct.pack('<IH', 8, 3) + entries) == (5000, 30)


def test_a_tiff_may_have_its_high_bytes_first():
    entry = struct.pack('>HHIHH', 256, 3, 1, 47, 0) + struct.pack('>HHII', 257, 4, 1, 30)
    assert header_size(b'MM\x00*' + struct.pack('>IH', 8, 2) + entry) == (47, 30)


def test_the_chunks_of_a_png_lie_within_the_file():
    png = encode('.png')
    assert chunks_fit(png) and chunks_fit(png + b'what follows the end') and chunks_fit(encode('.jpg'))
    assert not chunks_fit(png[:-1]) and not chunks_fit(png[:60])
    # 33 bytes of signature and IHDR; then a chunk that is a byte longer than the file
    rest = len(png) - 33 - 12
    assert chunks_fit(png[:33] + struct.pack('>I', rest) + png[37:])
    assert not chunks_fit(png[:33] + struct.pack('>I', rest + 1) + png[37:])


@pytest.mark.parametrize('data', [
    b'', b'GIF89a', encode('.jpg')[:100], b'\xff\xd8\xff\xc0', encode('.png')[:20], encode('.bmp')[:20],
    encode('.tif')[:8], encode('.webp')[:15], b'RIFF' + bytes(30), b'II*\0' + bytes(30), b'BM' + bytes(40)])
def test_other_or_damaged_headers_have_no_size(data):
    assert header_size(data) is None


def test_no_change_of_a_byte_makes_the_header_fail():
    rng = np.random.RandomState(5)
    for extension in ('.jpg', '.png', '.bmp', '.tif', '.webp'):
        original = encode(extension, PICTURE[:6, :6])
        for _ in range(300):
            data = bytearray(original)
            for place in rng.randint(0, len(data), 4):
                data[place] = rng.randint(256)
            size = header_size(bytes(data[:rng.randint(1, len(data) + 1)]))
            assert size is None or min(size) > 0
