"""Own data in every layout, with images of every kind, through training and test."""
import struct

import cv2
import numpy as np
import pytest
import yaml

from rfcn import data_sets, test, train_end2end
from rfcn.config.config import load_config
from rfcn.convert_dataset import main as convert

# orientation 6: to be turned by 90 degrees
EXIF_TIFF = b'II*\0' + struct.pack('<IHHHIHHI', 8, 1, 0x0112, 3, 1, 6, 0, 0)
EXIF = b'\xff\xe1' + struct.pack('>H', 8 + len(EXIF_TIFF)) + b'Exif\0\0' + EXIF_TIFF


def encoded(extension, im):
    return cv2.imencode(extension, im)[1].tobytes()


def turned_by_exif(im):
    data = encoded('.jpg', im)
    return data[:2] + EXIF + data[2:]


# Image of the tiny data set -> its new extension, and how its pixels are written.
KINDS = {'wide1': ('.PNG', lambda im: encoded('.png', im.astype(np.uint16) * 257)),
         'wide2': ('.webp', lambda im: encoded('.webp', im)),
         'wide3': ('.JPEG', turned_by_exif), 'high1': ('.TIF', lambda im: encoded('.tif', im[:, :, 0])),
         'high2': ('.png', lambda im: encoded('.png', np.dstack([im, im[:, :, 0]]))),
         'empty': ('.Bmp', lambda im: encoded('.bmp', im))}


@pytest.fixture
def all_kinds(own_tiny_voc):
    """The tiny data set with each image of another kind."""
    for name, (extension, write) in KINDS.items():
        path = own_tiny_voc / 'JPEGImages' / (name + '.jpg')
        data = write(cv2.imread(str(path)))
        path.unlink()
        (own_tiny_voc / 'JPEGImages' / (name + extension)).write_bytes(data)
    return own_tiny_voc


@pytest.fixture
def own_yaml(all_kinds, tiny_yaml, tmp_path):
    """A function (layout) -> path of a configuration without class names for the tiny data set in that layout."""
    def write(kind):
        folder = all_kinds
        if kind != 'PascalVOC':
            folder = tmp_path / kind
            convert(['--from', 'voc', '--to', kind, '--dataset', str(all_kinds), '--sets', 'train,test', '--out',
                     str(folder)])
        values = yaml.safe_load(open(tiny_yaml(folder)))
        values['dataset']['dataset'] = kind
        del values['dataset']['CLASSES']
        (tmp_path / 'own.yaml').write_text(yaml.safe_dump(values))
        return str(tmp_path / 'own.yaml')
    return write


@pytest.mark.parametrize('kind', ['PascalVOC', 'coco', 'csv', 'yolo'])
def test_every_layout_with_every_kind_of_image_trains_and_is_tested_with_classes_from_the_data(kind, own_yaml,
                                                                                               tmp_path):
    path = own_yaml(kind)
    train_end2end.main(['--cfg', path])
    ran = load_config(str(tmp_path / 'output/own/train/config.yaml'))
    assert (ran.dataset.CLASSES, ran.dataset.NUM_CLASSES) == (('blue', 'red'), 3)
    test.main(['--cfg', path])
    log = (tmp_path / 'output/own/test/log.txt').read_text()
    assert 'mean' in log and 'blue' in log


@pytest.mark.parametrize('kind', ['PascalVOC', 'coco', 'csv', 'yolo'])
def test_boxes_and_sizes_are_the_same_in_every_layout_and_refer_to_the_pixels_as_stored(kind, own_yaml, tiny_cfg):
    roidb = data_sets.training_roidb(load_config(own_yaml(kind)))
    expected = {entry['index']: entry for entry in data_sets.training_roidb(tiny_cfg())}
    assert len(roidb) == 6
    for entry in roidb:
        name = entry['image'].rpartition('/')[2].partition('.')[0]
        assert (entry['width'], entry['height']) == (expected[name]['width'], expected[name]['height'])
        np.testing.assert_array_equal(entry['boxes'], expected[name]['boxes'])
        np.testing.assert_array_equal(entry['gt_classes'], expected[name]['gt_classes'])
