"""Updates of parameters: which, from how many batches, on how many devices."""
import mxnet as mx
import numpy as np
import pytest

from rfcn.checkpoints.pretrained import init_params
from rfcn.core.loader import Batch, DeviceBatches
from rfcn.core.module import TrainModule, contexts, fixed_param_names
from rfcn.symbols.rfcn import rpn_head, rpn_losses, two_class_view

DATA, LABELS = ['data'], ['label', 'bbox_target', 'bbox_weight']
ANCHORS = 3


def symbol_for(images):
    """A convolution and the RPN with its losses, for a number of images a device. No BatchNorm mixes the images."""
    x = mx.sym.Convolution(mx.sym.Variable('data'), name='conv1', num_filter=4, kernel=(16, 16), stride=(16, 16))
    cls_score, bbox_pred = rpn_head(x, ANCHORS, channels=4)
    labels = [mx.sym.Variable(name) for name in LABELS]
    return mx.sym.Group(list(rpn_losses(two_class_view(cls_score), bbox_pred, *labels, batch_size=6,
                                        batch_images=images)))


def some_batch(images, seed, size=(48, 64)):
    """Images with six sampled anchors each."""
    rng = np.random.RandomState(seed)
    rows, columns = size[0] // 16, size[1] // 16
    label = np.full((images, ANCHORS * rows * columns), -1.0)
    for row in label:
        row[rng.choice(len(row), size=6, replace=False)] = [1, 1, 0, 0, 0, 0]
    maps = (images, 4 * ANCHORS, rows, columns)
    return Batch(dict(data=rng.randn(images, 3, *size)),
                 dict(label=label, bbox_target=rng.randn(*maps), bbox_weight=rng.rand(*maps) < 0.1),
                 pad=0, images=[])


def joined(*batches):
    """One batch of the images of several."""
    def arrays(part, names):
        values = zip(*[[value.asnumpy() for value in getattr(batch, part)] for batch in batches])
        return dict(zip(names, map(np.concatenate, values)))
    return Batch(arrays('data', DATA), arrays('label', LABELS), pad=0, images=[])


def started(images, first_batch, devices=1, accumulate=1, lr=0.1, fixed=(), params=None, kvstore='device',
            momentum=0.9):
    module = TrainModule(symbol_for(images), DATA, LABELS, [mx.cpu(i) for i in range(devices)], fixed=fixed,
                         accumulate=accumulate)
    part = first_batch.parts[0]
    shapes = {desc.name: desc.shape for desc in part.provide_data + part.provide_label}
    arg_params, aux_params, _ = init_params(symbol_for(images), shapes)
    module.start(first_batch, params or arg_params, aux_params, kvstore=kvstore,
                 optimizer_params=dict(learning_rate=lr, momentum=momentum, wd=0.001, rescale_grad=1.0 / accumulate))
    return module


def params_of(module):
    return {name: value.asnumpy() for name, value in module.get_params()[0].items()}


def assert_equal(one, other, atol=0.0):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=atol, err_msg=name)


def test_a_step_changes_every_parameter():
    batch = some_batch(1, seed=0)
    module = started(1, batch)
    before = params_of(module)
    assert module.step(batch)
    assert [name for name, value in params_of(module).items() if np.array_equal(value, before[name])] == []
    assert (module.num_update, module.learning_rate) == (1, 0.1)


def test_parameters_whose_names_contain_a_fragment_have_no_gradient_and_stay():
    batch = some_batch(1, seed=0)
    module = started(1, batch, fixed=['conv1', 'score_w'])
    before = params_of(module)
    module.step(batch)
    module.step(batch)
    stayed = {name for name, value in params_of(module).items() if np.array_equal(value, before[name])}
    assert stayed == {'conv1_weight', 'conv1_bias', 'rpn_cls_score_weight'}
    assert set(module.gradients()) == set(before) - stayed
    assert stayed.isdisjoint(module.momenta())


def test_fragments_are_looked_for_anywhere_in_a_name():
    # The release calls them prefixes; 'gamma' alone would fix nothing then.
    symbol = mx.sym.BatchNorm(mx.sym.FullyConnected(mx.sym.Variable('data'), name='conv1_fc', num_hidden=2),
                              name='bn_conv1')
    assert fixed_param_names(symbol, ['gamma', 'beta']) == ['bn_conv1_gamma', 'bn_conv1_beta']
    assert fixed_param_names(symbol, ['conv1']) == ['conv1_fc_weight', 'conv1_fc_bias', 'bn_conv1_gamma',
                                                    'bn_conv1_beta']
    assert fixed_param_names(symbol, []) == []


