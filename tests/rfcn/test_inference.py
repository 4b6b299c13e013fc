"""Networks of a configuration for inference."""
import shutil

import mxnet as mx
import numpy as np
import pytest

from lib.bbox.bbox_transform import MAX_LOG_RATIO
from lib.errors import CheckpointError, ConfigError
from rfcn import inference
from rfcn.checkpoints.pretrained import init_params
from rfcn.config.config import with_overrides
from rfcn.core.loader import Batch
from rfcn.inference import rfcn_predictor, rpn_predictor
from rfcn.precision import bf16
from rfcn.symbols import make_symbol


@pytest.mark.parametrize('agnostic, sets', [('true', 2), ('false', 3)])
def test_the_normalisation_of_boxes_is_repeated_for_each_set(tiny_cfg, agnostic, sets):
    cfg = tiny_cfg('CLASS_AGNOSTIC=' + agnostic, 'TRAIN.BBOX_MEANS=[0.0, 0.1, 0.2, 0.3]')
    means, stds = inference.bbox_normalisation(cfg)
    assert np.array_equal(means, [0, 0.1, 0.2, 0.3] * sets) and np.array_equal(stds, [0.1, 0.1, 0.2, 0.2] * sets)
    means, stds = inference.bbox_normalisation(with_overrides(cfg, {'TRAIN.BBOX_NORMALIZATION_PRECOMPUTED': False}))
    assert not means.any() and (stds == 1).all() and len(means) == len(stds) == 4 * sets


@pytest.mark.parametrize('overrides, method, thresh, vote', [
    ([], 'nms', 0.4, None), (['TEST.NMS_METHOD=soft_linear'], 'linear', 0.4, None),
    (['TEST.NMS_METHOD=soft_gaussian', 'TEST.BOX_VOTING=true'], 'gaussian', 0.7, 0.6)])
def test_the_keys_of_the_configuration_reach_the_choice_of_detections(tiny_cfg, overrides, method, thresh, vote):
    cfg = tiny_cfg('TEST.SCORE_THRESH=0.2', 'TEST.NMS=0.4', 'TEST.SOFT_NMS_SIGMA=0.7', 'TEST.BOX_VOTING_THRESH=0.6',
                   'TEST.max_per_image=11', *overrides)
    assert inference.nms_settings(cfg) == dict(
        max_log_ratio=MAX_LOG_RATIO, thresh=0.2, nms_thresh=thresh, max_per_image=11, class_agnostic=True,
        method=method, vote_thresh=vote)


@pytest.mark.parametrize('overrides, fault', [
    (['dataset.CLASSES=[red, blue, green]'], r'rfcn_cls_weight has shape \(27, 16, 1, 1\), \(36, 16, 1, 1\) expected'),
    (['CLASS_AGNOSTIC=false'], 'rfcn_bbox_weight has shape'),
    (['network.POOLED_SIZE=7'], 'rfcn_bbox_bias has shape'),
    (['network.ANCHOR_SCALES=[2]'], 'rpn_bbox_pred_weight has shape'),
    (['symbol=resnet_v1_18_rfcn'], 'res4b_branch2a_weight is missing'),
])
def test_a_checkpoint_of_another_network_is_refused_with_all_that_does_not_fit(tiny_cfg, tiny_params, tmp_path,
                                                                               overrides, fault):
    alone = shutil.copy(tiny_params, str(tmp_path))      # nothing beside it says what it is
    with pytest.raises(CheckpointError, match='tiny-0001.params does not fit the network .*' + fault):
        inference.predictor(tiny_cfg(*overrides), alone)


@pytest.mark.parametrize('graph', [
    mx.sym.Convolution(mx.sym.Variable('data'), num_filter=7, kernel=(3, 3), name='conv1', no_bias=True),  # other size
    mx.sym.Concat(mx.sym.Variable('data'), mx.sym.Variable('im_info'), num_args=2, name='both')])
def test_an_int8_graph_of_another_network_is_refused(tiny_cfg, graph):
    cfg = tiny_cfg()
    params = init_params(make_symbol(cfg).get_symbol(is_train=False), inference.input_shapes(cfg))[:2]
    with pytest.raises(CheckpointError, match='the INT8 graph beside x.params'):
        inference.predictor_of_params(cfg, *params, 'x.params', quantized=graph)


def test_bf16_detects_what_fp32_does_but_for_rounding(tiny_cfg, tiny_params, monkeypatch):
    monkeypatch.setattr(bf16, 'has_bf16', lambda: True)
    rng = np.random.RandomState(0)
    inputs = {'data': rng.uniform(-100, 100, (1, 3, 64, 96)), 'im_info': np.array([[64, 96, 1.0]])}
    batch = Batch(inputs)
    # One RoI after the other and without suppression: the same RoIs in the same places
    settings = ['TEST.BATCH_IMAGES=1', 'TEST.RPN_NMS_THRESH=1', 'TEST.RPN_POST_NMS_TOP_N=300', 'TEST.CXX_PROPOSAL=true']
    expected, found = [inference.predictor(tiny_cfg(*settings, 'TEST.PRECISION=' + name), tiny_params).predict(batch)
                       for name in ('fp32', 'bf16')]
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    for name in 'cls_prob', 'bbox_pred':
        assert not np.array_equal(found[name], expected[name])
        np.testing.assert_allclose(found[name].mean(axis=1), expected[name].mean(axis=1), atol=0.01)


def test_a_part_of_a_network_has_no_int8_model(tiny_cfg, tiny_params):
    cfg = tiny_cfg('TEST.PRECISION=int8')
    for part in rpn_predictor, rfcn_predictor:
        with pytest.raises(ConfigError, match='int8 is for a whole network'):
            part(cfg, tiny_params)
