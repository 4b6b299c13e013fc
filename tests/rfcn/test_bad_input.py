"""What users get wrong, through the training script: each error names the file, and says what was expected."""
import re

import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError, ConfigError, DatasetError
from rfcn import data_sets, train_end2end
from rfcn.config.config import with_overrides
from rfcn.core.target_loaders import roi_loader
from rfcn.explaining.training import training_images
from rfcn.symbols import make_symbol
from tests.rfcn.conftest import log_lines


@pytest.fixture
def train(own_tiny_voc, tiny_yaml, tmp_path):
    """A function (KEY=VALUE, ...) that trains an epoch on `own_tiny_voc` and returns the text of its log."""
    def main(*overrides):
        train_end2end.main(['--cfg', tiny_yaml(own_tiny_voc)] + list(overrides))
        return (tmp_path / 'output' / 'tiny' / 'train' / 'log.txt').read_text()
    return main


def annotation(voc, name='wide1'):
    return voc / 'Annotations' / (name + '.xml')


def edit(path, old, new):
    """Replace a text that must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_missing_image_is_named(own_tiny_voc, train):
    (own_tiny_voc / 'JPEGImages' / 'high2.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='JPEGImages/high2.* no image of this name'):
        train()


def test_a_truncated_image_is_named(own_tiny_voc, train):
    path = own_tiny_voc / 'JPEGImages' / 'high2.jpg'
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match='high2.jpg: expected an image, found .* damaged, truncated.*'
                                           'dataset.on_bad_image=skip'):
        train()


def test_a_damaged_image_can_be_skipped(own_tiny_voc, train):
    path = own_tiny_voc / 'JPEGImages' / 'high2.jpg'
    path.write_bytes(path.read_bytes()[:-200])
    log = train('dataset.on_bad_image=skip')
    assert 'skipped (on_bad_image: skip)' in log
    end = log.rpartition('skipped 1 image that could not be read (on_bad_image: skip):')[2]
    assert 'high2.jpg: expected an image' in end and 'epoch 1' not in end


def test_an_annotation_of_another_size_than_its_image_is_refused_with_both_sizes(own_tiny_voc, train):
    edit(annotation(own_tiny_voc), '<width>96</width>', '<width>64</width>')
    with pytest.raises(DatasetError, match='wide1.jpg: the image is 96 x 64 pixels, its annotation .* says 64 x 64'):
        train()


def test_an_annotation_without_a_size_takes_that_of_the_image(own_tiny_voc, train):
    edit(annotation(own_tiny_voc), '<size><width>96</width><height>64</height><depth>3</depth></size>', '')
    train()
    (own_tiny_voc / 'JPEGImages' / 'wide1.jpg').write_bytes(b'')
    with pytest.raises(DatasetError,
                       match='wide1.xml: has no <size> of the image, and the image cannot be read: .*wide1.jpg'):
        train('output_path=%s' % own_tiny_voc)


def test_a_missing_annotation_is_named(own_tiny_voc, train):
    annotation(own_tiny_voc, 'high1').unlink()
    with pytest.raises(FileNotFoundError, match='high1.xml: there is no such annotation file. Add it .* its list'):
        train()


def test_an_annotation_that_is_no_xml_is_named(own_tiny_voc, train):
    annotation(own_tiny_voc).write_text('<annotation><size>')
    with pytest.raises(DatasetError, match='wide1.xml: expected XML'):
        train()


@pytest.mark.parametrize('old, new, message', [
    ('<xmax>40</xmax>', '<xmax>400</xmax>',
     r'wide1.xml: object 0 \(red\), box \(8, 8, 399, 39\) in an image of 96 x 64 pixels: box far outside .* dropped'),
    ('<xmax>40</xmax>', '<xmax>4</xmax>',
     r'wide1.xml: object 0 \(red\), box \(8, 8, 3, 39\) .*: inverted box: dropped'),
    ('<xmin>9</xmin>', '<xmin>200</xmin>',
     r'wide1.xml: object 0 \(red\), box \(199, 8, 39, 39\) .*: inverted box: dropped'),
    ('<xmin>9</xmin>', '<xmin>0</xmin>',
     r'wide1.xml: object 0 \(red\), box \(-1, 8, 39, 39\) .*: box sticks out: clipped'),
])
def test_a_box_outside_the_image_or_inverted_is_said_and_training_goes_on(own_tiny_voc, train, old, new, message):
    # Departure: the release stops at an assertion without a file, or trains on 65535.
    edit(annotation(own_tiny_voc), old, new)
    log = train()
    assert re.search(message, log)
    assert 'epoch 1: RPNAcc' in log


def test_a_box_that_is_no_number_is_refused_with_its_object(own_tiny_voc, train):
    edit(annotation(own_tiny_voc), '<xmax>40</xmax>', '<xmax>forty</xmax>')
    with pytest.raises(DatasetError, match='wide1.xml: object . .red. has no <bndbox> of four numbers'):
        train()


def test_an_unknown_class_is_refused_with_the_known_ones(own_tiny_voc, train):
    edit(annotation(own_tiny_voc), '<name>red</name>', '<name>Reed</name>')
    with pytest.raises(DatasetError, match="wide1.xml: object 0 .Reed.: unknown class 'Reed'; known are blue, red"):
        train()


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(train):
    with pytest.raises(ConfigError, match='unknown key TRAIN.RPN_BATCHSIZE; did you mean TRAIN.RPN_BATCH_SIZE?'):
        train('TRAIN.RPN_BATCHSIZE=3')


def test_an_unknown_network_is_refused_with_those_that_there_are(train):
    with pytest.raises(ConfigError, match="no network is called 'resnet50'. Write a trunk .*resnet_v1_50, .*rfcn"):
        train('symbol=resnet50')


def test_an_image_set_that_is_not_there_is_named_by_its_file(train):
    with pytest.raises(FileNotFoundError,
                       match='Main/trainval.txt: there is no such file; expected the name of an image per line'):
        train('dataset.image_set=trainval')


def test_an_empty_image_set_is_refused(own_tiny_voc, train):
    (own_tiny_voc / 'ImageSets' / 'Main' / 'train.txt').write_text('\n\n')
    with pytest.raises(DatasetError, match='train.txt: expected the name of an image per line, found none'):
        train()


def test_a_data_set_that_is_not_there_is_named(train, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.* there is no folder ImageSets/Main'):
        train('dataset.dataset_path=%s' % (tmp_path / 'nowhere'))


@pytest.mark.parametrize('dataset, image_set, command', [
    ('PascalVOC', '2007_trainval', ['rfcn fetch voc']), ('PascalVOC', 'train', []),
    ('coco', 'val2017', ['rfcn fetch coco']), ('coco', 'train', [])])
def test_published_data_that_are_missing_are_told_with_the_command_that_loads_them(train, tmp_path, dataset, image_set,
                                                                               command):
    with pytest.raises(FileNotFoundError) as error:
        train('dataset.dataset=' + dataset, 'dataset.image_set=' + image_set,
              'dataset.dataset_path=%s' % (tmp_path / 'nowhere'))
    assert re.findall('rfcn fetch [a-z]+', str(error.value)) == command


def test_a_pretrained_trunk_that_is_not_there_is_named(train, tmp_path):
    with pytest.raises(FileNotFoundError, match='resnet-0003.params: no such parameter file'):
        train('network.pretrained=%s' % (tmp_path / 'resnet'), 'network.pretrained_epoch=3')


def test_a_pretrained_trunk_that_is_damaged_is_named(train, tmp_path):
    (tmp_path / 'resnet-0000.params').write_bytes(b'\x12\x01' * 50)
    with pytest.raises(CheckpointError, match='resnet-0000.params is damaged or is no MXNet parameter file'):
        train('network.pretrained=%s' % (tmp_path / 'resnet'))


def test_a_checkpoint_of_another_shape_is_not_resumed_from(train):
    train()
    with pytest.raises(CheckpointError, match='tiny-0001.params was trained with .*: network.POOLED_SIZE was 3'):
        train('TRAIN.RESUME=true', 'TRAIN.begin_epoch=1', 'TRAIN.end_epoch=2', 'network.POOLED_SIZE=7')


@pytest.mark.skipif(mx.context.num_gpus() > 0, reason='there is a GPU here')
def test_a_gpu_that_is_not_there_is_refused_with_its_number(train):
    with pytest.raises(ValueError, match="gpus: there is no GPU 0 for MXNet here"):
        train('gpus=0')


def test_rois_that_cannot_be_shared_out_to_the_images_are_refused(train):
    with pytest.raises(ConfigError,
                       match='TRAIN.BATCH_ROIS is 7, which cannot be shared out equally to TRAIN.BATCH_IMAGES, 2'):
        train('TRAIN.BATCH_ROIS=7', 'TRAIN.ENABLE_OHEM=false')


@pytest.mark.parametrize('rois', [7, 1])
def test_rois_that_cannot_be_shared_out_are_refused_on_given_proposals_and_explained_images_too(tiny_cfg, rois):
    cfg = tiny_cfg('TRAIN.BATCH_ROIS=%d' % rois)
    message = 'TRAIN.BATCH_ROIS is %d, which cannot be shared out equally to TRAIN.BATCH_IMAGES, 2' % rois
    roidb = [dict(data_sets.training_roidb(cfg)[0], rois=np.zeros((1, 4)))]
    for call in (lambda: roi_loader(cfg, roidb), lambda: next(training_images(cfg)),
                 lambda: make_symbol(with_overrides(cfg, {'TRAIN.ENABLE_OHEM': False})).get_symbol_rfcn(is_train=True)):
        with pytest.raises(ConfigError, match=message):
            call()


def test_a_set_without_any_object_is_refused_with_counts(own_tiny_voc, train):
    (own_tiny_voc / 'ImageSets' / 'Main' / 'train.txt').write_text('empty\n')
    with pytest.raises(DatasetError, match='voc_train: of 0 objects 0 are trained on'):
        train()


def test_batches_without_any_object_can_be_trained_on(own_tiny_voc, train, tmp_path):
    (own_tiny_voc / 'ImageSets' / 'Main' / 'train.txt').write_text('empty\nwide1\n')
    train('TRAIN.BATCH_IMAGES=1', 'TRAIN.FLIP=true', 'default.frequent=1')
    lines = log_lines(tmp_path / 'output' / 'tiny' / 'train' / 'tiny')
    assert len(lines) == 4 and all(np.isfinite(line['RPNL1Loss']) for line in lines)