def test_inputs_are_never_fixed():
    assert TrainModule(symbol_for(1), DATA, LABELS, [mx.cpu()], fixed=['bbox', 'data']).fixed_names == [
        'rpn_bbox_pred_weight', 'rpn_bbox_pred_bias']


def test_two_accumulated_batches_equal_one_batch_of_both():
    batches = [some_batch(1, seed) for seed in range(4)]
    accumulated = started(1, batches[0], accumulate=2)
    assert [accumulated.step(batch) for batch in batches] == [False, True, False, True]
    whole = started(2, joined(*batches[:2]))
    whole.step(joined(*batches[:2]))
    whole.step(joined(*batches[2:]))
    assert accumulated.num_update == whole.num_update == 2
    assert_equal(params_of(accumulated), params_of(whole), atol=1e-5)
    assert_equal({name: value.asnumpy() for name, value in accumulated.momenta().items()},
                 {name: value.asnumpy() for name, value in whole.momenta().items()}, atol=1e-5)


def test_what_is_left_over_makes_a_smaller_update():
    batch = some_batch(1, seed=0)
    accumulated, plain = started(1, batch, accumulate=2), started(1, batch)
    plain.optimizer.rescale_grad = 0.5
    assert not accumulated.finish_update()  # nothing to update with
    assert not accumulated.step(batch) and accumulated.finish_update()
    plain.step(batch)
    assert accumulated.num_update == 1
    assert_equal(params_of(accumulated), params_of(plain))
    assert not accumulated.finish_update()


def test_batches_of_different_sizes_are_accumulated_too():
    first, second = some_batch(1, 0, size=(48, 64)), some_batch(1, 1, size=(64, 96))
    forth, back = started(1, first, accumulate=2), started(1, second, accumulate=2)
    forth.step(first), forth.step(second)
    back.step(second), back.step(first)
    assert_equal(params_of(forth), params_of(back), atol=1e-6)


def test_two_devices_equal_one_of_twice_the_images_and_twice_the_rate():
    # Gradients are summed over devices, as in the release, while the losses of one device are means.
    batches = [[some_batch(1, 2 * seed), some_batch(1, 2 * seed + 1)] for seed in range(3)]
    two = started(1, DeviceBatches(batches[0]), devices=2)
    one = started(2, joined(*batches[0]), lr=0.2)
    one.optimizer.wd = 0.0005  # weight decay is not summed: at twice the rate, half of it
    for parts in batches:
        two.step(DeviceBatches(parts))
        one.step(joined(*parts))
    assert two.num_update == one.num_update == 3
    assert_equal(params_of(two), params_of(one), atol=1e-5)


@pytest.mark.parametrize('accumulate', [1, 2])
def test_the_gradient_of_two_devices_is_the_sum_of_those_of_their_images_alone_whatever_their_shapes(accumulate):
    # The release too gives every device a shape of its own. Padded to one shape, these differ by more than 5 %.
    small, large = some_batch(1, 0, size=(48, 64)), some_batch(1, 1, size=(64, 112))
    two = started(1, DeviceBatches([small, large]), devices=2, lr=0.0, accumulate=accumulate)
    expected = {}
    for batch in (small, large) * accumulate:
        alone = started(1, batch, lr=0.0)
        alone.step(batch)
        for name, gradient in alone.gradients().items():
            expected[name] = expected.get(name, 0) + gradient.asnumpy()
    for _ in range(accumulate):
        two.forward_backward(DeviceBatches([small, large]))
    two.update()
    found = {name: value.asnumpy() for name, value in two.gradients().items()}
    assert set(found) == set(expected)
    for name in found:
        assert np.linalg.norm(found[name] - expected[name]) < 1e-5 * np.linalg.norm(expected[name]), name


