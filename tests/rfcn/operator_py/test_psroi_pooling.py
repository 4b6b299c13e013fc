"""The operator 'psroi_pooling': detection on the CPU finds what MXNet's own pooling finds."""
import json

import mxnet as mx
import numpy as np
import pytest

from lib.psroi.psroi_pooling import psroi_pool_compiled
from rfcn import data_sets, inference
from rfcn.config.config import load_config
from rfcn.core import detect
from rfcn.core.detect import Predictor
from rfcn.core.image_loaders import image_loader
from rfcn.operator_py import psroi_pooling
from rfcn.operator_py.psroi_pooling import with_compiled_pooling
from rfcn.train_end2end import train_net

compiled = pytest.mark.skipif(psroi_pool_compiled is None, reason='the compiled modules are not built: make build')


def operators(symbol):
    return [node['op'] for node in json.loads(symbol.tojson())['nodes'] if node['op'] != 'null']


def pooling(maps='maps', rois='rois'):
    return mx.sym.contrib.PSROIPooling(mx.sym.Variable(maps), mx.sym.Variable(rois), name='pooled', output_dim=2,
                                       pooled_size=3, group_size=3, spatial_scale=1 / 16)


@compiled
def test_outputs_and_inputs_keep_their_names_and_numbers():
    rng = np.random.RandomState(3)
    maps = mx.nd.array(rng.randn(2, 18, 6, 8))
    rois = mx.nd.array([[0, 0, 0, 127, 95], [1, 30, 20, 70, 60], [1, 5, 5, 6, 6]])
    native, ours = pooling(), with_compiled_pooling(pooling())
    assert operators(ours) == ['Custom'] and ours.list_outputs() == native.list_outputs()
    assert ours.list_arguments() == native.list_arguments()
    expected, found = (symbol.bind(mx.cpu(), {'maps': maps, 'rois': rois}).forward()[0].asnumpy()
                       for symbol in (native, ours))
    np.testing.assert_array_equal(found, expected)


def test_without_the_compiled_module_the_graph_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(psroi_pooling, 'psroi_pool_compiled', None)
    assert operators(with_compiled_pooling(pooling())) == ['_contrib_PSROIPooling']


@compiled
def test_on_a_gpu_mxnets_own_operator_stays():
    on_cpu, on_gpu = (Predictor(pooling(), ['maps', 'rois'], [device], {}, {}) for device in (mx.cpu(), mx.gpu()))
    assert operators(on_cpu.symbol) == ['Custom'] and operators(on_gpu.symbol) == ['_contrib_PSROIPooling']


@compiled
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_a_network_gives_the_same_boxes_and_scores_with_either_pooling(tiny_run, tiny_params, monkeypatch, precision):
    cfg = load_config(str(tiny_run / 'config.yaml'), ['TEST.PRECISION=' + precision])
    batch = next(iter(image_loader(cfg, data_sets.datasets(cfg, 'train')[0].gt_roidb()).batches()))

    def outputs():
        return inference.predictor(cfg, tiny_params).predict(batch)
    ours = outputs()
    monkeypatch.setattr(detect, 'with_compiled_pooling', lambda symbol: symbol)
    native = outputs()
    assert set(ours) == set(native) == {'rois', 'cls_prob', 'bbox_pred'}
    for name, values in native.items():
        np.testing.assert_array_equal(ours[name], values)


def test_a_training_with_operators_in_python_goes_on_after_a_validation_that_pools_by_it(tiny_yaml, tmp_path):
    cfg = load_config(tiny_yaml(), ['TRAIN.EVAL_PERIOD=1', 'dataset.val_image_set=train', 'TRAIN.end_epoch=2',
                                    'TRAIN.CXX_PROPOSAL=false'])
    train_net(cfg, tmp_path)
    assert (tmp_path / 'tiny-0002.params').exists()
