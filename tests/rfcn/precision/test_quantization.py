"""INT8 graphs."""
import json

import mxnet as mx
import numpy as np
import pytest

from lib.errors import ConfigError
from rfcn import inference
from rfcn.checkpoints.pretrained import init_params
from rfcn.core.detect import Predictor
from rfcn.core.loader import Batch
from rfcn.precision import quantization
from rfcn.symbols import make_symbol

SIZE = (64, 96)


def graph_and_batch(cfg):
    """A test graph with its first values, and a batch for it."""
    symbol = make_symbol(cfg).get_symbol(is_train=False)
    params = init_params(symbol, inference.input_shapes(cfg, SIZE))[:2]
    images = cfg.TEST.BATCH_IMAGES
    data = dict(data=np.random.RandomState(0).uniform(-100, 100, (images, 3) + SIZE),
                im_info=np.tile((SIZE[0], SIZE[1], 1.0), (images, 1)))
    return symbol, params, Batch(data)


@pytest.fixture
def small(tiny_cfg):
    """Graph, parameters and batch of the demo's kind of network."""
    return graph_and_batch(tiny_cfg())


def test_every_convolution_of_the_network_becomes_int8(small):
    symbol, params, batch = small
    layers = quantization.convolutions(symbol)
    assert 'rfcn_cls' in layers and 'rpn_conv_3x3' in layers and 'conv1' in layers
    assert quantization.int8_layers(quantization.quantize(symbol, *params, [batch])[0]) == sorted(layers)
    assert quantization.int8_layers(symbol) == []


@pytest.mark.parametrize('overrides', [
    ('symbol=resnet_v1_18_rfcn', 'network.POOLED_SIZE=1', 'CLASS_AGNOSTIC=false'),
    ('symbol=resnet_v1_34_rfcn', 'network.POOLED_SIZE=7'),
    ('symbol=resnet_v1_50_rfcn', 'network.CONV5=stride32', 'network.RCNN_FEAT_STRIDE=32'),
    ('symbol=resnet_v1_101_rfcn', 'TEST.BATCH_IMAGES=1'),
    ('symbol=resnet_v1_18_faster_rcnn', 'network.POOLED_SIZE=14'),
    ('symbol=resnet_v1_18_naive_rcnn', 'network.POOLED_SIZE=7'),
    ('symbol=resnet_v1_18_class_rpn',),
], ids=lambda overrides: overrides[0])
def test_every_convolution_of_any_backbone_with_any_head_becomes_int8_and_nothing_else(tiny_cfg, overrides):
    symbol, params, batch = graph_and_batch(tiny_cfg(*overrides))
    quantized, *params = quantization.quantize(symbol, *params, [batch])
    assert quantization.int8_layers(quantized) == sorted(quantization.convolutions(symbol))
    assert set(quantized.list_arguments()) <= set(symbol.list_arguments())
    outputs = Predictor(quantized, inference.INPUTS, [mx.cpu()], *params).predict(batch)
    assert all(np.isfinite(value).all() for value in outputs.values())


def test_deformable_convolutions_stay_in_float32(tiny_cfg):
    symbol, params, batch = graph_and_batch(tiny_cfg('symbol=resnet_v1_18_rfcn_dcn'))
    left = (set(quantization.convolutions(symbol))
            - set(quantization.int8_layers(quantization.quantize(symbol, *params, [batch])[0])))
    deformable = {node['name'] for node in quantization.nodes_of(symbol)
                  if 'Deformable' in node['op'] and 'Conv' in node['op']}
    assert deformable and left == deformable


def test_feature_maps_in_int8_are_those_of_float32_but_for_rounding(small):
    symbol, params, batch = small
    features = symbol.get_internals()['rfcn_cls_output']
    batch = Batch(dict(data=batch.data[0].asnumpy()))
    models = (features, *params), quantization.quantize(features, *params, [batch])
    (expected,), (found,) = [Predictor(graph, ['data'], [mx.cpu()], *values).predict(batch).values()
                             for graph, *values in models]
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected ** 2))
    # A layer rounds to 127 steps: some 0.4 % of the range; nine layers stand one upon the other.
    assert 0 < error < 0.05


