"""The data sets of a configuration."""
import pytest

from lib.errors import ConfigError, DatasetError
from rfcn import data_sets
from rfcn.config.config import load_config
from rfcn.evaluate import check_testable


@pytest.mark.parametrize('overrides, count, first', [
    (['dataset.image_set=2007_trainval+2012_trainval'], 20, 'aeroplane'),
    (['dataset.dataset=coco', 'dataset.image_set=train2014+valminusminival2014', 'dataset.NUM_CLASSES=81'], 80,
     'person'),
])
def test_the_class_names_of_the_releases_models_are_known_without_the_data(tmp_path, overrides, count, first):
    cfg = data_sets.with_classes(load_config(None, ['dataset.dataset_path=%s' % tmp_path] + overrides))
    assert len(cfg.dataset.CLASSES) == count and cfg.dataset.CLASSES[0] == first


def test_a_published_set_with_another_number_of_classes_is_not_guessed(tmp_path):
    with pytest.raises(ConfigError, match='The class names come from the data set unless'):
        data_sets.with_classes(load_config(None, ['dataset.dataset_path=%s' % tmp_path, 'dataset.NUM_CLASSES=5']))


def test_several_image_sets_are_joined(tiny_cfg):
    cfg = tiny_cfg('dataset.image_set=val+test')
    assert [imdb.num_images for imdb in data_sets.datasets(cfg, cfg.dataset.image_set)] == [2, 3]
    assert len(data_sets.training_roidb(cfg)) == 5


def test_the_origin_of_a_csv_list_is_that_of_the_configuration(tiny_cfg):
    assert data_sets.reading_options(tiny_cfg())['origin'] == 0
    assert data_sets.reading_options(tiny_cfg('dataset.CSV_ORIGIN=1'))['origin'] == 1


def test_mirror_images_double_the_training_images(tiny_cfg):
    roidb = data_sets.training_roidb(tiny_cfg('TRAIN.FLIP=true'))
    assert [entry['flipped'] for entry in roidb] == [False] * 6 + [True] * 6


@pytest.mark.parametrize('fault, message', [
    (lambda data: data / 'JPEGImages' / 'wide1.jpg', 'wide1.jpg: expected an image, found 4 bytes'),
    (lambda data: data / 'Annotations' / 'wide1.xml', 'wide1.jpg: the image is 96 x 64 pixels, .*wide1.xml says 64')])
def test_what_headers_tell_stops_a_training_before_it_starts_and_a_validation_too(tiny_yaml, own_tiny_voc, fault,
                                                                                  message):
    from rfcn.training import validation
    path = fault(own_tiny_voc)
    path.write_bytes(path.read_bytes().replace(b'<width>96<', b'<width>64<') if path.suffix == '.xml' else b'none')
    with pytest.raises(DatasetError, match=message):
        data_sets.training_roidb(load_config(tiny_yaml(own_tiny_voc)))
    (own_tiny_voc / 'ImageSets' / 'Main' / 'val.txt').write_text('wide1\n')
    with pytest.raises(DatasetError, match=message):
        validation(load_config(tiny_yaml(own_tiny_voc), ['dataset.val_image_set=val', 'TRAIN.EVAL_PERIOD=1']))
    assert data_sets.training_roidb(load_config(tiny_yaml(own_tiny_voc), ['dataset.on_bad_image=skip']))


def test_an_image_that_is_too_large_stops_a_training_and_a_test_before_they_start(tiny_cfg):
    limited = tiny_cfg('dataset.MAX_PIXELS=6000')       # the images have 96 x 64 pixels, 6144
    imdb, = data_sets.datasets(limited, 'test')
    for check in (lambda: data_sets.training_roidb(limited), lambda: check_testable(imdb)):
        with pytest.raises(DatasetError, match='of 96 x 64 pixels, more than the limit of 6000 pixels'):
            check()
    assert data_sets.training_roidb(tiny_cfg('dataset.MAX_PIXELS=6000', 'dataset.on_bad_image=skip'))


def test_an_unknown_format_of_data_is_refused(tiny_cfg):
    with pytest.raises(DatasetError, match="dataset.dataset: expected one of PascalVOC, coco, .* found 'kitti'"):
        data_sets.training_roidb(tiny_cfg('dataset.dataset=kitti'))


def test_class_names_come_from_the_data_where_the_configuration_has_none(tiny_cfg, caplog):
    caplog.set_level('INFO')
    cfg = data_sets.with_classes(tiny_cfg('dataset.CLASSES=[]', 'dataset.NUM_CLASSES=5'))
    assert cfg.dataset.CLASSES == ('blue', 'red') and cfg.dataset.NUM_CLASSES == 3
    said = 'dataset.NUM_CLASSES is 3, for the classes of the data set and the background, in place of 5'
    assert said in caplog.messages
    caplog.clear()
    data_sets.with_classes(tiny_cfg('dataset.CLASSES=[]'))      # nobody stated the default
    assert 'NUM_CLASSES' not in caplog.text
    named = tiny_cfg('dataset.CLASSES=[red, blue]')
    assert data_sets.with_classes(named) is named


def test_without_class_names_and_data_the_error_says_where_they_are(tiny_cfg, tmp_path):
    cfg = tiny_cfg('dataset.CLASSES=[]', 'dataset.dataset_path=%s' % (tmp_path / 'gone'))
    with pytest.raises(ConfigError,
                       match='gone.* The class names come from .* use the config.yaml that training wrote'):
        data_sets.with_classes(cfg)


def test_what_was_opened_for_its_class_names_is_read_once_and_kept_for_the_next_call_alone(tiny_cfg, monkeypatch):
    read, load = [], data_sets.load_imdbs
    monkeypatch.setattr(data_sets, 'load_imdbs', lambda kind, image_sets, *paths, **options: read.append(
        image_sets) or load(kind, image_sets, *paths, **options))
    cfg = data_sets.with_classes(tiny_cfg('dataset.CLASSES=[]'))
    data_sets.datasets(cfg, 'train')
    assert read == ['train']
    data_sets.datasets(cfg, 'train')
    assert read == ['train'] * 2
    cfg = data_sets.with_classes(tiny_cfg('dataset.CLASSES=[]'))
    data_sets.datasets(cfg, 'val')
    data_sets.datasets(cfg, 'train')    # it may have changed in the meantime
    assert read == ['train'] * 3 + ['val', 'train']
