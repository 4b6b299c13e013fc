"""What is made from a configuration."""
import shutil

import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError, ConfigError, DatasetError
from rfcn import build, propose, test_given
from rfcn.config.config import load_config, with_overrides
from rfcn.precision import bf16
from rfcn.symbols import make_symbol
from rfcn.symbols.initialize import init_params


@pytest.mark.parametrize('overrides, count, first', [
    (['dataset.image_set=2007_trainval+2012_trainval'], 20, 'aeroplane'),
    (['dataset.dataset=coco', 'dataset.image_set=train2014+valminusminival2014', 'dataset.NUM_CLASSES=81'], 80,
     'person'),
])
def test_the_class_names_of_the_releases_models_are_known_without_the_data(tmp_path, overrides, count, first):
    cfg = build.with_classes(load_config(None, ['dataset.dataset_path=%s' % tmp_path] + overrides))
    assert len(cfg.dataset.CLASSES) == count and cfg.dataset.CLASSES[0] == first


def test_a_published_set_with_another_number_of_classes_is_not_guessed(tmp_path):
    with pytest.raises(ConfigError, match='The class names come from the data set unless'):
        build.with_classes(load_config(None, ['dataset.dataset_path=%s' % tmp_path, 'dataset.NUM_CLASSES=5']))


def test_several_image_sets_are_joined(tiny_cfg):
    cfg = tiny_cfg('dataset.image_set=val+test')
    assert [imdb.num_images for imdb in build.datasets(cfg, cfg.dataset.image_set)] == [2, 3]
    assert len(build.training_roidb(cfg)) == 5


def test_an_unknown_format_of_data_is_refused(tiny_cfg):
    with pytest.raises(DatasetError, match="unknown data set 'kitti'; known are .*PascalVOC"):
        build.training_roidb(tiny_cfg('dataset.dataset=kitti'))


def test_class_names_come_from_the_data_where_the_configuration_has_none(tiny_cfg):
    cfg = build.with_classes(tiny_cfg('dataset.CLASSES=[]'))
    assert cfg.dataset.CLASSES == ('blue', 'red') and cfg.dataset.NUM_CLASSES == 3
    named = tiny_cfg('dataset.CLASSES=[red, blue]')
    assert build.with_classes(named) is named


def test_without_class_names_and_data_the_error_says_where_they_are(tiny_cfg, tmp_path):
    cfg = tiny_cfg('dataset.CLASSES=[]', 'dataset.dataset_path=%s' % (tmp_path / 'gone'))
    with pytest.raises(ConfigError,
                       match='gone.* The class names come from .* use the config.yaml that training wrote'):
        build.with_classes(cfg)


@pytest.mark.parametrize('symbol', ['small_rfcn', 'resnet_v1_18_rfcn'])
def test_the_cells_of_conv4_are_read_off_the_graph(tiny_cfg, symbol):
    shape = build.feature_shape(make_symbol(tiny_cfg('symbol=' + symbol)).get_symbol(is_train=True))
    assert shape(64, 96) == (4, 6) and shape(600, 1000) == (38, 63)
    rpn = make_symbol(tiny_cfg('symbol=' + symbol)).get_symbol_rpn(is_train=True)
    scores = rpn.get_internals()['rpn_bbox_pred_output']
    for height in range(33, 80, 7):
        assert shape(height, 96) == scores.infer_shape(data=(1, 3, height, 96))[1][0][2:]


@pytest.mark.parametrize('agnostic, sets', [('true', 2), ('false', 3)])
def test_the_normalisation_of_boxes_is_repeated_for_each_set(tiny_cfg, agnostic, sets):
    cfg = tiny_cfg('CLASS_AGNOSTIC=' + agnostic, 'TRAIN.BBOX_MEANS=[0.0, 0.1, 0.2, 0.3]')
    means, stds = build.bbox_normalisation(cfg)
    assert np.array_equal(means, [0, 0.1, 0.2, 0.3] * sets) and np.array_equal(stds, [0.1, 0.1, 0.2, 0.2] * sets)
    means, stds = build.bbox_normalisation(with_overrides(cfg, {'TRAIN.BBOX_NORMALIZATION_PRECOMPUTED': False}))
    assert not means.any() and (stds == 1).all() and len(means) == len(stds) == 4 * sets


