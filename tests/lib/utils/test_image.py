"""From image files to the network's input."""
import errno
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.errors import DatasetError
from lib.utils import image_file
from lib.utils.image import (
    get_image,
    network_input,
    pad_to_stride,
    resize,
    resized_shape,
    tensor_vstack,
    transform,
    transform_inverse,
)
from lib.utils.image_file import image_size, images_in, imread, imwrite

MEANS = (103.06, 115.90, 123.15)        # B, G, R
EXTENSIONS = ['.jpg', '.png', '.bmp', '.tif', '.webp']


def picture(height=30, width=40):
    """A smooth image whose channels differ."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 3, columns * 4, rows + columns], axis=2).astype(np.uint8)


def save(path, im, *options):
    path.write_bytes(cv2.imencode(path.suffix.lower(), im, options)[1].tobytes())
    return str(path)


@pytest.mark.parametrize('name', ['a.png', 'a.PNG', 'a.bmp', 'a.tif', 'a.TIFF'])
def test_an_image_is_read_as_it_was_written(tmp_path, name):
    np.testing.assert_array_equal(imread(save(tmp_path / name, picture())), picture())


def test_a_grey_image_has_three_equal_channels(tmp_path):
    im = imread(save(tmp_path / 'a.png', picture()[:, :, 0]))
    np.testing.assert_array_equal(im, np.repeat(picture()[:, :, :1], 3, axis=2))


def test_an_alpha_channel_is_dropped(tmp_path):
    with_alpha = np.dstack([picture(), np.full((30, 40), 99, dtype=np.uint8)])
    np.testing.assert_array_equal(imread(save(tmp_path / 'a.png', with_alpha)), picture())
    np.testing.assert_array_equal(imread(save(tmp_path / 'a.tif', with_alpha)), picture())


@pytest.mark.parametrize('options, message', [
    ((), 'floating point numbers, which have no agreed white. Convert it to 8 bits'),         # LogLuv
    ((cv2.IMWRITE_TIFF_COMPRESSION, 1), 'that OpenCV cannot decode')])
def test_a_tiff_of_floating_point_numbers_is_refused(tmp_path, options, message):
    pixels = np.random.RandomState(0).rand(30, 40, 3).astype(np.float32)
    (tmp_path / 'a.tif').write_bytes(cv2.imencode('.tif', pixels, options)[1].tobytes())
    with pytest.raises(DatasetError, match=message):
        imread(tmp_path / 'a.tif')


def test_the_colours_of_a_tiff_are_multiplied_by_a_channel_that_it_calls_alpha(tmp_path):
    with_alpha = np.dstack([picture()[:, :, ::-1], np.full((30, 40), 99, dtype=np.uint8)])
    Image.fromarray(with_alpha, 'RGBA').save(str(tmp_path / 'a.tif'))
    assert np.abs(imread(tmp_path / 'a.tif') - picture() * (99 / 255)).max() <= 1


@pytest.mark.parametrize('name', ['a.png', 'a.tif'])
def test_sixteen_bit_values_become_eight_bit_ones(tmp_path, name):
    im = imread(save(tmp_path / name, picture().astype(np.uint16) * 256 + 17))
    assert im.dtype == np.uint8
    assert np.abs(im.astype(int) - picture()).max() <= 1        # OpenCV divides by 256 or by 257


def test_the_exif_orientation_is_ignored(tmp_path):
    # An EXIF segment with the one tag 0x0112, orientation, of value 6: to be shown turned by 90 degrees.
    tiff = b'II*\0' + struct.pack('<IHHHIHHI', 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b'\xff\xe1' + struct.pack('>H', 8 + len(tiff)) + b'Exif\0\0' + tiff
    jpg = cv2.imencode('.jpg', picture())[1].tobytes()
    (tmp_path / 'a.jpg').write_bytes(jpg[:2] + exif + jpg[2:])
    assert cv2.imread(str(tmp_path / 'a.jpg')).shape == (40, 30, 3)       # so the segment is understood
    assert imread(str(tmp_path / 'a.jpg')).shape == (30, 40, 3)
    assert image_size(str(tmp_path / 'a.jpg')) == (40, 30)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'a\.jpg: there is no such image'):
        imread(str(tmp_path / 'a.jpg'))


@pytest.mark.parametrize('extension', EXTENSIONS)
@pytest.mark.parametrize('part', [0.1, 0.5, 0.9])
def test_a_truncated_image_raises_an_error_that_names_it(tmp_path, extension, part):
    data = cv2.imencode(extension, np.random.RandomState(3).randint(0, 255, (60, 80, 3)).astype(np.uint8))[1].tobytes()
    (tmp_path / ('a' + extension)).write_bytes(data[:int(len(data) * part)])
    with pytest.raises(DatasetError, match=r'a\%s: .*truncated' % extension):
        imread(str(tmp_path / ('a' + extension)))


@pytest.mark.parametrize('data', [b'no image', b'\xff\xd8\xff', b'GIF89a', bytes(100)])
def test_what_is_no_image_raises_an_error_that_names_it(tmp_path, data):
    (tmp_path / 'a.jpg').write_bytes(data)
    for read in (imread, image_size):
        with pytest.raises(DatasetError, match=r'a\.jpg: expected an image, found %d bytes' % len(data)):
            read(str(tmp_path / 'a.jpg'))


def test_an_empty_file_and_a_folder_are_named(tmp_path):
    (tmp_path / 'a.jpg').touch()
    with pytest.raises(DatasetError, match=r'a\.jpg: expected an image, found an empty file'):
        imread(str(tmp_path / 'a.jpg'))
    with pytest.raises(DatasetError, match='cannot be read'):
        imread(str(tmp_path))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / 'a.jpg'))
    for read in (imread, image_size):
        with pytest.raises(DatasetError, match=r'a\.jpg: cannot be read: a regular file is expected.* named pipe'):
            read(str(tmp_path / 'a.jpg'))


def png_header(side):
    """The beginning of a png that announces side x side pixels."""
    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + b'IHDR' + header + struct.pack(
        '>I', zlib.crc32(b'IHDR' + header))


def test_what_to_do_is_told_where_the_decoder_raises_an_error(tmp_path):
    data = png_header(40000)
    (tmp_path / 'a.png').write_bytes(data + cv2.imencode('.png', picture())[1].tobytes()[len(data):])
    with pytest.raises(DatasetError, match=r'a\.png: OpenCV cannot decode it: .*\. Fetch it again, or convert it'):
        imread(str(tmp_path / 'a.png'), None)       # without our limit of pixels there is OpenCV's


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    # A png of a few bytes whose header announces 100,000 x 100,000 pixels, 30 gigabytes.
    (tmp_path / 'a.png').write_bytes(png_header(100000))
    with pytest.raises(DatasetError, match=r'a\.png: an image of 100000 x 100000 pixels, .* limit, dataset.MAX_PIXELS'):
        imread(str(tmp_path / 'a.png'))


def test_a_large_image_of_a_few_kilobytes_is_read(tmp_path):
    path = save(tmp_path / 'a.png', np.full((3000, 4000, 3), 7, dtype=np.uint8))
    assert (tmp_path / 'a.png').stat().st_size < 100000 and imread(path).shape == (3000, 4000, 3)


def test_a_png_with_a_chunk_longer_than_the_file_never_reaches_the_decoder(tmp_path, monkeypatch):
    # OpenCV would make room for the 2 ** 31 - 2 bytes that the chunk announces.
    data = cv2.imencode('.png', picture())[1].tobytes()
    (tmp_path / 'a.png').write_bytes(data.replace(data[33:41], b'\x7f\xff\xff\xfeIDAT'))
    monkeypatch.setattr(cv2, 'imdecode', None)
    with pytest.raises(DatasetError, match=r'a\.png: expected an image, found .* damaged, truncated'):
        imread(str(tmp_path / 'a.png'))


def test_the_limit_of_pixels_can_be_set_and_lifted(tmp_path):
    path = save(tmp_path / 'a.png', picture())
    with pytest.raises(DatasetError, match='more than the limit of 1199 pixels'):
        imread(path, max_pixels=1199)
    assert imread(path, max_pixels=1200).shape == imread(path, max_pixels=None).shape == (30, 40, 3)


@pytest.mark.parametrize('extension', ['.hdr', '.ras'])
def test_formats_whose_size_is_not_known_before_they_are_decoded_are_refused(tmp_path, extension):
    path = save(tmp_path / ('a' + extension), picture())
    for read in (imread, image_size):
        with pytest.raises(DatasetError, match='of an unknown format. Fetch it again, or convert it to jpg or png$'):
            read(path)


def test_the_limit_holds_for_a_ppm(tmp_path):
    with pytest.raises(DatasetError, match='more than the limit of 1199 pixels'):
        imread(save(tmp_path / 'a.ppm', picture()), max_pixels=1199)
    assert image_size(str(tmp_path / 'a.ppm')) == (40, 30)


def test_the_images_of_a_folder_are_found_by_their_extensions(tmp_path):
    for name in ('b.JPG', 'a.jpeg', 'c.x.Png', 'd.ppm', 'e.jfif', '.hidden.jpg', 'notes.txt', 'png'):
        (tmp_path / name).write_text('whatever it holds')
    (tmp_path / 'folder.jpg').mkdir()
    (tmp_path / 'folder.jpg' / 'e.jpg').write_text('of a sub-folder')
    (tmp_path / 'z.png').symlink_to('nowhere')      # not left out: that it cannot be read is worth an error
    expected = ['a.jpeg', 'b.JPG', 'c.x.Png', 'd.ppm', 'e.jfif', 'z.png']
    assert images_in(str(tmp_path)) == [str(tmp_path / name) for name in expected]


def test_a_jfif_file_is_a_jpg(tmp_path):
    imwrite(tmp_path / 'a.jfif', picture())
    imwrite(tmp_path / 'a.jpg', picture())
    assert (tmp_path / 'a.jfif').read_bytes() == (tmp_path / 'a.jpg').read_bytes()
    assert imread(tmp_path / 'a.jfif').shape == (30, 40, 3)


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / 'notes.txt').write_text('no image')
    with pytest.raises(DatasetError, match=r'%s: expected images \(.jpg, .* found none' % tmp_path.name):
        images_in(tmp_path)


def test_the_shorter_side_becomes_the_target_unless_the_longer_one_becomes_too_long():
    im, scale = resize(picture(30, 40), 60, 100)
    assert im.shape == (60, 80, 3) and scale == 2
    im, scale = resize(picture(30, 40), 60, 60)         # 2 x 40 > 60: scale 60 / 40
    assert im.shape == (45, 60, 3) and scale == 1.5


def test_a_stride_adds_zeros_below_and_to_the_right():
    im, _ = resize(picture(30, 40), 60, 100, stride=32)
    assert im.shape == (64, 96, 3) and im.dtype == np.uint8
    np.testing.assert_array_equal(im[:60, :80], resize(picture(30, 40), 60, 100)[0])
    assert not im[60:].any() and not im[:, 80:].any()
    assert pad_to_stride(im, 32).shape == im.shape


@pytest.mark.parametrize('height, width, shape', [(1, 1, (60, 60)), (1, 4000, (1, 100)), (4000, 1, (100, 1))])
def test_an_image_of_one_pixel_or_one_row_keeps_at_least_a_pixel(height, width, shape):
    assert resize(picture(height, width), 60, 100)[0].shape[:2] == shape


def test_the_input_has_red_first_and_no_means():
    tensor = transform(np.array([[[10, 20, 30]]], dtype=np.uint8), (1.5, 2.5, 3.5))
    np.testing.assert_array_equal(tensor, np.float32([26.5, 17.5, 8.5]).reshape(1, 3, 1, 1))
    assert tensor.dtype == np.float32


def test_the_image_of_an_input_is_the_one_it_was_made_of_with_red_first():
    np.testing.assert_array_equal(transform_inverse(transform(picture(), MEANS), MEANS), picture()[:, :, ::-1])


def test_stacked_arrays_are_padded_at_their_ends():
    stacked = tensor_vstack([np.ones((1, 2, 1)), 2 * np.ones((2, 1, 3))], pad=-1)
    np.testing.assert_array_equal(stacked[0], [[1, -1, -1], [1, -1, -1]])
    np.testing.assert_array_equal(stacked[1], [[2, 2, 2], [-1, -1, -1]])
    np.testing.assert_array_equal(stacked[2], stacked[1])
    assert tensor_vstack([np.zeros(2), np.ones(1)]).tolist() == [0, 0, 1]
    alone = np.zeros((1, 3, 4, 5))
    assert tensor_vstack([alone]) is alone


@pytest.fixture
def entry(tmp_path):
    """The roidb entry of an image of 40 x 30 pixels with two objects."""
    return {'image': save(tmp_path / 'a.png', picture()), 'height': 30, 'width': 40, 'flipped': False,
            'boxes': np.float32([[0, 0, 9, 9], [10, 5, 39, 29]]), 'gt_classes': np.int32([2, 1])}


def test_objects_are_scaled_rounded_and_clipped_with_the_image(entry):
    tensor, im_info, gt_boxes = get_image(entry, 45, 1000, 0, MEANS)
    assert tensor.shape == (1, 3, 45, 60)
    np.testing.assert_array_equal(im_info, np.float32([45, 60, 1.5]))
    # 1.5 * 9 = 13.5 rounds to the even 14; 1.5 * 5 = 7.5 to 8; 1.5 * 39 = 58.5 to 58; 1.5 * 29 = 43.5 to 44.
    np.testing.assert_array_equal(gt_boxes, [[0, 0, 14, 14, 2], [15, 8, 58, 44, 1]])
    assert gt_boxes.dtype == im_info.dtype == np.float32
    # 0.5 * 39 = 19.5 rounds to 20, beyond the last of 20 columns; 0.5 * 29 = 14.5 to 14
    np.testing.assert_array_equal(get_image(entry, 15, 1000, 0, MEANS)[2][1], [5, 2, 19, 14, 1])


def test_the_information_holds_the_true_size_where_the_input_is_padded(entry):
    tensor, im_info, _ = get_image(entry, 45, 1000, 32, MEANS)
    assert tensor.shape == (1, 3, 64, 64)
    np.testing.assert_array_equal(im_info[:2], [45, 60])


def test_a_mirrored_entry_has_its_pixels_mirrored(entry):
    tensor = get_image(entry, 30, 1000, 0, MEANS)[0]
    mirrored = get_image(dict(entry, flipped=True), 30, 1000, 0, MEANS)[0]
    np.testing.assert_array_equal(mirrored, tensor[:, :, :, ::-1])


@pytest.mark.parametrize('stride', [0, 32])
def test_the_network_sees_the_same_of_an_image_and_of_an_entry(entry, stride):
    tensor, im_info, _ = get_image(entry, 45, 1000, stride, MEANS)
    seen, told = network_input(imread(entry['image']), 45, 1000, stride, MEANS)
    np.testing.assert_array_equal(seen, tensor)
    np.testing.assert_array_equal(told, im_info)
    assert seen.dtype == told.dtype == np.float32


def test_an_entry_without_objects_has_no_boxes(entry):
    entry.update(boxes=np.zeros((0, 4), dtype=np.float32), gt_classes=np.zeros(0, dtype=np.int32))
    assert get_image(entry, 45, 1000, 0, MEANS)[2].shape == (0, 5)


def test_an_image_of_another_size_than_annotated_is_named(entry):
    with pytest.raises(DatasetError, match=r'a\.png: the image is 40 x 30 pixels, its annotation says 30 x 40'):
        get_image(dict(entry, height=40, width=30), 45, 1000, 0, MEANS)


@pytest.mark.parametrize('stride', [0, 32])
def test_the_size_that_an_image_will_have_is_known_without_the_image(stride):
    rng = np.random.RandomState(0)
    shapes = [tuple(sides) for sides in rng.randint(1, 120, (200, 2))] + [(1, 500), (25, 50), (75, 30)]
    for shape in shapes:
        resized = resize(np.zeros(shape + (3,), np.uint8), 50, 83, stride)[0]
        assert resized_shape(shape, 50, 83, stride) == resized.shape[:2], shape


def test_a_file_that_may_not_be_read_is_told_in_the_systems_words_without_their_number(monkeypatch):
    def forbid(path):
        raise PermissionError(errno.EACCES, 'Permission denied', path)
    monkeypatch.setattr(image_file, 'open_input', forbid)
    with pytest.raises(DatasetError, match=r'^a\.jpg: cannot be read: Permission denied$'):
        imread('a.jpg')