@pytest.mark.parametrize('fp32_layers', [[], ['conv']])
@pytest.mark.parametrize('has_bn', [False, True])
def test_biases_make_up_for_what_rounded_weights_add_on_average(has_bn, fp32_layers):
    graph = mx.sym.Convolution(mx.sym.Variable('data'), name='conv', num_filter=1, kernel=(1, 1), no_bias=has_bn)
    params = {'conv_weight': mx.nd.array([127, 0.4]).reshape((1, 2, 1, 1))}     # steps of 1: 0.4 becomes 0
    if has_bn:
        graph = mx.sym.BatchNorm(graph, name='bn', fix_gamma=False, eps=1e-5)
    params.update(dict(bn_gamma=mx.nd.array([3]), bn_beta=mx.nd.array([5])) if has_bn else
                  dict(conv_bias=mx.nd.array([5])))
    aux_params = dict(bn_moving_mean=mx.nd.zeros(1), bn_moving_var=mx.nd.array([0.25 - 1e-5])) if has_bn else {}
    batches = [Batch(dict(data=np.stack([np.random.RandomState(0).rand(3, 4), np.full((3, 4), value)])[np.newaxis]))
               for value in (8, 12)]
    _, found, _ = quantization.quantize(graph, params, aux_params, batches, fp32_layers=fp32_layers)
    # The second channel has the mean 10: 0.4 * 10 are missing behind the convolution, 3 / 0.5 times as much behind BN.
    missing = 0 if fp32_layers else 24 if has_bn else 4
    name = 'bn_beta' if has_bn else 'conv_bias'
    assert found[name].asscalar() == pytest.approx(5 + missing, abs=1e-3)
    assert params[name].asscalar() == 5     # those that were given are left alone
    assert all(found[other] is params[other] for other in params if other != name)


def quantized_values(graph, params, aux_params, data):
    """Parameters of the INT8 model of a graph of one convolution, calibrated on `data`."""
    params = [{name: mx.nd.array(value) for name, value in values.items()} for values in (params, aux_params)]
    model = quantization.quantize(graph, *params, [Batch(dict(data=data))])
    return {name: value.asnumpy() for name, value in model[1].items()}


def test_a_batch_norm_of_mxnets_defaults_behind_a_bias_is_corrected_before_it_alone():
    graph = mx.sym.Convolution(mx.sym.Variable('data'), name='conv', num_filter=1, kernel=(1, 1))
    graph = mx.sym.BatchNorm(graph, name='bn')
    params = {'conv_weight': [[[[127]], [[0.4]]]], 'conv_bias': [5], 'bn_gamma': [3], 'bn_beta': [7]}
    aux_params = {'bn_moving_mean': [0], 'bn_moving_var': [0.25]}
    found = quantized_values(graph, params, aux_params, np.full((1, 2, 3, 4), 10))
    assert found['conv_bias'] == pytest.approx(5 + 4, abs=1e-3) and found['bn_beta'] == 7


def test_a_batch_norm_of_mxnets_defaults_multiplies_by_no_gamma():
    graph = mx.sym.Convolution(mx.sym.Variable('data'), name='conv', num_filter=1, kernel=(1, 1), no_bias=True)
    graph = mx.sym.BatchNorm(graph, name='bn')     # fix_gamma, eps 0.001
    params = {'conv_weight': [[[[127]], [[0.4]]]], 'bn_gamma': [3], 'bn_beta': [7]}
    aux_params = {'bn_moving_mean': [0], 'bn_moving_var': [0.25 - 0.001]}
    found = quantized_values(graph, params, aux_params, np.full((1, 2, 3, 4), 10))
    assert found['bn_beta'] == pytest.approx(7 + 4 / 0.5, abs=1e-3)


def test_biases_of_a_convolution_in_groups_make_up_for_what_their_own_channels_miss():
    graph = mx.sym.Convolution(mx.sym.Variable('data'), name='conv', num_filter=2, kernel=(1, 1), num_group=2)
    weight = np.array([[127, 0.4], [0.3, 127]]).reshape((2, 2, 1, 1))       # the filters read channels 0, 1 and 2, 3
    data = np.array([1, 10, 20, 1]).reshape((1, 4, 1, 1)) * np.ones((1, 1, 3, 4))
    found = quantized_values(graph, {'conv_weight': weight, 'conv_bias': [0, 0]}, {}, data)
    np.testing.assert_allclose(found['conv_bias'], [0.4 * 10, 0.3 * 20], atol=1e-3)