@pytest.mark.parametrize('overrides, fault', [
    (['dataset.CLASSES=[red, blue, green]'], r'rfcn_cls_weight has shape \(27, 16, 1, 1\), \(36, 16, 1, 1\) expected'),
    (['CLASS_AGNOSTIC=false'], 'rfcn_bbox_weight has shape'),
    (['network.POOLED_SIZE=7'], 'rfcn_bbox_bias has shape'),
    (['network.ANCHOR_SCALES=[2]'], 'rpn_bbox_pred_weight has shape'),
    (['symbol=resnet_v1_18_rfcn'], 'res4b_branch2a_weight is missing'),
])
def test_a_checkpoint_of_another_network_is_refused_with_all_that_does_not_fit(tiny_cfg, tiny_run, tmp_path, overrides,
                                                                               fault):
    alone = shutil.copy(str(tiny_run / 'tiny-0001.params'), str(tmp_path))      # nothing beside it says what it is
    with pytest.raises(CheckpointError, match='tiny-0001.params does not fit the network .*' + fault):
        build.predictor(tiny_cfg(*overrides), alone)


@pytest.mark.parametrize('graph', [
    mx.sym.Convolution(mx.sym.Variable('data'), num_filter=7, kernel=(3, 3), name='conv1', no_bias=True),  # other size
    mx.sym.Concat(mx.sym.Variable('data'), mx.sym.Variable('im_info'), num_args=2, name='both')])
def test_an_int8_graph_of_another_network_is_refused(tiny_cfg, graph):
    cfg = tiny_cfg()
    params = init_params(make_symbol(cfg).get_symbol(is_train=False), build.input_shapes(cfg))[:2]
    with pytest.raises(CheckpointError, match='the INT8 graph beside x.params'):
        build.predictor_of_params(cfg, *params, 'x.params', quantized=graph)


def test_bf16_detects_what_fp32_does_but_for_rounding(tiny_cfg, tiny_run, monkeypatch):
    monkeypatch.setattr(bf16, 'has_bf16', lambda: True)
    params, rng = str(tiny_run / 'tiny-0001.params'), np.random.RandomState(0)
    inputs = {'data': rng.uniform(-100, 100, (1, 3, 64, 96)), 'im_info': np.array([[64, 96, 1.0]])}
    batch = mx.io.DataBatch([mx.nd.array(value) for value in inputs.values()],
                            provide_data=[mx.io.DataDesc(name, value.shape) for name, value in inputs.items()])
    # One RoI after the other and without suppression: the same RoIs in the same places
    settings = ['TEST.BATCH_IMAGES=1', 'TEST.RPN_NMS_THRESH=1', 'TEST.RPN_POST_NMS_TOP_N=300', 'TEST.CXX_PROPOSAL=true']
    expected, found = [build.predictor(tiny_cfg(*settings, 'TEST.PRECISION=' + name), params).predict(batch)
                       for name in ('fp32', 'bf16')]
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    for name in 'cls_prob', 'bbox_pred':
        assert not np.array_equal(found[name], expected[name])
        np.testing.assert_allclose(found[name].mean(axis=1), expected[name].mean(axis=1), atol=0.01)


@pytest.mark.parametrize('phase, name', [('TRAIN', 'bf16'), ('TEST', 'bf16'), ('TEST', 'int8')])
def test_what_only_cpus_compute_is_refused_on_a_gpu(tiny_cfg, phase, name):
    fault = "%s.PRECISION: %s runs on the CPU alone; write fp32, or gpus: ''" % (phase, name)
    with pytest.raises(ConfigError, match=fault):
        build.check_device(tiny_cfg('gpus=0', '%s.PRECISION=%s' % (phase, name)), phase)
    build.check_device(tiny_cfg('gpus=0'), phase)


def test_a_part_of_a_network_has_no_int8_model(tiny_cfg, tiny_run):
    cfg = tiny_cfg('TEST.PRECISION=int8')
    for part in propose.rpn_predictor, test_given.rfcn_predictor:
        with pytest.raises(ConfigError, match='int8 is for a whole network'):
            part(cfg, str(tiny_run / 'tiny-0001.params'))
