"""The trunk of a ResNet: its layers by the names of each project, and the arithmetic that makes them ours."""
import mxnet as mx
import numpy as np
import pytest

from lib.errors import CheckpointError
from rfcn.importers.trunk import (
    STYLES,
    ConvBN,
    Input,
    find_trunk,
    fold_input,
    fold_layer,
    fold_trunk,
    parameter_names,
    trunk_layers,
)
from rfcn.symbols.resnet_v1 import BN_EPS, RESNET_V1, ResNetV1

ONE = np.ones(1)


def layer(weight, bias=None, mean=0.0, var=1.0):
    return ConvBN(np.asarray(weight, dtype=np.float32), bias, ONE, 0 * ONE, np.array([mean]), np.array([var]))


def test_a_bias_is_subtracted_from_the_mean():
    # (y + 3) - 5 = y - 2
    folded = fold_layer(layer(np.ones((1, 1, 1, 1)), np.array([3.0]), mean=5.0), BN_EPS)
    assert folded.mean == [2.0] and folded.bias is None


def test_another_eps_is_added_to_the_variance():
    assert fold_layer(layer(np.ones((1, 1, 1, 1)), var=2.0), 1e-3).var == pytest.approx([2.0 + 1e-3 - 1e-5], abs=1e-12)


def test_blue_green_red_becomes_red_green_blue():
    weight = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    folded = fold_input(layer(weight), Input('BGR', (0, 0, 0), (1, 1, 1), BN_EPS), (0, 0, 0))
    np.testing.assert_array_equal(folded.weight.ravel(), [3, 2, 1])


def test_std_goes_into_the_weights_and_the_difference_of_the_means_into_batch_norm():
    source = Input('RGB', (10, 20, 30), (2, 4, 5), BN_EPS)
    folded = fold_input(layer(np.array([1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)), source, (12, 20, 25))
    np.testing.assert_allclose(folded.weight.ravel(), [1 / 2, 1 / 4, 1 / 5])
    # The source: (r - 10) / 2 + (g - 20) / 4 + (b - 30) / 5.
    # The trunk: (r - 12) / 2 + (g - 20) / 4 + (b - 25) / 5 - mean.
    # The difference, (12 - 10) / 2 + 0 + (25 - 30) / 5 = 0, so:
    assert folded.mean == pytest.approx([0.0])
    folded = fold_input(layer(np.array([1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)), source, (12, 24, 25))
    assert folded.mean == pytest.approx([-1.0])  # (24 - 20) / 4 must be added


def test_parameters_are_named_as_in_the_trunk():
    layers = {'conv1': layer(np.ones((1, 3, 1, 1))), 'res4b22_branch2c': layer(np.ones((1, 1, 1, 1)))}
    arg_params, aux_params = fold_trunk(layers, Input('RGB', (0, 0, 0), (1, 1, 1), BN_EPS), (0, 0, 0))
    assert sorted(arg_params) == ['bn4b22_branch2c_beta', 'bn4b22_branch2c_gamma', 'bn_conv1_beta', 'bn_conv1_gamma',
                                  'conv1_weight', 'res4b22_branch2c_weight']
    assert sorted(aux_params) == ['bn4b22_branch2c_moving_mean', 'bn4b22_branch2c_moving_var', 'bn_conv1_moving_mean',
                                  'bn_conv1_moving_var']
    assert {value.dtype for value in list(arg_params.values()) + list(aux_params.values())} == {np.dtype(np.float32)}


def named(depth, style):
    """Parameters of one number each, without biases; each has another value."""
    names = [name for layer in trunk_layers(depth)
             for number, name in enumerate(parameter_names(style, layer)) if number != 1]
    return {name: np.full((1, 3, 1, 1) if name.endswith('weight') else (1,), i) for i, name in enumerate(names)}


@pytest.mark.parametrize('depth', sorted(RESNET_V1))
@pytest.mark.parametrize('style', STYLES, ids=lambda style: style.name)
def test_every_depth_is_found_in_every_naming_and_gives_the_parameters_of_the_graph(depth, style):
    found, found_depth, layers, rest = find_trunk(named(depth, style), 'it')
    assert (found.name, found_depth, rest) == (style.name, depth, [])
    trunk = ResNetV1(RESNET_V1[depth])
    graph = trunk.conv5(trunk.conv4(mx.sym.Variable('data')))
    arg_params, aux_params = fold_trunk(layers, Input('RGB', (0, 0, 0), (1, 1, 1), 1e-5))
    assert set(arg_params) == set(graph.list_arguments()) - {'data'}
    assert set(aux_params) == set(graph.list_auxiliary_states())


@pytest.mark.parametrize('style', STYLES, ids=lambda style: style.name)
def test_no_two_layers_share_a_name(style):
    names = [name for layer in trunk_layers(152) for name in parameter_names(style, layer)]
    assert len(set(names)) == len(names) == 6 * len(trunk_layers(152))


def test_the_trunk_has_a_convolution_a_layer_and_its_shortcuts():
    # 50 layers: 49 convolutions and the classifier; four shortcuts. 18 layers: 17 and three, as conv2 needs none.
    assert [len(trunk_layers(depth)) for depth in (18, 50, 101)] == [17 + 3, 49 + 4, 100 + 4]


@pytest.mark.parametrize('scope', ['module.', 'resnetv10_'])
def test_what_stands_before_all_names_is_taken_away(scope):
    style = STYLES[0] if scope == 'module.' else STYLES[4]
    params = dict(named(18, style), **{'fc.bias' if scope == 'module.' else 'dense0_bias': np.zeros(1)})
    found = find_trunk({scope + name: value for name, value in params.items()}, 'it')
    assert (found[0], found[1], len(found[3])) == (style, 18, 1)


def test_the_classifier_is_left_out_and_named():
    params = dict(named(50, STYLES[0]), **{'fc.weight': np.zeros(1), 'bn1.num_batches_tracked': np.zeros(())})
    assert find_trunk(params, 'it')[3] == ['bn1.num_batches_tracked', 'fc.weight']


def test_the_heads_of_a_detector_are_left_out():
    params = dict(named(50, STYLES[-1]), fc1000_weight=np.zeros(1), rpn_conv_3x3_weight=np.zeros(1))
    assert find_trunk(params, 'it')[3] == ['fc1000_weight', 'rpn_conv_3x3_weight']


def test_parts_that_the_trunk_lacks_are_refused():
    params = dict(named(50, STYLES[2]), **{'features.4.0.se.0.weight': np.zeros(1)})
    message = r'a\.params: a ResNet-50 in the manner of GluonCV v1, but with 1 .*se\.0\.weight'
    with pytest.raises(CheckpointError, match=message):
        find_trunk(params, 'a.params')


def test_another_network_is_refused_with_some_of_its_names():
    with pytest.raises(CheckpointError, match='x.pth: found no ResNet-v1 .* 1 parameters .classifier.0.weight'):
        find_trunk({'classifier.0.weight': np.zeros(1)}, 'x.pth')