def test_the_shapes_of_the_devices_change_from_step_to_step():
    sizes = [((48, 64), (64, 96)), ((64, 96), (48, 64)), ((32, 32), (64, 64))]
    parts = [[some_batch(1, seed + 10 * k, size) for k, size in enumerate(pair)] for seed, pair in enumerate(sizes)]
    forth = started(1, DeviceBatches(parts[0]), devices=2)
    back = started(1, DeviceBatches(parts[0][::-1]), devices=2)
    for pair in parts:
        forth.step(DeviceBatches(pair))
        back.step(DeviceBatches(pair[::-1]))     # the sum does not tell which device saw which image
    assert_equal(params_of(forth), params_of(back), atol=1e-6)


def test_statistics_that_are_learned_are_those_of_all_devices(monkeypatch):
    x = mx.sym.BatchNorm(mx.sym.Variable('data'), name='bn', fix_gamma=False, momentum=0.5)
    symbol = mx.sym.LinearRegressionOutput(mx.sym.mean(x, axis=(1, 2, 3)), mx.sym.Variable('label'))
    parts = [Batch(dict(data=np.full((1, 1, 2, 2), value)), dict(label=np.zeros(1)), 0, []) for value in (2.0, 6.0)]
    module = TrainModule(symbol, ['data'], ['label'], [mx.cpu(0), mx.cpu(1)])
    ones = mx.nd.ones(1)
    module.start(DeviceBatches(parts), dict(bn_gamma=ones, bn_beta=ones), dict(bn_moving_mean=ones, bn_moving_var=ones),
                 optimizer_params=dict(learning_rate=0.0))
    monkeypatch.setattr(mx.sym.Symbol, 'tojson', lambda symbol: pytest.fail('the graph is read at every step'))
    module.step(DeviceBatches(parts))
    # 0.5 * 1 + 0.5 * 2 and 0.5 * 1 + 0.5 * 6, their mean; the variance within both is 0
    assert module.get_params()[1]['bn_moving_mean'].asscalar() == pytest.approx((1.5 + 3.5) / 2)
    assert module.get_params()[1]['bn_moving_var'].asscalar() == pytest.approx(0.5)


def test_outputs_are_called_by_their_plain_names_on_each_device():
    parts = [some_batch(1, seed=0), some_batch(1, seed=1, size=(64, 64))]
    module = started(1, DeviceBatches(parts), devices=2)
    module.step(DeviceBatches(parts))
    for device, cells in enumerate((12, 16)):   # 3 x 4 and 4 x 4
        outputs = module.named_outputs(device)
        assert set(outputs) == {'rpn_cls_prob', 'rpn_bbox_loss'}
        assert outputs['rpn_cls_prob'].size == 2 * ANCHORS * cells


@pytest.mark.parametrize('devices', [1, 2])
def test_training_goes_on_from_momentum_as_if_it_had_not_stopped(devices):
    batches = [DeviceBatches([some_batch(1, 10 * seed + k) for k in range(devices)]) for seed in range(4)]
    whole = started(1, batches[0], devices)
    for batch in batches[:2]:
        whole.step(batch)
    momenta = {name: value.copy() for name, value in whole.momenta().items()}
    assert set(momenta) == set(params_of(whole))
    params = {name: mx.nd.array(value) for name, value in params_of(whole).items()}
    resumed = started(1, batches[2], devices, params=params)
    resumed.set_momenta(momenta, num_update=2)
    for module in whole, resumed:
        for batch in batches[2:]:
            module.step(batch)
    assert whole.num_update == resumed.num_update == 4
    assert_equal(params_of(whole), params_of(resumed))


def test_a_training_without_momentum_has_none_to_save():
    batch = some_batch(1, seed=0)
    module = started(1, batch, momentum=0.0)
    module.step(batch)
    assert module.momenta() == {}


def test_no_gpu_means_the_cpu():
    assert contexts('') == [mx.cpu()]


def test_gpus_are_taken_by_their_numbers(monkeypatch):
    monkeypatch.setattr(mx.context, 'num_gpus', lambda: 4)
    assert contexts('0') == [mx.gpu(0)]
    assert contexts('1, 3') == [mx.gpu(1), mx.gpu(3)]
    with pytest.raises(ValueError, match='there is no GPU 4, 7 for MXNet here .it finds 4.'):
        contexts('0,4,7')


@pytest.mark.skipif(mx.context.num_gpus() > 0, reason='there is a GPU here')
def test_a_gpu_that_is_not_there_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError,
                       match="there is no GPU 0 for MXNet here .it finds 0.; write gpus: '' to run on the CPU"):
        contexts('0')
