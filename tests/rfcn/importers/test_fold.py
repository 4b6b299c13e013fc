import numpy as np
import pytest

from rfcn.importers.fold import ConvBN, Input, fold_input, fold_layer, fold_trunk
from rfcn.symbols.resnet_v1 import BN_EPS

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


def test_names_are_the_trunks():
    layers = {'conv1': layer(np.ones((1, 3, 1, 1))), 'res4b22_branch2c': layer(np.ones((1, 1, 1, 1)))}
    arg_params, aux_params = fold_trunk(layers, Input('RGB', (0, 0, 0), (1, 1, 1), BN_EPS), (0, 0, 0))
    assert sorted(arg_params) == ['bn4b22_branch2c_beta', 'bn4b22_branch2c_gamma', 'bn_conv1_beta', 'bn_conv1_gamma',
                                  'conv1_weight', 'res4b22_branch2c_weight']
    assert sorted(aux_params) == ['bn4b22_branch2c_moving_mean', 'bn4b22_branch2c_moving_var', 'bn_conv1_moving_mean',
                                  'bn_conv1_moving_var']
    assert {value.dtype for value in list(arg_params.values()) + list(aux_params.values())} == {np.dtype(np.float32)}
