"""Pictures with an EXIF or TIFF orientation: pixels as stored, a warning in training and checker, upright copies."""
import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from lib.dataset import faults as kinds
from lib.dataset import load_gt_roidb, read_annotated
from lib.dataset.check.changes import SHOWN, STORED, plan_changes
from lib.dataset.check.fix import write_fixed
from lib.dataset.check.report import check
from lib.dataset.convert import convert
from lib.utils.image_file import HEAD_BYTES, image_head, imread
from tests.lib.dataset.conftest import annotation_text, write_files

TAG = 274
STORED_BOX, STORED_SIZE = (8, 4, 31, 19), (64, 48)      # of the white object, in the pixels as stored
EXTENSIONS = ['.jpg', '.png', '.webp', '.tif']


def photo():
    image = np.full((48, 64, 3), 40, dtype=np.uint8)
    image[4:20, 8:32] = 255
    return Image.fromarray(image)


def write_photo(path, orientation):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[TAG] = orientation
    options = {'tiffinfo': {TAG: orientation}} if path.suffix == '.tif' else {'exif': exif.tobytes()}
    photo().save(path, **options, **({'lossless': True} if path.suffix == '.webp' else {}))


def white_box(image):
    rows, columns = np.nonzero(np.asarray(image)[:, :, 0] > 150)
    return tuple(int(value) for value in (columns.min(), rows.min(), columns.max(), rows.max()))


@pytest.mark.parametrize('fill', [b'', b'\xff', b'\xff' * 7])
def test_fill_bytes_before_the_marker_of_exif_hide_no_orientation(tmp_path, fill):
    write_photo(tmp_path / 'a.jpg', 6)
    data = (tmp_path / 'a.jpg').read_bytes()
    place = data.index(b'\xff\xe1')
    (tmp_path / 'a.jpg').write_bytes(data[:place] + fill + data[place:])
    assert image_head(tmp_path / 'a.jpg') == (STORED_SIZE, 6)


@pytest.mark.parametrize('behind', [False, True])
def test_the_orientation_of_a_png_is_found_before_and_behind_many_pixels(tmp_path, behind):
    exif = Image.Exif()
    exif[TAG] = 6
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 255, (200, 160, 3)).astype(np.uint8))
    noise.save(tmp_path / 'a.png', exif=exif.tobytes())
    data = (tmp_path / 'a.png').read_bytes()
    start = data.index(b'eXIf') - 4
    end = data.index(b'IDAT') - 4
    if behind:
        data = data[:start] + data[end:-12] + data[start:end] + data[-12:]      # 12 bytes: the chunk IEND
        (tmp_path / 'a.png').write_bytes(data)
    assert len(data) > HEAD_BYTES and image_head(tmp_path / 'a.png') == ((160, 200), 6)
    noise.save(tmp_path / 'b.png')
    assert image_head(tmp_path / 'b.png') == ((160, 200), 1)


def as_shown(orientation):
    """Box and size of the picture as a viewer shows it, by Pillow."""
    image = photo()
    image.getexif()[TAG] = orientation
    turned = ImageOps.exif_transpose(image)
    return white_box(turned), turned.size


def write_set(kind, folder, extension, orientation, how):
    """A set of one picture whose box refers to the pixels as stored or as shown; no size is annotated."""
    box, size = (STORED_BOX, STORED_SIZE) if how == STORED else as_shown(orientation)
    x1, y1, x2, y2 = box
    place = {'PascalVOC': 'JPEGImages', 'coco': 'images', 'csv': 'images', 'yolo': 'images/train'}[kind]
    write_photo(folder / place / ('a' + extension), orientation)
    center = (x1 + x2 + 1) / 2 / size[0], (y1 + y2 + 1) / 2 / size[1], (x2 - x1 + 1) / size[0], (y2 - y1 + 1) / size[1]
    write_files(folder, {
        'PascalVOC': {'Annotations/a.xml': annotation_text([('cat', x1 + 1, y1 + 1, x2 + 1, y2 + 1)], size=None),
                      'ImageSets/Main/train.txt': 'a\n'},
        'coco': {'train.json': json.dumps({
            'images': [{'id': 1, 'file_name': 'a' + extension}], 'categories': [{'id': 1, 'name': 'cat'}],
            'annotations': [{'image_id': 1, 'category_id': 1, 'bbox': [x1, y1, x2 - x1 + 1, y2 - y1 + 1]}]})},
        'csv': {'train.csv': 'image,x1,y1,x2,y2,class\na%s,%d,%d,%d,%d,cat\n' % (extension, *box)},
        'yolo': {'labels/train/a.txt': '0 %r %r %r %r\n' % center, 'data.yaml': 'names: [cat]\n'}}[kind])
    return str(folder)


