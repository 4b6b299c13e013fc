"""What a row costs, counted from its graphs."""
import mxnet as mx
import numpy as np
import pytest

from experiments.bench.measure import gflop
from experiments.rows.cost import cost, num_parameters
from experiments.rows.table import ALTERNATE, END2END, GIVEN, find_row
from rfcn.config.config import load_config


def test_a_convolution_costs_two_operations_for_each_weight_and_place():
    x = mx.sym.Convolution(mx.sym.Variable('data'), kernel=(3, 3), num_filter=8, pad=(1, 1), name='conv')
    x = mx.sym.FullyConnected(mx.sym.Activation(x, act_type='relu'), num_hidden=5, name='fc')
    inputs = {'data': (1, 4, 10, 12)}
    # 10 x 12 places, 8 filters of 4 x 3 x 3; 5 sums of 8 x 10 x 12
    assert gflop(x, **inputs) == pytest.approx(2e-9 * (120 * 8 * 36 + 5 * 960))
    assert num_parameters(x, inputs) == 8 * 36 + 8 + 5 * 960 + 5


def test_the_release_s_network_costs_what_is_known_of_it():
    found = cost(load_config(find_row('resnet_v1_101_voc0712_rfcn_end2end_ohem').cfg_path), END2END)
    assert found.gflop == pytest.approx(277, rel=0.01)
    # ResNet-101 without its classifier has 42.5 million; heads: 2048 x 1024, 1024 x 49 x (21 + 8), RPN 9.4 million
    assert found.parameters == pytest.approx(42.6e6 + 2.1e6 + 1.46e6 + 4.75e6, rel=0.01)
    assert 1e9 < found.memory < 4e9


def test_each_view_of_a_test_costs_a_pass(tiny_cfg):
    one = cost(tiny_cfg(), END2END)
    assert cost(tiny_cfg('TEST.FLIP=true'), END2END).gflop == 2 * one.gflop
    two = cost(tiny_cfg('TEST.SCALES=[[64, 96], [128, 192]]'), END2END)
    assert two.gflop == pytest.approx(5 * one.gflop, rel=0.05)  # convolutions of four times the pixels
    assert two.parameters == one.parameters


@pytest.mark.parametrize('kind', [ALTERNATE, GIVEN])
def test_every_kind_of_training_has_a_cost(tiny_cfg, kind):
    found = cost(tiny_cfg(), kind)
    assert np.isfinite(found.memory) and found.memory > 4 * found.parameters


def test_a_one_stage_network_has_a_cost(tiny_cfg):
    assert cost(tiny_cfg('symbol=small_class_rpn'), END2END).gflop > 0
