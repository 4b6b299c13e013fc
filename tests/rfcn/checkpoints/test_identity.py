"""A checkpoint says what it is, and what does not agree with it is refused or mapped by name."""
import re
import shutil

import numpy as np
import pytest

from lib.dataset.imdb import make_entry
from lib.errors import CheckpointError, ConfigError
from lib.rcnn.sample_rois import add_roi_targets
from rfcn import data_sets, inference
from rfcn import test as test_script
from rfcn.checkpoints import checkpoint, identity, states
from rfcn.checkpoints.identity import DataChange, data_change, data_record, summary
from rfcn.config.config import load_config, with_overrides
from rfcn.core.image_loaders import image_loader
from rfcn.detector import Detector
from rfcn.inference import load_for_inference
from rfcn.train_end2end import train_net

BOX, OTHER_BOX = [1, 2, 10, 20], [1, 2, 10, 21]


def entries(*names, boxes=(BOX,), **changes):
    return [dict(make_entry('/data/%s.jpg' % name, name, 40, 30, boxes, [1] * len(boxes)), **changes) for name in names]


@pytest.fixture
def copied(tiny_run, tmp_path):
    """A copy of a training's folder."""
    return shutil.copytree(str(tiny_run), str(tmp_path / 'copied'))


@pytest.fixture
def cfg(tiny_run):
    """A function (key, value, ...) -> the configuration of that training with other values."""
    def changed(*pairs):
        return with_overrides(load_config(tiny_run / 'config.yaml'), dict(zip(pairs[::2], pairs[1::2])))
    return changed


def test_the_states_of_a_checkpoint_hold_classes_anchors_means_seed_schedule_and_data(tiny_run, tiny_params):
    told = states.identity_of_params(tiny_params)
    assert told.kind == 'end2end'
    wanted = {'dataset.CLASSES': ['blue', 'red'], 'network.ANCHOR_SCALES': [1.0, 2.0, 4.0], 'seed': 0,
              'network.PIXEL_MEANS': [103.0, 116.0, 123.0], 'SCALES': [[64, 96]], 'symbol': 'small_rfcn',
              'TRAIN.lr': 0.01, 'TRAIN.lr_step': [], 'TRAIN.PRECISION': 'fp32', 'TRAIN.BATCH_IMAGES': 2}
    assert {key: told.settings[key] for key in wanted} == wanted
    assert (summary(told.data)['images'], summary(told.data)['objects']) == (6, 7)
    assert '# data: images 6, objects 7, sum %s' % summary(told.data)['sum'] in (tiny_run / 'config.yaml').read_text()


def test_the_parameter_file_has_nothing_but_what_the_releases_has(tiny_params):
    arrays = checkpoint.load_arrays(tiny_params)
    assert {name.partition(':')[0] for name in arrays} == {'arg', 'aux'}


def test_without_states_config_yaml_says_what_a_checkpoint_is_and_without_both_nobody_does(copied, tmp_path):
    (tmp_path / 'copied' / 'tiny-0001.states').unlink()
    told = states.identity_of_params(copied + '/tiny-0001.params')
    assert told.kind is None and told.data is None and told.settings['dataset.CLASSES'] == ['blue', 'red']
    (tmp_path / 'copied' / 'config.yaml').unlink()
    assert states.identity_of_params(copied + '/tiny-0001.params') is None


@pytest.mark.parametrize('text', ['BASE: gone.yaml', 'TRAIN: {rate: 1}', '{'])
def test_a_config_yaml_that_cannot_be_read_is_warned_of_and_says_nothing(tmp_path, caplog, text):
    (tmp_path / 'config.yaml').write_text(text)
    assert identity.identity_beside(tmp_path / 'a-0001.params') is None
    assert 'config.yaml: what it says of the checkpoint beside it cannot be read' in caplog.text


@pytest.mark.parametrize('key, value, said', [
    ('network.PIXEL_MEANS', [0, 0, 0], r'network.PIXEL_MEANS was \[103.0, 116.0, 123.0\], now \[0.0, 0.0, 0.0\]'),
    ('network.ANCHOR_SCALES', [2, 4, 8], r'network.ANCHOR_SCALES was \[1.0, 2.0, 4.0\], now \[2.0, 4.0, 8.0\]'),
    ('network.ANCHOR_RATIOS', [1, 2, 3], 'network.ANCHOR_RATIOS was'),
    ('SCALES', [80, 120], r'SCALES was \[\[64, 96\]\], now \[\[80, 120\]\]'),
    ('network.POOLED_SIZE', 1, 'network.POOLED_SIZE was 3, now 1'),
    ('CLASS_AGNOSTIC', False, 'CLASS_AGNOSTIC was True, now False'),
])
def test_a_test_with_other_settings_than_the_training_is_refused_unless_that_is_meant(tiny_params, cfg, key, value,
                                                                                      said):
    with pytest.raises(CheckpointError, match='tiny-0001.params was trained with something else: .*' + said) as raised:
        load_for_inference(cfg(key, value), tiny_params)
    assert 'Where the change is meant: ALLOW_CHANGED=[%s]' % key in str(raised.value)
    load_for_inference(cfg(key, value, 'ALLOW_CHANGED', [key]), tiny_params)