@pytest.mark.parametrize('extension', EXTENSIONS)
@pytest.mark.parametrize('orientation', range(1, 9))
def test_pixels_are_those_stored(extension, orientation, tmp_path):
    write_photo(tmp_path / ('a' + extension), orientation)
    assert np.abs(np.subtract(white_box(imread(str(tmp_path / ('a' + extension)))), STORED_BOX)).max() <= 1


@pytest.mark.parametrize('kind', ['PascalVOC', 'coco', 'csv', 'yolo'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_every_orientation_but_1_is_told_by_training_and_checker(kind, orientation, tmp_path, caplog):
    folder = write_set(kind, tmp_path, EXTENSIONS[orientation % 4], orientation, STORED)
    load_gt_roidb(kind, 'train', folder)
    assert any('has the EXIF or TIFF orientation %d' % orientation in text for text in caplog.messages) \
        == (orientation != 1)
    faults = check(read_annotated(kind, 'train', folder)).by_kind()
    assert list(faults) == [kinds.TURNED] * (orientation != 1)


@pytest.mark.parametrize('kind', ['PascalVOC', 'coco', 'csv', 'yolo'])
@pytest.mark.parametrize('orientation', range(2, 9))
@pytest.mark.parametrize('how', [SHOWN, STORED])
def test_the_upright_copy_has_its_box_on_the_object(kind, orientation, how, tmp_path):
    folder = write_set(kind, tmp_path / 'in', EXTENSIONS[orientation % 4], orientation, how)
    data = read_annotated(kind, 'train', folder)
    write_fixed(data, plan_changes(check(data), upright=how), 'train', folder, str(tmp_path / 'out'))
    entry, = load_gt_roidb(kind, 'train', str(tmp_path / 'out'))[0]
    image = imread(entry['image'])
    assert (image.shape[1], image.shape[0]) == as_shown(orientation)[1] == (entry['width'], entry['height'])
    assert np.abs(entry['boxes'][0] - white_box(image)).max() <= 1
    assert check(read_annotated(kind, 'train', str(tmp_path / 'out'))).faults == []


@pytest.mark.parametrize('how', [SHOWN, STORED])
def test_the_upright_copy_lacks_what_cannot_be_read_and_what_is_there_twice_as_any_copy(how, tmp_path):
    folder = write_set('yolo', tmp_path / 'in', '.jpg', 6, how)
    labels = tmp_path / 'in' / 'labels/train/a.txt'
    labels.write_text(labels.read_text() * 2 + '0 30 40 5 5\n')
    data = read_annotated('yolo', 'train', folder)
    write_fixed(data, plan_changes(check(data), upright=how), 'train', folder, str(tmp_path / 'out'))
    again = read_annotated('yolo', 'train', str(tmp_path / 'out'))
    assert check(again).faults == [] and len(again.pictures[0].items) == 1


def test_a_conversion_says_which_pictures_have_an_orientation(tmp_path):
    folder = write_set('yolo', tmp_path / 'in', '.jpg', 6, STORED)
    notes = convert('yolo', 'coco', ['train'], folder, str(tmp_path / 'out'))[1]
    assert len(notes) == 1 and 'a.jpg: has the EXIF or TIFF orientation 6' in notes[0]
    folder = write_set('yolo', tmp_path / 'upright', '.jpg', 1, STORED)
    assert convert('yolo', 'coco', ['train'], folder, str(tmp_path / 'other'))[1] == []
