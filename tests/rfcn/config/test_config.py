"""A configuration: loaded, frozen, copied, written."""
import copy
import pickle
from pathlib import Path

import pytest
from easydict import EasyDict

from lib.errors import ConfigError
from rfcn.config import config as config_module
from rfcn.config.config import dump, load_config, thaw, with_overrides
from rfcn.config.defaults import KEYS

CFGS = Path(__file__).resolve().parents[3] / 'experiments' / 'rfcn' / 'cfgs'


def test_the_defaults_are_a_config_of_every_key():
    config = load_config()
    assert isinstance(config, EasyDict)
    assert config.TRAIN.RPN_BATCH_SIZE == config['TRAIN']['RPN_BATCH_SIZE'] == 256
    assert set(config_module.flatten(config)) == set(KEYS)


def test_a_file_goes_over_the_defaults_and_the_command_line_over_the_file(write):
    path = write('TRAIN: {lr: 0.1, wd: 0.2}')
    config = load_config(path, ['TRAIN.wd=0.3', 'gpus=0,1', 'symbol=abc'])
    assert (config.TRAIN.lr, config.TRAIN.wd, config.TRAIN.momentum) == (0.1, 0.3, 0.9)
    assert (config.gpus, config.symbol) == ('0,1', 'abc')


@pytest.mark.parametrize('path', sorted(CFGS.glob('*.yaml')), ids=lambda path: path.stem)
def test_every_yaml_of_the_experiments_loads(path):
    config = load_config(path)
    assert config.symbol and config.output_path
    assert config.TRAIN.end_epoch > 0 or config.TRAIN.ALTERNATE.rfcn2_epoch > 0


def test_an_empty_file_an_empty_section_and_an_empty_text_are_the_defaults(write):
    assert load_config(write('')) == load_config()
    assert load_config(write('TRAIN:\nsymbol:\n')) == load_config()
    assert load_config(overrides=['gpus=', 'dataset.CLASSES=', 'TRAIN.lr_step=']) == load_config()


def test_the_numbers_of_anchors_and_classes_are_derived():
    config = load_config(overrides=['network.ANCHOR_SCALES=[8]', 'dataset.CLASSES=[car, dog]'])
    assert config.network.NUM_ANCHORS == 1 * 3
    assert config.dataset.NUM_CLASSES == 1 + 2


def change_by_attribute(config):
    config.TRAIN.lr = 1


def change_by_item(config):
    config['TRAIN']['lr'] = 1


@pytest.mark.parametrize('change', [
    change_by_attribute, change_by_item, lambda c: c.update(a=1), lambda c: c.TRAIN.pop('lr'),
    lambda c: c.TRAIN.clear(), lambda c: c.popitem(), lambda c: c.setdefault('a', 1), lambda c: delattr(c, 'TRAIN'),
    lambda c: c.__delitem__('TRAIN'), lambda c: c.__ior__({'a': 1})],
    ids=['attribute', 'item', 'update', 'pop', 'clear', 'popitem', 'setdefault', 'delattr', 'del', '|='])
def test_a_loaded_config_cannot_be_changed(change):
    config = load_config()
    with pytest.raises(ConfigError, match='frozen'):
        change(config)
    assert config == load_config()


def test_a_config_survives_copying_and_pickling():
    config = load_config(overrides=['TRAIN.LR_MULT={conv_new_1: 3}'])
    for twin in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config and type(twin.TRAIN) is type(config.TRAIN) and twin.TRAIN.LR_MULT.conv_new_1 == 3.0


def test_a_copy_with_other_values_derives_again():
    config = load_config(overrides=['dataset.CLASSES=[car, dog]', 'TRAIN.lr=0.1'])
    other = with_overrides(config, {'network.ANCHOR_SCALES': [8], 'dataset.CLASSES': ['car'], 'TRAIN.wd': 0})
    assert (other.network.NUM_ANCHORS, other.dataset.NUM_CLASSES, other.TRAIN.lr, other.TRAIN.wd) == (3, 2, 0.1, 0.0)
    assert (config.network.NUM_ANCHORS, config.dataset.NUM_CLASSES) == (9, 3)
    assert with_overrides(load_config(overrides=['dataset.NUM_CLASSES=5']), {'TRAIN.lr': 1}).dataset.NUM_CLASSES == 5
    with pytest.raises(ConfigError, match='with_overrides: unknown key TRAIN.LRR'):
        with_overrides(config, {'TRAIN.LRR': 1})


def test_a_dumped_config_loads_back_the_same(write):
    config = load_config(overrides=['gpus=0', 'dataset.CLASSES=["yes", "1", "ñandú"]', 'TRAIN.LR_MULT={rfcn: 2}',
                                    'SCALES=[[400, 700], [600, 1000]]', 'TRAIN.RESUME=auto', 'TRAIN.lr=0.00001',
                                    'TRAIN.lr_step="1,2.5"'])
    assert load_config(write(dump(config))) == config


def test_a_thawed_config_is_plain_and_free():
    plain = thaw(load_config())
    plain['TRAIN']['lr'] = 5
    assert type(plain['TRAIN']) is dict and plain['SCALES'] == [[600, 1000]]