def test_what_the_result_does_not_depend_on_may_differ(tiny_params, cfg):
    load_for_inference(cfg('TRAIN.lr', 0.5, 'TEST.NMS', 0.7, 'gpus', '', 'seed', 3,
                           'dataset.dataset_path', '/elsewhere'), tiny_params)
    load_for_inference(cfg('SCALES', [80, 120], 'TEST.SCALES', [[80, 120]]), tiny_params)


def test_a_switch_for_a_key_that_does_not_exist_is_refused(tiny_params, cfg):
    changes = cfg('network.PIXEL_MEANS', [0, 0, 0], 'ALLOW_CHANGED', ['PIXEL_MEANS'])
    with pytest.raises(ConfigError, match='ALLOW_CHANGED: there is no key PIXEL_MEANS; expected .*network.PIXEL_MEANS'):
        load_for_inference(changes, tiny_params)


@pytest.mark.parametrize('agnostic', [True, False])
def test_classes_in_another_order_are_mapped_by_name(tiny_cfg, tmp_path, agnostic):
    cfg = tiny_cfg('CLASS_AGNOSTIC=%s' % str(agnostic).lower())
    params = train_net(cfg, tmp_path) + '-0001.params'
    turned = with_overrides(cfg, {'dataset.CLASSES': ['red', 'blue']})
    batch = next(image_loader(cfg, data_sets.training_roidb(cfg)).batches())
    plain, mapped = (inference.predictor(each, params).predict(batch) for each in (cfg, turned))
    np.testing.assert_allclose(mapped['cls_prob'], plain['cls_prob'][:, :, [0, 2, 1]], rtol=1e-5, atol=1e-7)
    order = [0, 1] if agnostic else [0, 2, 1]
    boxes = [each['bbox_pred'].reshape(plain['bbox_pred'].shape[:2] + (-1, 4)) for each in (plain, mapped)]
    np.testing.assert_allclose(boxes[1], boxes[0][:, :, order], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('names', [['blue', 'crimson'], ['blue'], ['blue', 'red', 'green']])
def test_other_classes_are_refused(tiny_params, cfg, names):
    with pytest.raises(CheckpointError, match='tells other classes apart: it knows blue, red; the configuration has '
                                              + ', '.join(names) + '. Leave dataset.CLASSES out'):
        load_for_inference(cfg('dataset.CLASSES', names), tiny_params)


def test_a_class_may_be_renamed_on_purpose(tiny_params, cfg):
    renamed = cfg('dataset.CLASSES', ['sky', 'red'], 'ALLOW_CHANGED', ['dataset.CLASSES'])
    arg_params, _ = load_for_inference(renamed, tiny_params)
    plain, _ = load_for_inference(cfg(), tiny_params)
    assert np.array_equal(arg_params['rfcn_cls_weight'].asnumpy(), plain['rfcn_cls_weight'].asnumpy())


def test_a_configuration_without_classes_takes_those_of_the_checkpoint(tiny_run, tiny_params, tiny_yaml, own_tiny_voc):
    for path in (own_tiny_voc / 'Annotations').iterdir():       # a label is renamed after the training
        path.write_text(path.read_text().replace('<name>red</name>', '<name>aubergine</name>'))
    arguments = ['--cfg', tiny_yaml(own_tiny_voc), '--params', tiny_params, 'dataset.CLASSES=[]']
    with pytest.raises(ValueError, match='aubergine'):      # not a number for other classes
        test_script.main(arguments)
    detector = Detector(tiny_yaml(own_tiny_voc), tiny_run / 'tiny-0001.params', ['dataset.CLASSES=[]'])
    assert detector.classes[1:] == ('blue', 'red')


def test_parameters_and_states_of_different_trainings_are_refused(tiny_cfg, tmp_path, copied, cfg):
    other = train_net(tiny_cfg('seed=1'), tmp_path)
    shutil.copy(other + '-0001.params', copied + '/tiny-0001.params')
    with pytest.raises(CheckpointError, match='tiny-0001.params and .*tiny-0001.states are of different runs'):
        load_for_inference(cfg(), copied + '/tiny-0001.params')


def test_values_that_are_not_finite_are_refused(copied, cfg):
    path = copied + '/tiny-0001.params'
    arg_params, aux_params = checkpoint.load_params(path)
    arg_params['rfcn_cls_bias'][2] = np.nan
    arg_params['conv1_weight'][0] = np.inf
    checkpoint.save_params(path, arg_params, aux_params)
    with pytest.raises(CheckpointError, match='not finite, in arg:conv1_weight, arg:rfcn_cls_bias: a training that'):
        Detector(cfg(), path)


def test_all_keys_of_the_network_count_and_no_key_is_misspelt():
    keys = identity.meaning_keys() + identity.training_keys()
    assert {'network.PIXEL_MEANS', 'network.CONV5', 'symbol', 'TRAIN.RPN_BATCH_SIZE', 'seed', 'TRAIN.LR_MULT',
            'TRAIN.PRECISION', 'network.pretrained', 'RELEASE_RULES'} <= set(keys)
    assert set(identity._NOT_MEANING) | set(identity._FINE_TUNING) | {'TRAIN.' + n for n in identity._NOT_TRAINING} \
        | set(keys) <= set(identity.KEYS)


def test_the_same_images_are_the_same_wherever_they_lie():
    moved = [dict(entry, image='/elsewhere/x.jpg') for entry in entries('a', 'b')]
    assert data_change(data_record(entries('a', 'b')), data_record(moved)) is None
    flipped = entries('a', 'b') + entries('a', 'b', flipped=True)
    assert data_change(data_record(entries('a', 'b')), data_record(flipped)) is None


@pytest.mark.parametrize('now, expected', [
    pytest.param(entries('a', 'b', 'c', 'd'), dict(new=1), id='another image'),
    pytest.param(entries('a', 'b'), dict(gone=1), id='an image less'),
    pytest.param(entries('a', 'x', 'c'), dict(gone=1, new=1), id='an image for another'),
    pytest.param(entries('a', 'b') + entries('c', boxes=(OTHER_BOX,)), dict(changed=1), id='another box'),
    pytest.param(entries('a', 'b') + entries('c', boxes=()), dict(changed=1), id='no box'),
    pytest.param(entries('a', 'b') + entries('c', width=31), dict(changed=1), id='another width'),
    pytest.param(entries('a', 'b') + entries('c', gt_classes=np.array([2])), dict(changed=1), id='another class'),
    pytest.param(entries('a', 'b') + entries('c', rois=np.array([BOX, OTHER_BOX], np.float32)), dict(changed=1),
                 id='another proposal'),
    pytest.param(entries('b', 'a', 'c'), dict(reordered=True), id='another order'),
    pytest.param(entries('a', 'b', 'c', 'c'), dict(new=1), id='an image twice'),
])
def test_what_has_changed_in_a_data_set_is_counted(now, expected):
    expected = DataChange(**dict(dict(gone=0, new=0, changed=0, reordered=False), **expected))
    assert data_change(data_record(entries('a', 'b', 'c')), data_record(now)) == expected


def test_a_record_without_the_bytes_of_the_files_is_compared_by_what_it_has():
    now = data_record(entries('a', 'b'))
    old = now._replace(sums=now.sums[:, :2])
    assert data_change(old, now) is None
    assert data_change(old, data_record(entries('a', 'b', boxes=(OTHER_BOX,)))).changed == 2
    assert data_change(old, data_record(entries('a'))).gone == 1


def test_given_proposals_count_as_they_reach_the_loader():
    def record(*proposals):
        roidb = entries('a', proposals=np.array(proposals, np.float32).reshape(-1, 5))
        return data_record(add_roi_targets(roidb, num_classes=2, class_agnostic=True)[0])

    given = record([3, 3, 9, 9, 0.5])
    assert data_change(given, record([3, 3, 9, 9, 0.5])) is None
    assert data_change(given, record([3, 3, 9, 8, 0.5])).changed == 1
    assert data_change(given, record()).changed == 1


def test_the_sum_of_a_data_set_changes_with_each_of_its_parts():
    sums = [summary(data_record(each))['sum'] for each in (
        entries('a', 'b'), entries('b', 'a'), entries('a'), entries('a', 'b', boxes=(OTHER_BOX,)),
        entries('a', 'b', height=41))]
    assert len(set(sums)) == 5 and all(re.fullmatch('[0-9a-f]{16}', value) for value in sums)