@pytest.mark.parametrize('operands', [(0, 1), (1, 0)])
def test_the_sum_of_two_signed_convolutions_keeps_its_largest_values(operands):
    data = mx.sym.Variable('data')
    convolutions = [mx.sym.Convolution(data, name='conv%d' % i, num_filter=8, kernel=(1, 1), no_bias=True)
                    for i in range(2)]
    graph = mx.sym.Activation(mx.sym.elemwise_add(*[convolutions[i] for i in operands]), act_type='relu')
    rng = np.random.RandomState(0)
    params = {'conv%d_weight' % i: mx.nd.array(rng.randn(8, 3, 1, 1)) for i in range(2)}
    batch = Batch(dict(data=rng.randn(1, 3, 20, 20)))
    (expected,), (found,) = [Predictor(each, ['data'], [mx.cpu()], params, {}).predict(batch).values()
                             for each in (graph, quantization.quantize(graph, params, {}, [batch])[0])]
    # The input, both weights and the sum are rounded: 127 steps of each one's range. MXNet by itself ends at half.
    np.testing.assert_allclose(found, expected, atol=4 / 127 * expected.max())


def test_layers_that_shall_stay_in_float32_do(small):
    symbol, params, batch = small
    quantized = quantization.quantize(symbol, *params, [batch], fp32_layers=['conv1', 'rfcn_cls'])[0]
    layers = quantization.convolutions(symbol)
    assert quantization.int8_layers(quantized) == sorted(set(layers) - {'conv1', 'rfcn_cls'})


def test_the_ranges_come_from_all_batches(small):
    symbol, params, batch = small
    dim = Batch(dict(zip(inference.INPUTS, (batch.data[0] / 100, batch.data[1]))))
    ranges = [conv1_range(quantization.quantize(symbol, *params, batches)[0])
              for batches in ([dim], [dim, batch], [batch])]
    assert ranges[1] == ranges[2] and ranges[0] == pytest.approx(ranges[1] / 100, rel=0.01)


def conv1_range(quantized):
    """The largest value of the network's input that the calibration saw."""
    node, = [node for node in json.loads(quantized.tojson())['nodes'] if node['op'] == '_contrib_quantize_v2'
             and node['name'].startswith('data')]
    return float(node['attrs']['max_calib_range'])


def test_other_numbers_of_proposals_need_no_other_int8_model(small, tiny_cfg):
    symbol, params, batch = small
    quantized = quantization.quantize(symbol, *params, [batch])[0]
    fewer = make_symbol(tiny_cfg('TEST.RPN_POST_NMS_TOP_N=5')).get_symbol(is_train=False)
    changed = quantization.with_settings(quantized, fewer)
    assert quantization.int8_layers(changed) == quantization.int8_layers(quantized)
    outputs = Predictor(changed, inference.INPUTS, [mx.cpu()], *params).predict(batch)
    assert outputs['rois'].shape == (2 * 5, 5)


def test_a_checkpoint_without_an_int8_graph_is_refused_with_the_command_that_makes_one(tmp_path):
    params = str(tmp_path / 'x-0003.params')
    with pytest.raises(ConfigError, match=r'no INT8 graph beside it .*x-symbol.json.*rfcn quantize'):
        quantization.load_symbol(params)
    mx.sym.Convolution(mx.sym.Variable('data'), kernel=(1, 1), num_filter=1).save(quantization.symbol_path(params))
    with pytest.raises(ConfigError, match='no INT8 graph'):
        quantization.load_symbol(params)


def test_names_of_files_come_from_that_of_the_checkpoint():
    assert quantization.int8_prefix('a/x-0003.params') == 'a/x-0003-int8'
    assert quantization.symbol_path('a/x-0003-int8-0000.params') == 'a/x-0003-int8-symbol.json'


@pytest.mark.parametrize('mode', ['naive', pytest.param('entropy', marks=pytest.mark.slow)])
def test_a_calibration_makes_any_number_of_graphs(small, mode):
    symbol, params, batch = small
    calibration = quantization.Calibration(symbol, *params, batches=[batch], mode=mode)
    texts = [calibration.model(layers)[0].tojson() for layers in ((), ['conv1'], ())]
    assert texts[0] == texts[2] != texts[1]
