"""Layers that learn at rates of their own, or not at all."""
import mxnet as mx
import numpy as np
import pytest

from rfcn.core.loader import Batch
from rfcn.core.module import TrainModule
from rfcn.core.rates import names_beginning_with, with_kept_statistics, with_lr_mult


def network():
    """Two layers in a row; the second has, by its own attribute, twice the learning rate."""
    x = mx.sym.FullyConnected(mx.sym.Variable('data'), name='res1_a', num_hidden=3)
    x = mx.sym.FullyConnected(x, name='res1_b', num_hidden=2, attr={'lr_mult': '2.0'})
    return mx.sym.LinearRegressionOutput(mx.sym.FullyConnected(x, name='head', num_hidden=1), mx.sym.Variable('label'))


def steps(**options):
    """Name -> how far a parameter moves in one step of learning rate 0.1 without momentum and decay."""
    batch = Batch(dict(data=np.array([[1., 2.]])), dict(label=np.zeros((1, 1))), pad=0, images=[])
    module = TrainModule(network(), ['data'], ['label'], [mx.cpu()], **options)
    shapes = dict(zip(network().list_arguments(), network().infer_shape(data=(1, 2), label=(1, 1))[0]))
    before = {name: mx.nd.ones(shape) for name, shape in shapes.items() if name not in ('data', 'label')}
    module.start(batch, before, {}, kvstore='device', optimizer_params=dict(learning_rate=0.1, wd=0.0))
    module.step(batch)
    return {name: float(np.abs(value.asnumpy() - 1).max()) for name, value in module.get_params()[0].items()}


def test_a_layer_moves_by_its_multiplier_times_as_far():
    plain, faster = steps(), steps(lr_mult={'res1_a': 0.1, 'head': 5})
    for name in plain:
        factor = {'res1_a': 0.1, 'head': 5}.get(name.rpartition('_')[0], 1)
        assert faster[name] == pytest.approx(factor * plain[name], rel=1e-5) and plain[name] > 0


def test_the_longest_of_several_prefixes_counts_and_replaces_the_multiplier_of_the_graph():
    plain, other = steps(), steps(lr_mult={'res1': 0.5, 'res1_b': 4, 'res1_b_bias': 0})
    assert other['res1_a_weight'] == pytest.approx(0.5 * plain['res1_a_weight'], rel=1e-5)
    assert other['res1_b_weight'] == pytest.approx(4 / 2 * plain['res1_b_weight'], rel=1e-5)     # the graph says 2
    assert other['res1_b_bias'] == 0


def test_frozen_layers_stay_where_they_are_by_the_beginning_of_their_names_alone():
    moved = steps(frozen=['res1_a', 'b'])
    assert {name for name, way in moved.items() if way == 0} == {'res1_a_weight', 'res1_a_bias'}


def test_a_prefix_that_no_parameter_has_is_logged(caplog):
    assert names_beginning_with(network(), ['res1_a', 'rse1', 'hed'], 'TRAIN.FREEZE') == ['res1_a_weight',
                                                                                          'res1_a_bias']
    assert 'TRAIN.FREEZE: this graph has no parameter whose name begins with rse1 or hed' in caplog.text


def test_the_graph_that_is_given_is_not_changed():
    graph = network()
    before = graph.tojson()
    changed = with_lr_mult(graph, {'head': 7})
    assert graph.tojson() == before
    assert changed.attr_dict()['head_weight']['__lr_mult__'] == '7' and with_lr_mult(graph, {}) is graph


def test_the_keys_of_the_configuration_reach_the_training(tiny_cfg, tmp_path, caplog):
    from rfcn.checkpoints import checkpoint
    from rfcn.train_end2end import train_net
    arrays = {}
    for name, overrides in {'still': ['TRAIN.FREEZE=[conv1, res, rpn, bn2]', 'network.FIXED_PARAMS=[bn_conv1]',
                                      'TRAIN.LR_MULT={conv_new_1: 0, rfcn_cls_bias: 0}'],
                            'start': ['TRAIN.lr=0.0']}.items():
        (tmp_path / name).mkdir()
        prefix = train_net(tiny_cfg('TRAIN.wd=0.0', *overrides), tmp_path / name)
        arrays[name] = {key: value.asnumpy() for params in checkpoint.load_params(checkpoint.params_path(prefix, 1))
                        for key, value in params.items()}
    still = {name for name in arrays['still'] if np.array_equal(arrays['still'][name], arrays['start'][name])}
    expected = {name for name in arrays['still']
                if name.startswith(('conv1', 'res', 'rpn', 'conv_new_1'))} | {'rfcn_cls_bias'}
    assert expected <= still and not {'rfcn_cls_weight', 'rfcn_bbox_weight', 'rfcn_bbox_bias'} & still
    statistics = {name for name in arrays['still'] if '_moving_' in name}
    kept = {name for name in statistics if (arrays['still'][name] == name.endswith('var')).all()}   # as they began
    assert kept == {name for name in statistics if name.startswith(('bn_conv1', 'bn2'))}
    assert 0 < len(kept) < len(statistics)


def test_a_batch_norm_that_is_not_trained_keeps_its_statistics_and_nothing_else_of_the_graph_changes():
    graph = mx.sym.Variable('data')
    for name in 'bn_conv1', 'bn2a', 'bn2b', 'my_bn3':
        graph = mx.sym.BatchNorm(graph, name=name, fix_gamma=False, attr={'lr_mult': '3.0'})
    changed = with_kept_statistics(graph, ['n3'], ['bn2a', 'n_conv1'])
    before, after = graph.attr_dict(), changed.attr_dict()
    assert {name for name in after if after[name].pop('use_global_stats', '') == 'True'} == {'bn2a', 'my_bn3'}
    assert before == after and graph.list_arguments() == changed.list_arguments()
    assert with_kept_statistics(graph, ['gamma', 'beta'], []) is graph      # these name no layer
