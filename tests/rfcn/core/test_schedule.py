"""The learning rate of each update."""
import json

import mxnet as mx
import numpy as np
import pytest

from rfcn.checkpoints import checkpoint
from rfcn.core.loader import Batch
from rfcn.core.module import TrainModule
from rfcn.core.schedule import (
    batches_in,
    last_epoch,
    linear_scaling,
    lr_schedule,
    names_beginning_with,
    updates_per_epoch,
    with_kept_statistics,
    with_lr_mult,
)
from rfcn.train_end2end import train_net
from rfcn.training import optimizer_params


def rates(updates, *args, **kwargs):
    """Of updates 1, 2, ..."""
    schedule = lr_schedule(*args, **kwargs)
    return [schedule(update) for update in range(1, updates + 1)]


def test_without_steps_the_rate_stays():
    assert rates(5, 0.5, (), 10) == [0.5] * 5


def test_the_rate_drops_after_the_update_that_a_step_names():
    # 3 updates an epoch: one epoch and two thirds of the next are 5 updates
    assert rates(8, 1.0, (1, 5 / 3), 3, factor=0.5) == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_fractions_of_epochs_and_of_updates_count():
    # 7 images in batches of 2 make 3.5 updates an epoch; two epochs 7
    assert rates(9, 1.0, (2,), 3.5) == [1] * 7 + [pytest.approx(0.1)] * 2


def test_an_epoch_has_the_updates_that_its_batches_make():
    # 5 batches, two of them an update: 2 updates of two batches and one of the last; without accumulation each is one
    assert updates_per_epoch(5, 2) == 3 and updates_per_epoch(5) == 5


def test_the_warm_up_ends_before_the_update_of_its_number():
    assert rates(4, 1.0, (), 10, warmup=True, warmup_lr=0.25, warmup_step=3) == [0.25, 0.25, 1, 1]
    assert rates(4, 1.0, (), 10, warmup=False, warmup_lr=0.25, warmup_step=3) == [1] * 4


def test_a_resumed_run_asks_for_its_own_update_and_goes_on_from_there():
    # Departure: the release starts its warm-up again.
    whole = rates(12, 1.0, (2, 3), 3, warmup=True, warmup_lr=0.1, warmup_step=4)
    resumed = lr_schedule(1.0, (2, 3), 3, warmup=True, warmup_lr=0.1, warmup_step=4)
    assert [resumed(update) for update in range(8, 13)] == whole[7:]


def test_steps_before_the_first_update_or_at_the_same_one_are_one_drop():
    assert rates(3, 1.0, (0.1, 0.2), 1, factor=0.5) == [1, 0.5, 0.5]


def test_the_rates_are_those_of_the_release(golden):
    with open(str(golden / 'lr.json')) as file:
        cases = json.load(file)
    for case in cases['schedules']:
        # one update an epoch: epochs and updates are the same
        found = rates(100, case['base_lr'], case['step'], 1, factor=case['factor'], warmup=case['warmup'],
                      warmup_lr=case['warmup_lr'], warmup_step=case['warmup_step'])
        assert found == pytest.approx(case['lr_of_update_1_to_100'])
    for case in cases['epoch_conversion'][:1]:  # the others begin at a later epoch, where ours counts on from the first
        schedule = lr_schedule(case['lr'], [float(case['lr_step'])], case['len_roidb'] / case['batch_size'])
        assert schedule.step == case['lr_iters']


def test_a_warm_up_may_have_the_rate_itself():
    assert lr_schedule(0.01, (1,), 10, warmup_lr=0.1)(1) == 0.01
    assert rates(3, 0.01, (), 10, warmup=True, warmup_lr=0.01, warmup_step=2) == [0.01] * 3


def test_a_training_of_a_fraction_of_an_epoch_ends_there_and_its_checkpoint_has_the_next_number():
    # 7.25 epochs of 8 batches: seven whole ones and two batches of the eighth
    assert [batches_in(epoch, 7.25, 8) for epoch in (0, 6, 7)] == [8, 8, 2]
    assert [batches_in(epoch, 7, 8) for epoch in (0, 6)] == [8, 8]
    assert batches_in(0, 0.01, 8) == 1  # never none
    assert last_epoch(7.25) == 8 and last_epoch(7) == 7


def test_rates_follow_the_images_of_an_update_and_the_warm_up_lasts_as_many_images():
    # 32 images for 8: four times the rates, 1000 images' worth of 125 updates in 31.25 updates, which are 32
    assert linear_scaling(32, 8, 0.1, 0.01, 125) == (0.4, 0.04, 32)
    assert linear_scaling(2, 8, 0.1, 0.01, 125) == (0.025, 0.0025, 500)
    assert linear_scaling(8, 8, 0.1, 0.01, 125) == (0.1, 0.01, 125)


def test_a_linear_warm_up_rises_by_the_same_amount_with_each_update():
    found = rates(6, 0.5, (), 10, warmup=True, warmup_lr=0.1, warmup_step=4, warmup_mode='linear')
    assert found == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.5, 0.5])


def test_with_lr_images_the_gradient_is_the_mean_of_an_update_and_its_rate_is_scaled(tiny_cfg):
    rates_given = ['TRAIN.BATCH_IMAGES=2', 'TRAIN.GRAD_ACCUM=3', 'TRAIN.lr=0.1', 'TRAIN.warmup=true',
                   'TRAIN.warmup_lr=0.01', 'TRAIN.warmup_step=20']
    # 2 images on each of 4 devices, 3 batches an update: 24 images
    scaled = optimizer_params(tiny_cfg(*rates_given, 'TRAIN.LR_IMAGES=6'), 100, devices=4)
    assert (scaled['learning_rate'], scaled['rescale_grad']) == pytest.approx((0.4, 1 / 12))
    assert [scaled['lr_scheduler'](update) for update in (4, 5)] == pytest.approx([0.04, 0.4])
    given = optimizer_params(tiny_cfg(*rates_given), 100, devices=4)
    assert (given['learning_rate'], given['rescale_grad']) == (0.1, 1 / 3)
    assert [given['lr_scheduler'](update) for update in (19, 20)] == [0.01, 0.1]


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


def test_the_keys_of_the_configuration_reach_the_optimizer(tiny_cfg):
    cfg = tiny_cfg('TRAIN.momentum=0.8', 'TRAIN.wd=0.002', 'TRAIN.CLIP_GRADIENT=3', 'TRAIN.lr=0.04',
                   "TRAIN.lr_step='2'", 'TRAIN.lr_factor=0.5', 'TRAIN.warmup=true', 'TRAIN.warmup_lr=0.01',
                   'TRAIN.warmup_step=4', 'TRAIN.warmup_mode=linear')
    found = optimizer_params(cfg, 10)
    assert (found['momentum'], found['wd'], found['clip_gradient']) == (0.8, 0.002, 3)
    # Half of the warm-up; the rate; half of it after two epochs of ten updates.
    assert [found['lr_scheduler'](update) for update in (2, 20, 21)] == pytest.approx([0.025, 0.04, 0.02])
    assert optimizer_params(tiny_cfg(), 10)['clip_gradient'] is None


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


def test_the_keys_of_the_configuration_reach_the_training(tiny_cfg, tmp_path):
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
