"""The error of INT8, layer by layer."""
import pytest

from rfcn import data_sets, inference
from rfcn.checkpoints.pretrained import init_params
from rfcn.core.image_loaders import image_loader
from rfcn.quantize import Sensitivity, last_convolutions, norm
from rfcn.symbols import make_symbol

MAPS = ['rpn_cls_score', 'rpn_bbox_pred', 'rfcn_cls', 'rfcn_bbox']


@pytest.fixture(scope='module')
def make_sensitivity():
    """A function (configuration) -> Sensitivity of its network with its first values."""
    def make(cfg):
        symbol = make_symbol(cfg).get_symbol(is_train=False)
        params = init_params(symbol, inference.input_shapes(cfg))[:2]
        loader = image_loader(cfg, data_sets.training_roidb(cfg))
        return Sensitivity(symbol, *params, batches=loader.batches())
    return make


def test_the_maps_are_those_that_no_other_convolution_reads(tiny_cfg):
    assert last_convolutions(make_symbol(tiny_cfg()).get_symbol(is_train=False)) == MAPS


def test_a_layer_alone_costs_something_and_all_together_cost_more(tiny_cfg, make_sensitivity):
    sensitivity = make_sensitivity(tiny_cfg())
    assert sensitivity.maps == MAPS and sensitivity.layers[0] == 'conv1' and len(sensitivity.layers) > 10
    everything, first = sensitivity.errors(sensitivity.layers), sensitivity.errors(['conv1'])
    assert all(0 < one < whole for one, whole in zip(first, everything))


def test_a_layer_costs_nothing_in_maps_that_do_not_need_it(tiny_cfg, make_sensitivity):
    rpn_cls, rpn_bbox, rfcn_cls, rfcn_bbox = make_sensitivity(tiny_cfg()).errors(['rfcn_cls'])
    assert rfcn_cls > 1e-4 > max(rpn_cls, rpn_bbox, rfcn_bbox)


def test_the_norm_is_over_all_values():
    assert norm([[3.0], [0.0, 4.0]]) == 5.0
