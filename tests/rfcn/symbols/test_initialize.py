"""First values of parameters."""
import mxnet as mx
import numpy as np
import pytest

from rfcn.checkpoints.pretrained import init_params
from rfcn.config.config import load_config
from rfcn.symbols import make_symbol

INPUTS = {'data': (1, 3, 64, 96), 'im_info': (1, 3)}
SMALL = ['symbol=small_rfcn', 'network.SMALL_BLOCKS=1', 'network.CONV_NEW_CHANNELS=64', 'dataset.NUM_CLASSES=5']


def graph(*overrides):
    return make_symbol(load_config(None, SMALL + list(overrides))).get_symbol(is_train=False)


def spread(arg_params, layer):
    """Standard deviation of a layer's weights."""
    return arg_params[layer + '_weight'].asnumpy().std()


def test_every_parameter_of_the_graph_gets_a_first_value():
    symbol = graph()
    arg_params, aux_params, fresh = init_params(symbol, INPUTS)
    assert set(arg_params) == set(symbol.list_arguments()) - set(INPUTS)
    assert set(aux_params) == set(symbol.list_auxiliary_states())
    assert sorted(fresh) == sorted(list(arg_params) + list(aux_params))


def test_first_values_follow_the_kind_of_the_parameter():
    arg_params, aux_params, _ = init_params(graph('symbol=resnet_v1_18_rfcn_dcn'), INPUTS)
    for name, value in list(arg_params.items()) + list(aux_params.items()):
        value = value.asnumpy()
        if name.endswith(('_gamma', '_moving_var')):
            assert np.all(value == 1), name
        elif name.endswith(('_beta', '_bias', '_moving_mean')) or 'offset' in name:
            assert np.all(value == 0), name
        else:
            assert value.std() > 0, name
    assert spread(arg_params, 'rfcn_cls') == pytest.approx(0.01, rel=0.05)
    # He et al.: the variance of a 3x3 convolution of 256 channels is 2 / (9 * 256)
    assert spread(arg_params, 'res5a_branch2a') == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.05)


def test_new_layers_start_smaller_on_a_pretrained_trunk_than_without():
    symbol = graph()
    scratch, _, _ = init_params(symbol, INPUTS)
    on_trunk, _, _ = init_params(symbol, INPUTS, {'conv1_weight': scratch['conv1_weight']})
    for layer in 'rpn_conv_3x3', 'rpn_cls_score', 'rpn_bbox_pred', 'conv_new_1', 'rfcn_cls', 'rfcn_bbox':
        assert spread(on_trunk, layer) == pytest.approx(0.01, rel=0.1)
    assert spread(scratch, 'rfcn_cls') == pytest.approx(0.01, rel=0.1)
    # He et al. for the two layers that a ReLU follows: conv_new_1 sees the small trunk's 128 channels
    assert spread(scratch, 'conv_new_1') == pytest.approx((2 / 128) ** 0.5, rel=0.1)


def test_given_values_stay_where_their_shape_fits():
    given = {'conv1_weight': mx.nd.full((16, 3, 3, 3), 0.5), 'rfcn_cls_weight': mx.nd.ones((3, 3)),
             'fc1000_weight': mx.nd.ones((2, 2))}
    arg_params, _, fresh = init_params(graph(), INPUTS, given, {})
    assert np.all(arg_params['conv1_weight'].asnumpy() == 0.5) and 'conv1_weight' not in fresh
    assert arg_params['rfcn_cls_weight'].shape == (49 * 5, 64, 1, 1) and 'rfcn_cls_weight' in fresh
    assert 'fc1000_weight' not in arg_params
    arg_params['conv1_weight'][:] = 0
    assert np.all(given['conv1_weight'].asnumpy() == 0.5)  # a copy was made


def test_first_values_are_a_function_of_the_seed():
    def values(seed):
        return init_params(graph(), INPUTS, seed=seed)[0]['rfcn_cls_weight'].asnumpy()
    assert np.array_equal(values(1), values(1))
    assert not np.array_equal(values(1), values(2))
